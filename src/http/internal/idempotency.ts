/**
 * `Idempotency-Key`: a creation that is asked for again with the same key is the same creation.
 *
 * **Details**
 *
 * Before anything is written the key gets a record, by create-if-absent: a digest of the body, and the id that the document is going to
 * have. Whoever comes with the key again, also to another process and at the same time, creates under that id, or finds that it is done.
 * So a document is created once, whatever crashed when. A document that is there proves by its own first write id whether it was created by this
 * key: it is signed with what only this key has, see `document/signature`. So it is told from one that somebody else has created under an id
 * that the client gave.
 *
 * Records are forgotten after a day, and swept by one of the processes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Hex from "effect/encoding/Hex"
import * as Id from "../../crypto/Id.ts"
import type { User } from "../../CurrentUser.ts"
import type { Database } from "../../Database.ts"
import * as DbError from "../../DbError.ts"
import type { Definition } from "../../Definition.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import { sha256 } from "../../internal/sha256.ts"
import * as PluginStore from "../../kernel/PluginStore.ts"
import { sweeping } from "../../persistence/internal/sweeping.ts"
import type { DynamicSchema } from "../../Portable.ts"
import * as Attributes from "../../schema/Attributes.ts"
import * as Answer from "./answer.ts"

const Kept = Schema.Struct({
  /** Of the body. */
  digest: Schema.String,
  id: Schema.String,
  isDone: Schema.Boolean
})

const plugin = "http-idempotency"
const ttl = "1 day"

const sensible = /^[\x21-\x7e]{1,255}$/

/** A creation under a key. */
export interface Claim {
  readonly id: string
  /** What the document is signed with. */
  readonly signer: string
  /** Whether it is created, as far as the record says so. */
  readonly isDone: boolean
  /** Notes that it is created. What fails here is made up for by who comes next. */
  readonly done: Effect.Effect<void>
}

export interface Idempotency {
  readonly claim: (
    key: string,
    user: User | undefined,
    document: JsonObject
  ) => Effect.Effect<Claim, Answer.Refused | DbError.DbError>
}

/** The same for the same fields, in whatever order they come. */
const canonical = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== "object" || value === null) return value
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, one]) => [name, canonical(one)])
}

const digestOf = (value: unknown): string =>
  Hex.encode(sha256(new TextEncoder().encode(JSON.stringify(canonical(value)))))

/** `scope`: as long as what has expired is swept, from the first key on. No request before that. */
export const make = (
  database: Database["Service"],
  definition: Definition<DynamicSchema>,
  scope: Scope.Scope
): Idempotency => {
  const { attributes, name, schema } = definition
  const key = String(definition.primaryKey)
  const store = PluginStore.make(database.store, { plugin, resource: name, schema: Kept })
  const codec = attributes.find(({ path }) => path.length === 1 && path[0] === key)?.codec
  const isIncremental = Id.incrementalOf(Attributes.constructorDefaults(schema).get(key)) !== undefined
  const made = codec === "uuid" ? Id.uuidv7 : codec === "ulid" ? Id.ulid : Id.random

  let isSwept = false
  const sweep = Effect.suspend(() => {
    if (isSwept) return Effect.void
    isSwept = true
    const mark = { digest: "", id: "", isDone: true }
    return Scope.provide(sweeping(store, { every: "1 day", turn: "turn", mark }), scope)
  })

  const named = <A>(effect: Effect.Effect<A, PluginStore.Failure>) =>
    Effect.mapError(effect, (error) =>
      error._tag === "StoreError"
        ? DbError.fromStore("HttpResources.create", name)(error)
        : DbError.make(
            "HttpResources.create",
            new DbError.ServiceFailed({ service: plugin, description: error.description }),
            name
          )
    )

  return {
    claim: Effect.fnUntraced(function* (text, user, document) {
      if (!sensible.test(text)) {
        return yield* Answer.refuse(400, "InvalidRequest", "Idempotency-Key is 1 to 255 printable ASCII characters")
      }
      const given = Object.hasOwn(document, key) ? document[key] : undefined
      if (given === undefined && isIncremental) {
        return yield* Answer.refuse(
          422,
          "IdWanted",
          "with Idempotency-Key, send an id: those of this resource are counted up"
        )
      }
      // The key is a secret of the client, and not for keys of the bucket.
      const at = digestOf([user === undefined ? null : user.id, text])
      const digest = digestOf(document)
      const id = typeof given === "string" ? given : yield* made
      yield* sweep
      const isNew = yield* named(store.setIfAbsent(at, { digest, id, isDone: false }, { ttl }))
      const kept = isNew ? Option.none() : yield* named(store.get(at))
      const record = Option.getOrElse(kept, () => ({ digest, id, isDone: false }))
      if (record.digest !== digest) {
        return yield* Answer.refuse(
          422,
          "IdempotencyKeyReused",
          "this Idempotency-Key belongs to another request: take another one"
        )
      }
      const quietly = <A>(effect: Effect.Effect<A, PluginStore.Failure>) =>
        Effect.catch(Effect.asVoid(effect), (error) =>
          Effect.logWarning("what came of an Idempotency-Key could not be noted", error)
        )
      return {
        id: record.id,
        signer: digestOf(["creation", name, at]),
        isDone: record.isDone,
        done: quietly(store.set(at, { ...record, isDone: true }, { ttl }))
      }
    })
  }
}
