/**
 * Opens a resource on a database: puts the wings of the engine together behind the interface of a repository.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import { Database, tell } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Definition, Services } from "../Definition.ts"
import * as Document from "../Document.ts"
import * as DocumentCodec from "../document/codec.ts"
import * as DocumentStore from "../document/documents.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import type * as History from "../History.ts"
import * as merge from "../internal/merge.ts"
import * as Pipeline from "../Pipeline.ts"
import * as Query from "../Query.ts"
import * as Listing from "../query/listing.ts"
import * as Operands from "../query/operandCodecs.ts"
import * as Find from "../query/run.ts"
import type {
  ChangeError,
  HistoryError,
  Insert,
  InsertError,
  ManyOptions,
  Outcome,
  Patch,
  Repository,
  Update,
  UpdateOptions,
  Version,
  WriteOptions
} from "../Repository.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as DocumentCounter from "./counts.ts"
import * as Maintenance from "./maintenance.ts"
import * as ResourceOperations from "./operations.ts"

const defaultConcurrency = 16

/**
 * Opens a resource on a database: what `layer` does. Registers the definition (see `Database.register` for requests).
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <S extends Attributes.DocumentSchema>(
  definition: Definition<S>
): Effect.fn.Return<Repository<S>, DbError.DbError, Database | Services<S["Type"]>> {
  type A = S["Type"]
  const { name, schema, primaryKey, paranoid } = definition
  const database = yield* Database
  const { store } = database
  const codec = yield* DocumentCodec.make(definition, database).pipe(DbError.named("Resource.make", name))
  const { uniqueLease: leaseMillis, history, content, completion } = definition
  const documents = yield* DocumentStore.make<A>(
    { name, primaryKey, leaseMillis, history, content, completion, counters: definition.counters !== undefined },
    database,
    codec
  )
  const operands = Operands.make(schema, Find.systemSchemas)
  const listing = yield* Listing.make<A>(name, database, documents, operands)
  const finding = Find.make<A>(definition, database.capabilities.orderedList, documents, listing, operands)
  const maintenance = Maintenance.make<A>(name, leaseMillis, database, documents, listing)
  const fields = merge.fieldTree(AST.toType(schema.ast)) ?? { fields: new Map() }
  const settings = { name, primaryKey, paranoid, fields }
  const counter =
    definition.counters === undefined
      ? undefined
      : DocumentCounter.make<A>(name, definition.counters, database, documents, listing)
  const operations = yield* ResourceOperations.make<A, Insert<S>, Update<A>, Patch<A>>(
    settings,
    codec,
    documents,
    listing,
    finding,
    counter
  )
  const { feed, pipeline } = operations
  const { failure, fromStore, invalid, missing } = documents
  const labelled = Effect.annotateSpans({ "s3db.resource": name })
  yield* tell(database.lifecycle, "resourceOpened", name)

  const load = (operation: string) => (id: string) => documents.load(operation, id)

  const many = Effect.fnUntraced(function* <I, X, E>(
    given: Iterable<I>,
    { concurrency = defaultConcurrency, onProgress = () => Effect.void }: ManyOptions = {},
    one: (input: I) => Effect.Effect<X, E>
  ) {
    const inputs = [...given]
    let done = 0
    return yield* Effect.forEach(
      inputs,
      (input) => Effect.tap(Effect.result(one(input)), () => onProgress({ done: (done += 1), total: inputs.length })),
      { concurrency }
    )
  })

  const versionAt = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    when: { readonly version: number } | { readonly time: DateTime.DateTime }
  ) {
    const { now, entries } = yield* documents.past(operation, id)
    const current = now === undefined ? undefined : { ...now.stored, isDeletion: false, entry: undefined }
    const all = [...entries.map((entry) => ({ ...entry, entry })), ...(current === undefined ? [] : [current])]
    const time = "time" in when ? DateTime.toEpochMillis(when.time) : undefined
    const found =
      "version" in when
        ? all.findLast((one) => one.version === when.version && !one.isDeletion)
        : all.findLast((one) => one.writtenAt <= time!)
    if (found === undefined || found.isDeletion) return yield* missing(id)
    if (found.entry === undefined) return yield* documents.decode(operation, id, now!.stored, now!.isSettled)
    return (yield* documents.loadEntry(operation, found.entry)) ?? (yield* missing(id))
  })

  const writeEach =
    <I>(
      operation: string,
      { mode = "insert", concurrency = defaultConcurrency }: WriteOptions = {},
      inputOf: (input: I) => Effect.Effect<Insert<S>, DbError.InvalidInput>
    ) =>
    <E, R>(inputs: Stream.Stream<I, E, R>): Stream.Stream<Outcome<A, InsertError | ChangeError>, E, R> => {
      const write = (input: Insert<S>): Effect.Effect<A, InsertError | ChangeError> => {
        if (mode === "upsert") return operations.upsert(operation, input)
        return mode === "insert" ? operations.insert(operation, input) : operations.replace(operation, input)
      }
      return inputs.pipe(
        Stream.zipWithIndex,
        Stream.mapEffect(
          ([input, index]) =>
            Effect.map(Effect.result(Effect.flatMap(inputOf(input), write)), (result) => ({
              index,
              id: operations.idIn(Result.isSuccess(result) ? result.success : input),
              result
            })),
          { concurrency }
        )
      )
    }

  const fromJson = Schema.decodeUnknownEffect(Attributes.toStorageCodec(definition.schema))
  /** A whole document is an input of it, too. */
  const inputOfJson = (json: JsonObject) =>
    Effect.mapBoth(fromJson(json, { errors: "all", onExcessProperty: "error" }), {
      onSuccess: (value) => value as Insert<S>,
      onFailure: (error) => DbError.invalidInput(name, error.issue)
    })

  /** The versions that a document had, the newest first. */
  const versions = (operation: string, id: string): Stream.Stream<Version<S>, HistoryError> => {
    const one = Effect.fnUntraced(function* (entry: History.Entry) {
      const { version } = entry
      const reading = Effect.gen(function* () {
        const base = yield* documents.loadEntry(operation, entry)
        // It has been pruned since it was listed.
        if (base === undefined) return Option.none<Version<S>>()
        const document = yield* operations.getDocument(id, () => Effect.succeed(base))
        return Option.some<Version<S>>({ version, result: Result.succeed(document) })
      })
      return yield* Effect.catchTag(reading, "DbError", (error) =>
        Effect.succeedSome<Version<S>>({ version, result: Result.fail(error) })
      )
    })
    return Stream.unwrap(
      Effect.map(Effect.andThen(pipeline.admit("get"), documents.past(operation, id)), ({ entries }) =>
        Stream.fromArray(entries.filter((entry) => !entry.isDeletion).toReversed()).pipe(
          Stream.mapEffect(one, { concurrency: 4 }),
          Stream.flatMap((found) => Stream.fromArray(Option.toArray(found)))
        )
      )
    )
  }

  const exists = (operation: string) =>
    Effect.fnUntraced(function* (id: string) {
      const key = Document.key(name, id)
      if (Result.isFailure(key)) return false
      if ((yield* Transaction.Current) !== undefined) {
        return Option.isSome(yield* documents.loadIfPresent(operation, id))
      }
      const isThere = yield* store.head(key.success).pipe(
        Effect.map((head) => (Document.isSettled(head.metadata) ? true : undefined)),
        Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(false)),
        Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
      )
      // A transaction is about to change it: the object itself tells more.
      return isThere ?? (yield* documents.loadVersion(operation, id)) !== undefined
    })

  /** The document that has the values of a unique key. */
  const findByUnique = Effect.fnUntraced(function* (
    operation: string,
    label: string,
    values: Readonly<Record<string, unknown>>
  ) {
    const { uniques } = yield* documents.indexes
    const unique = uniques.get(label)
    if (unique === undefined) {
      const names = [...uniques.keys()].join(", ")
      return yield* invalid(["unique"], `Expected a unique key of ${name}: ${names === "" ? "it has none" : names}`)
    }
    const unknown = Object.keys(values).find((path) => !unique.fields.includes(path))
    if (unknown !== undefined) {
      return yield* invalid([unknown], `Expected a field of unique key ${label}: ${unique.fields.join(", ")}`)
    }
    const stored = new Map<string, Json>()
    for (const path of unique.definition.fields) {
      const value = values[path.join(".")]
      if (value === undefined || value === null) continue
      const fitted = operands.fromValue(path, value, "equal")
      if (Result.isFailure(fitted)) return yield* invalid(path, fitted.failure)
      stored.set(path.join("."), fitted.success)
    }
    const digest = unique.digest((path) => stored.get(path.join(".")))
    if (digest === undefined)
      return yield* invalid([unique.fields[0]!], `Expected values of ${unique.fields.join(", ")}`)
    if (!unique.isReady) {
      const description = `unique key ${label} of ${name} is not complete: run backfill to its end`
      return yield* failure(operation, new StoreError.Unsupported({ feature: "unique key", description }))
    }
    return yield* documents.findUnique(operation, label, digest)
  })

  return {
    insert: Effect.fn("Resource.insert")(function* (input) {
      return yield* operations.insert("Resource.insert", input)
    }, labelled),

    insertMany: Effect.fn("Resource.insertMany")(function* (inputs, options) {
      return yield* many(inputs, options, (input) => operations.insert("Resource.insertMany", input))
    }, labelled),

    get: Effect.fn("Resource.get")(function* (id) {
      const operation = "Resource.get"
      return yield* operations.get(operation, id, load(operation))
    }, labelled),

    getOption: Effect.fn("Resource.getOption")(function* (id) {
      const operation = "Resource.getOption"
      return yield* orNone(operations.get(operation, id, load(operation)))
    }, labelled),

    getMany: Effect.fn("Resource.getMany")(function* (ids, options) {
      const operation = "Resource.getMany"
      return yield* Effect.forEach(ids, (id) => orNone(operations.get(operation, id, load(operation))), {
        concurrency: options?.concurrency ?? defaultConcurrency
      })
    }, labelled),

    getDocument: Effect.fn("Resource.getDocument")(function* (id) {
      return yield* operations.getDocument(id, load("Resource.getDocument"))
    }, labelled),

    documentOf: Effect.fn("Resource.documentOf")(function* (value) {
      const base = documents.known.get(value as object)
      return base === undefined ? yield* missing("") : documents.documentFor(base)
    }, labelled),

    getByUnique: Effect.fn("Resource.getByUnique")(function* (label, values) {
      const operation = "Resource.getByUnique"
      yield* pipeline.admit("get")
      const found = yield* findByUnique(operation, label, values)
      // Interceptors decide before it is told whether there is such a document.
      return yield* Option.match(found, {
        onNone: () => operations.get(operation, "", () => Effect.fail(missing(""))),
        onSome: (base) => operations.get(operation, base.id, () => Effect.succeed(base))
      })
    }, labelled),

    getFromPartition: Effect.fn("Resource.getFromPartition")(function* (id, within) {
      const operation = "Resource.getFromPartition"
      return yield* operations.get(operation, id, (id) => listing.getFrom(operation, id, within))
    }, labelled),

    distinct: (within) => {
      const operation = "Resource.distinct"
      return operations.whole(operation, ["listIds", "query"], within, (request) =>
        listing.distinct(operation, request)
      )
    },

    covered: (within) => {
      const operation = "Resource.covered"
      return operations.whole(operation, ["listIds", "query"], within, (request) => listing.covered(operation, request))
    },

    update: Effect.fn("Resource.update")(function* <E = never, R = never>(
      target: string | Document.Document<A>,
      changes: Update<A> | ((current: A) => Update<A> | Effect.Effect<Update<A>, E, R>),
      options?: UpdateOptions
    ) {
      return yield* operations.update("Resource.update", target, changesOf<A, Update<A>, E, R>(changes), options)
    }, labelled),

    patch: Effect.fn("Resource.patch")(function* (target, changes, options) {
      return yield* operations.patch("Resource.patch", target, changes, options)
    }, labelled),

    replace: Effect.fn("Resource.replace")(function* (input, options) {
      return yield* operations.replace("Resource.replace", input, options?.ifRevision)
    }, labelled),

    upsert: Effect.fn("Resource.upsert")(function* (input, options) {
      return yield* operations.upsert("Resource.upsert", input, options?.retries)
    }, labelled),

    upsertMany: Effect.fn("Resource.upsertMany")(function* (inputs, options) {
      return yield* many(inputs, options, (input) => operations.upsert("Resource.upsertMany", input))
    }, labelled),

    writeAll: (inputs, options) => writeEach<Insert<S>>("Resource.writeAll", options, Effect.succeed)(inputs),

    writeAllJson: (inputs, options) => writeEach("Resource.writeAllJson", options, inputOfJson)(inputs),

    updateMany: <E = never, R = never>(
      request: Query.Request<A>,
      changes: Update<A> | ((current: A) => Update<A> | Effect.Effect<Update<A>, E, R>)
    ) => {
      const operation = "Resource.updateMany"
      return Stream.unwrap(
        Effect.map(finding.meets(request), (meets) => {
          // A change can move a document ahead in the very listing that it was found by, where it would be found again.
          const underWay = new Set<string>()
          const moved = new Set<string>()
          const one = Effect.fnUntraced(function* (base: DocumentStore.Base<A>) {
            const { id } = base
            if (underWay.has(id) || moved.has(id)) return undefined
            underWay.add(id)
            const unmet = new Pipeline.Rejected({
              resource: name,
              operation: "update",
              interceptor: operation,
              reason: "the document does not meet the conditions any more"
            })
            const check = (current: A) => {
              const base = documents.known.get(current as object)
              return base === undefined || meets(base) ? Effect.void : Effect.fail(unmet)
            }
            const change = changesOf<A, Update<A>, E, R>(changes)
            const result = yield* Effect.result(operations.update(operation, id, change, undefined, [check]))
            const after = Result.isSuccess(result) ? documents.known.get(result.success as object) : undefined
            if (after === undefined || !Equal.equals(after.stored.markers, base.stored.markers)) moved.add(id)
            underWay.delete(id)
            return Result.isFailure(result) && result.failure === unmet ? undefined : { id, result }
          })
          return operations.queryBases(operation, request).pipe(
            Stream.mapEffect(({ base }) => one(base), { concurrency: request.concurrency ?? defaultConcurrency }),
            Stream.filter((outcome) => outcome !== undefined),
            Stream.zipWithIndex,
            Stream.map(([outcome, index]) => ({ index, ...outcome }))
          )
        })
      )
    },

    query: (request) => operations.query("Resource.query", request),

    queryJson: ({ select, ...request }) =>
      Stream.unwrap(
        Effect.map(finding.checkPaths((select ?? []).map((path) => path.split("."))), () =>
          Stream.map(operations.queryJson("Resource.queryJson", request), (json) =>
            select === undefined ? finding.shown(json) : Query.project(select)(json)
          )
        )
      ),

    queryPage: Effect.fn("Resource.queryPage")(function* (request) {
      const operation = "Resource.queryPage"
      const page = yield* operations.list(operation, request)
      return { ...page, total: page.total }
    }, labelled),

    parseWhere: Effect.fn("Resource.parseWhere")(function* (json) {
      return yield* finding.parseWhere(json)
    }, labelled),

    parseOrder: Effect.fn("Resource.parseOrder")(function* (text) {
      return yield* finding.parseOrder(text)
    }, labelled),

    explainQuery: Effect.fn("Resource.explainQuery")(function* (request) {
      return yield* finding.explain(request)
    }, labelled),

    aggregate: Effect.fn("Resource.aggregate")(function* (aggregation, { maxGroups, ...request } = {}) {
      return yield* finding.aggregate(aggregation, operations.queryJson("Resource.aggregate", request), { maxGroups })
    }, labelled),

    delete: Effect.fn("Resource.delete")(function* (target, { mustExist = false } = {}) {
      yield* operations.remove("Resource.delete", target, mustExist)
    }, labelled),

    deleteMany: Effect.fn("Resource.deleteMany")(function* (ids, options) {
      return yield* operations.removeMany("Resource.deleteMany", [...ids], options?.onProgress)
    }, labelled),

    deleteAll: Effect.suspend(() => operations.removeAll("Resource.deleteAll")).pipe(
      Effect.withSpan("Resource.deleteAll"),
      labelled
    ),

    exists: Effect.fn("Resource.exists")(function* (id) {
      const operation = "Resource.exists"
      return yield* operations.exists(operation, id, exists(operation))
    }, labelled),

    count: Effect.fn("Resource.count")(function* (request = {}) {
      return yield* operations.count("Resource.count", request)
    }, labelled),

    estimatedCount: Effect.fn("Resource.estimatedCount")(function* (within = {}) {
      return yield* operations.estimatedCount("Resource.estimatedCount", within)
    }, labelled),

    recount: Effect.gen(function* () {
      const operation = "Resource.recount"
      if (counter !== undefined) return yield* counter.recount(operation)
      const description = "declare the resource with counters: true to use it"
      return yield* new DbError.NotAllowed({ resource: name, operation, description })
    }).pipe(Effect.withSpan("Resource.recount"), labelled),

    listIds: (request = {}) => operations.listIds("Resource.listIds", request),

    list: Effect.fn("Resource.list")(function* (request = {}) {
      return yield* operations.list("Resource.list", request)
    }, labelled),

    migrate: (options) =>
      Stream.unwrap(
        Effect.map(codec.version, (version) =>
          maintenance.rewrite("Resource.migrate", options, (base) =>
            Effect.succeed(base.stored.schemaVersion < version)
          )
        )
      ),

    rotate: (options) => maintenance.rotate(options),

    backfill: maintenance.backfill,

    repair: maintenance.repair,

    removePartition: Effect.fn("Resource.removePartition")(function* (label) {
      return yield* maintenance.remove("Resource.removePartition", "partitions", label)
    }, labelled),

    removeUnique: Effect.fn("Resource.removeUnique")(function* (label) {
      return yield* maintenance.remove("Resource.removeUnique", "uniques", label)
    }, labelled),

    setContent: Effect.fn("Resource.setContent")(function* (id, bytes, options) {
      const stream = bytes instanceof Uint8Array ? Stream.succeed(bytes) : bytes
      const contentType = options?.contentType ?? "application/octet-stream"
      return yield* operations.setContent("Resource.setContent", id, stream, contentType)
    }, labelled),

    getContent: Effect.fn("Resource.getContent")(function* (id, range) {
      return yield* operations.getContent("Resource.getContent", id, range)
    }, labelled),

    hasContent: Effect.fn("Resource.hasContent")(function* (id) {
      return Option.isSome(yield* operations.getContent("Resource.hasContent", id, undefined))
    }, labelled),

    deleteContent: Effect.fn("Resource.deleteContent")(function* (id) {
      yield* operations.removeContent("Resource.deleteContent", id)
    }, labelled),

    history: (id) => Stream.mapEffect(versions("Resource.history", id), ({ result }) => Effect.fromResult(result)),

    historyResults: (id) => versions("Resource.historyResults", id),

    getAt: Effect.fn("Resource.getAt")(function* (id, when) {
      return yield* operations.getDocument(id, (id) => versionAt("Resource.getAt", id, when))
    }, labelled),

    restore: Effect.fn("Resource.restore")(function* (id, when) {
      const operation = "Resource.restore"
      yield* pipeline.admit("get")
      yield* pipeline.admit("replace")
      const version = yield* versionAt(operation, id, when)
      // Who may not see it may not have it back; what interceptors make of it for the eye is not what it was.
      yield* operations.get(operation, id, () => Effect.succeed(version))
      // What was a document once can be one again.
      return yield* operations.replace(operation, version.value as Insert<S>)
    }, labelled),

    pruneHistory: ({ keep, before }) =>
      maintenance.pruneHistory(keep, before === undefined ? undefined : DateTime.toEpochMillis(before)),

    explain: Effect.fn("Resource.explain")(function* (input) {
      const base = documents.known.get(input as object)
      if (base === undefined) {
        const valid = yield* codec.construct(input).pipe(DbError.named("Resource.explain", name))
        return yield* codec.explain(yield* documents.completed(valid))
      }
      return yield* codec.explain(base.value, {
        carried: base.carried,
        schemaVersion: base.stored.schemaVersion
      })
    }, labelled),

    scanResults: (options = {}) => {
      const operation = "Resource.scanResults"
      return operations
        .whole(operation, ["query"], options, (request) => listing.results(operation, request))
        .pipe(
          Stream.zipWithIndex,
          Stream.map(([{ id, result }, index]) => ({ index, id, result: Result.map(result, (base) => base.value) }))
        )
    },

    scan: (options = {}) => operations.query("Resource.scan", options),

    scanDocuments: (options = {}) =>
      Stream.map(operations.queryBases("Resource.scanDocuments", options), ({ base, value }) =>
        documents.documentFor(base, value)
      ),

    intercept: pipeline.add,

    changes: feed.stream,

    subscribe: feed.subscribe,

    onChange: feed.on
  }
})

const orNone = <A, E, R>(effect: Effect.Effect<A, DbError.NotFound | E, R>) =>
  effect.pipe(
    Effect.map(Option.some),
    Effect.catchIf(
      (error): error is Extract<DbError.NotFound | E, DbError.NotFound> => error instanceof DbError.NotFound,
      () => Effect.succeedNone
    )
  )

const changesOf = <A, U, E, R>(
  changes: U | ((current: A) => U | Effect.Effect<U, E, R>)
): ResourceOperations.Changes<A, U, E, R> => (isFunction(changes) ? { by: changes } : { values: changes })

const isFunction = <A, U, X>(changes: U | ((current: A) => X)): changes is (current: A) => X =>
  typeof changes === "function"
