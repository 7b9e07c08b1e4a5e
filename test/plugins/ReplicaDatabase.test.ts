import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { Database } from "effect-s3db/Database"
import * as ReplicaDatabase from "effect-s3db/plugins/ReplicaDatabase"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, keysOf, memory, openOn } from "../fixture.ts"
import { driven } from "./nearby.ts"
import { assertSame, sourceOf, type Store } from "./replicas.ts"
import { change, simpleShape } from "./replicaTables.ts"

const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })

class Members extends Resource.Service<Members>()("effect-s3db/test/plugins/ReplicaDatabase.test/Members", {
  name: "members",
  schema: Schema.Struct({
    id: Schema.String,
    email: Schema.String,
    city: Schema.optionalKey(Schema.String),
    paid: Schema.optionalKey(Attribute.Money("EUR")),
    createdAt: Schema.DateTimeUtcFromString,
    updatedAt: Schema.DateTimeUtcFromString,
    token: Attribute.Secret(Schema.String)
  }),
  primaryKey: "id",
  timestamps: true,
  partitions: { byCity: ["city"] },
  unique: { byEmail: ["email"] },
  journal: { images: "after" }
}) {}

const targetOn = (store: Store) => ReplicaDatabase.database(Layer.succeed(ObjectStore, store), { catalogLease: 0 })

const open = Effect.fnUntraced(function* (
  store: Store,
  to: Store,
  options: Parameters<typeof Replicator.resource<typeof Members>>[1] = { secrets: "all" }
) {
  const { database } = yield* openOn(store)
  const members = yield* Effect.provideService(Resource.make(Members.definition), Database, database)
  const replicator = yield* Replicator.make({
    name: "copy",
    lease: "1 second",
    firstPause: "100 millis",
    pause: "100 millis",
    longestTargetPause: "2 seconds",
    target: targetOn(to),
    resources: [Replicator.resource(Members, options)]
  }).pipe(Effect.provideService(Database, database), Effect.provideService(Members, members))
  const settle = Effect.andThen(
    driven(database.journal.catchUp(database.journaled, { lease: "1 second" })),
    driven(replicator.caughtUp)
  )
  /** As the program that goes on with the copy. */
  const copy = Effect.gen(function* () {
    const other = yield* openOn(to)
    return yield* Effect.provideService(Resource.make(Members.definition), Database, other.database)
  })
  return { database, members, replicator, settle, copy }
})

const member = (id: string, more: { readonly email?: string; readonly city?: string } = {}) => ({
  id,
  email: `${id}@example.com`,
  token: Redacted.make(`secret of ${id}`),
  ...more
})

const plain = (all: Record<string, unknown>) =>
  JSON.parse(
    JSON.stringify(all, (_, value: unknown) => (Redacted.isRedacted(value) ? Redacted.value(value) : value))
  ) as unknown

describe("ReplicaDatabase", () => {
  it.effect("is a copy that another program goes on with: fields, times, secrets, partitions, unique keys", () =>
    Effect.gen(function* () {
      const [store, to] = [yield* memory, yield* memory]
      const { copy, database, members, settle } = yield* open(store, to)
      yield* members.insertMany([member("a", { city: "Rome" }), member("é/ü", { city: "São Paulo" }), member("c")])
      yield* settle
      yield* members.update("a", { city: "Oslo" })
      yield* members.delete("c")
      // Two who exchange what only one can have.
      yield* database.transaction(
        Effect.andThen(
          members.update("a", { email: "é/ü@example.com" }),
          members.update("é/ü", { email: "a@example.com" })
        )
      )
      yield* members.insert(member("d", { email: "c@example.com" }))
      yield* settle
      const there = yield* copy
      assert.deepStrictEqual(plain(yield* sourceOf(there)), plain(yield* sourceOf(members)))
      assert.deepStrictEqual(
        (yield* Stream.runCollect(there.scan({ partition: "byCity", values: { city: "Oslo" } }))).map(({ id }) => id),
        ["a"]
      )
      assert.strictEqual((yield* there.getByUnique("byEmail", { email: "a@example.com" })).id, "é/ü")
      assert.strictEqual(
        (yield* Effect.flip(there.insert(member("e", { email: "a@example.com" }))))._tag,
        "UniqueViolation"
      )
      // It leaves no entries that nobody would take away.
      assert.deepStrictEqual(yield* keysOf(to, "journal/pending/"), [])
      for (const key of yield* keysOf(to)) {
        const { body, metadata } = yield* to.get(key)
        assert.notInclude(JSON.stringify(metadata) + new TextDecoder().decode(body), "secret of")
      }
    }).pipe(Effect.provide(ring), Effect.scoped)
  )

  it.effect("says which secret is missing, before anything is written", () =>
    Effect.gen(function* () {
      const [store, to] = [yield* memory, yield* memory]
      const { replicator } = yield* open(store, to, {})
      const { problems } = yield* replicator.plan
      assert.match(problems[0]?.problem ?? "", /secret token/)
    }).pipe(Effect.provide(ring), Effect.scoped)
  )

  it.effect("keeps the newest version in whatever order they come, and what is swept away, away", () =>
    Effect.gen(function* () {
      const [store, to] = [yield* memory, yield* memory]
      const { copy, members, replicator, settle } = yield* open(store, to)
      yield* members.insert(member("a"))
      yield* settle
      const target = yield* targetOn(to)
      const batches: Array<ReplicaTarget.Batch> = []
      // What the replicator gives a target, of which the changes come in every order.
      const seen = yield* Replicator.make({
        name: "seen",
        lease: "1 second",
        firstPause: "100 millis",
        target: Effect.succeed({
          kind: "seen",
          keeps: "changes",
          plan: () => Effect.succeed({ steps: [], problems: [] }),
          run: () => Effect.void,
          apply: (batch) => Effect.sync(() => void batches.push(batch))
        } satisfies ReplicaTarget.Target),
        resources: [Replicator.resource(Members, { secrets: "all", as: "orders" })]
      }).pipe(
        Effect.provideServiceEffect(
          Database,
          Effect.map(openOn(store), ({ database }) => database)
        ),
        Effect.provideService(Members, members)
      )
      yield* driven(seen.caughtUp)
      yield* members.insert(member("b"))
      yield* members.delete("b")
      yield* members.insert(member("b", { city: "last" }))
      yield* settle
      yield* driven(seen.caughtUp)
      const shape = batches[0]!.shape
      const [first, second, third] = batches.flatMap(({ changes }) => changes).filter(({ id }) => id === "b")
      for (const [round, order] of [
        [first, second, third],
        [third, second, first],
        [second, first, third],
        [second, third, first]
      ].entries()) {
        const id = `r${round}`
        for (const change of order) {
          const document = change!.document && { ...change!.document, id, email: id }
          yield* target.apply({ shape, changes: [{ ...change!, id, document }], isRepair: false })
        }
        const rest = order.filter((one) => one !== third)
        for (const change of rest) {
          const document = change!.document && { ...change!.document, id: `x${id}`, email: `x${id}` }
          yield* target.apply({ shape, changes: [{ ...change!, id: `x${id}`, document }], isRepair: false })
        }
      }
      const other = yield* openOn(to)
      const there = yield* Effect.provideService(Resource.fromCatalog("orders"), Database, other.database).pipe(
        Effect.flatMap((definition) => Effect.provideService(Resource.make(definition), Database, other.database))
      )
      const ids = (yield* Stream.runCollect(there.scan())).map(({ id, city }) => [id, city])
      assert.deepStrictEqual(
        ids.sort(),
        ["r0", "r1", "r2", "r3"].map((id) => [id, "last"])
      )
      assert.strictEqual(yield* target.sweep!(shape, third!.version + 1), 4)
      yield* target.apply({
        shape,
        changes: [{ ...third!, id: "r0", document: { ...third!.document, id: "r0", email: "r0" } }],
        isRepair: false
      })
      assert.deepStrictEqual(yield* Stream.runCollect(there.listIds()), [])
      assert.deepStrictEqual(plain(yield* sourceOf(yield* copy)), plain(yield* sourceOf(members)))
      assert.strictEqual((yield* driven(replicator.sync()))[0]?.removed, 0)
    }).pipe(Effect.provide(ring), Effect.scoped)
  )

  it.effect("ends as the source whenever the program dies at a request to the copy", () =>
    Effect.gen(function* () {
      const source = yield* memory
      const first = yield* openOn(source)
      const members = yield* Effect.provideService(Resource.make(Members.definition), Database, first.database)
      yield* members.insert(member("a"))
      yield* members.insert(member("b"))
      for (let at = 5; at < 60; at += 11) {
        const to = yield* memory
        const crash = crashing(to, at, "before")
        yield* Effect.exit(
          Effect.scoped(
            Effect.gen(function* () {
              const target = yield* targetOn(crash.store)
              const shape = simpleShape
              yield* target.run(yield* target.plan([shape]))
              yield* target.apply({ shape, changes: [change("a", 1), change("b", 2)], isRepair: false })
              yield* target.apply({ shape, changes: [{ ...change("a", 3), document: undefined }], isRepair: false })
            })
          )
        )
        const target = yield* targetOn(to)
        const shape = simpleShape
        yield* driven(target.apply({ shape, changes: [change("a", 1), change("b", 2)], isRepair: false }))
        yield* driven(target.apply({ shape, changes: [{ ...change("a", 3), document: undefined }], isRepair: false }))
        yield* driven(target.apply({ shape, changes: [change("a", 2)], isRepair: false }))
        const other = yield* openOn(to)
        const there = yield* Effect.provideService(Resource.fromCatalog("simple"), Database, other.database).pipe(
          Effect.flatMap((definition) => Effect.provideService(Resource.make(definition), Database, other.database))
        )
        assertSame(yield* sourceOf(there as never), { b: { id: "b", n: 2 } })
      }
    }).pipe(Effect.provide(ring), Effect.scoped)
  )
})
