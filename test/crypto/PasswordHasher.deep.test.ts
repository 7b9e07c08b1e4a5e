import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import { agreesWith, argon2idVectors, bcryptVectors, jbcryptVectors } from "./passwordVectors.ts"

describe("PasswordHasher", () => {
  it.effect("the vectors of crypt_blowfish, jBCrypt and phc-winner-argon2", () =>
    agreesWith([...bcryptVectors, ...jbcryptVectors, ...argon2idVectors]).pipe(
      Effect.provide(PasswordHasher.layerWith({ threads: 1 }))
    )
  )
})
