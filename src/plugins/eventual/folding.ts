/**
 * Brings operations from the lanes of a resource into its documents.
 *
 * **Details**
 *
 * A document says how far each lane has come into it: the number of the last operation, by the name of the lane. Values and these marks
 * are one conditional write. A version of a lane has all operations up to its end that are in no document yet, so that the mark may
 * be the greatest number that it has for the document. Who folds a version that was read long ago finds the marks beyond it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as CurrentUser from "../../CurrentUser.ts"
import type * as DbError from "../../DbError.ts"
import type { Definition } from "../../Definition.ts"
import * as Guard from "../../Guard.ts"
import type { Names } from "../../Names.ts"
import * as Pipeline from "../../Pipeline.ts"
import type { ChangeError, ReadError, Repository } from "../../Repository.ts"
import type * as Attributes from "../../schema/Attributes.ts"
import { WriteContext } from "../../WriteContext.ts"
import type { Json } from "../../encoding/Json.ts"
import type { Field } from "./field.ts"
import type { Entry, Lane, Lanes } from "./lanes.ts"
import type { Put } from "./past.ts"

/**
 * The attribute with the marks of a document.
 *
 * @category constants
 * @since 0.1.0
 */
export const marksAttribute = "counted"

/**
 * The attribute with what the kept operations of a document begin with.
 *
 * @category constants
 * @since 0.1.0
 */
export const basesAttribute = "countedFrom"

/**
 * The attribute with the operations that were left out last: who has added one, and finds that another process has folded it, learns it there.
 *
 * @category constants
 * @since 0.1.0
 */
export const refusedAttribute = "countedOut"

/**
 * What the kept operations of a field begin with: the value, and up to which numbers of lanes operations are in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Base {
  /** Absent: the field had no value. */
  readonly v?: Json
  readonly m: Readonly<Record<string, number>>
  /** Operations since then that were left out: the name of the lane, and the number. */
  readonly x?: ReadonlyArray<readonly [string, number]>
}

/**
 * An operation whose value a field cannot have: it is left out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusal {
  readonly id: string
  /** The name of the lane, and the number in it. */
  readonly lane: string
  readonly number: number
  readonly field: string
  readonly problem: string
  /** How many it stands for. */
  readonly operations: number
}

/**
 * What became of the operations of a document: `waiting` while there is none, `failed` where it could not be written.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | {
      readonly _tag: "Folded"
      readonly operations: number
      readonly refused: ReadonlyArray<Refusal>
      /** As it is afterwards. */
      readonly document: unknown
    }
  | { readonly _tag: "Waiting"; readonly operations: number }
  | { readonly _tag: "Failed"; readonly operations: number; readonly error: ChangeError }

/**
 * Operations of a document in a version of a lane, in their order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Part {
  readonly lane: Lane
  readonly entries: ReadonlyArray<Entry>
}

/**
 * The documents of a resource, as far as operations come into them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Documents {
  /** 1 GET, and 1 PUT where there is something new. */
  readonly fold: (id: string, parts: ReadonlyArray<Part>) => Effect.Effect<Outcome>
  /** The value of a field with operations that are not in it yet. 1 GET. */
  readonly read: (
    id: string,
    field: Field,
    parts: ReadonlyArray<Part>
  ) => Effect.Effect<unknown, DbError.NotFound | ReadError>
  /** Makes an operation at once, and gives the value: 1 GET, 1 PUT. */
  readonly apply: (
    id: string,
    field: Field,
    operation: Pick<Entry, "k" | "a">
  ) => Effect.Effect<unknown, ChangeError | NotHeld>
  /**
   * Fails as `apply` would, where the resource is declared to need a guard, or the fiber works on behalf of a user: nothing is written. 1 GET
   * then, else none.
   */
  readonly permit: (
    id: string,
    field: Field,
    operation: Pick<Entry, "k" | "a">
  ) => Effect.Effect<void, ChangeError | NotHeld>
  /**
   * Makes the value of a field again of its kept operations, and writes it where it is another. `hasAll` tells whether those up to a number of a lane are among them. 1
   * GET, and 1 PUT where it is another.
   */
  readonly recalculate: (
    id: string,
    field: Field,
    puts: ReadonlyArray<Put>,
    hasAll: (lane: string, number: number) => boolean
  ) => Effect.Effect<Recalculated, ChangeError | Behind | NotHeld>
  /** Puts operations of a document, those of a lane in their order, into what the others begin with, before they are removed. 1 GET, and 1 PUT where there are some. */
  readonly rebase: (id: string, puts: ReadonlyArray<Put>) => Effect.Effect<void, ChangeError>
  /** Whether an operation is in a document whose value is made again of it: who takes it out of its lane puts it. 1 GET. */
  readonly needsOf: (id: string) => Effect.Effect<(lane: string, entry: Pick<Entry, "f" | "s">) => boolean, ReadError>
}

/**
 * The value that an operation leads to is none of the field's.
 *
 * @category models
 * @since 0.1.0
 */
export class NotHeld {
  readonly _tag = "NotHeld"
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

/**
 * Operations have come into the document that are not at hand.
 *
 * @category models
 * @since 0.1.0
 */
export class Behind {
  readonly _tag = "Behind"
}

/**
 * What a value was found to be by its operations.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recalculated {
  readonly value: unknown
  readonly before: unknown
  /** How many operations it was made of, beside what they begin with. */
  readonly operations: number
}

/** All of it is in the document already. */
class Nothing {
  readonly _tag = "Nothing"
}

type Marks = Readonly<Record<string, number>>

const marksOf = (document: unknown): Marks => {
  const marks =
    typeof document === "object" && document !== null && marksAttribute in document
      ? document[marksAttribute]
      : undefined
  return typeof marks === "object" && marks !== null ? (marks as Marks) : {}
}

const markOf = (marks: Marks, { name }: Pick<Lane, "name">): number => (Object.hasOwn(marks, name) ? marks[name]! : 0)

/** Names of lanes, and numbers in them: those of a lane rise. */
type LeftOut = ReadonlyArray<readonly [string, number]>

const leftOutOf = (document: unknown): LeftOut => {
  const numbers =
    typeof document === "object" && document !== null && refusedAttribute in document
      ? document[refusedAttribute]
      : undefined
  // By its schema.
  return Array.isArray(numbers) ? (numbers as LeftOut) : []
}

/** So many operations that were left out a document tells of. */
const mostTold = 16

/**
 * Tells whether an operation that has come into a document, as its marks say, was left out: `undefined` where the document does not tell any more.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLeftOut = (document: unknown, lane: string, number: number): boolean | undefined => {
  const told = leftOutOf(document)
  if (told.some(([name, one]) => name === lane && one === number)) return true
  // What is told last goes last: where one before it of the same lane is told, it would be, too.
  const isWhole = told.length < mostTold || told.some(([name, one]) => name === lane && one < number)
  return isWhole ? false : undefined
}

type Bases = Readonly<Record<string, Base>>

const basesOf = (document: unknown): Bases => {
  const bases =
    typeof document === "object" && document !== null && basesAttribute in document
      ? document[basesAttribute]
      : undefined
  // By its schema.
  return typeof bases === "object" && bases !== null ? (bases as Bases) : {}
}

const baseOf = (bases: Bases, name: string): Base | undefined => (Object.hasOwn(bases, name) ? bases[name] : undefined)

/** A base as it is stored; none where the value has no form as JSON. */
const withValue = (field: Field, value: unknown, rest: Omit<Base, "v">): Base | undefined => {
  if (value === undefined || value === null) return rest
  const json = field.toJson(value)
  return Result.isSuccess(json) ? { v: json.success, ...rest } : undefined
}

/** So many operations are remembered that were left out; then operations begin anew. */
const mostLeftOut = 32

/** Makes a value again: those that were left out are left out. */
const replayed = (
  field: Field,
  { m, v, x = [] }: Base,
  puts: ReadonlyArray<Put>,
  isIn: (lane: string, number: number) => boolean
): Result.Result<{ readonly value: unknown; readonly operations: number }, string> => {
  const begun = v === undefined ? Result.succeed<unknown>(undefined) : field.fromJson(v)
  if (Result.isFailure(begun)) return Result.fail(begun.failure)
  let value = begun.success
  let operations = 0
  for (const { e, l } of puts) {
    if (e.f !== field.name || !Object.hasOwn(m, l) || e.s <= m[l]! || !isIn(l, e.s)) continue
    if (x.some(([lane, number]) => lane === l && number === e.s)) continue
    const after = field.replay(value, { kind: e.k, amount: e.a })
    if (Result.isFailure(after)) return Result.fail(after.failure)
    value = after.success
    operations += e.c ?? 1
  }
  return Result.succeed({ value, operations })
}

/** A base with operations up to `m` in it; none where this program cannot make them, by a field or a reducer that it does not have. */
const rebased = (
  field: Field | undefined,
  base: Base,
  m: Base["m"],
  puts: ReadonlyArray<Put>,
  isIn: (lane: string, number: number) => boolean
): Base | undefined => {
  if (field === undefined) return undefined
  const result = replayed(field, base, puts, isIn)
  if (Result.isFailure(result)) return undefined
  const x = (base.x ?? []).filter(([lane, number]) => number > (m[lane] ?? 0))
  return withValue(field, result.success.value, { m, ...(x.length === 0 ? {} : { x }) })
}

/** An operation with the name of its lane. */
interface Named {
  readonly lane: string
  readonly entry: Entry
}

/** Those that a document has not, of all lanes. */
const fresh = (document: unknown, parts: ReadonlyArray<Part>): ReadonlyArray<Named> => {
  const marks = marksOf(document)
  return parts.flatMap(({ entries, lane }) => {
    const mark = markOf(marks, lane)
    return entries.flatMap((entry) => (entry.s > mark ? [{ lane: lane.name, entry }] : []))
  })
}

const refusedOf = ({ entry: { c = 1, f, i, s }, lane }: Named, problem: string): Refusal => ({
  id: i,
  lane,
  number: s,
  field: f,
  problem,
  operations: c
})

/** What a document tells of those that were left out, the last ones. */
const toldAfter = (document: unknown, refused: ReadonlyArray<Refusal>): LeftOut =>
  [...leftOutOf(document), ...refused.map(({ lane, number }) => [lane, number] as const)].slice(-mostTold)

const bySchema = "with the value that it leads to, the document is none of the schema's"

const marked = (document: unknown, parts: ReadonlyArray<Part>): Marks => {
  const marks = marksOf(document)
  const own = parts.map(({ entries, lane }): readonly [string, number] => [
    lane.name,
    Math.max(markOf(marks, lane), entries.at(-1)?.s ?? 0)
  ])
  return { ...marks, ...Object.fromEntries(own) }
}

/** Whether an update is made to see whether it may be made. */
const IsTrial = Context.Reference<boolean>("effect-s3db/plugins/eventual/IsTrial", { defaultValue: () => false })

const trialCode = "effect-s3db/plugins/eventual/trial"

/** All guards and checks have let it pass. */
const trialOf = (slug: string) =>
  new Pipeline.Rejected({
    resource: "",
    operation: "update",
    interceptor: slug,
    reason: "it was a trial",
    code: trialCode
  })

/**
 * What documents take part in counting by.
 *
 * @category models
 * @since 0.1.0
 */
export interface DocumentsOptions {
  readonly fields: ReadonlyMap<string, Field>
  readonly slug: string
  /** Whether documents have marks. */
  readonly isDeferred: boolean
  /** Told of a document that has come to be. */
  readonly isThere: (id: string) => void
}

/** Where operations come into a document, what those that are kept begin with. */
const basesAfter = (
  fields: ReadonlyMap<string, Field>,
  document: unknown,
  all: ReadonlyArray<Named>,
  after: {
    readonly values: ReadonlyMap<string, unknown>
    readonly refused: ReadonlyArray<Refusal>
    readonly marks: Marks
    readonly unkept: ReadonlySet<string>
  }
): Bases | undefined => {
  const names = new Set(all.map(({ entry: { f } }) => f).filter((name) => fields.get(name)?.isKept === true))
  if (names.size === 0 && after.unkept.size === 0) return undefined
  const marks = marksOf(document)
  const bases = new Map(Object.entries(basesOf(document)).filter(([name]) => !after.unkept.has(name)))
  for (const name of names) {
    const field = fields.get(name)!
    const base = bases.get(name) ?? withValue(field, field.read(document), { m: marks })
    if (base === undefined) continue
    const m: Record<string, number> = { ...base.m }
    for (const { entry, lane } of all) {
      // What was there under the same id before is none of its operations.
      if (!Object.hasOwn(m, lane)) m[lane] = Object.hasOwn(marks, lane) ? marks[lane]! : entry.s - 1
    }
    const out = after.refused.filter(({ field: of }) => of === name)
    const x = [...(base.x ?? []), ...out.map(({ lane, number }) => [lane, number] as const)]
    const value = after.values.has(name) ? after.values.get(name) : field.read(document)
    const next =
      x.length > mostLeftOut
        ? withValue(field, value, { m: { ...m, ...after.marks } })
        : { ...base, m, ...(x.length === 0 ? {} : { x }) }
    if (next !== undefined) bases.set(name, next)
  }
  return Object.fromEntries(bases)
}

/** Fields with a base of which operations leave their lane without being kept: a program without their history folds. */
const unkept = (
  fields: ReadonlyMap<string, Field>,
  document: unknown,
  parts: ReadonlyArray<Part>
): ReadonlySet<string> => {
  const bases = basesOf(document)
  if (Object.keys(bases).length === 0) return new Set()
  const leaving = parts.flatMap(({ entries, lane: { name } }) =>
    entries.filter(({ f, s }) => fields.get(f)?.isKept !== true && s > (baseOf(bases, f)?.m[name] ?? 0))
  )
  return new Set(leaving.flatMap(({ f }) => (baseOf(bases, f) === undefined ? [] : [f])))
}

/** A document that is replaced keeps the marks of the one before, where the new one says nothing of them. */
const keeping = Effect.fnUntraced(function* <In>(
  input: In,
  current: Effect.Effect<Option.Option<{ readonly value: unknown }>, DbError.DbError> | undefined
) {
  if (typeof input !== "object" || input === null || marksAttribute in input || current === undefined) return
  const before = Option.getOrUndefined(yield* current)?.value
  const [marks, bases, leftOut] = [marksOf(before), basesOf(before), leftOutOf(before)]
  if (Object.keys(marks).length === 0) return undefined
  const kept = {
    ...(Object.keys(bases).length === 0 ? {} : { [basesAttribute]: bases }),
    ...(leftOut.length === 0 ? {} : { [refusedAttribute]: leftOut })
  }
  return { input: { ...kept, ...input, [marksAttribute]: marks } }
})

/**
 * Returns how many operations entries stand for.
 *
 * @category getters
 * @since 0.1.0
 */
export const sizeOf = (entries: ReadonlyArray<Pick<Entry, "c">>): number =>
  entries.reduce((sum, { c = 1 }) => sum + c, 0)

/**
 * Makes what brings operations into documents. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <S extends Attributes.DocumentSchema, N extends Names>(
  { guarded }: Definition<S, N>,
  repository: Repository<S, N>,
  { fields, isDeferred, isThere, slug }: DocumentsOptions
): Effect.fn.Return<Documents, never, Scope.Scope> {
  if (isDeferred) {
    yield* repository.intercept({
      name: slug,
      operations: ["replace"],
      before: ({ input: { current, input } }) => keeping(input, current),
      after: (_, { id }) => Effect.sync(() => isThere(id))
    })
    yield* repository.intercept({
      name: slug,
      operations: ["insert"],
      after: (_, { id }) => Effect.sync(() => isThere(id))
    })
  }
  const scope = yield* Effect.scope
  /** From the first trial on: others need not look whether they are one. */
  const trying = yield* Effect.cached(
    repository
      .intercept({
        name: slug,
        operations: ["update"],
        before: ({ input: { beforeCommit = [] } }) =>
          Effect.map(IsTrial, (isTrial) =>
            isTrial ? { beforeCommit: [...beforeCommit, () => Effect.fail(trialOf(slug))] } : undefined
          )
      })
      .pipe(Effect.provideService(Scope.Scope, scope))
  )
  /** What is written in the name of nobody, and says by what. */
  const own = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(WriteContext, (told) =>
      Guard.trusted(Effect.provideService(effect, WriteContext, { ...told, plugin: slug }))
    )

  /** Changes a document by what is made of it. Others that fold, or write, come in between: it is made again of what they have left. */
  const change = <E>(id: string, make: (document: unknown) => Effect.Effect<object, E>) => {
    const made = (document: S["Type"]) => make(document)
    // What is made has the fields of the definition, and values that these can have.
    return repository.update<never, E, never>(id as N["id"], made as never, { retries })
  }

  const valuesAfter = (document: unknown, operations: ReadonlyArray<Named>) => {
    const values = new Map<string, unknown>()
    const refused: Array<Refusal> = []
    for (const one of operations) {
      const { a, f, k } = one.entry
      const field = fields.get(f)!
      const before = values.has(f) ? values.get(f) : field.read(document)
      const after = field.apply(before, { kind: k, amount: a })
      if (Result.isSuccess(after)) values.set(f, after.success)
      else refused.push(refusedOf(one, after.failure))
    }
    return { values, refused }
  }

  const write = Effect.fnUntraced(function* (id: string, parts: ReadonlyArray<Part>, isLeftOut: boolean) {
    let operations = 0
    let refused: ReadonlyArray<Refusal> = []
    let document: unknown
    const made = (before: unknown) => {
      const all = fresh(before, parts)
      operations = sizeOf(all.map(({ entry }) => entry))
      document = before
      const lost = unkept(fields, before, parts)
      if (all.length === 0 && lost.size === 0) {
        refused = []
        return Effect.fail(new Nothing())
      }
      const after = isLeftOut
        ? { values: new Map<string, unknown>(), refused: all.map((one) => refusedOf(one, bySchema)) }
        : valuesAfter(before, all)
      refused = after.refused
      const marks = marked(before, parts)
      const bases = basesAfter(fields, before, all, { ...after, marks, unkept: lost })
      return Effect.succeed({
        ...Object.fromEntries(after.values),
        [marksAttribute]: marks,
        ...(bases === undefined ? {} : { [basesAttribute]: bases }),
        ...(refused.length === 0 ? {} : { [refusedAttribute]: toldAfter(before, refused) })
      })
    }
    const after = yield* Effect.catchIf(
      change(id, made),
      (error) => error instanceof Nothing,
      () => Effect.succeed(document)
    )
    return { _tag: "Folded", operations, refused, document: after } satisfies Outcome
  })

  /** One after the other, since there is one among them with which the document is none of the schema's. */
  const oneByOne = Effect.fnUntraced(function* (id: string, parts: ReadonlyArray<Part>) {
    let operations = 0
    let document: unknown
    const refused: Array<Refusal> = []
    for (const { entries, lane } of parts) {
      for (const entry of entries) {
        const part = [{ lane, entries: [entry] }]
        const one = yield* Effect.catchTag(write(id, part, false), "InvalidInput", () => write(id, part, true))
        operations += one.operations
        document = one.document
        refused.push(...one.refused)
      }
    }
    return { _tag: "Folded", operations, refused, document } satisfies Outcome
  })

  const apply: Documents["apply"] = Effect.fnUntraced(function* (id, field, { a, k }) {
    const after = yield* change(id, (document) => {
      const value = field.apply(field.read(document), { kind: k, amount: a })
      return Result.isSuccess(value)
        ? Effect.succeed({ [field.name]: value.success })
        : Effect.fail(new NotHeld(value.failure))
    })
    return field.read(after)
  })

  return {
    fold: (id, parts) => {
      const operations = sizeOf(parts.flatMap(({ entries }) => entries))
      return own(Effect.catchTag(write(id, parts, false), "InvalidInput", () => oneByOne(id, parts))).pipe(
        Effect.catch((error) =>
          Effect.succeed<Outcome>(
            error._tag === "NotFound" ? { _tag: "Waiting", operations } : { _tag: "Failed", operations, error }
          )
        )
      )
    },
    read: (id, field, parts) =>
      Effect.map(repository.get(id as N["id"]), (document) => {
        const entries = fresh(document, parts).filter(({ entry: { f } }) => f === field.name)
        const { values } = valuesAfter(document, entries)
        if (values.has(field.name)) return values.get(field.name)
        return field.read(document) ?? field.initial
      }),
    apply,
    recalculate: Effect.fnUntraced(function* (id, field, puts, hasAll) {
      let made: Recalculated = { value: undefined, before: undefined, operations: 0 }
      const changed = change<Behind | NotHeld | Nothing>(id, (document) => {
        const marks = marksOf(document)
        const before = field.read(document)
        made = { value: before ?? field.initial, before: before ?? field.initial, operations: 0 }
        const base = baseOf(basesOf(document), field.name)
        if (base === undefined) return Effect.fail(new Nothing())
        if (!Object.entries(marks).every(([lane, mark]) => hasAll(lane, mark))) return Effect.fail(new Behind())
        const result = replayed(field, base, puts, (name, number) => number <= markOf(marks, { name }))
        if (Result.isFailure(result)) return Effect.fail(new NotHeld(result.failure))
        const { operations, value } = result.success
        made = { ...made, value: value ?? field.initial, operations }
        return isSame(field, before, value) ? Effect.fail(new Nothing()) : Effect.succeed({ [field.name]: value })
      })
      yield* Effect.catchIf(
        own(changed),
        (error) => error instanceof Nothing,
        () => Effect.void
      )
      return made
    }),
    rebase: (id, puts) => {
      const ends = new Map<string, number>()
      for (const { e, l } of puts) ends.set(l, Math.max(ends.get(l) ?? 0, e.s))
      const changed = change<Nothing>(id, (document) => {
        const bases = new Map(Object.entries(basesOf(document)))
        const marks = marksOf(document)
        let isChanged = false
        for (const [name, base] of bases) {
          // What is no operation of this document is none of its base either.
          const isIn = (lane: string, number: number) => number <= markOf(marks, { name: lane })
          const m: Record<string, number> = { ...base.m }
          for (const [lane, end] of ends) {
            if (Object.hasOwn(m, lane) && isIn(lane, end)) m[lane] = Math.max(m[lane]!, end)
          }
          if (Object.entries(m).every(([lane, number]) => base.m[lane] === number)) continue
          const next = rebased(fields.get(name), base, m, puts, isIn)
          if (next !== undefined) bases.set(name, next)
          // Where those that go cannot be made here, what is kept begins anew, with the value that the document has then.
          else if (puts.some(({ e, l }) => e.f === name && e.s > (base.m[l] ?? Infinity) && isIn(l, e.s)))
            bases.delete(name)
          else continue
          isChanged = true
        }
        return isChanged ? Effect.succeed({ [basesAttribute]: Object.fromEntries(bases) }) : Effect.fail(new Nothing())
      })
      return own(
        Effect.catchIf(
          Effect.asVoid(changed),
          (error) => error instanceof Nothing || error._tag === "NotFound",
          () => Effect.void
        )
      )
    },
    needsOf: (id) =>
      repository.get(id as N["id"]).pipe(
        Effect.catchTag("NotFound", () => Effect.succeed(undefined)),
        Effect.map((document) => {
          const [marks, bases] = [marksOf(document), basesOf(document)]
          return (name: string, { f, s }: Pick<Entry, "f" | "s">) =>
            baseOf(bases, f) !== undefined && s <= markOf(marks, { name })
        })
      ),
    permit: Effect.fnUntraced(function* (id, field, operation) {
      if (!guarded && (yield* CurrentUser.CurrentUser) === undefined) return
      yield* trying
      const trial = Effect.provideService(apply(id, field, operation), IsTrial, true)
      yield* Effect.catchIf(
        trial,
        (error) => error instanceof Pipeline.Rejected && error.code === trialCode,
        () => Effect.void
      )
    })
  }
})

/** Whether two values of a field are stored as the same. */
const isSame = (field: Field, a: unknown, b: unknown): boolean => {
  if (a === undefined || b === undefined) return a === b
  const [one, other] = [field.toJson(a), field.toJson(b)]
  return (
    Result.isSuccess(one) && Result.isSuccess(other) && JSON.stringify(one.success) === JSON.stringify(other.success)
  )
}

/** How often a document is changed again when others were first. */
const retries = 60

// -----------------------------------------------------------------------------
// Folds
// -----------------------------------------------------------------------------

/**
 * What became of the operations of a document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Folded {
  readonly id: string
  readonly outcome: Outcome
  readonly parts: ReadonlyArray<Part>
}

/** How versions of lanes are folded. */
interface Options {
  readonly concurrency: number
  /** The documents whose operations are folded. */
  readonly isMeant: (id: string) => boolean
  /** A release that knows more counters may have added the operation: what it does not know, and what comes after that, stays. */
  readonly isKnown: (field: string) => boolean
  /** Whether what has to be counted by its time has been: it stays in its lane until then. */
  readonly isCounted: boolean
  /** Whether an operation is kept: who has put it there takes it out of its lane. */
  readonly isKept: (field: string) => boolean
}

/**
 * Takes the operations of documents out of versions of lanes: those up to the first that this program knows nothing of.
 *
 * @category getters
 * @since 0.1.0
 */
export const partsOf = (
  versions: ReadonlyArray<Lane>,
  { isKnown, isMeant }: Pick<Options, "isKnown" | "isMeant">
): ReadonlyMap<string, ReadonlyArray<Part>> => {
  const byId = new Map<string, Array<Part>>()
  for (const lane of versions) {
    const of = new Map<string, Array<Entry>>()
    const ended = new Set<string>()
    for (const entry of lane.entries) {
      if (!isMeant(entry.i)) continue
      if (!isKnown(entry.f)) ended.add(entry.i)
      if (ended.has(entry.i)) continue
      const entries = of.get(entry.i)
      if (entries === undefined) of.set(entry.i, [entry])
      else entries.push(entry)
    }
    for (const [id, entries] of of) byId.set(id, [...(byId.get(id) ?? []), { lane, entries }])
  }
  return byId
}

/**
 * Brings operations from versions of lanes into their documents, and notes that they are there.
 *
 * @category combinators
 * @since 0.1.0
 */
export const foldLanes = (
  documents: Documents,
  lanes: Pick<Lanes, "settle">,
  versions: ReadonlyArray<Lane>,
  options: Options
): Effect.Effect<ReadonlyArray<Folded>> =>
  Effect.forEach(
    partsOf(versions, options),
    Effect.fnUntraced(function* ([id, parts]) {
      const outcome = yield* documents.fold(id, parts)
      if (outcome._tag === "Folded") {
        for (const { entries, lane } of parts) {
          const done = entries.filter(({ f, z }) => (options.isCounted || z !== true) && !options.isKept(f))
          lanes.settle(
            lane,
            done.map(({ s }) => s)
          )
        }
      }
      return { id, outcome, parts }
    }),
    { concurrency: options.concurrency }
  )
