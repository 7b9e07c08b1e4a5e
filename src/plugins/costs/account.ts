/**
 * What a process asks of the store, priced as it happens: by resource, plugin, operation and kind of request; and how much more or less
 * is stored than before.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import { percentDecode } from "../../internal/text.ts"
import type * as InstrumentedStore from "../../storage/InstrumentedStore.ts"
import * as Prices from "../../storage/Prices.ts"

// -----------------------------------------------------------------------------
// Form
// -----------------------------------------------------------------------------

const kinds = ["put", "get", "head", "delete", "deleteMany", "copy", "list"] as const

/**
 * Requests of a kind, by whom they were made, and what they cost.
 *
 * @category models
 * @since 0.1.0
 */
export const Series = Schema.Struct({
  /** Empty where it was about none. */
  resource: Schema.String,
  plugin: Schema.String,
  operation: Schema.String,
  kind: Schema.Literals(kinds),
  /** That were answered, and so are priced. */
  requests: Schema.Int,
  /** That were not, as far as is known: these cost nothing. */
  unanswered: Schema.Int,
  sent: Schema.Finite,
  received: Schema.Finite,
  dollars: Schema.Finite
})

/**
 * Requests of a kind, by whom they were made, and what they cost.
 *
 * @category models
 * @since 0.1.0
 */
export interface Series extends Schema.Schema.Type<typeof Series> {}

/**
 * How what is stored has changed, as far as it is known.
 *
 * @category models
 * @since 0.1.0
 */
export const Stock = Schema.Struct({
  resource: Schema.String,
  plugin: Schema.String,
  bytes: Schema.Finite,
  objects: Schema.Int,
  /** How many objects were replaced or removed of which nobody knows how large they were. */
  unknown: Schema.Int
})

/**
 * How what is stored has changed, as far as it is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stock extends Schema.Schema.Type<typeof Stock> {}

/**
 * What was asked for in some time.
 *
 * @category models
 * @since 0.1.0
 */
export const Delta = Schema.Struct({ series: Schema.Array(Series), stock: Schema.Array(Stock) })

/**
 * What was asked for in some time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delta extends Schema.Schema.Type<typeof Delta> {}

// -----------------------------------------------------------------------------
// Sums
// -----------------------------------------------------------------------------

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

const seriesKey = ({ kind, operation, plugin, resource }: Pick<Series, "kind" | "operation" | "plugin" | "resource">) =>
  `${kind}\n${resource}\n${plugin}\n${operation}`

const stockKey = ({ plugin, resource }: Pick<Stock, "plugin" | "resource">) => `${resource}\n${plugin}`

const addSeries = (all: Map<string, Mutable<Series>>, one: Series): void => {
  const found = all.get(seriesKey(one))
  if (found === undefined) return void all.set(seriesKey(one), { ...one })
  found.requests += one.requests
  found.unanswered += one.unanswered
  found.sent += one.sent
  found.received += one.received
  found.dollars += one.dollars
}

const addStock = (all: Map<string, Mutable<Stock>>, one: Stock): void => {
  const found = all.get(stockKey(one))
  if (found === undefined) return void all.set(stockKey(one), { ...one })
  found.bytes += one.bytes
  found.objects += one.objects
  found.unknown += one.unknown
}

/**
 * Adds what was asked for up.
 *
 * @category combinators
 * @since 0.1.0
 */
export const merge = (all: ReadonlyArray<Delta>): Delta => {
  const series = new Map<string, Mutable<Series>>()
  const stock = new Map<string, Mutable<Stock>>()
  for (const delta of all) {
    for (const one of delta.series) addSeries(series, one)
    for (const one of delta.stock) addStock(stock, one)
  }
  return { series: [...series.values()], stock: [...stock.values()] }
}

// -----------------------------------------------------------------------------
// Keys
// -----------------------------------------------------------------------------

/**
 * Returns the resource and the plugin that a key belongs to; empty where it belongs to none.
 *
 * @category getters
 * @since 0.1.0
 */
export const ownerOf = (key: string): { readonly resource: string; readonly plugin: string } => {
  let rest = key
  let resource = ""
  if (rest.startsWith("resource=")) {
    const end = rest.indexOf("/")
    const name = rest.slice("resource=".length, end === -1 ? undefined : end)
    resource = percentDecode(name) ?? name
    rest = end === -1 ? "" : rest.slice(end + 1)
  }
  if (!rest.startsWith("plugin=")) return { resource, plugin: "" }
  const end = rest.indexOf("/")
  const name = rest.slice("plugin=".length, end === -1 ? undefined : end)
  return { resource, plugin: percentDecode(name) ?? name }
}

// -----------------------------------------------------------------------------
// Account
// -----------------------------------------------------------------------------

/**
 * What requests and transfer cost, by `resource`, `plugin`, `operation` and `request`.
 *
 * @category constants
 * @since 0.1.0
 */
export const dollars = Metric.counter("s3db_costs", {
  description: "US dollars that requests and transfer cost, by list prices",
  incremental: true
})

/**
 * Requests that are over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Charge {
  /** Empty for what is about no resource, such as the catalog. */
  readonly resource: string
  /** The slug of the plugin that made the requests, or that the keys belong to; empty for none. */
  readonly plugin: string
  /** The operation of a resource that made the requests; empty for none. */
  readonly operation: string
  readonly kind: InstrumentedStore.Kind
  /** That were answered. */
  readonly requests: number
  /** That were not, as far as is known: these cost nothing. */
  readonly unanswered: number
  /** Bytes of bodies and metadata. */
  readonly sent: number
  readonly received: number
}

/**
 * What a process asks of the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Account {
  readonly see: InstrumentedStore.Observer
  readonly charge: (charge: Charge, context: Context.Context<never>) => void
  readonly hasRoom: (charge: Charge) => boolean
  /** What was asked for since it was last taken, with when the first of it was over. */
  readonly take: () => { readonly at: number; readonly value: Delta } | undefined
  readonly giveBack: (taken: { readonly at: number; readonly value: Delta }) => void
  /** Since the start. */
  readonly totals: () => Delta
  /** What has not been taken. */
  readonly untaken: () => ReadonlyArray<Series>
}

/** The most series that are told apart. */
const mostSeries = 10_000

/** What stands for the operations beyond. */
const other = "other"

/** A series as it grows: since the start, and since it was last taken. */
interface Known {
  readonly total: Mutable<Series>
  readonly since: Mutable<Series>
  /** Of one request. */
  readonly price: number
  readonly isOwn: boolean
  readonly instrument: typeof dollars
}

const add = (to: Mutable<Series>, by: Omit<Charge, "resource" | "plugin" | "operation" | "kind">, cost: number) => {
  to.requests += by.requests
  to.unanswered += by.unanswered
  to.sent += by.sent
  to.received += by.received
  to.dollars += cost
}

const isSomething = ({ requests, unanswered }: Series): boolean => requests > 0 || unanswered > 0

const clear = (series: Mutable<Series>) => {
  series.requests = 0
  series.unanswered = 0
  series.sent = 0
  series.received = 0
  series.dollars = 0
}

/** At least so many objects whose size is remembered, and at most twice as many. */
const enoughSizes = 25_000

/** The sizes of objects that were seen last, in bytes. */
const makeSizes = () => {
  let young = new Map<string, number>()
  let old = new Map<string, number>()
  return {
    get: (key: string) => young.get(key) ?? old.get(key),
    set: (key: string, size: number) => {
      young.set(key, size)
      if (young.size < enoughSizes) return
      old = young
      young = new Map()
    },
    delete: (key: string) => {
      young.delete(key)
      old.delete(key)
    }
  }
}

/** What is not told in these words has reached nobody who would ask for money. */
const unpriced: ReadonlySet<string> = new Set([
  "Unavailable",
  "Throttled",
  "Timeout",
  "AccessDenied",
  "KeyTooLong",
  "MetadataTooLarge",
  "EntityTooLarge",
  "NoSuchBucket",
  "InvalidArgument",
  "Unsupported"
])

/**
 * Makes an account of nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (table: Prices.Table, isOwn: (plugin: string) => boolean): Account => {
  const known = new Map<string, Known>()
  const stockTotals = new Map<string, Mutable<Stock>>()
  let stock = new Map<string, Mutable<Stock>>()
  let since: number | undefined
  /** Whether there is more to write than what writing has cost: else each interval would be followed by another. */
  let isChanged = false
  const owners = new Map<string, ReturnType<typeof ownerOf>>()
  const sizes = makeSizes()
  const priceOf = Object.fromEntries(
    kinds.map((kind) => [kind, Prices.ofRequests(table, { [kind]: 1 })] as const)
  ) as Record<InstrumentedStore.Kind, number>
  const isFreeTransfer = Prices.ofTransfer(table, { sent: 1, received: 1 }) === 0

  const ownerOfKey = (key: string) => {
    // Keys of a resource and of a plugin have few beginnings.
    const first = key.indexOf("/")
    const second = key.indexOf("/", first + 1)
    const start = second === -1 ? key : key.slice(0, second + 1)
    const found = owners.get(start)
    if (found !== undefined) return found
    const owner = ownerOf(key)
    if (owners.size < mostSeries && second !== -1) owners.set(start, owner)
    return owner
  }

  const hasRoom = (charge: Charge) => known.has(seriesKey(charge)) || known.size < mostSeries

  const open = (charge: Pick<Series, "kind" | "operation" | "plugin" | "resource">): Known => {
    const found = known.get(seriesKey(charge))
    if (found !== undefined) return found
    if (known.size >= mostSeries && charge.operation !== other)
      return open({ ...charge, resource: "", operation: other })
    const { kind, operation, plugin, resource } = charge
    const nothing = { resource, plugin, operation, kind, requests: 0, unanswered: 0, sent: 0, received: 0, dollars: 0 }
    const one: Known = {
      total: { ...nothing },
      since: { ...nothing },
      price: priceOf[kind],
      isOwn: isOwn(plugin),
      instrument: Metric.withAttributes(dollars, { resource, plugin, operation, request: kind })
    }
    known.set(seriesKey(charge), one)
    return one
  }

  const charge: Account["charge"] = (given, context) => {
    const one = open(given)
    const cost = given.requests * one.price + (isFreeTransfer ? 0 : Prices.ofTransfer(table, given))
    add(one.total, given, cost)
    add(one.since, given, cost)
    if (!one.isOwn) {
      isChanged = true
      since ??= Context.get(context, Clock.Clock).currentTimeMillisUnsafe()
    }
    if (cost > 0) one.instrument.updateUnsafe(cost, context)
  }

  const changeStock = (key: string, bytes: number, objects: number, unknown: number) => {
    if (bytes === 0 && objects === 0 && unknown === 0) return
    const one: Stock = { ...ownerOfKey(key), bytes, objects, unknown }
    addStock(stockTotals, one)
    addStock(stock, one)
  }

  const gone = (key: string) => {
    const size = sizes.get(key)
    sizes.delete(key)
    if (size === undefined) changeStock(key, 0, 0, 1)
    else changeStock(key, -size, -1, 0)
  }

  const follow = ({ error, isNew, isOver, key, keys, kind, size }: InstrumentedStore.Seen) => {
    const isWrite = kind === "put" || kind === "delete" || kind === "deleteMany" || kind === "copy"
    if (error !== undefined || !isOver) {
      if (isWrite && error?.outcome !== "none") {
        for (const one of keys ?? [key]) {
          sizes.delete(one)
          changeStock(one, 0, 0, 1)
        }
      }
      return
    }
    if (kind === "delete" || kind === "deleteMany") return (keys ?? [key]).forEach(gone)
    if (kind === "copy") {
      sizes.delete(key)
      return changeStock(key, 0, 0, 1)
    }
    if (size === undefined) return
    if (kind === "put") {
      const before = sizes.get(key)
      if (isNew === true) changeStock(key, size, 1, 0)
      else if (before !== undefined) changeStock(key, size - before, 0, 0)
      else changeStock(key, 0, 0, 1)
    }
    sizes.set(key, size)
  }

  const untaken = () => [...known.values()].filter(({ since }) => isSomething(since)).map(({ since }) => ({ ...since }))

  return {
    see: (seen, context) => {
      const { error, isOver, kind, operation, received, requests, sent } = seen
      const owner = ownerOfKey(seen.key)
      const isPriced = isOver && (error === undefined || !unpriced.has(error.reason._tag))
      const name = operation.slice(operation.indexOf(".") + 1)
      charge(
        {
          resource: owner.resource,
          plugin: seen.plugin ?? owner.plugin,
          operation: name === "Resource" ? "" : name,
          kind,
          requests: isPriced ? requests : 0,
          unanswered: isPriced ? 0 : requests,
          sent: isPriced ? sent : 0,
          received
        },
        context
      )
      follow(seen)
    },
    charge,
    hasRoom,
    take: () => {
      if (!isChanged || since === undefined) return undefined
      isChanged = false
      const taken = { at: since, value: { series: untaken(), stock: [...stock.values()] } }
      for (const one of known.values()) clear(one.since)
      stock = new Map()
      since = undefined
      return taken
    },
    giveBack: ({ at, value }) => {
      since = Math.min(since ?? at, at)
      for (const one of value.series) add(open(one).since, one, one.dollars)
      for (const one of value.stock) addStock(stock, one)
      isChanged = true
    },
    totals: () => ({
      series: [...known.values()].map(({ total }) => ({ ...total })),
      stock: [...stockTotals.values()].map((one) => ({ ...one }))
    }),
    untaken
  }
}
