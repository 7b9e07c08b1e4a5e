/**
 * Who may do what: rules by operation, over the user on whose behalf a fiber runs.
 *
 * **Details**
 *
 * Everything is denied unless a rule allows it, and only the answer `true` allows: an operation without a rule and without
 * `"*"` is denied, and so is what a predicate that fails, throws or answers anything else was asked about, also within
 * `not`.
 *
 * Rules are evaluated in two steps. Without the document many can be decided before it is read; the others say
 * `NeedsRecord`, and are decided with the document at hand. `interceptor` does both.
 *
 * ```ts
 * import * as Guard from "effect-s3db/Guard"
 *
 * interface Post {
 *   readonly id: string
 *   readonly author: string
 *   readonly isPublished: boolean
 * }
 *
 * const rules: Guard.Rules<Post> = {
 *   "*": Guard.roles(["admin"]),
 *   insert: Guard.owner<Post>("author"),
 *   update: Guard.any(Guard.roles(["admin"]), Guard.owner<Post>("author")),
 *   get: Guard.record<Post>((post) => post.isPublished)
 * }
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as CurrentUser from "./CurrentUser.ts"
import * as Pipeline from "./Pipeline.ts"
import { ExpectedError } from "./internal/expectedError.ts"

/** Whether the work of this fiber is the program's own. */
const IsTrusted = Context.Reference<boolean>("effect-s3db/Guard/IsTrusted", { defaultValue: () => false })

/**
 * Runs the program's own work, which no guard looks at: plugins, jobs, what an interceptor does in its own name. Never
 * around what a user asks for.
 *
 * @category combinators
 * @since 0.1.0
 */
export const trusted = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, IsTrusted, true)

// -----------------------------------------------------------------------------
// Rules
// -----------------------------------------------------------------------------

/**
 * The answer of a predicate. An effect that fails denies, also by `CurrentUser.required` where the caller is anonymous.
 * Services are closed over.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = boolean | Effect.Effect<boolean, unknown>

/**
 * A rule for who may do something. `A` is the document that it wants to see. An effect is a rule by itself, which is
 * decided without the document.
 *
 * @category models
 * @since 0.1.0
 */
export type Rule<A = unknown> =
  | Effect.Effect<boolean, unknown>
  | { readonly _tag: "Constant"; readonly isAllowed: boolean }
  | {
      readonly _tag: "User"
      readonly predicate: (user: CurrentUser.User | undefined, operation: Pipeline.OperationName) => Answer
    }
  | {
      readonly _tag: "Record"
      readonly predicate: (record: A, user: CurrentUser.User | undefined, operation: Pipeline.OperationName) => Answer
    }
  | { readonly _tag: "All" | "Any"; readonly rules: ReadonlyArray<Rule<A>> }
  | { readonly _tag: "Not"; readonly rule: Rule<A> }
  | { readonly _tag: "ByOperation"; readonly select: (operation: Pipeline.OperationName) => Rule<A> }

/**
 * Rules by operation. `"*"` is for operations without one of their own.
 *
 * @category models
 * @since 0.1.0
 */
export type Rules<in A> = { readonly [K in Pipeline.OperationName | "*"]?: Rule<A> | undefined }

/**
 * The rule that allows everybody, also the anonymous.
 *
 * @category constants
 * @since 0.1.0
 */
export const allow: Rule = { _tag: "Constant", isAllowed: true }

/**
 * The rule that allows nobody.
 *
 * @category constants
 * @since 0.1.0
 */
export const deny: Rule = { _tag: "Constant", isAllowed: false }

/**
 * Allows what a predicate says of the user, who is `undefined` when anonymous.
 *
 * @category constructors
 * @since 0.1.0
 */
export const user = (
  predicate: (user: CurrentUser.User | undefined, operation: Pipeline.OperationName) => Answer
): Rule => ({
  _tag: "User",
  predicate
})

/**
 * A rule for everybody who is authenticated.
 *
 * @category constants
 * @since 0.1.0
 */
export const authenticated: Rule = user((user) => user !== undefined)

/**
 * Allows users with at least one of these roles.
 *
 * @category constructors
 * @since 0.1.0
 */
export const roles = (names: ReadonlyArray<string>): Rule =>
  user((user) => user !== undefined && names.some((name) => user.roles.includes(name)))

/**
 * Allows users with at least one of these scopes. For several at once: `all(scopes(["a"]), scopes(["b"]))`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const scopes = (names: ReadonlyArray<string>): Rule =>
  user((user) => user !== undefined && names.some((name) => user.scopes.includes(name)))

/**
 * Allows what a predicate says of the document, and of the user, who is `undefined` when anonymous.
 *
 * The document is the one about to be written for an insert, otherwise the one that is there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const record = <A>(
  predicate: (record: A, user: CurrentUser.User | undefined, operation: Pipeline.OperationName) => Answer
): Rule<A> => ({ _tag: "Record", predicate })

/**
 * Allows the user whose id is in a field of the document.
 *
 * @category constructors
 * @since 0.1.0
 */
export const owner = <A extends object>(field: keyof A & string): Rule<A> =>
  record((value, user) => {
    if (user === undefined || user.id === "" || !Object.hasOwn(value, field)) return false
    return value[field] === user.id
  })

/**
 * Allows who meets every rule. Without any rule, nobody.
 *
 * @category constructors
 * @since 0.1.0
 */
export const all = <A = unknown>(...rules: ReadonlyArray<Rule<A>>): Rule<A> => ({ _tag: "All", rules })

/**
 * Allows who meets at least one rule. Without any rule, nobody.
 *
 * @category constructors
 * @since 0.1.0
 */
export const any = <A = unknown>(...rules: ReadonlyArray<Rule<A>>): Rule<A> => ({ _tag: "Any", rules })

/**
 * Allows who does not meet the rule; that includes the anonymous, where the rule asks for a role. A rule that cannot be
 * decided stays a denial.
 *
 * @category constructors
 * @since 0.1.0
 */
export const not = <A = unknown>(rule: Rule<A>): Rule<A> => ({ _tag: "Not", rule })

/**
 * Reads the short form of s3db.js: an array of names is allowed to everybody who has one of them as a role or a scope.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromRoles = (names: ReadonlyArray<string>): Rules<unknown> => ({ "*": rolesOrScopes(names) })

const rolesOrScopes = (names: ReadonlyArray<string>): Rule => any(roles(names), scopes(names))

/**
 * A rule as s3db.js writes it: `true`, `false`, names of roles or scopes, or a function that allows by `true`.
 *
 * A function gets the document where the operation has one (`insert`, `get`, `update`, ...), and is asked without one for
 * `list`, `listIds`, `query`, `count`, `deleteMany` and `deleteAll`.
 *
 * @category models
 * @since 0.1.0
 */
export type Notation<A> =
  | boolean
  | ReadonlyArray<string>
  | ((
      context: { readonly user: CurrentUser.User | undefined; readonly operation: Pipeline.OperationName },
      record: A | undefined
    ) => Answer)

/**
 * Reads rules in the notation of s3db.js. `false` denies, also as `"*"`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromNotation = <A>(notation: {
  readonly [K in Pipeline.OperationName | "*"]?: Notation<A> | undefined
}): Rules<A> => {
  const rules: { [K in Pipeline.OperationName | "*"]?: Rule<A> } = {}
  for (const name of [...operationNames, "*" as const]) {
    const value = Object.hasOwn(notation, name) ? notation[name] : undefined
    if (value !== undefined) rules[name] = ruleOf(value)
  }
  return rules
}

const ruleOf = <A>(value: Notation<A>): Rule<A> => {
  if (typeof value === "boolean") return value ? allow : deny
  if (typeof value !== "function") return rolesOrScopes(value)
  const withRecord = record<A>((record, user, operation) => value({ user, operation }, record))
  const without = user((user, operation) => value({ user, operation }, undefined))
  return { _tag: "ByOperation", select: (operation) => (hasNoRecord.has(operation) ? without : withRecord) }
}

const names: Readonly<Record<Pipeline.OperationName, "one" | "none">> = {
  insert: "one",
  update: "one",
  patch: "one",
  replace: "one",
  upsert: "one",
  delete: "one",
  deleteMany: "none",
  deleteAll: "none",
  get: "one",
  exists: "one",
  list: "none",
  listIds: "none",
  query: "none",
  count: "none",
  setContent: "one",
  getContent: "one",
  deleteContent: "one"
}

const operationNames = Object.keys(names) as ReadonlyArray<Pipeline.OperationName>

const hasNoRecord: ReadonlySet<Pipeline.OperationName> = new Set(
  operationNames.filter((name) => names[name] === "none")
)

// -----------------------------------------------------------------------------
// Evaluation
// -----------------------------------------------------------------------------

/**
 * An operation that the user may not carry out. When `isAuthenticated` is `false` nobody was logged in: log in and try
 * again (HTTP 401). Otherwise the user needs other rights (HTTP 403).
 *
 * @remedy Log in where `isAuthenticated` is `false`; otherwise the user needs other rights, or the rule of the guard
 * another condition.
 * @category errors
 * @since 0.1.0
 */
export class Forbidden extends ExpectedError<Forbidden>("effect-s3db/Guard/Forbidden")(
  "Forbidden",
  {
    resource: Schema.String,
    operation: Schema.String,
    id: Schema.optionalKey(Schema.String),
    isAuthenticated: Schema.Boolean,
    description: Schema.String
  },
  { httpApiStatus: 403 }
) {
  override get message(): string {
    return `${this.operation} on ${this.resource} is forbidden: ${this.description}`
  }
}

/**
 * The answer of the rules without the document.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision = "Allowed" | "Denied" | "NeedsRecord"

/**
 * The rules of one resource, ready to be asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Guard<in A> {
  /** Decides without the document, if that is possible. */
  readonly before: (operation: Pipeline.OperationName, user: CurrentUser.User | undefined) => Effect.Effect<Decision>
  /** Decides with the document. */
  readonly withRecord: (
    operation: Pipeline.OperationName,
    user: CurrentUser.User | undefined,
    record: A
  ) => Effect.Effect<Exclude<Decision, "NeedsRecord">>
}

/** `broken`: a predicate gave no answer. It can be outvoted by `any`, but not be turned into its opposite. */
type Verdict = boolean | "unknown" | "broken"

/**
 * Creates the guard of a resource from its rules.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(rules: Rules<A>): Guard<A> => {
  const ruleFor = (operation: Pipeline.OperationName): Rule<A> =>
    (Object.hasOwn(rules, operation) ? rules[operation] : undefined) ??
    (Object.hasOwn(rules, "*") ? rules["*"] : undefined) ??
    deny
  return {
    before: (operation, user) =>
      Effect.map(evaluate(ruleFor(operation), operation, user, Option.none()), (verdict) =>
        verdict === true ? "Allowed" : verdict === "unknown" ? "NeedsRecord" : "Denied"
      ),
    withRecord: (operation, user, record) =>
      Effect.map(evaluate(ruleFor(operation), operation, user, Option.some(record)), (verdict) =>
        verdict === true ? "Allowed" : "Denied"
      )
  }
}

const evaluate = <A>(
  rule: Rule<A>,
  operation: Pipeline.OperationName,
  user: CurrentUser.User | undefined,
  record: Option.Option<A>
): Effect.Effect<Verdict> => {
  if (Effect.isEffect(rule)) return ask(operation, user, () => rule)
  switch (rule._tag) {
    case "Constant":
      return Effect.succeed(rule.isAllowed)
    case "User":
      return ask(operation, user, () => rule.predicate(user, operation))
    case "Record":
      return Option.isNone(record)
        ? Effect.succeed("unknown")
        : ask(operation, user, () => rule.predicate(record.value, user, operation))
    case "Not":
      return Effect.map(evaluate(rule.rule, operation, user, record), (verdict) =>
        typeof verdict === "boolean" ? !verdict : verdict
      )
    case "ByOperation":
      return evaluate(rule.select(operation), operation, user, record)
    case "All":
      return combine(rule.rules, false, operation, user, record)
    case "Any":
      return combine(rule.rules, true, operation, user, record)
    default:
      // A rule from a program without types: it allows nothing.
      return Effect.succeed("broken")
  }
}

/** The first verdict that decides, else what stands in the way of the other one. */
const combine = Effect.fnUntraced(function* <A>(
  rules: ReadonlyArray<Rule<A>>,
  decisive: boolean,
  operation: Pipeline.OperationName,
  user: CurrentUser.User | undefined,
  record: Option.Option<A>
): Effect.fn.Return<Verdict> {
  // Without rules there is nothing to negate either.
  let result: Verdict = rules.length === 0 ? "broken" : !decisive
  for (const rule of rules) {
    const verdict = yield* evaluate(rule, operation, user, record)
    if (verdict === decisive) return verdict
    if (verdict === "unknown" || (verdict === "broken" && result !== "unknown")) result = verdict
  }
  return result
})

const ask = (operation: string, user: CurrentUser.User | undefined, predicate: () => Answer): Effect.Effect<Verdict> =>
  Effect.suspend((): Effect.Effect<unknown, unknown> => {
    const answer = predicate()
    if (!Effect.isEffect(answer)) return Effect.succeed(answer)
    // The user that is asked about, not the one that the fiber may have.
    return Effect.provideService(answer, CurrentUser.CurrentUser, user)
  }).pipe(
    Effect.map((answer): Verdict => (typeof answer === "boolean" ? answer : "broken")),
    Effect.catchCause((cause): Effect.Effect<Verdict> => {
      if (Cause.hasInterrupts(cause)) return Effect.interrupt
      if (isUnauthenticated(cause)) return Effect.succeed("broken")
      // The cause may name values of the document.
      return Effect.as(Effect.logWarning(`a rule for ${operation} failed, so it denies`), "broken" as const)
    })
  )

/** Whether a rule failed for want of a user: that is its answer, and not worth a warning. */
const isUnauthenticated = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.every((reason) => Cause.isFailReason(reason) && reason.error instanceof CurrentUser.Unauthenticated)

// -----------------------------------------------------------------------------
// Interceptor
// -----------------------------------------------------------------------------

const forbiddenCode = "Forbidden"
const unauthenticatedCode = "Unauthenticated"

/**
 * Reads a guard's rejection as `Forbidden`; `None` for rejections by others.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromRejected = (rejected: Pipeline.Rejected, id?: string): Option.Option<Forbidden> => {
  if (rejected.code !== forbiddenCode && rejected.code !== unauthenticatedCode) return Option.none()
  const { resource, operation, reason } = rejected
  const isAuthenticated = rejected.code === forbiddenCode
  return Option.some(
    new Forbidden({
      resource,
      operation,
      isAuthenticated,
      description: reason,
      ...(id === undefined ? {} : { id })
    })
  )
}

/**
 * Fails with `Forbidden` unless the current user is allowed to do this. For operations that do not run through a pipeline.
 *
 * @category combinators
 * @since 0.1.0
 */
export const authorize = Effect.fnUntraced(function* <A>(
  guard: Guard<A>,
  at: {
    readonly resource: string
    readonly operation: Pipeline.OperationName
    readonly id?: string | undefined
    readonly record?: A | undefined
  }
): Effect.fn.Return<void, Forbidden> {
  if (yield* IsTrusted) return
  const { resource, operation, id } = at
  const user = yield* CurrentUser.CurrentUser
  const decision =
    at.record === undefined ? yield* guard.before(operation, user) : yield* guard.withRecord(operation, user, at.record)
  if (decision === "Allowed") return
  return yield* new Forbidden({
    resource,
    operation,
    isAuthenticated: user !== undefined,
    description: describe(user),
    ...(id === undefined ? {} : { id })
  })
})

const describe = (user: CurrentUser.User | undefined): string =>
  user === undefined ? "log in first" : "the user does not have the right to do this"

const denial = (user: CurrentUser.User | undefined, reject: Pipeline.Admission<unknown>["reject"]): Pipeline.Rejected =>
  reject(describe(user), user === undefined ? unauthenticatedCode : forbiddenCode)

/**
 * The name of the interceptor, and its place among others.
 *
 * @category models
 * @since 0.1.0
 */
export interface InterceptorOptions {
  /** Default `"guard"`. */
  readonly name?: string | undefined
  /** Default -1,000: before and around everything else, so that nothing answers in its place. */
  readonly priority?: number | undefined
}

/**
 * Puts rules into the pipeline of a resource. Denials are `Rejected` with the code `Forbidden` or `Unauthenticated`;
 * `fromRejected` gives the `Forbidden`. Nothing of a denied operation is done.
 *
 * **Details**
 *
 * Rules that want to see the document:
 *
 * - `get`: with what was read.
 * - `list`, `listIds`, `query`, `count`: as a filter of the request. What is not allowed is not there: it is not shown,
 *   ordered or counted, takes no place of a page, and no condition is asked of it.
 * - `insert`, `update`, `patch`, `replace`, `upsert`, `delete`, `deleteMany`: as a check, if the operation carries out
 *   checks: with the very version that is written, changed or removed. Otherwise with `current`, read before, and where
 *   there is none with the input of an insert, a replace or an upsert; without either, denied.
 * - the content operations: with `current`; denied where there is no document. `exists`: with `current`; it goes on where
 *   there is none.
 * - `deleteAll`: denied, there being no document to look at.
 *
 * Inside `trusted` it lets everything pass.
 *
 * @category constructors
 * @since 0.1.0
 */
export const interceptor = <A, Insert, Update, Patch = Update>(
  // Rules that look at no document do not say what it is.
  rules: Rules<NoInfer<A>>,
  { name = "guard", priority = -1000 }: InterceptorOptions = {}
): Pipeline.Interceptor<Pipeline.Operations<A, Insert, Update, Patch>> => {
  type Ops = Pipeline.Operations<A, Insert, Update, Patch>
  const guard = make(rules)

  return {
    name,
    priority,
    operations: "*",
    admit: Effect.fnUntraced(function* ({ operation, reject }) {
      if (yield* IsTrusted) return
      const user = yield* CurrentUser.CurrentUser
      if ((yield* guard.before(operation, user)) === "Denied") return yield* denial(user, reject)
    }),
    around: <E, R>(
      context: Pipeline.Context<Ops, Pipeline.OperationName>,
      next: (
        change?: Pipeline.InputChange<Ops, Pipeline.OperationName>
      ) => Effect.Effect<Ops[Pipeline.OperationName]["output"], E, R>
    ): Effect.Effect<Ops[Pipeline.OperationName]["output"], E | Pipeline.InterceptorError, R> =>
      Effect.gen(function* () {
        if (yield* IsTrusted) return yield* next()
        const { operation } = context
        const user = yield* CurrentUser.CurrentUser
        const denied = () => denial(user, context.reject)
        const isAllowed = (record: A) =>
          Effect.map(guard.withRecord(operation, user, record), (decision) => decision === "Allowed")
        const check: Pipeline.Check<A> = (record) =>
          Effect.flatMap(isAllowed(record), (is) => (is ? Effect.void : Effect.fail(denied())))

        const decision = yield* guard.before(operation, user)
        if (decision === "Allowed") return yield* next()
        if (decision === "Denied") return yield* denied()

        switch (context.operation) {
          case "insert":
          case "update":
          case "patch":
          case "replace":
          case "upsert":
          case "delete":
          case "deleteMany": {
            const { input } = context
            if (input.checks !== undefined) return yield* next({ checks: [...input.checks, check] })
            const current = "current" in input && input.current !== undefined ? yield* input.current : Option.none()
            if (Option.isSome(current)) yield* check(current.value.value)
            // Defaults are missing from it: a rule that asks for them denies.
            else if ("input" in input) yield* check(input.input as Insert & A)
            else return yield* denied()
            return yield* next()
          }
          case "exists":
          case "setContent":
          case "getContent":
          case "deleteContent": {
            const { input } = context
            if (input.current === undefined) return yield* denied()
            const current = yield* input.current
            if (Option.isSome(current)) yield* check(current.value.value)
            else if (context.operation !== "exists") return yield* denied()
            return yield* next()
          }
          case "get": {
            const output = yield* next()
            yield* check((output as Ops["get"]["output"]).value)
            return output
          }
          case "list":
          case "listIds":
          case "query":
          case "count": {
            const { input } = context
            if (input.filters === undefined) return yield* denied()
            return yield* next({ filters: [...input.filters, isAllowed] })
          }
          default:
            return yield* denied()
        }
      })
  }
}
