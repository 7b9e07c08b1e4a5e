/** A database with people in it, for the tests of the command line. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

export const definition = Resource.fromAttributes(
  "people",
  {
    name: "string|min:2",
    age: "number|integer|optional",
    country: "string",
    zip: "string|optional",
    balance: "money:EUR|optional",
    born: "date|optional",
    tags: { type: "array", items: "string", optional: true },
    address: { $$type: "object|optional", city: "string" },
    card: "secret|optional"
  },
  { partitions: { byCountry: ["country", "age"] }, unique: { byName: ["name"] }, history: true, content: true }
)

export class People extends Resource.Service<People>()("app/people", definition) {}

/** 32 bytes in base 64. */
export const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

const ring = KeyRing.layerKeys({ current: "k1", keys: { k1: Redacted.make(key) } })

/** Runs a program of its own on the database, as whoever declares the resource would. */
export const using = <A, E>(url: string, effect: Effect.Effect<A, E, People | Database.Database>) =>
  effect.pipe(
    Effect.provide(
      People.layer.pipe(
        Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
        Layer.provide(ring),
        Layer.provide(ConnectionString.layer(url))
      )
    ),
    Effect.orDie
  )

/** Puts some people there. */
export const fill = (url: string, count = 6) =>
  using(
    url,
    Effect.gen(function* () {
      const people = yield* People
      yield* people.insertMany(
        Array.from({ length: count }, (_, i) => ({
          id: `p${String(i).padStart(4, "0")}`,
          name: `Person ${i}`,
          age: 10 + i,
          country: i % 2 === 0 ? "BR" : "PT",
          zip: `0${i}`
        }))
      )
    })
  )
