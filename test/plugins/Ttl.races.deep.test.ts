/** Two sweepers and a program that refreshes, in every order of their requests. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { explore } from "./ttlOrders.ts"

describe("Ttl in every order of requests of several", () => {
  for (const [name, clients] of [
    ["deletes", ["a", "b", "user"]],
    ["archives", ["a", "user"]],
    ["archives", ["a", "b"]]
  ] as const) {
    it.effect(
      `${name}: ${clients.join(", ")}`,
      () => Effect.map(explore(name, clients), (schedules) => assert.isAbove(schedules, 100)),
      600_000
    )
  }
})
