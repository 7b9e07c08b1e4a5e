import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as CurrentUser from "effect-s3db/CurrentUser"

describe("CurrentUser", () => {
  it.effect("nobody by default; the one that is provided; and an error where one is needed", () =>
    Effect.gen(function* () {
      const ana = CurrentUser.make("ana")
      assert.isUndefined(yield* CurrentUser.CurrentUser)
      const missing: CurrentUser.Unauthenticated = yield* Effect.flip(CurrentUser.required)
      assert.deepStrictEqual([missing._tag, missing.message], ["Unauthenticated", "nobody is logged in"])
      const here = Effect.all([CurrentUser.CurrentUser, CurrentUser.required])
      assert.deepStrictEqual(yield* Effect.provideService(here, CurrentUser.CurrentUser, ana), [ana, ana])
      assert.deepStrictEqual(yield* Effect.provide(here, Layer.succeed(CurrentUser.CurrentUser, ana)), [ana, ana])
      const nobody = Effect.provideService(CurrentUser.CurrentUser, CurrentUser.CurrentUser, undefined)
      assert.isUndefined(yield* Effect.provideService(nobody, CurrentUser.CurrentUser, ana))
    })
  )

  it("users are made from claims", () => {
    const claims = {
      sub: "u1",
      azp: "web",
      scope: "read  write",
      roles: ["a", 1, "b"],
      realm_access: { roles: ["b", "c"] },
      resource_access: { web: { roles: ["d"] }, api: { roles: ["e"] } }
    }
    const user = Option.getOrThrow(CurrentUser.fromClaims(claims))
    assert.deepStrictEqual(user, { id: "u1", roles: ["a", "b", "c", "d"], scopes: ["read", "write"], claims })
  })

  it("claims of another form count as absent, and nobody is no user", () => {
    assert.isTrue(Option.isNone(CurrentUser.fromClaims({})))
    assert.isTrue(Option.isNone(CurrentUser.fromClaims({ sub: "" })))
    assert.isTrue(Option.isNone(CurrentUser.fromClaims({ sub: 7 })))
    const odd = { sub: "u", azp: "__proto__", scope: 1, roles: "admin", realm_access: null, resource_access: [] }
    const { roles, scopes } = Option.getOrThrow(CurrentUser.fromClaims(odd))
    assert.deepStrictEqual([roles, scopes], [[], []])
  })
})
