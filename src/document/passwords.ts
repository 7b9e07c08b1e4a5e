/**
 * Hashing of the plain passwords that inputs hold.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Algorithm, PasswordHasher } from "../crypto/PasswordHasher.ts"
import * as DbError from "../DbError.ts"
import { valueAt } from "../internal/json.ts"
import type { PasswordHash } from "../schema/Attribute.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as Normalization from "../schema/Normalization.ts"

/**
 * The passwords of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Passwords {
  /**
   * Puts a hash in the place of each redacted plain password of an input. Fails with `InvalidInput` for a password that
   * is too short or too long, and with `ServiceFailed` when the hasher does.
   */
  readonly hash: (input: unknown) => Effect.Effect<unknown, DbError.InvalidInput | DbError.ServiceFailed>
}

// A program without passwords need not load the module of the service, which is known by its id.
const HasherTag: Context.Service<PasswordHasher, PasswordHasher["Service"]> = Context.Service(
  "effect-s3db/crypto/PasswordHasher"
)

const standardAlgorithms: Readonly<Record<"bcrypt" | "argon2id", Algorithm>> = {
  bcrypt: { _tag: "Bcrypt", cost: 12 },
  argon2id: { _tag: "Argon2id", memory: 19_456, passes: 2, parallelism: 1 }
}

/**
 * Reads the password hasher of the fiber, absence being `None`.
 *
 * @category getters
 * @since 0.1.0
 */
export const service: Effect.Effect<Option.Option<PasswordHasher["Service"]>> = Effect.serviceOption(HasherTag)

const failed = (description: string) => new DbError.ServiceFailed({ service: "PasswordHasher", description })

/**
 * Creates what hashes the passwords of a resource. Fails with `ServiceFailed` when its schema has passwords and there is
 * no `PasswordHasher`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* ({
  name,
  schema
}: {
  readonly name: string
  readonly schema: Attributes.DocumentSchema
}): Effect.fn.Return<Passwords, DbError.ServiceFailed> {
  const paths = Attributes.passwordsOf(schema)
  const found = yield* service
  if (paths.length > 0 && Option.isNone(found)) {
    return yield* failed("the schema has passwords: provide PasswordHasher.layer")
  }
  if (paths.length === 0 || Option.isNone(found)) return { hash: Effect.succeed }
  const hasher = found.value
  const rules = new Map(
    Attributes.payloadsOf(schema, Attributes.plainPasswordId).map(({ path, payload }) => [
      path.join("."),
      Schema.decodeUnknownSync(Attributes.PlainPassword)(payload)
    ])
  )
  const invalid = (path: ReadonlyArray<string>, message: string) => DbError.invalidField(name, path, message)

  const hashOne = Effect.fnUntraced(function* (
    path: ReadonlyArray<string>,
    plain: Redacted.Redacted<string>
  ): Effect.fn.Return<PasswordHash, DbError.InvalidInput | DbError.ServiceFailed> {
    const { min = 0, max = Infinity, algorithm } = rules.get(path.join(".")) ?? {}
    const value: unknown = Redacted.value(plain)
    if (typeof value !== "string") return yield* invalid(path, "Expected a redacted text")
    const size = [...value].length
    if (size < min) return yield* invalid(path, `Expected a password of at least ${min} characters`)
    if (size > max) return yield* invalid(path, `Expected a password of at most ${max} characters`)
    return yield* hasher
      .hash(plain, algorithm === undefined ? undefined : standardAlgorithms[algorithm])
      .pipe(
        Effect.mapError(({ reason }) =>
          reason._tag === "WorkerFailed" ? failed(reason.description) : invalid(path, reason.description)
        )
      )
  })

  return {
    hash: Effect.fnUntracedEager(function* (input) {
      let hashed = input
      for (const path of paths) {
        const plain = valueAt(hashed, path)
        if (!Redacted.isRedacted(plain)) continue
        const hash = yield* hashOne(path, plain as Redacted.Redacted<string>)
        hashed = Normalization.changeAt(hashed, path, () => hash)
      }
      return hashed
    })
  }
})
