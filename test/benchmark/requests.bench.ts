/** The requests that each operation makes, counted at the store, and what a million of them cost at the prices of S3 Standard in us-east-1. */
import * as Effect from "effect/Effect"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as Prices from "effect-s3db/storage/Prices"
import { workload } from "./workload.ts"
import type { Table } from "./table.ts"

const prices = Prices.s3Standard["us-east-1"]

const shown: Readonly<Record<InstrumentedStore.Kind, string>> = {
  put: "PUT",
  get: "GET",
  head: "HEAD",
  list: "LIST",
  copy: "COPY",
  delete: "DELETE",
  deleteMany: "DeleteObjects"
}

const kinds = Object.keys(shown) as ReadonlyArray<InstrumentedStore.Kind>

/** How often each is done: what is only done now and then counts by its share. */
const times = 20

export const report = () =>
  Effect.gen(function* () {
    const results: Array<{
      readonly name: string
      readonly requests: Readonly<Record<string, number>>
      readonly dollars: number
    }> = []
    for (const { documents, make, name } of workload) {
      let counting: InstrumentedStore.RequestCounter["Service"] | undefined
      const run = yield* make((inner) => {
        const { counter, store } = InstrumentedStore.make(inner)
        counting = counter
        return store
      })
      yield* run
      yield* counting!.reset
      for (let i = 0; i < times; i++) yield* run
      const counts = yield* counting!.counts
      const requests = Object.fromEntries(
        kinds.filter((kind) => counts[kind] > 0).map((kind) => [shown[kind], counts[kind] / times])
      )
      const dollars = (Prices.ofRequests(prices, counts) / times) * 1e6
      results.push({ name: documents === 1 ? name : `${name}, ${documents} documents`, requests, dollars })
    }
    const table: Table = {
      title:
        "Requests of one operation, and dollars for a million of them (S3 Standard, us-east-1, aws.amazon.com/s3/pricing)",
      columns: ["", "requests", "dollars"],
      rows: results.map(({ dollars, name, requests }) => [
        name,
        Object.entries(requests)
          .map(([kind, count]) => `${Number(count.toFixed(2))} ${kind}`)
          .join(", "),
        dollars.toFixed(2)
      ])
    }
    return { results, tables: [table] }
  }).pipe(Effect.scoped, Effect.runPromise)
