/** Tokens of leases in manifests: each write shows one, and none is below the highest that was seen. */
import * as Effect from "effect/Effect"
import { LeaseLost } from "../Lease.ts"

/** Gives the highest token that has been seen after a write. Without a lease it is 0, which each other shuts out. */
export const check = (key: string, seen: number, token = 0): Effect.Effect<number, LeaseLost> =>
  token >= seen ? Effect.succeed(token) : Effect.fail(new LeaseLost({ key, token, seen }))
