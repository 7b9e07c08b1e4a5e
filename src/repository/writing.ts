/**
 * Writes of a resource as they run: through its interceptors, to its documents, and told to who listens.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import { type Base, isInHand } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import { type Change, defaultRetries, type Options, type RemovedMany, type ReplaceOptions } from "../document/writer.ts"
import { isRecord } from "../internal/json.ts"
import * as merge from "../internal/merge.ts"
import type * as Pipeline from "../Pipeline.ts"
import type { Keys } from "../query/keys.ts"
import type { Listing } from "../query/listing.ts"
import type {
  ChangeError,
  DeleteError,
  DeleteManyError,
  DeleteManyResult,
  InsertError,
  OnProgress,
  UpdateOptions,
  UpsertOptions
} from "../Repository.ts"
import type { Changes } from "./changes.ts"
import type { Operation } from "./operation.ts"
import type { Reading, Shown } from "./reading.ts"

/**
 * New values of a document, or what makes them of the present one.
 *
 * @category models
 * @since 0.1.0
 */
export type NewValues<A, Update, E, R> =
  | { readonly values: Update; readonly by?: undefined }
  | { readonly values?: undefined; readonly by: (current: A) => Update | Effect.Effect<Update, E, R> }

type Target<A> = string | Document.Document<A>
/** What has to hold, and to be done, before a write is sent. */
type Conditions<A> = Partial<Pick<Pipeline.Checked<A>, "beforeCommit" | "checks">>
type UpsertError = Exclude<ChangeError, DbError.NotFound>

/** What a replacement is on condition of, and made of. */
type Replacement<A> = Pick<ReplaceOptions<A>, "from" | "ifRevision">

/**
 * Writes of a resource as callers get them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Writing<A, Insert, Update, Patch> {
  /** The id in an input, if it has one yet. */
  readonly idIn: (input: unknown) => string | undefined
  readonly insert: (input: Insert) => Effect.Effect<Shown<A>, InsertError>
  /** The same for who wants the value alone. */
  readonly insertValue: (input: Insert) => Effect.Effect<A, InsertError>
  /**
   * Makes what gives the same where nothing else takes part, and fails in the name of an operation that is given. To be called where it is run.
   */
  readonly insertAlone: (name: string) => (input: Insert) => Effect.Effect<A, InsertError> | undefined
  readonly replaceAlone: (
    name: string
  ) => (input: Insert, options?: Replacement<A>) => Effect.Effect<A, ChangeError> | undefined
  /** Of the functions that make new values, none is among them. */
  readonly updateAlone: (
    name: string
  ) => (target: Target<A>, values: Update, options?: UpdateOptions) => Effect.Effect<A, ChangeError> | undefined
  readonly patchAlone: (
    name: string
  ) => (target: Target<A>, values: Patch, options?: UpdateOptions) => Effect.Effect<A, ChangeError> | undefined
  readonly update: <E, R>(
    target: Target<A>,
    values: NewValues<A, Update, E, R>,
    options?: UpdateOptions,
    conditions?: Conditions<A>
  ) => Effect.Effect<Shown<A>, ChangeError | E, R>
  readonly patch: (target: Target<A>, values: Patch, options?: UpdateOptions) => Effect.Effect<Shown<A>, ChangeError>
  /** Like `patch`, by what a function makes of the present document. */
  readonly patchBy: <E, R>(
    target: Target<A>,
    by: (current: A) => Effect.Effect<Update, E, R>,
    options?: UpdateOptions
  ) => Effect.Effect<Shown<A>, ChangeError | E, R>
  readonly replace: (input: Insert, options?: Replacement<A>) => Effect.Effect<Shown<A>, ChangeError>
  /** The same for who wants the value alone. */
  readonly replaceValue: (input: Insert, options?: Replacement<A>) => Effect.Effect<A, ChangeError>
  readonly upsert: (input: Insert, options?: UpsertOptions) => Effect.Effect<Shown<A>, UpsertError>
  readonly remove: (target: Target<A>, mustExist: boolean) => Effect.Effect<void, DeleteError>
  readonly removeMany: (
    ids: ReadonlyArray<string>,
    onProgress?: OnProgress
  ) => Effect.Effect<DeleteManyResult, DeleteManyError>
  readonly removeAll: Effect.Effect<number, DbError.NotAllowed | DeleteManyError>
}

const removeConcurrency = 16

/**
 * Makes the writes of a resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, Insert, Update, Patch>(
  { context, reader, writer }: Documents<A>,
  {
    allowDeleteAll,
    changes,
    fields,
    keys,
    listing,
    operation,
    pipeline,
    reading
  }: {
    readonly allowDeleteAll: boolean
    readonly changes: Changes<A>
    /** The fields that changes are applied along. */
    readonly fields: merge.FieldTree
    readonly keys: Keys
    readonly listing: Listing<A>
    readonly operation: Operation
    readonly pipeline: Pipeline.Pipeline<Pipeline.Operations<A, Insert, Update, Patch>>
    readonly reading: Reading<A>
  }
): Writing<A, Insert, Update, Patch> => {
  const { name, primaryKey } = context
  const { named, namedStream, refuse } = operation
  const { onCommit, onCommits } = changes
  const { current } = reading

  type Ops = Pipeline.Operations<A, Insert, Update, Patch>
  type WriteName = "insert" | "update" | "patch" | "replace" | "upsert"

  const idIn = (input: unknown): string | undefined => {
    const id = isRecord(input) ? input[primaryKey] : undefined
    return typeof id === "string" ? id : undefined
  }

  /** Shows what a write has made, or fails in the name of the operation. */
  const shown = operation.following((base: Base<A>): Effect.Effect<Shown<A>> =>
    Effect.succeed({ value: base.value, document: undefined, base })
  )

  /** The same of its value alone. */
  const valueOfBase = (base: Base<A>): Effect.Effect<A> => Effect.succeed(base.value)
  const valued = operation.following(valueOfBase)

  /** Whether nothing but the write itself is to be done. */
  const isAlone = (as: WriteName) => !pipeline.concerns(as) && context.readThrough() === undefined

  const valueOf = <E, R>(effect: Effect.Effect<Shown<A>, E, R>): Effect.Effect<A, E, R> =>
    Effect.map(effect, ({ value }) => value)

  /**
   * Runs a write that gives a version, with an envelope only where interceptors are to see one. To be called where it is run; what
   * interceptors run again is begun anew.
   */
  const write = <K extends WriteName, E, R>(
    as: K,
    given: () => Ops[K]["input"],
    execute: (input: Ops[K]["input"]) => Effect.Effect<Shown<A>, E, R>
  ): Effect.Effect<Shown<A>, E | Pipeline.InterceptorError | Pipeline.AfterFailed, R> => {
    if (!pipeline.concerns(as)) return execute(given())
    const run = pipeline.run(as, given(), (input) =>
      Effect.map(
        Effect.suspend(() => execute(input)),
        reading.envelopeOf
      )
    )
    return Effect.map(run, reading.shownAs)
  }

  const optionsOf = ({ beforeCommit = [], checks = [] }: Pipeline.Checked<A>): Options<A> => ({
    beforeCommit,
    checks,
    onCommit
  })

  const idOf = (target: Target<A>) => (isInHand(target) ? target.id : target)

  const aboutTarget = (target: Target<A>) => {
    const id = idOf(target)
    return { id, current: current(id) }
  }

  const about = (input: unknown) => {
    const id = idIn(input)
    return id === undefined ? {} : aboutTarget(id)
  }

  /** Where nothing but the write itself is to be done. */
  const plainly: Options<A> = { beforeCommit: [], checks: [], onCommit }

  const changeAlone = <V>(
    as: WriteName,
    name: string,
    merged: (present: A, values: V) => ReturnType<typeof merge.update>
  ) => {
    const named = operation.following(valueOfBase, name)
    return (target: Target<A>, values: V, options?: UpdateOptions) =>
      isAlone(as)
        ? named(
            writer.change(
              target,
              (present) => Effect.succeed(merged(present, values)),
              options === undefined ? plainly : { ...plainly, ...options }
            )
          )
        : undefined
  }

  const insert = (given: Insert, { beforeCommit = [], checks = [] }: Conditions<A> = {}) =>
    write(
      "insert",
      () => ({ input: given, checks, beforeCommit }),
      (input) => shown(writer.create(input.input, optionsOf(input)))
    )

  const replace = (given: Insert, { from, ifRevision }: Replacement<A> = {}) =>
    write(
      "replace",
      () => ({ input: given, checks: [], beforeCommit: [], ...about(given) }),
      (one) => shown(writer.replace(one.input, { ...optionsOf(one), ifRevision, from }))
    )

  /** Changes the document with an id, or the version in hand if it is that one. */
  const change = <E, R>(
    target: Target<A>,
    input: Pipeline.OneDocument<A> & Pipeline.Checked<A>,
    apply: Change<A, E, R>,
    options: UpdateOptions | undefined
  ) => {
    const meant = input.id === idOf(target) ? target : input.id
    return shown(
      writer.change(meant, apply, options === undefined ? optionsOf(input) : { ...optionsOf(input), ...options })
    )
  }

  const update = <E, R>(
    target: Target<A>,
    { by, values }: NewValues<A, Update, E, R>,
    options?: UpdateOptions,
    { beforeCommit = [], checks = [] }: Conditions<A> = {}
  ) =>
    write(
      "update",
      () => ({ ...aboutTarget(target), checks, beforeCommit, changes: values }),
      (input) => {
        const plainly = (present: A) => Effect.succeed(merge.update(fields, present, input.changes))
        if (by === undefined) return change(target, input, plainly, options)
        const byFunction = Effect.fnUntraced(function* (present: A) {
          const next = by(present)
          const made = merge.update(fields, present, Effect.isEffect(next) ? yield* next : next)
          // What interceptors want comes over it.
          return Result.isFailure(made) || input.changes === undefined
            ? made
            : merge.update(fields, made.success, input.changes)
        })
        return change(target, input, byFunction, options)
      }
    )

  /** Inserts or updates by what is there, so that the interceptors of the one that is done take part, and no others. */
  const upsertByParts = Effect.fnUntraced(function* (
    input: Insert,
    retries: number,
    conditions: Conditions<A>
  ): Effect.fn.Return<Shown<A>, UpsertError> {
    const id = idIn(input)
    // Whoever may do neither is told so before it is looked up which of them it is.
    yield* Effect.catchTag(pipeline.admit("insert"), "Rejected", () => pipeline.admit("update"))
    for (let attempts = 0; ; attempts++) {
      const isThere = id !== undefined && Option.isSome(yield* named(reader.find(id)))
      const done = isThere
        ? // The fields of a whole document are fields to be changed.
          update<never, never>(id, { values: input as Insert & Update }, { retries }, conditions).pipe(
            Effect.map(Option.some),
            Effect.catchTag("NotFound", () => Effect.succeedNone)
          )
        : insert(input, conditions).pipe(
            Effect.map(Option.some),
            Effect.catchTag("AlreadyExists", () => Effect.succeedNone)
          )
      const shown = yield* done
      if (Option.isSome(shown)) return shown.value
      if (attempts >= retries) return yield* new DbError.Conflict({ resource: name, id: id ?? "", revision: "" })
    }
  })

  const upsert = (
    given: Insert,
    { createFirst, retries = defaultRetries }: UpsertOptions = {}
  ): Effect.Effect<Shown<A>, UpsertError> =>
    write(
      "upsert",
      () => ({ input: given, checks: [], beforeCommit: [], ...about(given) }),
      (one): Effect.Effect<Shown<A>, UpsertError> => {
        const { input, ...conditions } = one
        if (pipeline.concerns("insert") || pipeline.concerns("update")) {
          return upsertByParts(input, retries, conditions)
        }
        const apply = (present: A) => Effect.succeed(merge.update(fields, present, input))
        return shown(writer.upsert(input, apply, { ...optionsOf(one), createFirst, retries }))
      }
    )

  const removeListed = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const options = { beforeCommit: [], checks: [], concurrency: removeConcurrency, onCommit: onCommits }
    return yield* named(Effect.catchTag(writer.removeMany(ids, options), "InvalidInput", Effect.die))
  })

  return {
    idIn,
    insert,
    insertValue: (given) =>
      pipeline.concerns("insert") ? valueOf(insert(given)) : valued(writer.create(given, plainly)),
    insertAlone: (name) => {
      const named = operation.following(valueOfBase, name)
      return (given) => (isAlone("insert") ? named(writer.create(given, plainly)) : undefined)
    },
    replaceAlone: (name) => {
      const named = operation.following(valueOfBase, name)
      return (given, options) =>
        isAlone("replace")
          ? named(writer.replace(given, options === undefined ? plainly : { ...plainly, ...options }))
          : undefined
    },
    updateAlone: (name) =>
      changeAlone("update", name, (present, values: Update) => merge.update(fields, present, values)),
    patchAlone: (name) => changeAlone("patch", name, (present, values: Patch) => merge.patch(fields, present, values)),
    replaceValue: (given, options) =>
      pipeline.concerns("replace")
        ? valueOf(replace(given, options))
        : valued(writer.replace(given, options === undefined ? plainly : { ...plainly, ...options })),
    update,
    patch: (target, values, options) =>
      write(
        "patch",
        () => ({ ...aboutTarget(target), checks: [], beforeCommit: [], changes: values }),
        (input) =>
          change(target, input, (present) => Effect.succeed(merge.patch(fields, present, input.changes)), options)
      ),
    patchBy: <E, R>(target: Target<A>, by: (current: A) => Effect.Effect<Update, E, R>, options?: UpdateOptions) =>
      write(
        "patch",
        () => ({ ...aboutTarget(target), checks: [], beforeCommit: [], changes: undefined }),
        (input) => {
          const apply = Effect.fnUntraced(function* (present: A) {
            const made = merge.update(fields, present, yield* by(present))
            return Result.isFailure(made) || input.changes === undefined
              ? made
              : merge.patch(fields, made.success, input.changes)
          })
          return change(target, input, apply, options)
        }
      ),
    replace,
    upsert,
    remove: (target, mustExist) =>
      pipeline.run("delete", { ...aboutTarget(target), checks: [], beforeCommit: [] }, (input) => {
        const options = optionsOf(input)
        return Effect.asVoid(
          named(
            Effect.suspend(() =>
              !isInHand(target) || input.id !== target.id
                ? writer.remove(input.id, { ...options, mustExist })
                : writer.removeVersion(target, options)
            )
          )
        )
      }),
    removeMany: (given, onProgress) =>
      pipeline.run(
        "deleteMany",
        { ids: given, checks: [], beforeCommit: [] },
        Effect.fnUntraced(function* ({ beforeCommit = [], checks = [], ids }) {
          const options = { beforeCommit, checks, concurrency: removeConcurrency, onCommit: onCommits, onProgress }
          const { deleted, failed } = yield* named(writer.removeMany(ids, options))
          return {
            deleted,
            failed: yield* Effect.forEach(failed, ({ error, id }) =>
              Effect.map(operation.told(error), (error) => ({ id, error }))
            )
          }
        })
      ),
    removeAll: pipeline.run(
      "deleteAll",
      {},
      Effect.fnUntraced(function* () {
        if (!allowDeleteAll) return yield* refuse("declare the resource with allowDeleteAll: true to allow it")
        const removed = Stream.mapEffect(namedStream(keys.pages(keys.whole)), (hits) =>
          Effect.flatMap(named(listing.present(hits)), (there) => removeListed(there.map((hit) => hit.id)))
        )
        const { failed, number } = yield* Stream.runFold(
          removed,
          () => ({ number: 0, failed: new Array<RemovedMany["failed"][number]>() }),
          (all, { deleted, failed }) => ({
            number: all.number + deleted.length,
            failed: all.failed.length > 0 ? all.failed : failed.slice(0, 1)
          })
        )
        // What cannot be deleted does not keep the others.
        return failed[0] === undefined ? number : yield* named(Effect.fail(failed[0].error))
      })
    )
  }
}
