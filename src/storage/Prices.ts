/**
 * What stores ask for requests, storage and transfer: tables as data, with the source and the date of every figure.
 *
 * ```ts
 * import * as Prices from "effect-s3db/storage/Prices"
 *
 * const table = Prices.s3Standard["eu-central-1"]
 * console.log(Prices.ofRequests(table, { put: 1_000_000, get: 1_000_000 }))
 * ```
 *
 * **Details**
 *
 * A table is a value: make your own where a contract says otherwise, or prices have changed (`{ ...table, version, requests }`). Nothing
 * here is asked of a network. Free allowances of an account are left out, since they are shared by all that the account does.
 *
 * @see `docs/guide/costs.md`
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { Counts } from "./InstrumentedStore.ts"

// -----------------------------------------------------------------------------
// Tables
// -----------------------------------------------------------------------------

/**
 * US dollars, who says so, and the day from which that is known: `2025-04-10`, or a month or a year.
 *
 * @category models
 * @since 0.1.0
 */
export const Figure = Schema.Struct({
  dollars: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  source: Schema.String,
  asOf: Schema.String
})

/**
 * A price with where it is from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Figure extends Schema.Schema.Type<typeof Figure> {}

/**
 * A price for what is more than `from` gigabytes, up to where the next one begins. The first begins at 0.
 *
 * @category models
 * @since 0.1.0
 */
export const Tier = Schema.Struct({ from: Schema.Finite, price: Figure })

/**
 * A price that counts from some amount on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tier extends Schema.Schema.Type<typeof Tier> {}

/**
 * What one class of storage costs in one region.
 *
 * @category models
 * @since 0.1.0
 */
export const Table = Schema.Struct({
  /** Tells tables apart: `s3/standard/us-east-1`. */
  name: Schema.String,
  /** Another one for each change of a figure: the day from which it counts. */
  version: Schema.String,
  /** How many bytes a gigabyte of this provider has. */
  gigabyte: Schema.Finite.check(Schema.isGreaterThan(0)),
  /** For a million of each kind. */
  requests: Schema.Struct({
    put: Figure,
    get: Figure,
    head: Figure,
    delete: Figure,
    /** For a million requests, each of up to 1,000 keys. */
    deleteMany: Figure,
    copy: Figure,
    list: Figure
  }),
  /** For a gigabyte and month. */
  storage: Schema.Array(Tier),
  /** For a gigabyte that is sent to the store, and for one that is read from it, wherever it goes. */
  upload: Figure,
  retrieval: Figure,
  /** For a gigabyte that leaves the region for the internet, in addition. */
  internet: Schema.Array(Tier)
})

/**
 * What one class of storage costs in one region.
 *
 * @category models
 * @since 0.1.0
 */
export interface Table extends Schema.Schema.Type<typeof Table> {}

// -----------------------------------------------------------------------------
// Amazon S3
// -----------------------------------------------------------------------------

const gibibyte = 2 ** 30

const amazon = "https://aws.amazon.com/s3/pricing/"

/** What asks for figures of one source and day. */
const figures =
  (source: string, asOf: string) =>
  (dollars: number): Figure => ({ dollars, source, asOf })

/** Of requests that are priced as writes, which `puts` may not be, as reads, or not at all. */
const requestsAt = (
  figure: (dollars: number) => Figure,
  { puts, reads, writes }: { readonly writes: number; readonly reads: number; readonly puts?: number }
): Table["requests"] => ({
  put: figure(puts ?? writes),
  copy: figure(writes),
  list: figure(writes),
  get: figure(reads),
  head: figure(reads),
  delete: figure(0),
  deleteMany: figure(0)
})

interface StandardPrices {
  /** For a million of PUT, COPY, POST and LIST, and of everything else. */
  readonly writes: number
  readonly reads: number
  /** For a gigabyte and month: the first 50 TB, the next 450, and what is above. */
  readonly storage: readonly [number, number, number]
  /** For a gigabyte to the internet: the first 10 TB, the next 40, the next 100, and what is above. */
  readonly internet: readonly [number, number, number, number]
}

const terabyte = 1024

const standard = (region: string, { internet, reads, storage, writes }: StandardPrices): Table => {
  const figure = figures(amazon, "2025")
  return {
    name: `s3/standard/${region}`,
    version: "2025",
    gigabyte: gibibyte,
    requests: requestsAt(figure, { writes, reads }),
    storage: [0, 50 * terabyte, 500 * terabyte].map((from, i) => ({ from, price: figure(storage[i]!) })),
    upload: figure(0),
    retrieval: figure(0),
    internet: [0, 10 * terabyte, 50 * terabyte, 150 * terabyte].map((from, i) => ({
      from,
      price: figure(internet[i]!)
    }))
  }
}

const northern: StandardPrices = {
  writes: 5,
  reads: 0.4,
  storage: [0.023, 0.022, 0.021],
  internet: [0.09, 0.085, 0.07, 0.05]
}

/**
 * S3 Standard, by region. DELETE is free, and DeleteObjects is taken for one.
 *
 * @category constants
 * @since 0.1.0
 */
export const s3Standard = {
  "us-east-1": standard("us-east-1", northern),
  "us-east-2": standard("us-east-2", northern),
  "us-west-2": standard("us-west-2", northern),
  "eu-west-1": standard("eu-west-1", northern),
  "eu-central-1": standard("eu-central-1", {
    ...northern,
    writes: 5.4,
    reads: 0.43,
    storage: [0.0245, 0.0235, 0.0225]
  }),
  "sa-east-1": standard("sa-east-1", {
    writes: 7,
    reads: 0.56,
    storage: [0.0405, 0.039, 0.037],
    internet: [0.15, 0.138, 0.126, 0.114]
  })
} as const satisfies Readonly<Record<string, Table>>

const express = figures("https://aws.amazon.com/s3/faqs/", "2025-04-10")
const expressInternet = figures(amazon, "2025")

/**
 * S3 Express One Zone in us-east-1. Every byte that is sent or read is priced as well.
 *
 * @category constants
 * @since 0.1.0
 */
export const s3ExpressOneZone = {
  "us-east-1": {
    name: "s3/express-one-zone/us-east-1",
    version: "2025-04-10",
    gigabyte: gibibyte,
    requests: requestsAt(express, { writes: 1.13, reads: 0.03 }),
    storage: [{ from: 0, price: express(0.11) }],
    upload: express(0.0032),
    retrieval: express(0.0006),
    internet: [0, 10 * terabyte, 50 * terabyte, 150 * terabyte].map((from, i) => ({
      from,
      price: expressInternet(northern.internet[i]!)
    }))
  }
} as const satisfies Readonly<Record<string, Table>>

// -----------------------------------------------------------------------------
// Others
// -----------------------------------------------------------------------------

const cloudflare = figures("https://developers.cloudflare.com/r2/pricing/", "2026-06-13")

/**
 * Cloudflare R2, Standard storage, without what is free in each month. DeleteObjects is in none of its lists; it is taken for a
 * DeleteObject, which is free.
 *
 * @category constants
 * @since 0.1.0
 */
export const r2: Table = {
  name: "r2/standard",
  version: "2026-06-13",
  gigabyte: 1e9,
  requests: requestsAt(cloudflare, { writes: 4.5, reads: 0.36 }),
  storage: [{ from: 0, price: cloudflare(0.015) }],
  upload: cloudflare(0),
  retrieval: cloudflare(0),
  internet: [{ from: 0, price: cloudflare(0) }]
}

const calls = figures("https://www.backblaze.com/cloud-storage/transaction-pricing", "2025")
const volume = figures("https://www.backblaze.com/cloud-storage/pricing", "2023-10-03")

/**
 * Backblaze B2, without the calls that are free each day. What is read is free up to three times what is stored, which is not known
 * here: all that goes to the internet is priced.
 *
 * @category constants
 * @since 0.1.0
 */
export const b2: Table = {
  name: "b2",
  version: "2025",
  gigabyte: 1e9,
  requests: requestsAt(calls, { writes: 4, reads: 0.4, puts: 0 }),
  storage: [{ from: 0, price: volume(0.006) }],
  upload: volume(0),
  retrieval: volume(0),
  internet: [{ from: 0, price: volume(0.01) }]
}

const own = figures("nobody asks for it", "2025")

/**
 * What costs nothing, as one's own memory and folder do.
 *
 * @category constants
 * @since 0.1.0
 */
export const none: Table = {
  name: "none",
  version: "2025",
  gigabyte: 1e9,
  requests: requestsAt(own, { writes: 0, reads: 0 }),
  storage: [{ from: 0, price: own(0) }],
  upload: own(0),
  retrieval: own(0),
  internet: [{ from: 0, price: own(0) }]
}

/**
 * Every table that is here.
 *
 * @category constants
 * @since 0.1.0
 */
export const tables: ReadonlyArray<Table> = [
  ...Object.values(s3Standard),
  ...Object.values(s3ExpressOneZone),
  r2,
  b2,
  none
]

// -----------------------------------------------------------------------------
// Costs
// -----------------------------------------------------------------------------

const kinds = ["put", "get", "head", "delete", "deleteMany", "copy", "list"] as const

/**
 * Returns the dollars that requests cost, by their kinds.
 *
 * @category getters
 * @since 0.1.0
 */
export const ofRequests = ({ requests }: Table, counts: Partial<Counts>): number =>
  kinds.reduce((sum, kind) => sum + (requests[kind].dollars * (counts[kind] ?? 0)) / 1e6, 0)

/** What an amount costs, of which each part has the price of its tier. */
const inTiers = (tiers: ReadonlyArray<Tier>, gigabytes: number): number =>
  tiers.reduce((sum, { from, price }, i) => {
    const until = tiers[i + 1]?.from ?? Number.POSITIVE_INFINITY
    return sum + Math.max(0, Math.min(gigabytes, until) - from) * price.dollars
  }, 0)

/**
 * Returns the dollars that it costs to have so many bytes for a month.
 *
 * @category getters
 * @since 0.1.0
 */
export const ofStorage = ({ gigabyte, storage }: Table, bytes: number): number => inTiers(storage, bytes / gigabyte)

/**
 * Bytes that have been sent to a store, and read from it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transfer {
  readonly sent: number
  readonly received: number
}

/**
 * Returns the dollars that transfer costs, without what the internet adds.
 *
 * @category getters
 * @since 0.1.0
 */
export const ofTransfer = ({ gigabyte, retrieval, upload }: Table, { received, sent }: Transfer): number =>
  (sent * upload.dollars + received * retrieval.dollars) / gigabyte

/**
 * Returns the dollars that it adds when so many bytes of a month go to the internet. In a program in the same region as the store they do not.
 *
 * @category getters
 * @since 0.1.0
 */
export const ofInternet = ({ gigabyte, internet }: Table, bytes: number): number => inTiers(internet, bytes / gigabyte)
