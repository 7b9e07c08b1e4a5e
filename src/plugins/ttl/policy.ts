/**
 * A policy on its resource: what is due, and what becomes of it.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Context from "effect/Context"
import type * as Catalog from "../../Catalog.ts"
import type { Database } from "../../Database.ts"
import type * as DbError from "../../DbError.ts"
import type { Definition } from "../../Definition.ts"
import type { Document } from "../../Document.ts"
import * as Guard from "../../Guard.ts"
import { fieldTypes } from "../../internal/merge.ts"
import type { Names } from "../../Names.ts"
import type { ChangeError, ListError, Repository } from "../../Repository.ts"
import type * as Attributes from "../../schema/Attributes.ts"
import { WriteContext } from "../../WriteContext.ts"
import * as Due from "./due.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What has become of a document that was due: `refreshed` when it is not due any more, or has changed just now; `gone` when there is
 * none.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "deleted" | "softDeleted" | "archived" | "kept" | "refreshed" | "gone"

/**
 * What is done with a document that is due. `run` is given the document; what it gives is done with the very version, or not at all.
 *
 * @category models
 * @since 0.1.0
 */
export type Action<A> =
  | { readonly _tag: "Delete" }
  | { readonly _tag: "SoftDelete"; readonly field: string }
  | {
      readonly _tag: "Archive"
      readonly run: (document: Document<A>, expiredAt: number) => Effect.Effect<unknown, unknown>
    }
  | {
      readonly _tag: "Callback"
      readonly run: (document: Document<A>, expiredAt: number) => Effect.Effect<"delete" | "keep", unknown>
    }

/**
 * A policy, with what it needs at hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  readonly index: Due.Index
  /** Milliseconds. */
  readonly after: number
  readonly action: Action<A>
  readonly now: Effect.Effect<number, DbError.DbError>
  readonly database: Database["Service"]
  /** The slug of the instance. */
  readonly slug: string
}

/**
 * A document that is due, as far as the index says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly id: string
  readonly expiredAt: number
}

/**
 * A policy on its resource, whatever the types of that.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bound {
  readonly resource: string
  /**
   * What the index says is due, the earliest first, at most `limit`. 1 LIST for each 1,000, and 1 at least. `Incomplete` where it
   * has not been built yet.
   */
  readonly due: (limit: number | undefined) => Stream.Stream<Entry, ListError>
  /** Builds the index of documents that were there before it: see `Admin.backfill`. */
  readonly build: Effect.Effect<void, ChangeError | DbError.Unfinished>
  /** Looks at a document, and does what is to be done if it is due. */
  readonly expire: (id: string, dryRun: boolean) => Effect.Effect<Outcome, unknown>
  /** Keeps what is due, or marked, from readers, until the scope closes. */
  readonly hide: Effect.Effect<void, never, Scope.Scope>
}

/** Whether the work of this fiber is to see what is due. */
const IsSweeping = Context.Reference<boolean>("effect-s3db/plugins/ttl/IsSweeping", { defaultValue: () => false })

/**
 * Runs the sweeper's own work: no guard looks at it, and nothing is hidden from it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sweeping = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Guard.trusted(Effect.provideService(effect, IsSweeping, true))

/** What a program fails with is its own, whatever it looks like. */
class OfProgram {
  readonly _tag = "OfProgram"
  readonly cause: Cause.Cause<unknown>
  constructor(cause: Cause.Cause<unknown>) {
    this.cause = cause
  }
}

/** Runs a program: what is hidden from readers is hidden from it, and when it interrupts itself, it is itself alone. */
const asking = Effect.fnUntraced(function* <A>(program: Effect.Effect<A, unknown>) {
  const fiber = yield* Effect.forkChild(Effect.provideService(program, IsSweeping, false), { startImmediately: true })
  const exit = yield* Fiber.await(fiber)
  return Exit.isSuccess(exit) ? exit.value : yield* Effect.fail(new OfProgram(exit.cause))
})

/** A document is another version by now. */
class Refreshed {
  readonly _tag = "Refreshed"
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * What a policy goes by of a definition.
 *
 * @category models
 * @since 0.1.0
 */
export type Declared = Catalog.Declaration & { readonly schema: Attributes.DocumentSchema }

/** How a field may hold a time, in the order in which it is tried. */
const forms: ReadonlyArray<(millis: number) => unknown> = [
  (millis) => DateTime.makeUnsafe(millis),
  (millis) => new Date(millis),
  (millis) => new Date(millis).toISOString(),
  (millis) => millis
]

/**
 * Returns how a field of a schema holds a time; `undefined` where there is none that can.
 *
 * @category getters
 * @since 0.1.0
 */
export const timeFormOf = ({ schema }: Declared, field: string): ((millis: number) => unknown) | undefined => {
  const type = fieldTypes(AST.toType(schema.ast)).get(field)
  if (type === undefined) return undefined
  const accepts = Schema.is(Schema.make(type))
  return forms.find((form) => accepts(form(0)))
}

/**
 * Tells whether a field of a schema can hold a time, by its type alone: no boolean can, and no list. Of a type that says nothing, such as
 * `Unknown`, it can.
 *
 * @category guards
 * @since 0.1.0
 */
export const canHoldTime = ({ schema }: Declared, path: ReadonlyArray<string>): boolean => {
  let type = AST.toType(schema.ast)
  for (const name of path) {
    const next = fieldTypes(type).get(name)
    if (next === undefined) return true
    type = next
  }
  return isOfTime(type)
}

const isOfTime = (type: AST.AST): boolean => {
  switch (type._tag) {
    case "Union":
      return type.types.some(isOfTime)
    case "Literal":
      return Due.millisOf(type.literal) !== undefined
    case "Declaration": {
      // Its checks may leave few times.
      const accepts = Schema.is(Schema.make(new AST.Declaration(type.typeParameters, type.run, type.annotations)))
      return forms.some((form) => accepts(form(0)))
    }
    default:
      return !noTimes.has(type._tag)
  }
}

const noTimes: ReadonlySet<AST.AST["_tag"]> = new Set([
  "Arrays",
  "BigInt",
  "Boolean",
  "Never",
  "Null",
  "Objects",
  "Symbol",
  "Undefined",
  "UniqueSymbol",
  "Void"
])

/**
 * Puts a policy on a resource whose due index is declared. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bind = <S extends Attributes.DocumentSchema, N extends Names>(
  definition: Definition<S, N>,
  repository: Repository<S, N>,
  { action, after, database, index, now, slug }: Options<S["Type"]>
): Bound => {
  const name = Due.nameOf(index)
  const isAtomic = database.capabilities.conditionalDelete === true

  const expiryOf = (value: unknown, times: { readonly createdAt: number; readonly writtenAt: number }) => {
    const base = Due.baseOf(index, value, times)
    return base === undefined ? Number.POSITIVE_INFINITY : base + after
  }

  const find = (id: N["id"]) => Effect.catchTag(repository.getDocument(id), "NotFound", () => Effect.succeed(undefined))

  const softDelete = Effect.fnUntraced(function* (document: Document<S["Type"], N["id"]>, field: string, at: number) {
    const form = timeFormOf(definition, field)!
    // The field holds a time in this form: it was asked.
    const change = { [field]: form(at) } as Parameters<typeof repository.patch>[1]
    yield* repository.patch(document, change)
  })

  /** The writes of the sweeper, which say so beside what its caller is about. */
  const written = <X, E, R>(effect: Effect.Effect<X, E, R>): Effect.Effect<X, E, R> =>
    Effect.flatMap(WriteContext, (told) => Effect.provideService(effect, WriteContext, { ...told, plugin: slug }))

  /** Deletes the very version; a store that deletes without a look at the version does it in a transaction. */
  const remove = (document: Document<S["Type"], N["id"]>) =>
    isAtomic || action._tag === "Archive"
      ? repository.delete(document)
      : database.transaction(
          Effect.gen(function* () {
            const again = yield* repository.getDocument(document.id)
            if (again.revision !== document.revision) return yield* Effect.fail(new Refreshed())
            yield* repository.delete(again)
          })
        )

  const act = Effect.fnUntraced(function* (
    document: Document<S["Type"], N["id"]>,
    expiredAt: number,
    at: number
  ): Effect.fn.Return<Outcome, unknown> {
    switch (action._tag) {
      case "Delete":
        yield* remove(document)
        return "deleted"
      case "SoftDelete":
        yield* softDelete(document, action.field, at)
        return "softDeleted"
      case "Archive":
        yield* action.run(document, expiredAt)
        yield* remove(document)
        return "archived"
      case "Callback":
        if ((yield* asking(action.run(document, expiredAt))) !== "delete") return "kept"
        yield* written(remove(document))
        return "deleted"
    }
  })

  const expire = Effect.fnUntraced(function* (id: N["id"], dryRun: boolean): Effect.fn.Return<Outcome, unknown> {
    const document = yield* find(id)
    if (document === undefined) return "gone"
    const at = yield* now
    const expiredAt = expiryOf(document.value, Due.timesOf(document))
    if (expiredAt > at) return "refreshed"
    if (dryRun) return wouldBe[action._tag]
    return yield* act(document, expiredAt, at)
  })

  const settled = (error: unknown): Effect.Effect<Outcome, unknown> => {
    if (error instanceof OfProgram) return Effect.failCause(error.cause)
    const tag = tagOf(error)
    if (tag === "Conflict" || tag === "TransactionConflict" || tag === "Refreshed") return Effect.succeed("refreshed")
    return tag === "NotFound" ? Effect.succeed("gone") : Effect.fail(error)
  }

  return {
    resource: definition.name,
    due: (limit) =>
      Stream.unwrap(Effect.map(now, (at) => repository.companion(name, { to: at - after, verify: false, limit }))).pipe(
        Stream.map(({ id, key }) => ({ id, expiredAt: Number(key[0]) + after }))
      ),
    build: Effect.flatMap(repository.admin, ({ backfill }) => Stream.runDrain(backfill())),
    expire: (id, dryRun) => {
      // A copy and its original change together.
      const done = action._tag === "Archive" && !dryRun ? database.transaction(expire(id, dryRun)) : expire(id, dryRun)
      // What a callback writes is its own.
      return (action._tag === "Callback" ? done : written(done)).pipe(Effect.catch(settled), sweeping)
    },
    hide: Effect.gen(function* () {
      const isLive = (value: S["Type"], times: { readonly createdAt: number; readonly writtenAt: number }) =>
        Effect.flatMap(IsSweeping, (isSweeping) =>
          isSweeping
            ? Effect.succeed(true)
            : // What is marked is not due, but gone for readers.
              Due.isOut(value, index.unless)
              ? Effect.succeed(false)
              : Effect.map(now, (at) => expiryOf(value, times) > at)
        )
      yield* repository.intercept({
        name: "ttl",
        operations: ["get", "list", "listIds", "query", "count"],
        before: ({ input: { filters } }) =>
          Effect.map(IsSweeping, (isSweeping) =>
            // Earlier versions have none.
            isSweeping || filters === undefined ? undefined : { filters: [...filters, isLive] }
          )
      })
      yield* repository.intercept({
        name: "ttl",
        operations: ["exists", "getContent"],
        around: (context, next) =>
          Effect.gen(function* () {
            const current = yield* context.input.current ?? Effect.succeed(Option.none())
            if (Option.isNone(current) || (yield* isLive(current.value.value, Due.timesOf(current.value)))) {
              return yield* next()
            }
            return context.operation === "exists" ? false : Option.none()
          })
      })
    })
  }
}

const wouldBe = { Delete: "deleted", SoftDelete: "softDeleted", Archive: "archived", Callback: "deleted" } as const

const tagOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
