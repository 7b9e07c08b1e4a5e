/** What it costs an operation that it is counted and its requests are priced: beside the same operation without, on a store in memory. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Database from "effect-s3db/Database"
import * as Costs from "effect-s3db/plugins/Costs"
import * as Metrics from "effect-s3db/plugins/Metrics"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Prices from "effect-s3db/storage/Prices"
import type { Case } from "./measure.ts"

const User = Schema.Struct({ id: Schema.String, name: Schema.String, mail: Schema.String, age: Schema.Int })

const user = (id: string) => ({ id, name: "José da Silva", mail: "jose@example.com", age: 41 })

const metrics = Metrics.layer()
const costs = Costs.layer({ prices: Prices.s3Standard["us-east-1"] })

const plugins = {
  off: Layer.empty,
  Metrics: metrics,
  Costs: costs,
  "Metrics and Costs": Layer.merge(metrics, costs)
} as const

export const cases = (): Promise<ReadonlyArray<Case>> =>
  Effect.gen(function* () {
    // As long as the program runs.
    const scope = yield* Scope.make()
    const all: Array<Case> = []
    for (const [name, layer] of Object.entries(plugins)) {
      const App = layer.pipe(
        Layer.provideMerge(Database.layer),
        Layer.provide(MemoryStore.layer),
        Layer.fresh
      ) as Layer.Layer<Database.Database>
      const context = yield* Layer.buildWithScope(App, scope)
      const users = yield* Effect.provideContext(
        Resource.make(Resource.define("users", { schema: User, primaryKey: "id" })),
        context
      )
      yield* users.insert(user("1"))
      let next = 2
      const operations = {
        get: () => users.get("1"),
        insert: () => users.insert(user(String(next++))),
        update: () => users.update("1", { age: 42 })
      }
      for (const [operation, run] of Object.entries(operations)) {
        all.push({
          name: `${operation}, ${name}`,
          baseline: `${operation}, off`,
          run: (times) =>
            Effect.runPromise(
              Effect.gen(function* () {
                for (let i = 0; i < times; i++) yield* run()
              }).pipe(Effect.orDie)
            )
        })
      }
    }
    return all.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }).pipe(Effect.orDie, Effect.runPromise)
