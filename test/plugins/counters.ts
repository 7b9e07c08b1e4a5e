/** Wallets that are counted in, as a process has them. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Database } from "effect-s3db/Database"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as Plugin from "effect-s3db/Plugin"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { openOn } from "../fixture.ts"

export class Wallets extends Resource.Service<Wallets>()("effect-s3db/test/plugins/counters/Wallets", {
  schema: Schema.Struct(
    Plugin.withAttributes(
      {
        id: Schema.String,
        owner: Schema.optionalKey(Schema.String),
        balance: Schema.optionalKey(Schema.Finite),
        points: Schema.optionalKey(Schema.BigInt),
        amount: Schema.optionalKey(Attribute.Money()),
        visits: Schema.optionalKey(Schema.Int),
        credit: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
        utm: Schema.optionalKey(
          Schema.Struct({ google: Schema.optionalKey(Schema.Int), other: Schema.optionalKey(Schema.Int) })
        ),
        tags: Schema.optionalKey(Schema.Array(Schema.String)),
        seen: Schema.optionalKey(Schema.Array(Schema.Int)),
        direct: Schema.optionalKey(Schema.Int)
      },
      EventualConsistency.attributes
    )
  ),
  primaryKey: "id",
  name: "wallets"
}) {}

export const balance = EventualConsistency.counter(Wallets, "balance", { analytics: true })
export const points = EventualConsistency.counter(Wallets, "points")
export const amount = EventualConsistency.counter(Wallets, "amount", { analytics: true })
export const visits = EventualConsistency.counter(Wallets, "visits", { hot: true, analytics: true })
export const credit = EventualConsistency.counter(Wallets, "credit")
export const google = EventualConsistency.counter(Wallets, "utm.google")
export const direct = EventualConsistency.counter(Wallets, "direct", { mode: "apply" })

/** What a reducer that cares for order makes: a list. */
export const tagging = {
  operation: Schema.String,
  initial: [],
  reduce: (tags: ReadonlyArray<string>, tag: string): ReadonlyArray<string> => [...tags, tag]
}
export const tags = EventualConsistency.reducer(Wallets, "tags", tagging)

/** A set in the order of numbers: it makes no difference in which order they come. */
export const seeing = {
  operation: Schema.Int,
  initial: [],
  hot: true,
  reduce: (seen: ReadonlyArray<number>, n: number): ReadonlyArray<number> =>
    [...new Set([...seen, n])].toSorted((a, b) => a - b)
}
export const seen = EventualConsistency.reducer(Wallets, "seen", seeing)

export const all = [balance, points, amount, visits, credit, google, direct, tags, seen]

/** A process that counts, until the scope closes. */
export const processOn = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  options: Partial<EventualConsistency.Options> = {},
  known: ReadonlyArray<EventualConsistency.AnyCounter<Wallets>> = all
) {
  const { database } = yield* openOn(store)
  const wallets = yield* Effect.provideService(Resource.make(Wallets.definition), Database, database)
  const counters = yield* EventualConsistency.make({ fold: false, ...options, counters: known }).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Wallets, wallets)
  )
  return { database, wallets, counters }
})
