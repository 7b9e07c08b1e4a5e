/**
 * The one place where a resource lets others take part in its operations: before them, around them, after them.
 *
 * **Details**
 *
 * Interceptors are ordered by `priority`, and by the order in which they were added where that is equal. For one operation
 * the arounds come first, the first of them outermost; within them every `before` in order, then the operation itself, then
 * every `after` in the same order. With the arounds `mw1`, `mw2` and two interceptors that have both hooks:
 *
 * ```text
 * mw1> mw2> before1 before2 operation after1 after2 <mw2 <mw1
 * ```
 *
 * What fails before the operation has run stops it: nothing is written. What fails after a write has been committed is told
 * as `AfterFailed`, never as an error that looks as if nothing had happened.
 *
 * Interceptors need no services: build one in an effect that takes what it needs, and close over it. They run in the fiber of
 * the caller, with its references (the current user, the transaction, the span).
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Content from "./Content.ts"
import * as DbError from "./DbError.ts"
import type { Document } from "./Document.ts"
import type * as Query from "./Query.ts"
import { ExpectedError } from "./internal/expectedError.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * An operation that an interceptor did not let happen; nothing was written. `reason` says why, for a person; `code` is
 * for programs, and belongs to the interceptor.
 *
 * `cause` is the error of the program that it was rejected for, if there was one; `isRejectedFor` tells its type. It stays in
 * the process: encoded, it is left out.
 *
 * @remedy Do what the reason asks for; the same call is going to be rejected again.
 * @category errors
 * @since 0.1.0
 */
export class Rejected extends ExpectedError<Rejected>("effect-s3db/Pipeline/Rejected")(
  "Rejected",
  {
    resource: Schema.String,
    operation: Schema.String,
    interceptor: Schema.String,
    /** One sentence for a person. It never holds values of the document. */
    reason: Schema.String,
    code: Schema.optionalKey(Schema.String)
  },
  { httpApiStatus: 403 }
) {
  override get message(): string {
    return `${this.operation} on ${this.resource} was rejected by ${this.interceptor}: ${this.reason}`
  }
}

/**
 * A failure of what an interceptor does after the write, which **was committed**.
 *
 * The other interceptors have run all the same. When one died, its cause is in the log. Within a transaction the write is
 * done as far as the transaction goes: it is committed with it, and not at all if this error ends it, which is then
 * `isUndone`, with the outcome `"none"`.
 *
 * @remedy Do not run the write again: read the document if you need it, and make up for what the interceptor had to
 * do. Where `isUndone` is true nothing was written: run the transaction again.
 * @category errors
 * @since 0.1.0
 */
export class AfterFailed extends ExpectedError<AfterFailed>("effect-s3db/Pipeline/AfterFailed")(
  "AfterFailed",
  {
    resource: Schema.String,
    operation: Schema.String,
    interceptor: Schema.String,
    /** The document that was written; absent where there is no such one, as for `deleteAll`. */
    id: Schema.optionalKey(Schema.String),
    reason: Schema.String,
    /** Whether the write went with the transaction that it was part of, which this error has ended. */
    isUndone: Schema.optionalKey(Schema.Boolean)
  },
  { httpApiStatus: 500 }
) {
  readonly isRetryable: boolean = false

  get outcome(): "done" | "none" {
    return this.isUndone === true ? "none" : "done"
  }

  override get message(): string {
    const which = this.id === undefined ? "" : ` ${JSON.stringify(this.id)}`
    if (this.isUndone === true) {
      return `${this.operation} on ${this.resource}${which} is undone with its transaction, since ${this.interceptor} failed after it: ${this.reason}`
    }
    return `${this.operation} on ${this.resource}${which} is done, but ${this.interceptor} failed after it: ${this.reason}`
  }
}

/**
 * An error of the program that an interceptor fails with.
 *
 * @category errors
 * @since 0.1.0
 */
export interface TaggedError {
  readonly _tag: string
  /** Shown to whom the rejection is shown: it should hold no values of the document. */
  readonly message: string
}

/**
 * Tells what was rejected for an error of this class, which is then the `cause`.
 *
 * ```ts no-check
 * Effect.catchIf(orders.insert(order), Pipeline.isRejectedFor(OverQuota), ({ cause }) => askForMore(cause.limit))
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isRejectedFor =
  <E>(type: abstract new (...args: ReadonlyArray<never>) => E) =>
  (error: unknown): error is Rejected & { readonly cause: E } =>
    error instanceof Rejected && error.cause instanceof type

/** An error with its cause where native errors have it, which no JSON shows. */
const withCause = <E extends Rejected | AfterFailed>(error: E, cause: unknown): E =>
  cause === undefined ? error : Object.defineProperty(error, "cause", { value: cause, configurable: true })

/**
 * Returns an error that ends a transaction as what it is then: a failure after a write that is undone. Every other error stays
 * as it is.
 *
 * @category conversions
 * @since 0.1.0
 */
export const undone = <E>(error: E): E => {
  if (!(error instanceof AfterFailed) || error.isUndone === true) return error
  const { id, interceptor, operation, reason, resource } = error
  const of = id === undefined ? {} : { id }
  const known = { resource, operation, interceptor, ...of, reason }
  return withCause(new AfterFailed({ ...known, isUndone: true }), error.cause) as E & AfterFailed
}

// -----------------------------------------------------------------------------
// Operations
// -----------------------------------------------------------------------------

/**
 * Every operation of a pipeline by its name: what goes in, and what comes out.
 *
 * @category models
 * @since 0.1.0
 */
export type Shape<Ops> = { readonly [K in keyof Ops]: { readonly input: object; readonly output: unknown } }

/**
 * A condition on a document that is part of the write itself: the write is refused when it fails.
 *
 * @category models
 * @since 0.1.0
 */
export type Check<in A> = (document: A) => Effect.Effect<void, Rejected | DbError.DbError>

/**
 * The input that operations on one document have in common.
 *
 * @category models
 * @since 0.1.0
 */
export interface OneDocument<A> {
  readonly id: string
  /**
   * The document as it is now, read when it is asked for. It may have changed when the write comes; what must not be
   * overtaken is a check.
   */
  readonly current?: Effect.Effect<Option.Option<Document<A>>, DbError.DbError> | undefined
}

/**
 * A write that is about to be sent: the document before it and after it, absence being `None`. `writeId` is what the
 * stored version, and the change that is told of it, are going to have.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pending<out A> {
  readonly id: string
  readonly writeId: string
  readonly before: Option.Option<A>
  readonly after: Option.Option<A>
}

/**
 * What is done right before a write is sent, at every attempt: the write is refused when it fails. It may be lost to
 * another writer all the same, and is then made again with another write id.
 *
 * @category models
 * @since 0.1.0
 */
export type BeforeCommit<in A> = (write: Pending<A>) => Effect.Effect<void, Rejected | DbError.DbError>

/**
 * The checks of an operation, where it carries them out; add to them. They see the very version that is about to be
 * changed, replaced or removed, at every attempt; where there is none, the document that is about to be written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Checked<A> {
  readonly checks?: ReadonlyArray<Check<A>> | undefined
  /** Run when the new version is ready, right before anything of it is sent. */
  readonly beforeCommit?: ReadonlyArray<BeforeCommit<A>> | undefined
}

/**
 * What a filter knows of a document beside its value. Times are milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly id: string
  readonly createdAt: number
  readonly writtenAt: number
}

/**
 * A condition on which a document may be seen. Only the answer `true` shows it.
 *
 * @category models
 * @since 0.1.0
 */
export type Filter<in A> = (document: A, seen: Seen) => Effect.Effect<boolean, Rejected | DbError.DbError>

/**
 * The filters of an operation, where it leaves out documents; add to them. They are part of the request: a document
 * that does not pass is not there for its conditions, its order, its limit, its number and its cursor.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filtered<A> {
  readonly filters?: ReadonlyArray<Filter<A>> | undefined
}

/**
 * The errors of the streams of a resource.
 *
 * @category errors
 * @since 0.1.0
 */
export type StreamError = DbError.InvalidInput | DbError.NotAllowed | DbError.DbError | Rejected

/**
 * The operations of a resource.
 *
 * **Details**
 *
 * `upsert` runs as `upsert`, and inside it once as `insert` or `update`; `insertMany` runs as `insert` for each document.
 *
 * `Fields` are those of a document `A` that requests can name.
 *
 * `changes` is `undefined` when the caller gave a function of the present document. What an interceptor puts there is
 * applied over what that function gives.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operations<in out A, in out Insert, in out Update, in out Patch = Update, in out Fields = A> {
  readonly insert: { readonly input: { readonly input: Insert } & Checked<A>; readonly output: Document<A> }
  readonly update: {
    readonly input: OneDocument<A> & Checked<A> & { readonly changes: Update | undefined }
    readonly output: Document<A>
  }
  readonly patch: {
    readonly input: OneDocument<A> & Checked<A> & { readonly changes: Patch | undefined }
    readonly output: Document<A>
  }
  readonly replace: {
    readonly input: Partial<OneDocument<A>> & Checked<A> & { readonly input: Insert }
    readonly output: Document<A>
  }
  readonly upsert: {
    readonly input: Partial<OneDocument<A>> & Checked<A> & { readonly input: Insert }
    readonly output: Document<A>
  }
  readonly delete: { readonly input: OneDocument<A> & Checked<A>; readonly output: void }
  readonly deleteMany: {
    readonly input: { readonly ids: ReadonlyArray<string> } & Checked<A>
    readonly output: {
      readonly deleted: ReadonlyArray<string>
      readonly failed: ReadonlyArray<{ readonly id: string; readonly error: DbError.DbError | Rejected }>
    }
  }
  readonly deleteAll: { readonly input: {}; readonly output: number }
  /** Its filters make a document that does not pass `NotFound`; earlier versions have none. */
  readonly get: { readonly input: { readonly id: string } & Filtered<A>; readonly output: Document<A> }
  readonly exists: { readonly input: OneDocument<A>; readonly output: boolean }
  readonly list: {
    readonly input: { readonly request: Query.Request<Fields> & Query.PageRequest & Query.Total } & Filtered<A>
    readonly output: Query.Page<Document<A>> & {
      /** Of all pages together, where it was asked for. */
      readonly total?: number | undefined
    }
  }
  readonly listIds: {
    readonly input: { readonly request: Query.Request<Fields> } & Filtered<A>
    readonly output: Stream.Stream<string, StreamError>
  }
  readonly query: {
    readonly input: { readonly request: Query.Request<Fields> } & Filtered<A>
    readonly output: Stream.Stream<Document<A>, StreamError>
  }
  readonly count: {
    readonly input: { readonly request: Query.Request<Fields> & Query.Verify } & Filtered<A>
    readonly output: number
  }
  readonly setContent: {
    readonly input: OneDocument<A> & { readonly content: Content.Input }
    readonly output: Document<A>
  }
  readonly getContent: {
    readonly input: OneDocument<A>
    readonly output: Option.Option<Content.Content<DbError.DbError>>
  }
  readonly deleteContent: { readonly input: OneDocument<A>; readonly output: void }
}

/**
 * The name of an operation of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export type OperationName = keyof Operations<unknown, unknown, unknown>

/**
 * The name of an operation that writes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type ReadName = "get" | "exists" | "list" | "listIds" | "query" | "count" | "getContent"

/**
 * The operations that write nothing. An `after` that fails after one of them is an error like any other.
 *
 * @category models
 * @since 0.1.0
 */
export const reads: ReadonlySet<string> = new Set<ReadName>([
  "get",
  "exists",
  "list",
  "listIds",
  "query",
  "count",
  "getContent"
])

// -----------------------------------------------------------------------------
// Interceptors
// -----------------------------------------------------------------------------

/**
 * The errors of an operation whose interceptor fails. `reject` of its context makes a `Rejected`.
 *
 * @category errors
 * @since 0.1.0
 */
export type InterceptorError = Rejected | DbError.DbError

/**
 * The constructor of the error of an interceptor. `cause` is an error of the program; see `isRejectedFor`.
 *
 * @category models
 * @since 0.1.0
 */
export type Reject = (reason: string, code?: string, cause?: unknown) => Rejected

/**
 * The view that an interceptor has of an operation. Where it stands for several, `operation` tells which, and narrows
 * `input`.
 *
 * @category models
 * @since 0.1.0
 */
export type Context<Ops extends Shape<Ops>, K extends keyof Ops> = {
  readonly [Name in K]: {
    readonly resource: string
    readonly operation: Name
    /** As the interceptors before have left it. */
    readonly input: Ops[Name]["input"]
    /** The error of this interceptor: `return yield* context.reject("too late", "closed")`. */
    readonly reject: Reject
  }
}[K]

/**
 * The view that an interceptor has of an operation before it is known which document it is about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Admission<out K> {
  readonly resource: string
  readonly operation: K
  readonly reject: Reject
}

/**
 * The fields of the input that change. Those that are not named stay as they are.
 *
 * @category models
 * @since 0.1.0
 */
export type InputChange<Ops extends Shape<Ops>, K extends keyof Ops> = {
  readonly [Name in K]: Partial<Ops[Name]["input"]>
}[K]

class ShortCircuitValue<out Output> {
  readonly output: Output
  constructor(output: Output) {
    this.output = output
  }
}

/**
 * An output that stands in for the operation. Made by `shortCircuit`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ShortCircuit<out Output> extends ShortCircuitValue<Output> {}

/**
 * Creates what `before` gives to answer in place of the operation. The other befores, the operation and every `after`
 * are left out; arounds see the output.
 *
 * @category constructors
 * @since 0.1.0
 */
export const shortCircuit = <Output>(output: Output): ShortCircuit<Output> => new ShortCircuitValue(output)

/**
 * A participant in some operations of a resource.
 *
 * Where a hook fails with a tagged error of the program, the caller gets a `Rejected` with its message as the `reason`, its tag
 * as the `code` and itself as the `cause`; after a write, an `AfterFailed` with that cause. An `around` passes on what `next`
 * fails with, and so makes its own errors by `reject`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Interceptor<Ops extends Shape<Ops>, K extends keyof Ops = keyof Ops> {
  /** Named in errors. Default `"an interceptor"`. */
  readonly name?: string | undefined
  /** Default 0. The smaller runs first, and is the outer one. */
  readonly priority?: number | undefined
  readonly operations: K | ReadonlyArray<K> | "*"
  /**
   * Whether the operation may be asked for at all, by what is known without its input. It runs before the first request
   * of members that have to look for their document first: `getByUnique`, `history`, `restore`, and of `upsert` for the
   * `insert` or `update` in it. It only brings a refusal forward: `before` and `around` have to refuse as well.
   */
  readonly admit?: ((context: Admission<K>) => Effect.Effect<void, InterceptorError | TaggedError>) | undefined
  /**
   * Runs before the operation. It gives the fields of the input that it changes, or nothing to leave it, or
   * `shortCircuit(output)`. When it fails or dies the operation does not run.
   */
  readonly before?:
    | ((
        context: Context<Ops, K>
      ) => Effect.Effect<void | InputChange<Ops, K> | ShortCircuit<Ops[K]["output"]>, InterceptorError | TaggedError>)
    | undefined
  /**
   * Runs in place of the operation. `next` goes on inwards, with changed fields if given; it can be run once, or not at
   * all, to answer in its place. Running it twice is a defect.
   */
  readonly around?:
    | (<E, R>(
        context: Context<Ops, K>,
        next: (change?: InputChange<Ops, K>) => Effect.Effect<Ops[K]["output"], E, R>
      ) => Effect.Effect<Ops[K]["output"], E | InterceptorError, R>)
    | undefined
  /**
   * Runs when the operation has succeeded. It gives another output, or nothing to leave it. When it fails or dies after a
   * write, the others run all the same, and the caller gets `AfterFailed`.
   */
  readonly after?:
    | ((
        context: Context<Ops, K>,
        output: Ops[K]["output"]
      ) => Effect.Effect<void | Ops[K]["output"], InterceptorError | TaggedError>)
    | undefined
}

/**
 * Types an interceptor that is not written where it is added: `Pipeline.interceptor<Ops>()({ ... })`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const interceptor =
  <Ops extends Shape<Ops>>() =>
  <const K extends keyof Ops = keyof Ops>(value: Interceptor<Ops, K>): Interceptor<Ops, K> =>
    value

// -----------------------------------------------------------------------------
// Pipeline
// -----------------------------------------------------------------------------

/**
 * The interceptors of one resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pipeline<in out Ops extends Shape<Ops>> {
  readonly resource: string

  /**
   * Adds an interceptor until the scope closes. Operations that are running keep the interceptors they began with, both
   * ways.
   */
  readonly add: <const K extends keyof Ops = keyof Ops>(
    interceptor: Interceptor<Ops, K>
  ) => Effect.Effect<void, never, Scope.Scope>

  /** Adds an interceptor like `add`, as a guard: see `lock`. */
  readonly guard: <const K extends keyof Ops = keyof Ops>(
    interceptor: Interceptor<Ops, K>
  ) => Effect.Effect<void, never, Scope.Scope>

  /** From now on an operation that starts when there is no guard is `Rejected`. */
  readonly lock: () => void

  /** Tells whether there is a guard now. */
  readonly isGuarded: () => boolean

  /**
   * Runs an operation through the interceptors that are there when it starts. Without any it is `execute(input)`.
   *
   * `Rejected`, `DbError`: an interceptor stopped it, nothing was written. `AfterFailed`: it is done, an interceptor
   * failed afterwards.
   */
  readonly run: <K extends keyof Ops, E, R>(
    operation: K,
    input: Ops[K]["input"],
    execute: (input: Ops[K]["input"]) => Effect.Effect<Ops[K]["output"], E, R>
  ) => Effect.Effect<Ops[K]["output"], E | InterceptorError | AfterFailed, R>

  /** Like `run`, for an operation that writes nothing: there is nothing that could be done before a failure. */
  readonly read: <K extends keyof Ops & ReadName, E, R>(
    operation: K,
    input: Ops[K]["input"],
    execute: (input: Ops[K]["input"]) => Effect.Effect<Ops[K]["output"], E, R>
  ) => Effect.Effect<Ops[K]["output"], E | InterceptorError, R>

  /** Fails when an interceptor does not admit the operation, whatever its input. */
  readonly admit: (operation: keyof Ops) => Effect.Effect<void, InterceptorError>

  /** Whether an interceptor takes part in an operation now. */
  readonly concerns: (operation: keyof Ops) => boolean

  /** The names of the interceptors that take part in an operation now, in their order. */
  readonly names: (operation: keyof Ops) => ReadonlyArray<string>
}

/**
 * The field that identifies what operations give.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Interceptors of the whole database, which come before those of the resource where their priority is equal. */
  readonly shared?: Shared | undefined
}

type HookError = InterceptorError | TaggedError

/** An interceptor as it is kept: which of its operations is meant is known when it runs. */
interface Kept {
  readonly name: string
  readonly priority: number
  readonly operations: ReadonlySet<PropertyKey> | "*"
  readonly admit: ((context: Admission<PropertyKey>) => Effect.Effect<void, HookError>) | undefined
  readonly before: ((context: KeptContext) => Effect.Effect<unknown, HookError>) | undefined
  readonly around:
    | (<E, R>(
        context: KeptContext,
        next: (change?: object) => Effect.Effect<unknown, E, R>
      ) => Effect.Effect<unknown, E | InterceptorError, R>)
    | undefined
  readonly after: ((context: KeptContext, output: unknown) => Effect.Effect<unknown, HookError>) | undefined
}

interface KeptContext extends Admission<PropertyKey> {
  readonly input: object
}

/**
 * Interceptors that belong to several pipelines, by the name of the resource: those of a whole database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shared {
  /** Adds an interceptor to the pipelines of some resources, also to those that are opened later, until the scope closes. */
  readonly add: <const K extends keyof AnyOperations = keyof AnyOperations>(
    select: (resource: string) => boolean,
    interceptor: Interceptor<AnyOperations, K>
  ) => Effect.Effect<void, never, Scope.Scope>
  /** @internal */
  readonly state: { interceptors: ReadonlyArray<SharedKept> }
}

interface SharedKept {
  readonly select: (resource: string) => boolean
  readonly kept: Kept
}

/**
 * The operations of any resource, as an interceptor sees them that stands for several.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyOperations extends Operations<unknown, unknown, unknown, unknown> {}

/** The interceptors of one operation, in their order. */
interface Plan {
  readonly admits: ReadonlyArray<Kept>
  readonly arounds: ReadonlyArray<Kept>
  readonly befores: ReadonlyArray<Kept>
  readonly afters: ReadonlyArray<Kept>
}

/** Never changed, but for plans that are made when they are first needed. */
interface Snapshot {
  readonly interceptors: ReadonlyArray<Kept>
  readonly plans: Map<PropertyKey, Plan | undefined>
  /** Whether nothing may be done for want of a guard: part of what an operation begins with. */
  readonly isLocked: boolean
}

const empty: Snapshot = { interceptors: [], plans: new Map(), isLocked: false }

const snapshotOf = (interceptors: ReadonlyArray<Kept>, isLocked: boolean): Snapshot =>
  interceptors.length === 0 && !isLocked ? empty : { interceptors, plans: new Map(), isLocked }

const planFor = (snapshot: Snapshot, operation: PropertyKey): Plan | undefined => {
  if (snapshot === empty) return undefined
  if (snapshot.plans.has(operation)) return snapshot.plans.get(operation)
  const mine = snapshot.interceptors.filter(({ operations }) => operations === "*" || operations.has(operation))
  const plan =
    mine.length === 0
      ? undefined
      : {
          admits: mine.filter(({ admit }) => admit !== undefined),
          arounds: mine.filter(({ around }) => around !== undefined),
          befores: mine.filter(({ before }) => before !== undefined),
          afters: mine.filter(({ after }) => after !== undefined)
        }
  snapshot.plans.set(operation, plan)
  return plan
}

/**
 * A mistake in an interceptor, which stays a defect wherever it happens.
 *
 * @remedy Let `around` call `next` once on each way through it.
 */
class NextCalledTwice extends Error {
  constructor(name: string, operation: string, resource: string) {
    super(`next was called twice, by ${name}, around ${operation} on ${resource}`)
  }
}

/** What one run has come to. */
interface Run {
  readonly operation: PropertyKey
  readonly plan: Plan
  isCommitted: boolean
  id: string | undefined
}

/**
 * Makes a place for interceptors of several pipelines.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeShared: Effect.Effect<Shared> = Effect.sync(() => {
  const state: Shared["state"] = { interceptors: [] }
  return {
    state,
    add: (select, interceptor) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const one: SharedKept = { select, kept: keep(interceptor) }
          state.interceptors = [...state.interceptors, one]
          return one
        }),
        (one) =>
          Effect.sync(() => {
            state.interceptors = state.interceptors.filter((other) => other !== one)
          })
      )
  }
})

/**
 * Makes a pipeline without interceptors of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Ops extends Shape<Ops>>(
  resource: string,
  { shared }: Options = {}
): Effect.Effect<Pipeline<Ops>> =>
  Effect.sync(() => {
    let own: ReadonlyArray<Kept> = []
    let common: ReadonlyArray<SharedKept> = []
    let snapshot = empty
    let needsGuard = false
    let guards: ReadonlySet<Kept> = new Set()

    /** Those that are there now. */
    const current = (): Snapshot => {
      if (shared !== undefined && shared.state.interceptors !== common) {
        common = shared.state.interceptors
        assemble()
      }
      return snapshot
    }

    const assemble = () => {
      const all = [...common.filter(({ select }) => select(resource)).map(({ kept }) => kept), ...own]
      const isLocked = needsGuard && guards.size === 0
      snapshot = snapshotOf(
        all.toSorted((a, b) => a.priority - b.priority),
        isLocked
      )
    }

    /** The interceptors that are there when an operation starts; refuses it when a guard has to be there and is not. */
    const planOf = Effect.fnUntraced(function* (operation: PropertyKey) {
      const present = current()
      if (!present.isLocked) return planFor(present, operation)
      const reason = "the resource needs a guard, and has none any more"
      return yield* new Rejected({ resource, operation: String(operation), interceptor: "guard", reason })
    })

    const added = (interceptor: Kept, isGuard: boolean) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          own = [...own, interceptor]
          if (isGuard) guards = new Set([...guards, interceptor])
          assemble()
        }),
        () =>
          Effect.sync(() => {
            own = own.filter((other) => other !== interceptor)
            guards = new Set([...guards].filter((other) => other !== interceptor))
            assemble()
          })
      )

    const contextOf = (kept: Kept, operation: PropertyKey, input: object): KeptContext => ({
      resource,
      operation,
      input,
      reject: (reason, code, cause) =>
        withCause(
          new Rejected({
            resource,
            operation: String(operation),
            interceptor: kept.name,
            reason,
            ...(code === undefined ? {} : { code })
          }),
          cause
        )
    })

    /** What a hook does; an error of the program rejects the operation. */
    const hook = <A>(
      { reject }: KeptContext,
      run: () => Effect.Effect<A, HookError>
    ): Effect.Effect<A, InterceptorError> =>
      Effect.mapError(Effect.suspend(run), (error) =>
        error instanceof Rejected || error instanceof DbError.DbError ? error : reject(told(error), error._tag, error)
      )

    const idIn = (value: unknown, field: string): string | undefined => {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, field)) return undefined
      const id = (value as Readonly<Record<string, unknown>>)[field]
      return typeof id === "string" ? id : undefined
    }

    /** The failure of an interceptor after a commit, as the caller has to see it. */
    const failedAfter = <E>(kept: Kept, run: Run, cause: Cause.Cause<E>): Effect.Effect<never, E | AfterFailed> => {
      if (Cause.hasInterrupts(cause)) return Effect.failCause(cause)
      if (Cause.squash(cause) instanceof NextCalledTwice) return Effect.failCause(cause)
      const error = Cause.findErrorOption(cause)
      if (Option.isSome(error) && error.value instanceof AfterFailed) return Effect.failCause(cause)
      const failure = withCause(
        new AfterFailed({
          resource,
          operation: String(run.operation),
          interceptor: kept.name,
          ...(run.id === undefined ? {} : { id: run.id }),
          reason: reasonOf(error)
        }),
        programErrorOf(error)
      )
      if (Option.isSome(error)) return Effect.fail(failure)
      return Effect.andThen(Effect.logError(`${failure.message}`, cause), Effect.fail(failure))
    }

    const inner = Effect.fnUntraced(function* <E, R>(
      run: Run,
      given: object,
      execute: (input: object) => Effect.Effect<unknown, E, R>
    ): Effect.fn.Return<unknown, E | InterceptorError | AfterFailed, R> {
      const { operation, plan } = run
      let input = given
      for (const kept of plan.befores) {
        const context = contextOf(kept, operation, input)
        const answer = yield* hook(context, () => kept.before!(context))
        if (answer instanceof ShortCircuitValue) return answer.output
        if (answer !== undefined && answer !== null) input = { ...input, ...(answer as object) }
      }
      let output = yield* execute(input)
      if (!reads.has(String(operation))) {
        run.isCommitted = true
        run.id = idIn(output, "id") ?? idIn(input, "id")
      }
      let failure: Cause.Cause<InterceptorError | AfterFailed> | undefined
      for (const kept of plan.afters) {
        const context = contextOf(kept, operation, input)
        const after = hook(context, () => kept.after!(context, output))
        if (!run.isCommitted) {
          output = (yield* after) ?? output
          continue
        }
        const exit = yield* Effect.exit(Effect.catchCause(after, (cause) => failedAfter(kept, run, cause)))
        if (exit._tag === "Success") output = exit.value ?? output
        else if (Cause.hasInterrupts(exit.cause)) return yield* Effect.failCause(exit.cause)
        else failure ??= exit.cause
      }
      return failure === undefined ? output : yield* Effect.failCause(failure)
    })

    const level = <E, R>(
      run: Run,
      depth: number,
      input: object,
      execute: (input: object) => Effect.Effect<unknown, E, R>
    ): Effect.Effect<unknown, E | InterceptorError | AfterFailed, R> => {
      const kept = run.plan.arounds[depth]
      if (kept === undefined) return inner(run, input, execute)
      let isUsed = false
      const next = (change?: object) =>
        Effect.suspend(() => {
          if (isUsed) return Effect.die(new NextCalledTwice(kept.name, String(run.operation), resource))
          isUsed = true
          return level(run, depth + 1, change === undefined ? input : { ...input, ...change }, execute)
        })
      return Effect.catchCause(
        Effect.suspend(() => kept.around!(contextOf(kept, run.operation, input), next)),
        (cause): Effect.Effect<never, E | InterceptorError | AfterFailed> =>
          run.isCommitted ? failedAfter(kept, run, cause) : Effect.failCause(cause)
      )
    }

    const run: Pipeline<Ops>["run"] = (operation, input, execute) =>
      Effect.flatMap(planOf(operation), (plan) =>
        plan === undefined
          ? execute(input)
          : level({ operation, plan, isCommitted: false, id: undefined }, 0, input, execute)
      )

    return {
      resource,

      add: (interceptor) => Effect.suspend(() => added(keep(interceptor), false)),

      guard: (interceptor) => Effect.suspend(() => added(keep(interceptor), true)),

      lock: () => {
        needsGuard = true
        assemble()
      },

      isGuarded: () => guards.size > 0,

      run,

      read: (operation, input, execute) => withoutAfterFailed(run(operation, input, execute)),

      admit: Effect.fnUntraced(function* (operation) {
        const plan = yield* planOf(operation)
        for (const kept of plan?.admits ?? []) {
          const context = contextOf(kept, operation, {})
          yield* hook(context, () => kept.admit!(context))
        }
      }),

      concerns: (operation) => current().isLocked || planFor(current(), operation) !== undefined,

      names: (operation) =>
        current()
          .interceptors.filter(({ operations }) => operations === "*" || operations.has(operation))
          .map(({ name }) => name)
    }
  })

/** Where nothing is written, nothing can fail after it. */
const withoutAfterFailed = <A, E, R>(effect: Effect.Effect<A, E | AfterFailed, R>): Effect.Effect<A, E, R> =>
  Effect.catchIf(
    effect,
    (error): error is Extract<E | AfterFailed, AfterFailed> => error instanceof AfterFailed,
    Effect.die
  ) as Effect.Effect<A, E, R>

/** The interceptor with its defaults. It only ever gets what belongs to its own operations. */
const keep = <Ops extends Shape<Ops>, K extends keyof Ops>(value: Interceptor<Ops, K>): Kept => {
  const { name = "an interceptor", priority = 0, operations, ...hooks } = value
  if (Number.isNaN(priority)) throw new TypeError(`the priority of ${name} is not a number`)
  const names =
    operations === "*" ? ("*" as const) : new Set<PropertyKey>(Array.isArray(operations) ? operations : [operations])
  return {
    ...(hooks as unknown as Pick<Kept, "admit" | "before" | "around" | "after">),
    name,
    priority,
    operations: names
  }
}

/** The error of the program, also where it has become a rejection. */
const programErrorOf = (error: Option.Option<unknown>): unknown =>
  Option.isSome(error) && error.value instanceof Rejected ? error.value.cause : Option.getOrUndefined(error)

/** What an error says of itself: its message, or, where that is empty, what it is. */
const told = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return "it failed"
  const { _tag, message } = error as { readonly _tag?: unknown; readonly message?: unknown }
  if (typeof message === "string" && message.trim() !== "") return message
  return typeof _tag === "string" ? `it failed with ${_tag}` : "it failed"
}

const reasonOf = (error: Option.Option<unknown>): string => {
  if (Option.isNone(error)) return "it died"
  if (error.value instanceof Rejected) return error.value.reason
  return told(error.value)
}
