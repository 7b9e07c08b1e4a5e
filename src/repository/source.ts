/**
 * Where the reads of callers come from: the documents, or what stands between (`ReadThrough`).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as Aggregation from "../Aggregation.ts"
import * as Catalog from "../Catalog.ts"
import type { Definition } from "../Definition.ts"
import * as Document from "../Document.ts"
import type { Base, Context } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import type { Reader, ReadFailure } from "../document/read.ts"
import { documentLevels, type Json, stringifyExact } from "../encoding/Json.ts"
import * as sha256 from "../internal/sha256.ts"
import type * as Query from "../Query.ts"
import type { Fields } from "../query/fields.ts"
import type { Keys } from "../query/keys.ts"
import type { Listing } from "../query/listing.ts"
import type { Planner } from "../query/planner.ts"
import type { Filters, Queries } from "../query/run.ts"
import type * as ReadThrough from "../ReadThrough.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import * as Transaction from "../Transaction.ts"

/**
 * The reads of a resource that need not come to its documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<A> {
  readonly reader: Pick<Reader<A>, "loadNow" | "exists" | "byUnique">
  readonly getFrom: Listing<A>["getFrom"]
  readonly queries: Queries<A>
  /** What is worked out of the documents of a request. */
  readonly aggregate: <E>(
    request: Query.Request<A>,
    what: Json,
    /** The fields that it takes. */
    shown: ReadonlyArray<ReadonlyArray<string>>,
    run: Effect.Effect<ReadonlyArray<Aggregation.Group>, E>
  ) => Effect.Effect<ReadonlyArray<Aggregation.Group>, E>
}

type Request<A> = Query.Request<A> & Query.PageRequest & Query.Verify

const encoder = new TextEncoder()

/** A version, fields still encoded. */
interface Held {
  readonly id: string
  readonly stored: Document.Stored
}

const toJson = ({ id, stored }: Held): Json => {
  const { body, metadata } = Document.toText(stored)
  return [id, stored.revision, stored.bodyBytes, { ...metadata }, body]
}

const isTexts = (value: Json | undefined): value is Readonly<Record<string, string>> =>
  typeof value === "object" && value !== null && Object.values(value).every((one) => typeof one === "string")

const fromJson = (json: Json | undefined): Held | undefined => {
  if (!Array.isArray(json)) return undefined
  const [id, etag, size, metadata, body]: ReadonlyArray<Json> = json
  if (typeof id !== "string" || typeof etag !== "string" || typeof body !== "string") return undefined
  if (typeof size !== "number" || !isTexts(metadata)) return undefined
  const slot = Document.fromObject({ key: id, etag, size, metadata, body: encoder.encode(body) })
  return Result.isSuccess(slot) && slot.success.stored !== undefined ? { id, stored: slot.success.stored } : undefined
}

const parsed = (text: string): Json | undefined => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

/** The form of what is JSON, and the same for every reader. */
const plain = <X extends string | number | boolean>(type: "string" | "number" | "boolean"): ReadThrough.Form<X, X> => ({
  hold: (value) => value,
  show: Effect.succeed,
  toText: (value) => JSON.stringify(value),
  fromText: (text) => {
    const value = parsed(text)
    return typeof value === type ? (value as X) : undefined
  }
})

const ids = plain<string>("string")
const numbers = plain<number>("number")
const booleans = plain<boolean>("boolean")

/** Of groups a text is kept, so that everybody has groups of his own. */
const groups: ReadThrough.Form<ReadonlyArray<Aggregation.Group>, string> = {
  hold: (found) => {
    const text = stringifyExact(found as unknown as Json, documentLevels)
    return typeof text === "string" ? text : undefined
  },
  show: (text) => Effect.sync(() => JSON.parse(text) as ReadonlyArray<Aggregation.Group>),
  toText: (text) => text,
  fromText: (text) => (Array.isArray(parsed(text)) ? text : undefined)
}

const holdBase = <A>({ id, isSettled, stored }: Base<A>): Held | undefined =>
  // What a transaction is about to change has no revision that a write could be conditional on.
  isSettled && !stored.revision.startsWith("unsettled-") ? { id, stored } : undefined

const basesOf = <A>({ decode }: Reader<A>): ReadThrough.Form<Base<A>, Held> => ({
  hold: holdBase,
  show: ({ id, stored }) => decode(id, stored),
  toText: (held) => JSON.stringify(toJson(held)),
  fromText: (text) => fromJson(parsed(text))
})

const optionsOf = <A>(one: ReadThrough.Form<Base<A>, Held>): ReadThrough.Form<Option.Option<Base<A>>, Held | null> => ({
  hold: (found) => (Option.isNone(found) ? null : one.hold(found.value)),
  show: (held) => (held === null ? Effect.succeedNone : Effect.map(one.show(held), Option.some)),
  toText: (held) => (held === null ? "null" : one.toText(held)),
  fromText: (text) => (text === "null" ? null : one.fromText(text))
})

interface HeldPage {
  readonly items: ReadonlyArray<Held>
  readonly cursor: string | undefined
}

const pagesOf = <A>(one: ReadThrough.Form<Base<A>, Held>): ReadThrough.Form<Query.Page<Base<A>>, HeldPage> => ({
  hold: ({ cursor, items }) => {
    const held = items.map(holdBase).filter((item) => item !== undefined)
    return held.length === items.length ? { items: held, cursor } : undefined
  },
  show: ({ cursor, items }) => Effect.map(Effect.forEach(items, one.show), (items) => ({ items, cursor })),
  toText: ({ cursor, items }) => JSON.stringify([cursor ?? null, ...items.map(toJson)]),
  fromText: (text) => {
    const json = parsed(text)
    if (!Array.isArray(json)) return undefined
    const [cursor, ...rest]: ReadonlyArray<Json> = json
    const items = rest.map(fromJson).filter((item) => item !== undefined)
    if (items.length < rest.length || (cursor !== null && typeof cursor !== "string")) return undefined
    return { items, cursor: cursor ?? undefined }
  }
})

/** What queries depend on beside their request: the definition, and what the catalog asks of partitions and unique keys. */
const shapesOf = <S extends DocumentSchema>(definition: Definition<S>, { database, name }: Context<S["Type"]>) => {
  const hash = Catalog.hash(definition)
  let last: { readonly text: string | undefined; readonly shape: string } | undefined
  return (): string => {
    const text = database.upkeep(name)?.text
    if (last?.text !== text || last === undefined) {
      const digest = sha256.sha256(encoder.encode(JSON.stringify([hash, text ?? null])))
      last = { text, shape: Array.from(digest.subarray(0, 12), (byte) => byte.toString(36)).join(".") }
    }
    return last.shape
  }
}

/**
 * Makes the source of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  definition: Definition<S>,
  { context, indexes, reader }: Documents<S["Type"]>,
  {
    fields,
    keys,
    listing,
    planner,
    queries
  }: {
    readonly fields: Fields<S["Type"]>
    readonly keys: Keys
    readonly listing: Listing<S["Type"]>
    readonly planner: Planner<S["Type"]>
    readonly queries: Queries<S["Type"]>
  }
): Source<S["Type"]> => {
  type A = S["Type"]
  const { name: resource, readThrough } = context
  const shape = shapesOf(definition, context)
  const base = basesOf(reader)
  const option = optionsOf(base)
  const pages = pagesOf(base)
  const found: ReadThrough.Form<{ readonly base: Base<A>; readonly json: ReturnType<Fields<A>["jsonOf"]> }, Held> = {
    ...base,
    hold: ({ base }) => holdBase(base),
    show: (held) => Effect.map(base.show(held), (base) => ({ base, json: fields.jsonOf(base) }))
  }

  type Asked = Pick<ReadThrough.Read<never, never>, "method" | "key" | "extent">

  /** A transaction reads for itself. */
  const through = <X, Held, E, R>(
    asked: Effect.Effect<Asked | undefined>,
    form: ReadThrough.Form<X, Held>,
    load: Effect.Effect<X, E, R>
  ): Effect.Effect<X, E, R> =>
    Effect.suspend(() => {
      const one = readThrough()
      if (one === undefined) return load
      return Effect.flatMap(Transaction.Current, (transaction) =>
        transaction !== undefined
          ? load
          : Effect.flatMap(asked, (asked) =>
              asked === undefined ? load : one.read({ resource, ...asked, form }, load)
            )
      )
    })

  const throughMany = <X, Held, E, R>(
    asked: Effect.Effect<Asked | undefined>,
    form: ReadThrough.Form<X, Held>,
    load: Stream.Stream<X, E, R>
  ): Stream.Stream<X, E, R> =>
    Stream.suspend(() => {
      const one = readThrough()
      if (one === undefined) return load
      return Stream.unwrap(
        Effect.flatMap(Transaction.Current, (transaction) =>
          transaction !== undefined
            ? Effect.succeed(load)
            : Effect.map(asked, (asked) =>
                asked === undefined ? load : one.stream({ resource, ...asked, form }, load)
              )
        )
      )
    })

  const ofOne = (method: ReadThrough.Method, id: string, key = id): Effect.Effect<Asked | undefined> =>
    typeof id === "string"
      ? Effect.succeed({ method, key, extent: { _tag: "Document", id } })
      : Effect.succeed(undefined)

  /** The part of a partition that a request is about, in stored form; `undefined` for one that cannot be. */
  const selected = Effect.fnUntraced(function* (request: Query.Within) {
    const partition = (yield* indexes.all).partitions.get(request.partition ?? "")
    const selection = partition === undefined ? undefined : keys.select(partition, request)
    return selection === undefined ? undefined : Result.getOrUndefined(selection)
  })

  const extentOf = Effect.fnUntraced(function* (
    request: Query.Within
  ): Effect.fn.Return<ReadThrough.Extent | undefined> {
    if (request.partition === undefined) return { _tag: "Resource" }
    const selection = yield* selected(request)
    if (selection === undefined) return undefined
    return { _tag: "Partition", prefix: selection.prefix.slice(0, selection.prefix.lastIndexOf("/") + 1) }
  })

  /** What a request asks for; `undefined` when that is not to be told by a text, or is refused. */
  const ofRequest = Effect.fnUntraced(function* (
    method: ReadThrough.Method,
    request: Request<A>,
    filters: Filters<A> = [],
    more: Json = null,
    shown?: ReadonlyArray<ReadonlyArray<string>>
  ): Effect.fn.Return<Asked | undefined> {
    if (filters.length > 0 || request.onCorrupt !== undefined || request.maxStaleness !== undefined) return undefined
    const { limit, cursor, partition, scan, values, verify } = request
    if (partition === undefined && values !== undefined) return undefined
    // Markers alone may be those of a write that comes to nothing, of which nobody tells.
    if (partition !== undefined && verify === false) return undefined
    const planned = yield* Effect.option(planner.plan(request, shown))
    const extent = yield* extentOf(request)
    if (Option.isNone(planned) || extent === undefined) return undefined
    if (planned.value.plan.reads === "keys") return undefined
    const { canonical } = planned.value
    const parts: Json = [canonical, limit ?? null, cursor ?? null, scan ?? null, verify ?? null, more, shape()]
    return { method, key: JSON.stringify(parts), extent }
  })

  const ways = (request: Request<A>) => (request.scan === true ? "scan" : "query")

  return {
    reader: {
      loadNow: (id) =>
        readThrough() === undefined ? reader.loadNow(id) : through(ofOne("get", id), base, reader.load(id)),
      exists: (id) =>
        readThrough() === undefined ? reader.exists(id) : through(ofOne("exists", id), booleans, reader.exists(id)),
      byUnique: (unique, digest) =>
        through<Option.Option<Base<A>>, Held | null, ReadFailure, never>(
          Effect.sync(() => ({
            method: "getByUnique",
            key: JSON.stringify([unique, digest, shape()]),
            extent: { _tag: "Resource" }
          })),
          option,
          reader.byUnique(unique, digest)
        )
    },
    getFrom: (id, within) =>
      through(
        Effect.map(selected(within), (selection) =>
          selection === undefined || typeof id !== "string"
            ? undefined
            : {
                method: "getFromPartition",
                key: JSON.stringify([id, selection.prefix, selection.least ?? null, selection.most ?? null, shape()]),
                extent: { _tag: "Document", id }
              }
        ),
        base,
        listing.getFrom(id, within)
      ),
    queries: {
      ...queries,
      bases: (request, filters) =>
        throughMany(ofRequest(ways(request), request, filters), base, queries.bases(request, filters)),
      found: (request, filters) =>
        throughMany(ofRequest(ways(request), request, filters), found, queries.found(request, filters)),
      ids: (request, filters) =>
        throughMany(ofRequest("listIds", request, filters, null, []), ids, queries.ids(request, filters)),
      count: (request, filters) =>
        through(ofRequest("count", request, filters, null, []), numbers, queries.count(request, filters)),
      page: (request, filters, hides) =>
        through(ofRequest("page", request, filters, hides), pages, queries.page(request, filters, hides))
    },
    aggregate: (request, what, shown, run) => through(ofRequest("aggregate", request, [], what, shown), groups, run)
  }
}
