/** A newer and an older version of one program on one store: what has to hold on whichever store that is. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Resource from "effect-s3db/Resource"
import type { DocumentSchema } from "effect-s3db/schema/Attributes"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { keysOf, openOn } from "./fixture.ts"

export type Store = ObjectStore["Service"]

/** Opens a resource as a program of its own does. */
export const program = <S extends DocumentSchema>(store: Store, options: Resource.Options<S>) =>
  Effect.flatMap(openOn(store), ({ database, open }) =>
    Effect.map(open("people", options), (people) => ({ database, people }))
  )

export const idsIn = <E>(stream: Stream.Stream<{ readonly id: string }, E>) =>
  Effect.map(Stream.runCollect(stream), (all) => all.map(({ id }) => id).toSorted())

export const Newer = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  mail: Schema.optionalKey(Schema.String),
  team: Schema.optionalKey(Schema.String),
  level: Schema.optionalKey(Schema.Int),
  address: Schema.optionalKey(Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) }))
})

export const newerOptions = {
  schema: Newer,
  primaryKey: "id",
  partitions: {
    team: { fields: ["team"], covering: ["name", "level", "address"] },
    nameAndLevel: { fields: { name: "upper", level: "bucket:10" } },
    zip: ["address.zip"]
  },
  unique: { mail: { fields: ["mail"], ignoreCase: true } },
  history: true,
  content: true
} as const

export const Older = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  address: Schema.optionalKey(Schema.Struct({ city: Schema.String }))
})

export const olderOptions = { schema: Older, primaryKey: "id", history: true, content: true } as const

export const full = {
  id: "1",
  name: "Ada",
  mail: "Ada@x",
  team: "red",
  level: 42,
  address: { city: "London", zip: "E1" }
} as const

/** A newer and an older program on one store, and one document by the newer. */
export const both = Effect.fnUntraced(function* (store: Store) {
  yield* program(store, olderOptions)
  const newer = yield* program(store, newerOptions)
  yield* Stream.runDrain((yield* newer.people.admin).backfill())
  const older = yield* program(store, olderOptions)
  yield* newer.people.insert(full)
  return { newer: newer.people, older: older.people, database: older.database, store }
})

export type Both = Effect.Success<ReturnType<typeof both>>

/** Whether every index leads to the document, and the values are as expected. */
export const isReachable = Effect.fnUntraced(function* (
  { newer, store }: Pick<Both, "newer" | "store">,
  expected: typeof Newer.Type
) {
  assert.deepStrictEqual(yield* newer.get("1"), expected)
  const { address, level, mail, name, team } = expected
  if (team !== undefined) {
    assert.deepStrictEqual(yield* idsIn(newer.scan({ partition: "team", values: { team } })), ["1"], "team")
    const covered = yield* Stream.runCollect(newer.covered({ partition: "team", values: { team } }))
    const fields = Object.fromEntries(
      Object.entries({ name, level, address }).filter(([, value]) => value !== undefined)
    )
    assert.deepStrictEqual(
      covered.map((one) => one.fields as object),
      [fields],
      "covered"
    )
  }
  if (level !== undefined) {
    assert.deepStrictEqual(
      yield* idsIn(newer.scan({ partition: "nameAndLevel", values: { name: name.toUpperCase(), level } })),
      ["1"]
    )
  }
  if (address?.zip !== undefined) {
    assert.deepStrictEqual(yield* idsIn(newer.scan({ partition: "zip", values: { "address.zip": address.zip } })), [
      "1"
    ])
  }
  if (mail !== undefined) {
    assert.strictEqual((yield* newer.getByUnique("mail", { mail })).id, "1")
    const error = yield* Effect.flip(newer.insert({ id: "2", name: "Eve", mail: mail.toLowerCase() }))
    assert.strictEqual(error._tag, "UniqueViolation")
  }
  const kinds = [team, level, address?.zip].filter((value) => value !== undefined).length
  assert.strictEqual((yield* keysOf(store, "resource=people/partition=")).length, kinds, "markers")
  const admin = yield* newer.admin
  assert.deepStrictEqual(yield* Stream.runCollect(admin.repair({ dryRun: true, markerGraceMillis: -1 })), [])
})

/** Every way in which the older program changes the name. */
const writes: Readonly<Record<string, (both: Both) => Effect.Effect<unknown, unknown>>> = {
  update: ({ older }) => older.update("1", { name: "Grace" }),
  "update of the document in hand": ({ older }) =>
    Effect.flatMap(older.getDocument("1"), (held) => older.update(held, { name: "Grace" })),
  patch: ({ older }) => older.patch("1", { name: "Grace" }),
  "patch of a struct": ({ older }) => older.patch("1", { name: "Grace", address: { city: "London" } }),
  upsert: ({ older }) => older.upsert({ id: "1", name: "Grace" }),
  updateMany: ({ older }) => Stream.runDrain(older.updateMany({ scan: true }, { name: "Grace" })),
  updateJson: ({ older }) => older.updateJson("1", { name: "Grace" }),
  patchJson: ({ older }) => older.patchJson("1", { name: "Grace" }),
  "setContent, then update": ({ older }) =>
    Effect.andThen(
      older.setContent("1", new Uint8Array([1])),
      Effect.andThen(older.update("1", { name: "Grace" }), older.deleteContent("1"))
    ),
  "update in a transaction": ({ database, older }) =>
    database.transaction(Effect.andThen(older.update("1", { name: "x" }), older.update("1", { name: "Grace" }))),
  "upsert in a transaction of two": ({ database, older }) =>
    database.transaction(
      Effect.andThen(older.upsert({ id: "1", name: "Grace" }), older.insert({ id: "9", name: "other" }))
    )
}

const renamed = { ...full, name: "Grace" }

const written = (name: string): ((store: Store) => Effect.Effect<void, unknown, Scope.Scope>) =>
  Effect.fnUntraced(function* (store) {
    const programs = yield* both(store)
    yield* writes[name]!(programs)
    if (name.endsWith("of two")) yield* programs.newer.delete("9")
    yield* isReachable(programs, renamed)
  })

// -----------------------------------------------------------------------------
// Structs
// -----------------------------------------------------------------------------

const City = Schema.Struct({ city: Schema.String })
const Address = Schema.Struct({
  city: Schema.String,
  zip: Schema.optionalKey(Schema.String),
  geo: Schema.optionalKey(Schema.Struct({ lat: Schema.Int, at: Schema.optionalKey(Schema.String) }))
})
export const structOptions = <T extends DocumentSchema>(address: T) =>
  ({
    schema: Schema.Struct({
      id: Schema.String,
      name: Schema.String,
      address: Schema.optionalKey(Schema.NullOr(address))
    }),
    primaryKey: "id",
    history: true
  }) as const
const address = { city: "Rome", zip: "00100", geo: { lat: 42, at: "x" } }

const ofTwoStructs = Effect.fnUntraced(function* (store: Store) {
  yield* program(store, structOptions(City))
  const newer = (yield* program(store, {
    ...structOptions(Address),
    partitions: { zip: ["address.zip"] },
    unique: { lat: ["address.geo.lat"] }
  })).people
  yield* Stream.runDrain((yield* newer.admin).backfill())
  return { newer, older: (yield* program(store, structOptions(City))).people }
})

const structGoes = (nothing: undefined | null) =>
  Effect.fnUntraced(function* (store: Store) {
    const { newer, older } = yield* ofTwoStructs(store)
    yield* newer.insert({ id: "1", name: "a", address })
    yield* older.update("1", { address: nothing })
    const left = nothing === undefined ? { id: "1", name: "a" } : { id: "1", name: "a", address: null }
    assert.deepStrictEqual(yield* newer.get("1"), left)
    assert.deepStrictEqual(yield* keysOf(store, "resource=people/partition="), [])
    yield* newer.insert({ id: "2", name: "b", address })
    // A new one begins anew.
    yield* older.update("1", { address: { city: "Oslo" } })
    assert.deepStrictEqual(yield* newer.get("1"), { id: "1", name: "a", address: { city: "Oslo" } })
  })

const restored = Effect.fnUntraced(function* (store: Store) {
  const { newer, older } = yield* ofTwoStructs(store)
  yield* newer.insert({ id: "1", name: "a", address })
  yield* newer.update("1", { name: "b", address: { city: "Oslo", zip: "0150" } })
  yield* older.update("1", { name: "c" })
  yield* older.restore("1", { version: 1 })
  assert.deepStrictEqual(yield* newer.get("1"), { id: "1", name: "a", address })
  const found = newer.scan({ partition: "zip", values: { "address.zip": "00100" } })
  assert.deepStrictEqual(yield* idsIn(found), ["1"])
  assert.strictEqual((yield* keysOf(store, "resource=people/partition=")).length, 1)
  assert.strictEqual((yield* newer.getByUnique("lat", { "address.geo.lat": 42 })).id, "1")
  yield* older.restore("1", { version: 3 })
  assert.deepStrictEqual(yield* newer.get("1"), { id: "1", name: "c", address: { city: "Oslo", zip: "0150" } })
})

const replaced = (way: "alone" | "in a transaction" | "then updated in one") =>
  Effect.fnUntraced(function* (store: Store) {
    const known = { id: "1", name: "Grace", address: { city: "Paris" } }
    const programs = yield* both(store)
    const { database, older } = programs
    const replace = older.replace(way === "then updated in one" ? { ...known, name: "x" } : known)
    if (way === "alone") yield* replace
    else if (way === "in a transaction") yield* database.transaction(replace)
    else yield* database.transaction(Effect.andThen(replace, older.update("1", { name: "Grace" })))
    yield* isReachable(programs, known)
  })

/** What has to hold, by name. */
export const scenarios: Readonly<Record<string, (store: Store) => Effect.Effect<void, unknown, Scope.Scope>>> = {
  ...Object.fromEntries(
    Object.keys(writes).map((name) => [`indexes of unknown fields are kept up: ${name}`, written(name)])
  ),
  "a struct that becomes undefined goes as a whole, and what it was found by": structGoes(undefined),
  "a struct that becomes null goes as a whole, and what it was found by": structGoes(null),
  "restore gives back what the version had": restored,
  "a replacement is the whole document": replaced("alone"),
  "a replacement is the whole document, in a transaction": replaced("in a transaction"),
  "a replacement is the whole document, also when it is changed in a transaction": replaced("then updated in one")
}
