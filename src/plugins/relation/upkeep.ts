/**
 * What becomes of the documents that belong to one that is deleted, or whose key changes; and that what is referred to is there.
 *
 * **Details**
 *
 * A deletion or change that others depend on is noted in the store right before it is sent, and the note goes when all of them are done. The
 * document itself comes first: it is removed on its own conditions, and nothing happens to others before. Who finds a note does what it
 * says, by what has become of the document, as often as it takes. Within a transaction everything is part of it, and nothing is noted.
 *
 * @see `docs/design/relations.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type * as Definition from "../../Definition.ts"
import type { Database } from "../../Database.ts"
import * as DbError from "../../DbError.ts"
import * as Guard from "../../Guard.ts"
import * as Id from "../../crypto/Id.ts"
import type { Names } from "../../Names.ts"
import * as Pipeline from "../../Pipeline.ts"
import type * as PluginStore from "../../kernel/PluginStore.ts"
import type { ChangeError, DeleteError, ListError, Repository } from "../../Repository.ts"
import type * as Attributes from "../../schema/Attributes.ts"
import type { StoreError } from "../../storage/StoreError.ts"
import * as Transaction from "../../Transaction.ts"
import type { Relation, Relations } from "./declaration.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A deletion or change that others depend on, as it is noted: the values that they have found the document by, and when, by the store's clock.
 *
 * @category models
 * @since 0.1.0
 */
export const Note = Schema.Struct({
  resource: Schema.String,
  id: Schema.String,
  values: Schema.Record(Schema.String, Schema.Json),
  at: Schema.Number
})

/**
 * A deletion or change that others depend on.
 *
 * @category models
 * @since 0.1.0
 */
export type Note = typeof Note.Type

/**
 * What a resource is written and read by.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyRepository = Repository<Attributes.DocumentSchema, Names>

/**
 * The errors of doing what a note says.
 *
 * @category errors
 * @since 0.1.0
 */
export type UpkeepError = ListError | ChangeError | DeleteError

/**
 * What keeps relations up.
 *
 * @category models
 * @since 0.1.0
 */
export interface Upkeep {
  /** Whether any relation asks for it. */
  readonly isNeeded: boolean
  /** Adds what takes part in writes, until the scope closes. */
  readonly interceptors: ReadonlyArray<{
    readonly resource: string
    readonly interceptor: Pipeline.Interceptor<Pipeline.AnyOperations, "delete" | "deleteMany" | "deleteAll" | Written>
  }>
  /** Does what notes say, and gives the number of those that are done. */
  readonly resume: Effect.Effect<number, UpkeepError>
  /** Whether all that a deletion is about are no more than some. */
  readonly fits: (resource: string, id: string, most: number) => Effect.Effect<boolean, UpkeepError>
}

type Written = "insert" | "update" | "patch" | "replace"

/** What is done to the documents that hold the key of one: which they are, and how they are found. */
interface Rule {
  readonly relation: Relation
  readonly holder: string
  readonly field: string
  readonly local: string
  readonly scan: boolean
}

type Fields = Readonly<Record<string, unknown>>

interface State {
  readonly documents: Map<string, { readonly before: Fields; readonly key: string }>
}

/** How long a note of something that has not happened stays: longer than any write that is under way. */
const graceMillis = 15 * 60_000

/** Whether what is written is a consequence of what was allowed. */
const IsConsequence = Context.Reference<boolean>("effect-s3db/plugins/Relation/IsConsequence", {
  defaultValue: () => false
})

/** What a document has to have when it is deleted as a consequence. */
const Expected = Context.Reference<{ readonly field: string; readonly value: unknown } | undefined>(
  "effect-s3db/plugins/Relation/Expected",
  { defaultValue: () => undefined }
)

const movedCode = "Moved"

/**
 * The codes of rejections: others belong to the document, or what it refers to is not there.
 *
 * @category constants
 * @since 0.1.0
 */
export const codes = { restricted: "Restricted", missing: "NoSuchTarget" } as const

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Makes what keeps relations up. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({
  definitions,
  notes,
  now,
  relations,
  repositories
}: {
  readonly definitions: Readonly<Record<string, Definition.Any>>
  readonly notes: PluginStore.PluginStore<Note>
  /** The time of the store, in milliseconds. */
  readonly now: Effect.Effect<number, StoreError>
  readonly relations: Relations
  readonly repositories: ReadonlyMap<string, AnyRepository>
}): Upkeep => {
  const all = [...relations.values()].flatMap((of) => [...of.values()])
  const rulesOf = (resource: string): ReadonlyArray<Rule> =>
    all
      .filter(({ onChange, onDelete, source }) => source === resource && (onDelete ?? onChange) !== undefined)
      .map((relation) => ({
        relation,
        holder: relation.through?.resource ?? relation.target,
        field: relation.through?.from ?? relation.foreign,
        local: relation.local,
        scan: (relation.through?.way ?? relation.way) === "scan"
      }))
  const rules = new Map(Object.keys(definitions).map((name) => [name, rulesOf(name)]))
  const primaryKeyOf = (resource: string) => definitions[resource]!.primaryKey

  const asConsequence = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideService(Guard.trusted(effect), IsConsequence, true)

  /** The documents that hold a value. */
  const holders = ({ field, holder, scan }: Rule, value: unknown, limit?: number): Stream.Stream<Fields, ListError> =>
    repositories.get(holder)!.query({
      where: { [field]: { eq: value } },
      ...(scan ? { scan: true } : {}),
      ...(limit === undefined ? {} : { limit })
    }) as Stream.Stream<Fields, ListError>

  const isHeld = (rule: Rule, value: unknown) =>
    Effect.map(asConsequence(Stream.runCollect(holders(rule, value, 1))), (found) => found.length > 0)

  /** Whether a deletion comes to something that restricts it, in the end. */
  const leadsToRestriction = (resource: string, seen: ReadonlySet<string> = new Set()): boolean =>
    !seen.has(resource) &&
    rules
      .get(resource)!
      .some(
        ({ holder, relation: { onDelete } }) =>
          onDelete === "restrict" ||
          (onDelete === "cascade" && leadsToRestriction(holder, new Set([...seen, resource])))
      )

  /** The first relation that keeps a document from being deleted. */
  const restrictionOf = (
    resource: string,
    document: Fields,
    seen: Set<string> = new Set()
  ): Effect.Effect<string | undefined, ListError> =>
    Effect.gen(function* () {
      const key = JSON.stringify([resource, document[primaryKeyOf(resource)]])
      if (seen.has(key) || !leadsToRestriction(resource)) return undefined
      seen.add(key)
      for (const rule of rules.get(resource)!) {
        const value = document[rule.local]
        const { name, onDelete } = rule.relation
        if (!isKey(value) || onDelete === undefined) continue
        if (onDelete === "restrict" && (yield* isHeld(rule, value))) return `${resource}.${name}`
        if (onDelete !== "cascade" || !leadsToRestriction(rule.holder)) continue
        const found = yield* holders(rule, value).pipe(
          Stream.mapEffect((one) => restrictionOf(rule.holder, one, seen)),
          Stream.filter((one) => one !== undefined),
          Stream.take(1),
          Stream.runCollect
        )
        if (found[0] !== undefined) return found[0]
      }
      return undefined
    })

  /** Does to the documents that hold a value what a rule says; `next`: what they are to hold, if there is something. */
  const apply = Effect.fnUntraced(function* (rule: Rule, value: unknown, next: Option.Option<unknown>) {
    const { field, holder, relation } = rule
    const policy = Option.isNone(next) ? relation.onDelete : relation.onChange
    if (policy === undefined || policy === "restrict" || !isKey(value)) return
    const repository = repositories.get(holder)!
    const idOf = (one: Fields) => one[primaryKeyOf(holder)] as string
    const remove = (one: Fields) =>
      repository.delete(idOf(one)).pipe(
        Effect.provideService(Expected, { field, value }),
        Effect.catchTag("NotFound", () => Effect.void),
        Effect.catchIf(
          (error) => error._tag === "Rejected" && error.code === movedCode,
          () => Effect.void
        )
      )
    const cleared = relation.clearedBy === "null" ? null : undefined
    const to = policy === "cascade" ? Option.getOrUndefined(next) : cleared
    const change = (one: Fields) =>
      repository
        .update(idOf(one), (current) => ((current as Fields)[field] === value ? { [field]: to } : {}) as never)
        .pipe(Effect.catchTag("NotFound", () => Effect.void))
    const work = (one: Fields): Effect.Effect<void, ChangeError | DeleteError> =>
      Option.isNone(next) && policy === "cascade" ? remove(one) : Effect.asVoid(change(one))
    // Operations within a transaction come one after the other.
    const concurrency = (yield* Transaction.Current) === undefined ? 8 : 1
    yield* throughout((each) =>
      Stream.runDrain(
        Stream.mapEffect(holders(rule, value), (one) => each(work(one)), { concurrency, unordered: true })
      )
    )
  })

  /** Does what follows from what has become of a document; `undefined`: it is gone. */
  const settle = (resource: string, values: Fields, now: Fields | undefined): Effect.Effect<void, UpkeepError> =>
    asConsequence(
      throughout((each) =>
        Effect.forEach(
          rules.get(resource)!,
          (rule) => {
            const value = values[rule.local]
            if (now === undefined) return each(apply(rule, value, Option.none()))
            return now[rule.local] === value ? Effect.void : each(apply(rule, value, Option.some(now[rule.local])))
          },
          { discard: true }
        )
      )
    )

  const valuesOf = (resource: string, document: Fields) =>
    Object.fromEntries(
      rules
        .get(resource)!
        .filter(({ local }) => isKey(document[local]))
        .map(({ local }) => [local, document[local] as Schema.Json])
    )

  const note = Effect.fnUntraced(function* (key: string, resource: string, id: string, before: Fields) {
    const at = yield* kept(now)
    yield* kept(notes.set(["notes", key], { resource, id, values: valuesOf(resource, before), at }))
  })

  /** One of a process at a time goes on with what was begun. */
  const turn = Semaphore.makeUnsafe(1)

  const states = new WeakMap<object, State>()
  const stateOf = (input: object): State | undefined => {
    const hooks = "beforeCommit" in input && Array.isArray(input.beforeCommit) ? input.beforeCommit : []
    return hooks.map((hook: object) => states.get(hook)).find((state) => state !== undefined)
  }

  const mustExist = all.filter((relation) => relation.mustExist)

  /** Whether what a document refers to is there. */
  const referred = Effect.fnUntraced(function* (
    resource: string,
    before: Fields | undefined,
    after: Fields
  ): Effect.fn.Return<string | undefined, ListError> {
    for (const { foreign, local, name, source, target, way } of mustExist) {
      if (source !== resource || !isKey(after[local]) || before?.[local] === after[local]) continue
      const where = { [foreign]: { eq: after[local] } }
      const request = { where, limit: 1, ...(way === "scan" ? { scan: true } : {}) }
      const found = yield* asConsequence(Stream.runCollect(repositories.get(target)!.query(request)))
      if (found.length === 0) return name
    }
    return undefined
  })

  const interceptorOf = (resource: string): Upkeep["interceptors"][number] => {
    const own = rules.get(resource)!
    const removing = own.filter(({ relation }) => relation.onDelete !== undefined)
    const changing = own.filter(({ relation }) => relation.onChange !== undefined)
    const primaryKey = primaryKeyOf(resource)

    const conditions = Effect.fnUntraced(function* (
      operation: string,
      reject: Pipeline.Reject,
      input: Pipeline.Checked<unknown>
    ) {
      const state: State = { documents: new Map() }
      const expected = yield* Expected
      const isConsequence = yield* IsConsequence
      const isRemoval = operation === "delete" || operation === "deleteMany"
      const restricted = (name: string) => reject(`others belong to it (${name})`, codes.restricted)
      const check: Pipeline.Check<unknown> = (document) =>
        Effect.gen(function* () {
          if (!isRemoval) return
          const one = document as Fields
          if (expected !== undefined && one[expected.field] !== expected.value) {
            return yield* reject("it belongs to another by now", movedCode)
          }
          if (isConsequence) return
          const restriction = yield* told(asConsequence(restrictionOf(resource, one)), reject)
          if (restriction !== undefined) return yield* restricted(restriction)
        })
      const hook: Pipeline.BeforeCommit<unknown> = (write) =>
        Effect.gen(function* () {
          const before = Option.getOrUndefined(write.before) as Fields | undefined
          const after = Option.getOrUndefined(write.after) as Fields | undefined
          if (after !== undefined && !isConsequence) {
            const missing = yield* told(referred(resource, before, after), reject)
            if (missing !== undefined)
              return yield* reject(`what it refers to is not there (${missing})`, codes.missing)
          }
          if (before === undefined) return
          const changed = changing.filter(({ local }) => after !== undefined && before[local] !== after[local])
          const isConcerned = after === undefined ? removing.length > 0 : changed.length > 0
          if (!isConcerned) return void state.documents.delete(write.id)
          if (!isConsequence) {
            for (const rule of changed) {
              const value = before[rule.local]
              if (rule.relation.onChange !== "restrict" || !isKey(value)) continue
              if (yield* told(isHeld(rule, value), reject)) {
                return yield* restricted(`${resource}.${rule.relation.name}`)
              }
            }
          }
          const key = state.documents.get(write.id)?.key ?? (yield* Id.writeId)
          state.documents.set(write.id, { before, key })
          if ((yield* Transaction.Current) === undefined) {
            yield* told(note(key, resource, write.id, before), reject)
          }
        })
      states.set(hook, state)
      return {
        checks: [...(input.checks ?? []), check],
        beforeCommit: [...(input.beforeCommit ?? []), hook]
      }
    })

    const concluded = Effect.fnUntraced(function* (
      id: string,
      { before, key }: { readonly before: Fields; readonly key: string },
      now: Fields | undefined
    ) {
      const values = valuesOf(resource, before)
      yield* settle(resource, values, now)
      if ((yield* Transaction.Current) === undefined) return yield* kept(notes.remove(["notes", key]))
      // Those that have come to belong to it before the commit.
      yield* Transaction.onCommit(
        Effect.catch(settle(resource, values, now), (error) =>
          Effect.logWarning(`relations of ${resource} ${JSON.stringify(id)} may have left orphans`, error)
        )
      )
    })

    return {
      resource: definitions[resource]!.name,
      interceptor: {
        name: "relation",
        operations: ["delete", "deleteMany", "deleteAll", "insert", "update", "patch", "replace"],
        before: Effect.fnUntraced(function* (context) {
          if (context.operation === "deleteAll") {
            if (removing.length === 0) return
            return yield* context.reject("others belong to its documents: use deleteMany", codes.restricted)
          }
          return (yield* conditions(context.operation, context.reject, context.input)) as never
        }),
        after: Effect.fnUntraced(function* (context, output) {
          const state = stateOf(context.input)
          if (state === undefined || state.documents.size === 0) return
          if (context.operation === "delete" || context.operation === "deleteMany") {
            const failed = new Set(
              (output as { readonly failed?: ReadonlyArray<{ readonly id: string }> } | undefined)?.failed?.map(
                ({ id }) => id
              )
            )
            for (const [id, one] of state.documents) if (!failed.has(id)) yield* concluded(id, one, undefined)
            return
          }
          const now = (output as { readonly value: Fields }).value
          const one = state.documents.get(now[primaryKey] as string)
          if (one !== undefined) yield* concluded(now[primaryKey] as string, one, now)
        })
      }
    }
  }

  const concerned = Object.keys(definitions).filter(
    (name) =>
      rules.get(name)!.length > 0 ||
      mustExist.some(({ source }) => source === name) ||
      all.some(({ onDelete, target, through }) => onDelete === "cascade" && (through?.resource ?? target) === name)
  )

  return {
    isNeeded: concerned.length > 0,
    interceptors: concerned.map(interceptorOf),
    resume: turn.withPermits(1)(
      Effect.gen(function* () {
        let done = 0
        const found = yield* kept(Stream.runCollect(notes.entries(["notes"])))
        const conclude = Effect.fnUntraced(function* ({ key, value }: (typeof found)[number]) {
          const repository = repositories.get(value.resource)
          // One of a relation that is declared no more.
          if (repository === undefined) return
          const present = Option.getOrUndefined(yield* asConsequence(repository.getOption(value.id))) as
            | Fields
            | undefined
          const isSo =
            present !== undefined && Object.entries(value.values).every(([local, old]) => present[local] === old)
          if (isSo && (yield* kept(now)) - value.at < graceMillis) return
          if (!isSo) yield* settle(value.resource, value.values, present)
          yield* kept(notes.remove(key))
          done += 1
        })
        yield* throughout((each) => Effect.forEach(found, (one) => each(conclude(one)), { discard: true }))
        return done
      })
    ),
    fits: Effect.fnUntraced(function* (resource, id, most) {
      let room = most
      const seen = new Set<string>()
      const visit = (name: string, document: Fields): Effect.Effect<void, ListError> =>
        Effect.gen(function* () {
          const key = JSON.stringify([name, document[primaryKeyOf(name)]])
          if (room < 0 || seen.has(key)) return
          seen.add(key)
          for (const rule of rules.get(name)!) {
            const { onDelete } = rule.relation
            if (onDelete === undefined || onDelete === "restrict" || !isKey(document[rule.local])) continue
            if (room < 0) return
            const found = yield* Stream.runCollect(holders(rule, document[rule.local], room + 1))
            room -= found.length
            if (room < 0) return
            if (onDelete === "cascade") for (const one of found) yield* visit(rule.holder, one)
          }
        })
      const document = yield* asConsequence(repositories.get(resource)!.getOption(id))
      if (Option.isSome(document)) yield* asConsequence(visit(resource, document.value as Fields))
      return room >= 0
    })
  }
}

/** What the store of notes fails with, in the name of this plugin. Their keys are its own. */
const kept = <A, R>(effect: Effect.Effect<A, PluginStore.Failure, R>): Effect.Effect<A, DbError.DbError, R> =>
  DbError.named("Relation")(Effect.catchTag(effect, "InvalidKey", Effect.die))

/**
 * Goes on with the others where one is refused, and fails in the end with what the first was refused for: one that cannot be done does not keep the others from it. What the store fails with ends it, and so does anything
 * within a transaction, which is all or nothing.
 */
const throughout = <E>(
  all: (each: (one: Effect.Effect<void, UpkeepError>) => Effect.Effect<void, UpkeepError>) => Effect.Effect<void, E>
): Effect.Effect<void, E | UpkeepError> =>
  Effect.gen(function* () {
    if ((yield* Transaction.Current) !== undefined) return yield* all((one) => one)
    let first: UpkeepError | undefined
    yield* all((one) =>
      Effect.catchIf(
        one,
        ({ _tag }) => _tag !== "DbError",
        (error) => Effect.sync(() => void (first ??= error))
      )
    )
    if (first !== undefined) return yield* Effect.fail(first)
  })

const isKey = (value: unknown): boolean => value !== undefined && value !== null

/** An error of what an interceptor asks of others, in the form that it can have. */
const told = <A, R>(
  effect: Effect.Effect<A, UpkeepError, R>,
  reject: Pipeline.Reject
): Effect.Effect<A, Pipeline.Rejected | DbError.DbError, R> =>
  Effect.mapError(effect, (error) =>
    error._tag === "Rejected" || error._tag === "DbError" ? error : reject(error.message, error._tag, error)
  )

/**
 * Adds what takes part in writes, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const install = (database: Database["Service"], { interceptors }: Upkeep) =>
  Effect.forEach(interceptors, ({ interceptor, resource }) => database.intercept([resource], interceptor), {
    discard: true
  })
