/**
 * Predicates, orders and projections as data: what a query asks for, without any store to ask.
 *
 * ```ts
 * import * as Query from "effect-s3db/Query"
 *
 * interface User {
 *   readonly country: string
 *   readonly age: number
 *   readonly address: { readonly city: string }
 *   readonly tags: ReadonlyArray<string>
 * }
 *
 * // The notation, as `repository.query` takes it.
 * const where: Query.Where<User> = {
 *   country: "BR",
 *   age: { gte: 18, lt: 65 },
 *   "address.city": { in: ["Recife", "Lisboa"] },
 *   $or: [{ tags: "vip" }, { tags: { contains: "staff" } }]
 * }
 *
 * // The same as data, and what it says of a document.
 * const isAdult = Query.matches(
 *   Query.and(
 *     Query.eq("country", "BR"),
 *     Query.gte("age", 18),
 *     Query.lt("age", 65),
 *     Query.in("address.city", ["Recife", "Lisboa"]),
 *     Query.or(Query.eq("tags", "vip"), Query.contains("tags", "staff"))
 *   )
 * )
 * ```
 *
 * **Details**
 *
 * Predicates work on the JSON form of documents: dates are ISO text, big decimals are decimal text.
 *
 * - Paths descend through objects, and see their own properties only. They do not descend into the elements of arrays.
 * - Where a path leads to an array, `eq`, `in`, `between`, `startsWith` and the comparisons match when the array itself or
 *   any of its elements does. Each condition is met on its own: `{ gte: 3, lt: 5 }` matches `[1, 9]`, as 9 meets one and 1
 *   the other; `between` wants both of one element.
 * - `eq` compares structures: the order of keys is irrelevant, and `-0` equals `0`, as it does in ranges, orders and unique
 *   keys. An `eq` with an array matches the whole
 *   array, or one that has it as an element.
 * - `gt`, `gte`, `lt`, `lte` and `between` compare numbers with numbers and text with text, by code points, of which a
 *   lone surrogate is one. Everything else
 *   does not match. `orderOf` says what else a field is: with `"decimal"`, texts such as `"9.5"` and `"10"` compare as the
 *   exact numbers they stand for, also for `eq` and `in`; with `"moment"` dates and times compare as moments, and with `"date"` those of any year, whose
 *   texts are in their order from the year 0 to 9999 only.
 * - A field that is missing matches `exists: false`, `ne`, `notIn` and what `$not` negates, nothing else. `null` is a value:
 *   it exists, equals `null`, and has no order.
 * - `ne` and `notIn` are the exact opposites of `eq` and `in`.
 * - An empty `$and` matches everything; an empty `$or` and an empty `in` match nothing.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as EffectOrder from "effect/Order"
import type * as DbError from "./DbError.ts"
import type { Json, JsonObject } from "./encoding/Json.ts"
import * as decimals from "./internal/decimals.ts"
import * as json from "./internal/json.ts"
import * as kinds from "./internal/kinds.ts"
import type { NestedFields } from "./internal/merge.ts"
import { compareUtf8 } from "./internal/text.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A condition on documents, as plain data that JSON can carry.
 *
 * @category models
 * @since 0.1.0
 */
export type Predicate = Compare | In | Between | StartsWith | Contains | Exists | And | Or | Not

/**
 * A comparison of the value of a field with another.
 *
 * @category models
 * @since 0.1.0
 */
export type CompareOp = "eq" | "ne" | "gt" | "gte" | "lt" | "lte"

/**
 * The value of a field, compared with another.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compare {
  readonly _tag: "Compare"
  readonly op: CompareOp
  readonly path: ReadonlyArray<string>
  readonly value: Json
}

/**
 * A field that equals one of some values.
 *
 * @category models
 * @since 0.1.0
 */
export interface In {
  readonly _tag: "In"
  readonly path: ReadonlyArray<string>
  readonly values: ReadonlyArray<Json>
}

/**
 * A field that lies between two values, both included.
 *
 * @category models
 * @since 0.1.0
 */
export interface Between {
  readonly _tag: "Between"
  readonly path: ReadonlyArray<string>
  readonly from: Json
  readonly to: Json
}

/**
 * A text that begins with a prefix. `ignoreCase` default: `false`; with it, upper and lower case are the same, and so
 * are the forms that Unicode normalization (NFC) makes the same.
 *
 * @category models
 * @since 0.1.0
 */
export interface StartsWith {
  readonly _tag: "StartsWith"
  readonly path: ReadonlyArray<string>
  readonly prefix: string
  readonly ignoreCase?: boolean | undefined
}

/**
 * A text that has a part, or an array that has an element.
 *
 * @category models
 * @since 0.1.0
 */
export interface Contains {
  readonly _tag: "Contains"
  readonly path: ReadonlyArray<string>
  readonly value: Json
}

/**
 * A field that is there, if only with `null`; or that is not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exists {
  readonly _tag: "Exists"
  readonly path: ReadonlyArray<string>
  readonly exists: boolean
}

/**
 * Conditions that all have to be met.
 *
 * @category models
 * @since 0.1.0
 */
export interface And {
  readonly _tag: "And"
  readonly all: ReadonlyArray<Predicate>
}

/**
 * Conditions of which one has to be met.
 *
 * @category models
 * @since 0.1.0
 */
export interface Or {
  readonly _tag: "Or"
  readonly any: ReadonlyArray<Predicate>
}

/**
 * A condition that must not be met.
 *
 * @category models
 * @since 0.1.0
 */
export interface Not {
  readonly _tag: "Not"
  readonly not: Predicate
}

/**
 * A condition on the value of one field.
 *
 * @category models
 * @since 0.1.0
 */
export type FieldPredicate = Exclude<Predicate, And | Or | Not>

/**
 * The place of a field: names joined with `.`, or a list of names, which can also reach a name that has a dot in it.
 *
 * @category models
 * @since 0.1.0
 */
export type Path = string | ReadonlyArray<string>

/**
 * The kind of values that a field holds, where their JSON type does not say it: `"decimal"` is a number as text,
 * `"moment"` a date and time with an offset, and maybe a time zone in brackets, which is the same as another one of the
 * same moment; `"date"` a moment in UTC as `Date.prototype.toISOString` writes it, of which there is one text.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = kinds.Kind

/**
 * Knowledge of the fields. `orderOf`: what the field at a path is. Default: whatever its JSON value is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly orderOf?: ((path: ReadonlyArray<string>) => Kind | undefined) | undefined
}

/**
 * One thing that is wrong with a query: where in it, and what was expected. It holds no values of the query.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

// -----------------------------------------------------------------------------
// The notation
// -----------------------------------------------------------------------------

type Logical = "$and" | "$or" | "$not"

type FieldName<A> = Exclude<keyof A & string, Logical>

/**
 * The paths of the fields of a document, those of nested objects with dots.
 *
 * @category models
 * @since 0.1.0
 */
export type FieldPath<A> = unknown extends A
  ? string
  : string extends keyof A
    ? string
    : FieldName<A> | (keyof NestedFields<A> & string)

type TypedWhere<A> = {
  readonly $and?: ReadonlyArray<Where<A>>
  readonly $or?: ReadonlyArray<Where<A>>
  readonly $not?: Where<A>
} & { readonly [K in FieldName<A>]?: Condition<A[K]> } & {
  readonly [P in keyof NestedFields<A>]?: Condition<NestedFields<A>[P]>
}

/**
 * Conditions on documents of type `A`, all of which have to be met.
 *
 * A field stands with the value it has to have, or with operators. Nested fields have dotted names. `$and`, `$or` and
 * `$not` combine conditions, so that fields called `and`, `or` and `not` are fields like any other.
 *
 * An object whose keys are all operators is taken for operators, every other one for a value: write `{ eq: { in: 3 } }`
 * for a value that looks like operators. Names that have a dot in them, and fields called `$and`, `$or` or `$not`, are
 * reached with the functions, such as `eq(["a.b"], 1)`.
 *
 * @category models
 * @since 0.1.0
 */
export type Where<A> = unknown extends A ? UntypedWhere : string extends keyof A ? UntypedWhere : TypedWhere<A>

/**
 * Conditions on documents whose fields TypeScript does not know.
 *
 * @category models
 * @since 0.1.0
 */
export interface UntypedWhere {
  readonly [path: string]: unknown
}

/**
 * The value that a field has to have, or operators.
 *
 * @category models
 * @since 0.1.0
 */
export type Condition<V> = Operand<V> | Operators<V>

/**
 * A value to compare a field with; for an array also one of its elements.
 *
 * @category models
 * @since 0.1.0
 */
export type Operand<V> = Exclude<V, undefined> | (V extends ReadonlyArray<infer E> ? E : never)

/**
 * A value that has an order, to compare a field with.
 *
 * @category models
 * @since 0.1.0
 */
export type Ordered<V> = Exclude<Operand<V>, null | boolean | ReadonlyArray<unknown>>

/**
 * The beginning of a text, and whether upper and lower case differ.
 *
 * @category models
 * @since 0.1.0
 */
export interface Prefix {
  readonly prefix: string
  readonly ignoreCase?: boolean | undefined
}

/**
 * Conditions on one field, all of which have to be met.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operators<V> {
  readonly eq?: Operand<V>
  readonly ne?: Operand<V>
  readonly gt?: Ordered<V>
  readonly gte?: Ordered<V>
  readonly lt?: Ordered<V>
  readonly lte?: Ordered<V>
  /** Both included. */
  readonly between?: readonly [from: Ordered<V>, to: Ordered<V>]
  readonly in?: ReadonlyArray<Operand<V>>
  readonly notIn?: ReadonlyArray<Operand<V>>
  readonly startsWith?: unknown extends V
    ? string | Prefix
    : [Extract<Operand<V>, string>] extends [never]
      ? never
      : string | Prefix
  /** A part of a text, or an element of an array. */
  readonly contains?: unknown extends V
    ? unknown
    : V extends ReadonlyArray<infer E>
      ? E
      : V extends string
        ? string
        : never
  readonly exists?: boolean
}

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

/**
 * The number of requests that run at once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Concurrency {
  /** How many requests run at once. Default 16; the store may allow fewer. */
  readonly concurrency?: number | undefined
}

/**
 * A document that cannot be read: its object is damaged, or a secret in it cannot be opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Corrupt {
  readonly id: string
  readonly key: string
  /** Why. It shows no values. */
  readonly reason: Extract<DbError.Reason, { readonly _tag: "Corrupt" | "SecretUnreadable" }>
}

/**
 * The choice what becomes of a document that cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface OnCorrupt {
  /**
   * `"fail"`, the default, ends with a `DbError` whose reason names the document. A function is told of it in its place, and
   * it is left out; `"skip"` leaves it out without a word. Whether it would meet the conditions of a query nobody knows: it is
   * told, or left out, wherever the query comes to it. The store or the catalog failing is no matter of this.
   */
  readonly onCorrupt?: "fail" | "skip" | ((found: Corrupt) => Effect.Effect<void>) | undefined
}

/**
 * The documents that are meant: those of a partition with these values of its fields, of all of them or of the first
 * ones. Without `partition`, all documents of the resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Within {
  readonly partition?: string | undefined
  /** By the path of the field. Values as documents or JSON have them; transforms are applied, or have been. */
  readonly values?: Readonly<Record<string, unknown>> | undefined
  /** The least value of the field that follows, inclusive: a number or a date. */
  readonly from?: unknown
  /** The greatest value of the field that follows, inclusive: a number or a date. */
  readonly to?: unknown
  /** What the text of the field that follows begins with. */
  readonly startsWith?: string | undefined
}

/**
 * The fields that a query can ask about: those of the documents, and what the database knows of each. `$updatedAt` is
 * when it was last written.
 *
 * @category models
 * @since 0.1.0
 */
export type Queryable<A> = unknown extends A
  ? A
  : string extends keyof A
    ? A
    : A & {
        readonly $createdAt: DateTime.Utc
        readonly $updatedAt: DateTime.Utc
        readonly $schemaVersion: number
      }

/**
 * What a query asks for beside the partition.
 *
 * @category models
 * @since 0.1.0
 */
export interface Conditions<A> extends Concurrency {
  /** Conditions on the fields, with values as documents have them, or as JSON has them. Default: none. */
  readonly where?: Where<Queryable<A>> | undefined
  /** Conditions as data, such as `parseWhere` makes of untrusted JSON; together with `where`, both. */
  readonly predicate?: Predicate | undefined
  /**
   * `"-age"`, or `["-age", "name"]`, or what `parseOrder` makes of a text; documents that agree come by their ids. Ascending by
   * the field of a partition that follows those with one value, documents come in the order of the index; any other order is
   * made in memory, and needs a `limit` of at most 10,000.
   */
  readonly order?: OrderBy<Queryable<A>> | Order | undefined
  /** How many documents at most. Default: all. */
  readonly limit?: number | undefined
  /** Allows a query that reads every document. Default: what the definition says, `false`. */
  readonly scan?: boolean | undefined
}

/**
 * What a query asks for. With `partition` it goes by the markers of that partition, and so leaves out what is not in it;
 * otherwise by the shortest way that leaves nothing out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<A> extends Within, Conditions<A>, OnCorrupt, Stale, Bounded {}

/**
 * How old what is read may be, where a resource has segments.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bounded {
  /**
   * How long before now each document may be read as it was, where all documents are looked at and a compaction of `plugins/Segments` has found
   * no longer ago that its copies are whole: 1 GET for each 4,000 documents, and no LIST; with conditions 1 GET more for each segment in which a
   * document meets them. Where it has not, and where there are no segments, documents are read as they are now. So they are in a transaction, with a
   * `limit` and no conditions, and where a partition, a unique key or ids tell which documents they are. Default: as they are now. From 0;
   * `"Infinity"`: however long ago that was. More than the pause between compactions (`every`), or most reads list.
   *
   * Each document is there as it was at some time within that while, each at one of its own: one that was deleted in it may be there, one that was
   * inserted in it may not, also by this process. Conditions and guards decide by the version that is given. A change of a document that is not the latest version is
   * refused with `Conflict`. By the clocks of this process and of that which compacts.
   *
   * @see `docs/guide/scans.md`
   */
  readonly maxStaleness?: Duration.Input | undefined
}

/**
 * The choice whether the markers of a partition may answer in the place of the documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stale {
  /**
   * Whether keys alone may answer, where a partition tells by them all that is asked for: its fields without a transform, those that it
   * covers, and the id. 1 LIST for each 1,000 documents, and 1 GET for one whose covered fields were too long for its key. Default
   * `false`: documents are read.
   *
   * Every document that was acknowledged before is there, as it was when it was last written: what a migration would make of it is not
   * known. Beside it there may be one that is about to be written, has just been replaced or deleted, or is left of a program that crashed, until
   * `repair`; so a document may be met twice. One that moves on in the meantime may be met at both places or at neither. `-0` in a field
   * of the partition that is not covered, too, is `0`.
   */
  readonly allowStale?: boolean | undefined
}

/**
 * The fields that are wanted of documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Projection<out Path extends string = string> {
  /** By path. Default: all but secrets. */
  readonly select?: ReadonlyArray<Path> | undefined
}

/**
 * The page that is asked for, and its length.
 *
 * @category models
 * @since 0.1.0
 */
export interface PageRequest {
  /** 1 to 1,000. Default 100. */
  readonly limit?: number | undefined
  /** `cursor` of the page before. */
  readonly cursor?: string | undefined
}

/**
 * A page of items, and the cursor of the next one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page<out A> {
  readonly items: ReadonlyArray<A>
  /** Present when there may be more. Opaque, and good for the same request only. */
  readonly cursor: string | undefined
}

/**
 * The choice whether each document is looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface Verify {
  /** Whether each document is looked at. */
  readonly verify?: boolean | undefined
}

/**
 * The part of a document that its marker tells by itself, without a look at the document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Covered<
  out Id extends string = string,
  out Values = Readonly<Record<string, Json>>,
  out Fields = Readonly<Record<string, Json>>
> {
  readonly id: Id
  /** The values of the partition's fields in JSON form, after their transforms, by path. */
  readonly values: Values
  /** The covered fields in JSON form, by path. */
  readonly fields: Fields
}

/**
 * The number of requests that a query makes: `fixed`, and for the documents that its way leads to, whether they meet
 * what remains of the conditions or not, `perThousand` for each 1,000 of them after the first and `perDocument` for
 * each. A limit ends it earlier, except where documents are put in order in memory. Where copies are read, 1 more for each
 * pack after the first, and for each document that they do not have as it is; with `maxStaleness` less.
 *
 * @category models
 * @since 0.1.0
 */
export interface Requests {
  readonly fixed: number
  readonly perThousand: number
  readonly perDocument: number
}

/**
 * The way that a query is going to take.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  /** `ids`: documents by their ids. `unique`: by a unique key. `partition`: by its markers. `scan`: every document, or those whose ids are within bounds. */
  readonly access: "ids" | "unique" | "partition" | "scan"
  /** The unique key or partition. */
  readonly index: string | undefined
  /** What is asked of it, in words. */
  readonly using: string
  /** What the index leaves to be checked on each document, in words; `undefined` when it is nothing. */
  readonly filter: string | undefined
  /** `index`: documents come in this order by themselves. `memory`: the best of all that are read are kept. */
  readonly order: "none" | "index" | "memory"
  readonly requests: Requests
  /** Whether every document is read, unless a limit ends it. */
  readonly isScan: boolean
  /**
   * `keys`: the markers of the partition tell all that is asked for, and no document is read. Only with `allowStale`. `copies`: what the packs
   * of `plugins/Segments` have of the documents as they are now; the others are read, 1 GET for each.
   */
  readonly reads: "documents" | "keys" | "copies"
  /** Why documents are read, or may be, although `allowStale` was said, in words. */
  readonly fallback: string | undefined
}

/**
 * The choice whether documents are counted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Total {
  /** Whether the documents of all pages are counted. Default `false`. */
  readonly total?: boolean | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const compareWith =
  (op: CompareOp) =>
  (path: Path, value: Json): Predicate => ({ _tag: "Compare", op, path: segments(path), value })

/**
 * Creates the condition that a field equals a value, by structure; of an array, as a whole or in an element.
 *
 * @category constructors
 * @since 0.1.0
 */
export const eq = compareWith("eq")

/**
 * Creates the opposite of `eq`: also of a field that is missing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ne = compareWith("ne")

/**
 * Creates the condition that a field is greater than a value.
 *
 * @category constructors
 * @since 0.1.0
 */
export const gt = compareWith("gt")

/**
 * Creates the condition that a field is greater than a value, or equal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const gte = compareWith("gte")

/**
 * Creates the condition that a field is less than a value.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lt = compareWith("lt")

/**
 * Creates the condition that a field is less than a value, or equal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lte = compareWith("lte")

/**
 * Creates the condition that a field lies between two values, both included.
 *
 * @category constructors
 * @since 0.1.0
 */
export const between = (path: Path, from: Json, to: Json): Predicate => ({
  _tag: "Between",
  path: segments(path),
  from,
  to
})

const in_ = (path: Path, values: ReadonlyArray<Json>): Predicate => ({ _tag: "In", path: segments(path), values })

export {
  /**
   * Creates the condition that a field equals one of the values.
   *
   * @category constructors
   * @since 0.1.0
   */
  in_ as in
}

/**
 * Creates the opposite of `in`: also of a field that is missing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const notIn = (path: Path, values: ReadonlyArray<Json>): Predicate => not(in_(path, values))

/**
 * Creates the condition that a text begins with a prefix; with `ignoreCase`, in upper or lower case.
 *
 * @category constructors
 * @since 0.1.0
 */
export const startsWith = (
  path: Path,
  prefix: string,
  options: { readonly ignoreCase?: boolean | undefined } = {}
): Predicate => ({
  _tag: "StartsWith",
  path: segments(path),
  prefix,
  ...(options.ignoreCase === true ? { ignoreCase: true } : {})
})

/**
 * Creates the condition that a text has a part, or an array an element.
 *
 * @category constructors
 * @since 0.1.0
 */
export const contains = (path: Path, value: Json): Predicate => ({ _tag: "Contains", path: segments(path), value })

/**
 * Creates the condition that a field is there, if only with `null`, or is not. `isThere` default: `true`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const exists = (path: Path, isThere = true): Predicate => ({
  _tag: "Exists",
  path: segments(path),
  exists: isThere
})

/**
 * Creates the condition that all of some conditions are met. Without any, everything meets it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const and = (...all: ReadonlyArray<Predicate>): Predicate => ({ _tag: "And", all })

/**
 * Creates the condition that one of some conditions is met. Without any, nothing meets it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const or = (...any: ReadonlyArray<Predicate>): Predicate => ({ _tag: "Or", any })

/**
 * Creates the condition that another one is not met.
 *
 * @category constructors
 * @since 0.1.0
 */
export const not = (predicate: Predicate): Predicate => ({ _tag: "Not", not: predicate })

/**
 * The condition that every document meets.
 *
 * @category constants
 * @since 0.1.0
 */
export const everything: Predicate = and()

/**
 * The condition that no document meets.
 *
 * @category constants
 * @since 0.1.0
 */
export const nothing: Predicate = or()

// -----------------------------------------------------------------------------
// Evaluation
// -----------------------------------------------------------------------------

/**
 * Returns a test for documents. The predicate is prepared once; the values of an `in` are looked up, not compared one
 * by one.
 *
 * @category conversions
 * @since 0.1.0
 */
export const matches = (predicate: Predicate, options: Options = {}): ((document: JsonObject) => boolean) => {
  switch (predicate._tag) {
    case "And": {
      const tests = predicate.all.map((member) => matches(member, options))
      return tests.length === 1 ? tests[0]! : (document) => tests.every((test) => test(document))
    }
    case "Or": {
      const tests = predicate.any.map((member) => matches(member, options))
      return (document) => tests.some((test) => test(document))
    }
    case "Not": {
      const test = matches(predicate.not, options)
      return (document) => !test(document)
    }
    default: {
      const { path } = predicate
      const test = valueTest(predicate, options)
      return (document) => test(valueAt(document, path))
    }
  }
}

type ValueTest = (value: Json | undefined) => boolean

const valueTest = (predicate: FieldPredicate, options: Options): ValueTest => {
  const kind = options.orderOf?.(predicate.path)
  switch (predicate._tag) {
    case "Compare": {
      const { op, value } = predicate
      if (op === "eq") return itselfOrElement(oneOf([value], kind))
      if (op === "ne") return negated(itselfOrElement(oneOf([value], kind)))
      const order = kinds.orderAgainst(value, kind)
      const isWanted = wanted[op]
      return itselfOrElement((candidate) => isWanted(order(candidate)))
    }
    case "In":
      return itselfOrElement(oneOf(predicate.values, kind))
    case "Between": {
      const from = kinds.orderAgainst(predicate.from, kind)
      const to = kinds.orderAgainst(predicate.to, kind)
      return itselfOrElement((candidate) => wanted.gte(from(candidate)) && wanted.lte(to(candidate)))
    }
    case "StartsWith": {
      if (predicate.ignoreCase === true) {
        const prefix = foldCase(predicate.prefix)
        return itselfOrElement((candidate) => typeof candidate === "string" && foldCase(candidate).startsWith(prefix))
      }
      const { prefix } = predicate
      return itselfOrElement((candidate) => typeof candidate === "string" && candidate.startsWith(prefix))
    }
    case "Contains": {
      const { value } = predicate
      const isElement = oneOf([value], kind)
      return (candidate) =>
        candidate !== undefined &&
        (json.isList(candidate)
          ? candidate.some(isElement)
          : typeof candidate === "string" && typeof value === "string" && candidate.includes(value))
    }
    case "Exists":
      return predicate.exists ? (candidate) => candidate !== undefined : (candidate) => candidate === undefined
  }
}

const negated =
  (test: ValueTest): ValueTest =>
  (value) =>
    !test(value)

const itselfOrElement =
  (test: (value: Json) => boolean): ValueTest =>
  (value) =>
    value !== undefined && (test(value) || (json.isList(value) && value.some(test)))

/** `undefined`: the two have no order. */
type MaybeOrdering = number | undefined

const wanted = {
  gt: (order: MaybeOrdering) => order !== undefined && order > 0,
  gte: (order: MaybeOrdering) => order !== undefined && order >= 0,
  lt: (order: MaybeOrdering) => order !== undefined && order < 0,
  lte: (order: MaybeOrdering) => order !== undefined && order <= 0
}

const oneOf = (values: ReadonlyArray<Json>, kind: Kind | undefined): ((value: Json) => boolean) => {
  const simple = new Set<Json>()
  const measured = new Set<string>()
  const structured: Array<Json> = []
  for (const value of values) {
    const decimal = kinds.measure(value, kind)
    if (decimal !== undefined) measured.add(decimals.key(decimal))
    else if (typeof value === "object" && value !== null) structured.push(value)
    // A set would find NaN equal to itself.
    else if (!Number.isNaN(value)) simple.add(value)
  }
  return (candidate) => {
    if (simple.has(candidate)) return true
    if (typeof candidate === "object" && candidate !== null) {
      return structured.some((value) => isEqual(value, candidate))
    }
    if (measured.size === 0) return false
    const decimal = kinds.measure(candidate, kind)
    return decimal !== undefined && measured.has(decimals.key(decimal))
  }
}

/** In lower case, whatever case a text began with; the small sigma has a second form at the end of words. */
const foldCase = (text: string): string => text.normalize("NFC").toLowerCase().replaceAll("ς", "σ").normalize("NFC")

/**
 * Tells whether two values are the same: the order of keys is irrelevant, and `-0` equals `0`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isEqual = (a: Json, b: Json): boolean => {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (json.isList(a)) return json.isList(b) && a.length === b.length && a.every((item, i) => isEqual(item, b[i]!))
  if (json.isList(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isEqual(a[key]!, (b as JsonObject)[key]!))
  )
}

/**
 * Returns the value that a document has at a path; `undefined` when there is none. Own properties of objects only, so
 * that `constructor` is a field when the document has one, and not there otherwise.
 *
 * @category getters
 * @since 0.1.0
 */
export const valueAt: (document: JsonObject, path: ReadonlyArray<string>) => Json | undefined = json.valueAt

/**
 * Returns the names that a path is made of.
 *
 * @category conversions
 * @since 0.1.0
 */
export const segments = (path: Path): ReadonlyArray<string> => (typeof path === "string" ? path.split(".") : path)

// -----------------------------------------------------------------------------
// Parts
// -----------------------------------------------------------------------------

/**
 * Lists the conditions of a conjunction, also of those within it; of any other predicate, itself.
 *
 * @category getters
 * @since 0.1.0
 */
export const conjuncts = (predicate: Predicate): ReadonlyArray<Predicate> =>
  predicate._tag === "And" ? predicate.all.flatMap(conjuncts) : [predicate]

/**
 * Lists the paths that a predicate asks about, each once.
 *
 * @category getters
 * @since 0.1.0
 */
export const paths = (predicate: Predicate): ReadonlyArray<ReadonlyArray<string>> => {
  const found = new Map<string, ReadonlyArray<string>>()
  const visit = (node: Predicate): void => {
    if (node._tag === "And") node.all.forEach(visit)
    else if (node._tag === "Or") node.any.forEach(visit)
    else if (node._tag === "Not") visit(node.not)
    else found.set(JSON.stringify(node.path), node.path)
  }
  visit(predicate)
  return [...found.values()]
}

// -----------------------------------------------------------------------------
// Texts
// -----------------------------------------------------------------------------

const signs: Readonly<Record<CompareOp, string>> = { eq: "=", ne: "!=", gt: ">", gte: ">=", lt: "<", lte: "<=" }

/**
 * Writes a predicate for people to read: `country = "BR" and age >= 18`. Of an `in` with more than 10 values the first
 * few.
 *
 * `hidden`: dotted paths whose values show as `…`, and so do those of the fields below and around them.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describe = (
  predicate: Predicate,
  options: { readonly hidden?: ReadonlySet<string> | undefined } = {}
): string => {
  const hidden = Array.from(options.hidden ?? [], segments)
  const phrase = (node: Predicate, isInside: boolean): string => {
    switch (node._tag) {
      case "And":
        return listed(node.all, " and ", "everything", isInside)
      case "Or":
        return listed(node.any, " or ", "nothing", isInside)
      case "Not":
        return `not (${phrase(node.not, false)})`
      default:
        return fieldPhrase(node, hidden)
    }
  }
  const listed = (members: ReadonlyArray<Predicate>, word: string, empty: string, isInside: boolean): string => {
    if (members.length === 0) return empty
    if (members.length === 1) return phrase(members[0]!, isInside)
    const text = members.map((member) => phrase(member, true)).join(word)
    return isInside ? `(${text})` : text
  }
  return phrase(predicate, false)
}

const mostShown = 10

const some = (texts: ReadonlyArray<string>): string =>
  texts.length > mostShown
    ? `${texts.slice(0, mostShown).join(", ")} and ${texts.length - mostShown} more`
    : texts.join(", ")

const fieldPhrase = (node: FieldPredicate, hidden: ReadonlyArray<ReadonlyArray<string>>): string => {
  const name = node.path.map((part) => (/^[\p{L}\p{N}_$-]+$/u.test(part) ? part : JSON.stringify(part))).join(".")
  const isHidden = hidden.some((path) =>
    path.length < node.path.length
      ? path.every((part, i) => part === node.path[i])
      : node.path.every((part, i) => part === path[i])
  )
  const show = (value: Json): string => (isHidden ? "…" : JSON.stringify(value))
  switch (node._tag) {
    case "Compare":
      return `${name} ${signs[node.op]} ${show(node.value)}`
    case "In":
      return `${name} in (${isHidden ? "…" : some(node.values.map(show))})`
    case "Between":
      return `${name} between ${show(node.from)} and ${show(node.to)}`
    case "StartsWith":
      return `${name} starts with ${show(node.prefix)}${node.ignoreCase === true ? " in any case" : ""}`
    case "Contains":
      return `${name} contains ${show(node.value)}`
    case "Exists":
      return `${name} ${node.exists ? "exists" : "is missing"}`
  }
}

/**
 * Returns one text for all predicates that differ only in the order of conditions, of keys or of the values of an `in`,
 * or in conditions that are there twice. Different predicates have different texts. What a cursor is signed for.
 *
 * @category conversions
 * @since 0.1.0
 */
export const canonical = (predicate: Predicate): string => {
  switch (predicate._tag) {
    case "And":
      return combined("and", conjuncts(predicate))
    case "Or":
      return combined("or", alternatives(predicate))
    case "Not":
      return `["not",${canonical(predicate.not)}]`
    case "Compare":
      return `["${predicate.op}",${JSON.stringify(predicate.path)},${canonicalValue(predicate.value)}]`
    case "In":
      return `["in",${JSON.stringify(predicate.path)},[${sorted(predicate.values.map(canonicalValue))}]]`
    case "Between":
      return `["between",${JSON.stringify(predicate.path)},${canonicalValue(predicate.from)},${canonicalValue(predicate.to)}]`
    case "StartsWith":
      return `["startsWith",${JSON.stringify(predicate.path)},${JSON.stringify(predicate.prefix)},${predicate.ignoreCase === true}]`
    case "Contains":
      return `["contains",${JSON.stringify(predicate.path)},${canonicalValue(predicate.value)}]`
    case "Exists":
      return `["exists",${JSON.stringify(predicate.path)},${predicate.exists}]`
  }
}

const alternatives = (predicate: Predicate): ReadonlyArray<Predicate> =>
  predicate._tag === "Or" ? predicate.any.flatMap(alternatives) : [predicate]

const combined = (name: string, members: ReadonlyArray<Predicate>): string => {
  const texts = members.map(canonical)
  return new Set(texts).size === 1 ? texts[0]! : `["${name}",[${sorted(texts)}]]`
}

const sorted = (texts: ReadonlyArray<string>): string => [...new Set(texts)].toSorted().join(",")

/**
 * Returns one JSON text for all values that are the same for `isEqual`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const canonicalValue = (value: Json): string => {
  // JSON.stringify would make null of them, which is another value.
  if (typeof value === "number" && !Number.isFinite(value)) return String(value)
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  if (json.isList(value)) return `[${value.map(canonicalValue).join(",")}]`
  const members = Object.keys(value).toSorted()
  return `{${members.map((key) => `${JSON.stringify(key)}:${canonicalValue((value as JsonObject)[key]!)}`).join(",")}}`
}

// -----------------------------------------------------------------------------
// Order
// -----------------------------------------------------------------------------

/**
 * The direction of an order: ascending or descending.
 *
 * @category models
 * @since 0.1.0
 */
export type Direction = "asc" | "desc"

/**
 * The fields that documents are sorted by: the first field decides, the next one where it is the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Order = ReadonlyArray<{ readonly path: ReadonlyArray<string>; readonly direction: Direction }>

type OrderMap<A> = { readonly [P in FieldPath<A>]?: Direction }

/**
 * The notation of an order: `"name"`, `"-name"`, `{ name: "desc" }`, or a list of those.
 *
 * @category models
 * @since 0.1.0
 */
export type OrderBy<A> =
  | FieldPath<A>
  | `-${FieldPath<A>}`
  | OrderMap<A>
  | ReadonlyArray<FieldPath<A> | `-${FieldPath<A>}` | OrderMap<A>>

/**
 * Writes an order as text, as `parseOrder` of a repository reads it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const orderToText = (order: Order): string =>
  order.map(({ path, direction }) => (direction === "desc" ? "-" : "") + path.join(".")).join(",")

/**
 * Compares documents. Two that agree in all fields are ordered by their id, by code points and ascending; `id` default: the
 * text in the field `id`.
 *
 * Booleans come before numbers, then texts by code points, arrays, objects. In both directions `null` comes after all
 * values, and a missing field last.
 *
 * @category conversions
 * @since 0.1.0
 */
export const compare = (
  order: Order,
  options: Options & { readonly id?: ((document: JsonObject) => string) | undefined } = {}
): EffectOrder.Order<JsonObject> => {
  const idOf = options.id ?? idField
  const fields = order.map(({ path, direction }) => ({
    path,
    sign: direction === "desc" ? -1 : 1,
    kind: options.orderOf?.(path)
  }))
  return (a, b) => {
    for (const { path, sign, kind } of fields) {
      const x = valueAt(a, path)
      const y = valueAt(b, path)
      const isAbsent = absence(x) - absence(y)
      if (isAbsent !== 0) return ordering(isAbsent)
      if (x === undefined || y === undefined) continue
      const result = compareValues(x, y, kind)
      if (result !== 0) return ordering(result * sign)
    }
    return ordering(compareUtf8(idOf(a), idOf(b)))
  }
}

const idField = (document: JsonObject): string => {
  const id = valueAt(document, ["id"])
  return typeof id === "string" ? id : ""
}

const absence = (value: Json | undefined): number => (value === undefined ? 2 : value === null ? 1 : 0)

const ordering = (n: number): -1 | 0 | 1 => (n < 0 ? -1 : n > 0 ? 1 : 0)

/**
 * Compares values in a total order: booleans, numbers, texts by code points, arrays item by item, objects key by key,
 * `null`. It is 0 exactly for values that are the same; with `"decimal"`, `"moment"` and `"date"` also for texts of the
 * same number or moment.
 *
 * @category getters
 * @since 0.1.0
 */
export const compareValues = (a: Json, b: Json, kind?: Kind): -1 | 0 | 1 => {
  if (kind === "date" && kinds.areCommonDates(a, b)) return ordering(compareUtf8(a, b as string))
  const x = kinds.measure(a, kind)
  const y = kinds.measure(b, kind)
  if (x !== undefined && y !== undefined) return ordering(decimals.compare(x, y))
  const rank = rankOf(a, x) - rankOf(b, y)
  if (rank !== 0) return ordering(rank)
  if (typeof a === "boolean" && typeof b === "boolean") return ordering(Number(a) - Number(b))
  if (typeof a === "number" && typeof b === "number") {
    return a === b ? 0 : Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) || a < b ? -1 : 1
  }
  if (typeof a === "string" && typeof b === "string") return ordering(compareUtf8(a, b))
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") return 0
  if (json.isList(a) && json.isList(b)) {
    for (let i = 0; i < a.length && i < b.length; i++) {
      const result = compareValues(a[i]!, b[i]!, kind)
      if (result !== 0) return result
    }
    return ordering(a.length - b.length)
  }
  return compareValues(entriesOf(a as JsonObject), entriesOf(b as JsonObject))
}

const entriesOf = (object: JsonObject): Json =>
  Object.keys(object)
    .toSorted(compareUtf8)
    .map((key) => [key, object[key]!])

const rankOf = (value: Json, decimal: decimals.Decimal | undefined): number => {
  if (decimal !== undefined) return 1
  switch (typeof value) {
    case "boolean":
      return 0
    case "number":
      return 1
    case "string":
      return 2
    default:
      return value === null ? 5 : json.isList(value) ? 3 : 4
  }
}

// -----------------------------------------------------------------------------
// Projection
// -----------------------------------------------------------------------------

interface Selection {
  /** The whole value. */
  isWhole: boolean
  readonly below: Map<string, Selection>
}

/**
 * Keeps the given paths of documents, in the order in which they are given, and leaves out what is missing. An object of
 * which no path is there is left out too.
 *
 * @category conversions
 * @since 0.1.0
 */
export const project = (paths: ReadonlyArray<Path>): ((document: JsonObject) => JsonObject) => {
  const root: Selection = { isWhole: false, below: new Map() }
  for (const path of paths) {
    let node = root
    for (const name of segments(path)) {
      let next = node.below.get(name)
      if (next === undefined) node.below.set(name, (next = { isWhole: false, below: new Map() }))
      node = next
    }
    node.isWhole = true
  }
  return (document) => select(document, root) ?? {}
}

const select = (object: JsonObject, selection: Selection): JsonObject | undefined => {
  if (selection.isWhole) return object
  const kept: Record<string, Json> = {}
  let isEmpty = true
  for (const [name, inner] of selection.below) {
    // Writing it would set the prototype.
    if (name === "__proto__" || !Object.hasOwn(object, name)) continue
    const value = object[name]!
    const part = inner.isWhole ? value : json.isObject(value) ? select(value, inner) : undefined
    if (part === undefined) continue
    kept[name] = part
    isEmpty = false
  }
  return isEmpty ? undefined : kept
}
