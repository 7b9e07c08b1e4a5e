/**
 * The operations of a resource as they run: through its interceptors, on its documents, and told to who listens.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Change from "../Change.ts"
import * as Content from "../Content.ts"
import * as Id from "../crypto/Id.ts"
import * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import type { DocumentCodec } from "../document/codec.ts"
import type { DocumentCounter } from "./counts.ts"
import type * as DocumentStore from "../document/documents.ts"
import type { Base, Checks } from "../document/documents.ts"
import type { JsonObject } from "../encoding/Json.ts"
import type * as Find from "../query/run.ts"
import * as merge from "../internal/merge.ts"
import type * as Query from "../Query.ts"
import type { Listing } from "../query/listing.ts"
import type { ListError, OnProgress, Parameters } from "../Repository.ts"
import * as Pipeline from "../Pipeline.ts"
import * as Transaction from "../Transaction.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A change: new values, or what makes them of the present document.
 *
 * @category models
 * @since 0.1.0
 */
export type Changes<A, Update, E, R> =
  | { readonly values: Update; readonly by?: undefined }
  | { readonly values?: undefined; readonly by: (current: A) => Update | Effect.Effect<Update, E, R> }

/**
 * A document, and what the interceptors have made of its value.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shown<A> {
  readonly base: Base<A>
  readonly value: A
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly name: string
  readonly primaryKey: string
  readonly paranoid: boolean
  /** The fields that changes are applied along. */
  readonly fields: merge.FieldTree
}

const defaultConcurrency = 16
const defaultRetries = 20

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <A, Insert, Update, Patch>(
  { name, primaryKey, paranoid, fields }: Settings,
  codec: DocumentCodec<A>,
  documents: DocumentStore.DocumentStore<A>,
  listing: Listing<A>,
  finding: Find.Finding<A>,
  counter: DocumentCounter | undefined
) {
  const { missing } = documents
  const pipeline = yield* Pipeline.make<Pipeline.Operations<A, Insert, Update, Patch, Parameters<A>>>(name, {
    primaryKey
  })
  const feed = yield* Change.makeFeed<A>()

  const idIn = (input: unknown): string | undefined => {
    const id = (input as Readonly<Record<string, unknown>>)[primaryKey]
    return typeof id === "string" ? id : undefined
  }

  // --- telling ---------------------------------------------------------------

  /** Tells of a write: now, or when its transaction is committed. */
  const announce = Effect.fnUntraced(function* (
    operation: Change.Operation,
    id: string,
    before: Effect.Effect<Option.Option<A>>,
    stored: Document.Stored | undefined,
    after: Base<A> | undefined
  ) {
    if (!(yield* feed.isObserved)) return
    const event: Change.Change<A> = {
      _tag: "Change",
      resource: name,
      operation,
      id,
      before: yield* before,
      after: Option.map(Option.fromUndefinedOr(after), (base) => base.value),
      version: Option.fromUndefinedOr((after?.stored ?? stored)?.version),
      writeId: after?.stored.writeId ?? (yield* Id.writeId),
      at: after === undefined ? yield* DateTime.now : DateTime.makeUnsafe(after.stored.writtenAt)
    }
    const publish = feed.publish(() => event)
    const transaction = yield* Transaction.Current
    if (transaction === undefined) yield* publish
    else transaction.committed.push(publish)
  })

  /** What was there, as far as it can be read. It is gone: that it cannot be read is no failure of the write. */
  const valueOfStored = (operation: string, id: string, stored: Document.Stored | undefined) =>
    stored === undefined
      ? Effect.succeedNone
      : Effect.option(Effect.map(documents.decode(operation, id, stored), (base) => base.value))

  /** Tells of what is committed, and counts what has come and gone, where that is kept up. */
  const onCommits = (operation: string) =>
    Effect.fnUntraced(function* (commits: ReadonlyArray<DocumentStore.Commit<A>>) {
      for (const { after, id, isKnown, stored } of commits) {
        const wasThere = !isKnown || stored !== undefined
        if (after === undefined && !wasThere) continue
        const done = after === undefined ? "deleted" : wasThere ? "updated" : "inserted"
        yield* announce(done, id, valueOfStored(operation, id, stored), stored, after)
      }
      if (counter === undefined) return
      yield* counter.count(commits.map(({ after, stored }) => ({ before: stored, after: after?.stored })))
    })

  const onCommit = (operation: string): DocumentStore.OnCommit<A> => {
    const all = onCommits(operation)
    return (commit) => all([commit])
  }

  // --- reading ---------------------------------------------------------------

  const currentOf = (operation: string, id: string) =>
    Effect.map(documents.loadIfPresent(operation, id), (base) => Option.map(base, ({ value }) => value))

  const get = <E>(operation: string, id: string, load: (id: string) => Effect.Effect<Base<A>, E>) =>
    pipeline.read("get", { id }, (input) => Effect.map(load(input.id), (base) => base.value))

  /** Like `get`, with the envelope of what was read, whatever the interceptors have made of the value. */
  const getDocument = Effect.fnUntraced(function* <E>(id: string, load: (id: string) => Effect.Effect<Base<A>, E>) {
    const seen: { base?: Base<A> } = {}
    const keep = (base: Base<A>) => {
      seen.base = base
      return base.value
    }
    const value = yield* pipeline.read("get", { id }, (input) => Effect.map(load(input.id), keep))
    const base = seen.base ?? documents.known.get(value as object) ?? (yield* load(id))
    return documents.documentFor(base, value)
  })

  const exists = (operation: string, id: string, isThere: (id: string) => Effect.Effect<boolean, DbError.DbError>) =>
    pipeline.read("exists", { id, current: currentOf(operation, id) }, (input) => isThere(input.id))

  const query = (operation: string, request: Query.Request<A>): Stream.Stream<A, Pipeline.StreamError> =>
    Stream.unwrap(
      pipeline.read("query", { request, filters: [] }, (input) =>
        Effect.succeed(Stream.map(finding.bases(operation, input.request, input.filters), (base) => base.value))
      )
    )

  /** The version that a value stands for: one that interceptors have made is looked up by its id. */
  const baseFor = Effect.fnUntraced(function* (operation: string, value: A) {
    const base = documents.known.get(value as object)
    if (base !== undefined) return { base, value }
    const id = idIn(value)
    if (id === undefined) return undefined
    const found = yield* documents.loadIfPresent(operation, id)
    return Option.isSome(found) ? { base: found.value, value } : undefined
  })

  /** Like `query`, with the versions that the values stand for. */
  const queryBases = (operation: string, request: Query.Request<A>): Stream.Stream<Shown<A>, Pipeline.StreamError> =>
    Stream.unwrap(
      Effect.map(pipeline.concerns("query"), (isIntercepted): Stream.Stream<Shown<A>, Pipeline.StreamError> =>
        isIntercepted
          ? query(operation, request).pipe(
              Stream.mapEffect((value) => baseFor(operation, value)),
              Stream.filter((found) => found !== undefined)
            )
          : Stream.map(finding.bases(operation, request), (base) => ({ base, value: base.value }))
      )
    )

  /** Like `query`, in JSON form, with the system fields and without secrets. */
  const queryJson = (operation: string, request: Query.Request<A>): Stream.Stream<JsonObject, Pipeline.StreamError> =>
    Stream.unwrap(
      Effect.map(pipeline.concerns("query"), (isIntercepted): Stream.Stream<JsonObject, Pipeline.StreamError> =>
        isIntercepted
          ? queryBases(operation, request).pipe(Stream.mapEffect((found) => jsonOf(operation, found)))
          : Stream.map(finding.run(operation, request), ({ json }) => json)
      )
    )

  const jsonOf = Effect.fnUntraced(function* (operation: string, { base, value }: Shown<A>) {
    if (value === base.value) return finding.jsonOf(base)
    const encoded = yield* Effect.result(codec.encode(value, undefined))
    if (Result.isSuccess(encoded)) return finding.jsonOf({ ...base, json: encoded.success.json })
    const description = `what an interceptor of queries made of ${JSON.stringify(base.id)} is no document of ${name}`
    return yield* new DbError.NotAllowed({ resource: name, operation, description })
  })

  const list = (operation: string, given: Query.Request<A> & Query.PageRequest & Query.Total) =>
    pipeline.read("list", { request: given, filters: [] }, ({ request, filters }) =>
      Effect.gen(function* () {
        const hides =
          (filters ?? []).length > 0 || request.where !== given.where || request.predicate !== given.predicate
        const { items, cursor } = yield* finding.page(operation, request, filters, hides)
        const page = { items: items.map((base) => base.value), cursor }
        if (request.total !== true) return page
        const { limit: _, cursor: __, ...whole } = request
        // Whoever may see all pages may know how many documents they have: no more than those.
        return { ...page, total: yield* finding.count(operation, whole, filters) }
      })
    )

  const listIds = (operation: string, request: Query.Request<A>): Stream.Stream<string, Pipeline.StreamError> =>
    Stream.unwrap(
      pipeline.read("listIds", { request, filters: [] }, (input) =>
        Effect.succeed(finding.ids(operation, input.request, input.filters))
      )
    )

  const count = (operation: string, request: Query.Request<A> & Query.Verify) =>
    pipeline.read("count", { request, filters: [] }, (input) => finding.count(operation, input.request, input.filters))

  /** What the counter says, unless the interceptors of `count` want something else to be counted. */
  const estimatedCount = Effect.fnUntraced(function* (operation: string, within: Query.Within) {
    if (counter === undefined) {
      const description = "declare the resource with counters: true to use it"
      return yield* new DbError.NotAllowed({ resource: name, operation, description })
    }
    return yield* pipeline.read("count", { request: within, filters: [] }, ({ request, filters = [] }) =>
      request.where === undefined && request.predicate === undefined && filters.length === 0
        ? counter.read(operation, request)
        : finding.count(operation, request, filters)
    )
  })

  /** What is asked for, after interceptors have let it pass as it is; what they narrow or change is refused. */
  const untouched = Effect.fnUntraced(function* <Request extends Query.Request<A>>(
    operation: string,
    as: "listIds" | "query",
    request: Request
  ) {
    if (!(yield* pipeline.concerns(as))) return request
    const seen: { input?: { readonly request: Query.Request<A> } & Pipeline.Filtered<A> } = {}
    // An `after` that leaves out or changes something gives another stream than this one.
    const nothing = Stream.suspend((): Stream.Stream<never> => Stream.empty)
    const given = { request, filters: [] }
    const execute = (input: NonNullable<typeof seen.input>) => {
      seen.input = input
      return Effect.succeed(nothing)
    }
    const shown: Stream.Stream<unknown, Pipeline.StreamError> =
      as === "listIds" ? yield* pipeline.read("listIds", given, execute) : yield* pipeline.read("query", given, execute)
    const { request: left, filters = [] } = seen.input ?? {}
    const isNarrowed =
      left === undefined ||
      shown !== nothing ||
      filters.length > 0 ||
      [left.where, left.predicate, left.limit].some((part) => part !== undefined)
    if (!isNarrowed) return { ...request, ...left }
    const description = `an interceptor of ${as} narrows or changes what may be seen; use query, which shows that`
    return yield* new DbError.NotAllowed({ resource: name, operation, description })
  })

  /**
   * A listing that shows something else than documents or ids: for those who have every right that it takes, and to whom
   * interceptors show everything as it is.
   */
  const whole = <Request extends Query.Request<A>, X>(
    operation: string,
    rights: ReadonlyArray<"listIds" | "query">,
    given: Request,
    use: (request: Request) => Stream.Stream<X, ListError>
  ): Stream.Stream<X, Pipeline.StreamError> =>
    Stream.unwrap(
      Effect.gen(function* () {
        let request = given
        for (const right of rights) request = yield* untouched(operation, right, request)
        return use(request)
      })
    )

  // --- writing ---------------------------------------------------------------

  const insert = (operation: string, given: Insert, conditions: Checks<A> = []) =>
    pipeline.run("insert", { input: given, checks: conditions }, ({ input, checks }) =>
      Effect.gen(function* () {
        const { value } = yield* documents.create(operation, input, checks, onCommit(operation))
        return value
      })
    )

  type Target = string | Document.Document<A>
  const idOf = (target: Target) => (typeof target === "string" ? target : target.id)

  /** Changes the document with an id, or the version in hand if it is that one. */
  const change = Effect.fnUntraced(function* <E, R>(
    operation: string,
    target: Target,
    { id, checks = [] }: { readonly id: string; readonly checks?: Checks<A> | undefined },
    apply: DocumentStore.Change<A, E, R>,
    options: DocumentStore.ChangeOptions | undefined
  ) {
    const checked: DocumentStore.Change<A, E | Pipeline.Rejected | DbError.DbError, R> =
      checks.length === 0 ? apply : (current) => Effect.andThen(documents.passes(checks, current), apply(current))
    const meant = id === idOf(target) ? target : id
    const { after } = yield* documents.change(operation, meant, checked, options, onCommit(operation))
    return after.value
  })

  const update = <E = never, R = never>(
    operation: string,
    target: Target,
    { values, by }: Changes<A, Update, E, R>,
    options?: DocumentStore.ChangeOptions,
    conditions: Checks<A> = []
  ) => {
    const id = idOf(target)
    const given = { id, current: currentOf(operation, id), checks: conditions, changes: values }
    return pipeline.run("update", given, (input) => {
      const plainly = (current: A) => Effect.succeed(merge.update(fields, current, input.changes ?? {}))
      const byFunction = Effect.fnUntraced(function* (current: A) {
        const next = by!(current)
        const made = merge.update(fields, current, Effect.isEffect(next) ? yield* next : next)
        // What interceptors want comes over it.
        return Result.isFailure(made) || input.changes === undefined
          ? made
          : merge.update(fields, made.success, input.changes)
      })
      return change(operation, target, input, by === undefined ? plainly : byFunction, options)
    })
  }

  const patch = (operation: string, target: Target, values: Patch, options?: DocumentStore.ChangeOptions) => {
    const id = idOf(target)
    const given = { id, current: currentOf(operation, id), checks: [], changes: values }
    return pipeline.run("patch", given, (input) => {
      const apply = (current: A) => Effect.succeed(merge.patch(fields, current, input.changes ?? {}))
      return change(operation, target, input, apply, options)
    })
  }

  const about = (operation: string, id: string | undefined) =>
    id === undefined ? {} : { id, current: currentOf(operation, id) }

  const replace = (operation: string, given: Insert, ifRevision?: Document.Revision) =>
    pipeline.run("replace", { input: given, checks: [], ...about(operation, idIn(given)) }, ({ input, checks }) =>
      Effect.gen(function* () {
        const { value } = yield* documents.replace(operation, input, ifRevision, checks, onCommit(operation))
        return value
      })
    )

  /** Inserts or updates by what is there, so that the interceptors of the one that is done take part, and no others. */
  const upsertByParts = Effect.fnUntraced(function* (
    operation: string,
    input: Insert,
    retries: number,
    checks: Checks<A>
  ) {
    const id = idIn(input)
    // Whoever may do neither is told so before it is looked up which of them it is.
    yield* Effect.catchTag(pipeline.admit("insert"), "Rejected", () => pipeline.admit("update"))
    for (let attempts = 0; ; attempts++) {
      const isThere = id !== undefined && Option.isSome(yield* documents.loadIfPresent(operation, id))
      const done = isThere
        ? // The fields of a whole document are fields to be changed.
          update(operation, id, { values: input as unknown as Update }, { retries }, checks).pipe(
            Effect.map(Option.some),
            Effect.catchTag("NotFound", () => Effect.succeedNone)
          )
        : insert(operation, input, checks).pipe(
            Effect.map(Option.some),
            Effect.catchTag("AlreadyExists", () => Effect.succeedNone)
          )
      const value = yield* done
      if (Option.isSome(value)) return value.value
      if (attempts >= retries) return yield* new DbError.Conflict({ resource: name, id: id ?? "", revision: "" })
    }
  })

  const upsert = (operation: string, given: Insert, retries = defaultRetries) =>
    pipeline.run("upsert", { input: given, checks: [], ...about(operation, idIn(given)) }, ({ input, checks = [] }) =>
      Effect.gen(function* () {
        const hasParts = (yield* pipeline.concerns("insert")) || (yield* pipeline.concerns("update"))
        if (hasParts) return yield* upsertByParts(operation, input, retries, checks)
        const apply = (current: A) => Effect.as(documents.passes(checks, current), merge.update(fields, current, input))
        const { value } = yield* documents.upsert(operation, input, apply, retries, checks, onCommit(operation))
        return value
      })
    )

  const remove = (operation: string, target: Target, mustExist: boolean) => {
    const id = idOf(target)
    const given = { id, current: currentOf(operation, id), checks: [] }
    return pipeline.run("delete", given, (input) =>
      Effect.asVoid(
        typeof target === "string" || input.id !== id
          ? documents.remove(operation, input.id, input.checks, mustExist, onCommit(operation))
          : documents.removeDocument(operation, target, input.checks, onCommit(operation))
      )
    )
  }

  const removeMany = (operation: string, given: ReadonlyArray<string>, onProgress?: OnProgress) =>
    pipeline.run("deleteMany", { ids: given, checks: [] }, ({ ids, checks }) =>
      documents.removeMany(operation, ids, defaultConcurrency, checks, onCommits(operation), onProgress)
    )

  const removeListed = Effect.fnUntraced(function* (operation: string, ids: ReadonlyArray<string>) {
    const removing = documents.removeMany(operation, ids, defaultConcurrency, [], onCommits(operation))
    const { deleted, failed } = yield* Effect.catchTag(removing, "InvalidInput", Effect.die)
    return failed.length > 0 ? yield* failed[0]!.error : deleted.length
  })

  const removeAll = (operation: string) =>
    pipeline.run("deleteAll", {}, () =>
      Effect.gen(function* () {
        if (paranoid) {
          const description = "declare the resource with paranoid: false to allow it"
          return yield* new DbError.NotAllowed({ resource: name, operation, description })
        }
        const numbers = Stream.mapEffect(listing.pages(operation, listing.whole), (hits) =>
          removeListed(
            operation,
            hits.map((hit) => hit.id)
          )
        )
        return yield* Stream.runFold(
          numbers,
          () => 0,
          (sum, some) => sum + some
        )
      })
    )

  // --- content ---------------------------------------------------------------

  /** The fields stay as they are. */
  const onContent =
    (done: "contentSet" | "contentDeleted"): DocumentStore.OnCommit<A> =>
    ({ after, id, stored }) =>
      announce(done, id, Effect.succeed(Option.map(Option.fromUndefinedOr(after), ({ value }) => value)), stored, after)

  const setContent = Effect.fnUntraced(function* <E, R>(
    operation: string,
    id: string,
    given: Stream.Stream<Uint8Array, E, R>,
    contentType: string
  ) {
    const context = yield* Effect.context<R>()
    const source: { failure: Option.Option<E> } = { failure: Option.none() }
    const bytes = given.pipe(
      Stream.mapError((error) => {
        source.failure = Option.some(error)
        return new Content.SourceFailed()
      }),
      Stream.provideContext(context)
    )
    const seen: { base?: Base<A> } = {}
    const input = { id, current: currentOf(operation, id), content: { bytes, contentType } }
    yield* pipeline
      .run("setContent", input, (one) =>
        Effect.gen(function* () {
          const { content } = one
          const { bytes, contentType } = content
          seen.base = yield* documents.setContent(operation, one.id, bytes, contentType, onContent("contentSet"))
        })
      )
      .pipe(
        Effect.catchTag("SourceFailed", (error) =>
          Option.isSome(source.failure) ? Effect.fail(source.failure.value) : Effect.die(error)
        )
      )
    return documents.documentFor(seen.base ?? (yield* documents.load(operation, id)))
  })

  const getContent = (operation: string, id: string, range: Content.Range | undefined) =>
    pipeline.read("getContent", { id, current: currentOf(operation, id) }, (input) =>
      documents.getContent(operation, input.id, range)
    )

  const removeContent = (operation: string, id: string) =>
    pipeline.run("deleteContent", { id, current: currentOf(operation, id) }, (input) =>
      documents.removeContent(operation, input.id, onContent("contentDeleted"))
    )

  return {
    pipeline,
    feed,
    idIn,
    get,
    getDocument,
    exists,
    query,
    queryBases,
    queryJson,
    list,
    listIds,
    count,
    estimatedCount,
    whole,
    insert,
    update,
    patch,
    replace,
    upsert,
    remove,
    removeMany,
    removeAll,
    setContent,
    getContent,
    removeContent,
    missing
  }
})
