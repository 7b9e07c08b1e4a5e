/** Documents that expire on Ceph's gateway, which takes no conditions on DELETE. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as Ttl from "effect-s3db/plugins/Ttl"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { keysOf, openOn } from "../fixture.ts"
import { describeWithGateway } from "./available.ts"
import { storeOnGateway } from "./gatewayStore.ts"

const schema = Schema.Struct({ id: Schema.String, n: Schema.Int, expiresAt: Schema.Number })

class Notes extends Resource.Service<Notes>()("effect-s3db/test/services/ttl.deep.test/Notes", {
  schema,
  primaryKey: "id",
  name: "notes"
}) {}

class Archive extends Resource.Service<Archive>()("effect-s3db/test/services/ttl.deep.test/Archive", {
  schema,
  primaryKey: "id",
  name: "archive"
}) {}

type Expired = Ttl.Expired<typeof schema.Type>

const processOn = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  onExpire: Ttl.OnExpire<typeof schema.Type, Archive>
) {
  const { database } = yield* openOn(store)
  const notes = yield* Effect.provideService(Resource.make(Notes.definition), Database, database)
  const archive = yield* Effect.provideService(Resource.make(Archive.definition), Database, database)
  const policies = [Ttl.policy(Notes, { at: "expiresAt", onExpire })]
  const ttl = yield* Ttl.make({ policies, sweep: false }).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Notes, notes),
    Effect.provideService(Archive, archive)
  )
  return { notes, archive, ttl }
})

describeWithGateway("Ttl on Ceph's gateway", () => {
  const open = storeOnGateway("ttl")

  const actions: Readonly<Record<string, Ttl.OnExpire<typeof schema.Type, Archive>>> = {
    deletes: Ttl.hardDelete,
    archives: Ttl.archive(Archive, ({ document }: Expired) => document.value)
  }

  for (const [name, onExpire] of Object.entries(actions)) {
    it.live(
      `${name} what is due, by two sweepers at once, and keeps what was refreshed`,
      () =>
        Effect.gen(function* () {
          const store = yield* open
          const one = yield* processOn(store, onExpire)
          const other = yield* processOn(store, onExpire)
          const count = 40
          yield* one.notes.insertMany(Array.from({ length: count }, (_, n) => ({ id: `${n}`, n, expiresAt: 1 })))
          const later = Date.now() + 86_400_000
          const refreshed = Effect.forEach(
            ["3", "17", "39"],
            (id) => Effect.result(other.notes.update(id, { n: -1, expiresAt: later })),
            { concurrency: 3 }
          )
          yield* Effect.all([one.ttl.runNow(), other.ttl.runNow(), refreshed], { concurrency: 3 })
          yield* one.ttl.runNow()
          const left = [...(yield* Stream.runCollect(one.notes.scan()))]
          const copies = [...(yield* Stream.runCollect(one.archive.listIds()))]
          for (const { expiresAt, n } of left) assert.deepStrictEqual([expiresAt, n], [later, -1])
          assert.isAtMost(left.length, 3)
          assert.strictEqual(copies.length, name === "archives" ? count - left.length : 0)
          assert.deepStrictEqual(
            copies.filter((id) => left.some((document) => document.id === id)),
            []
          )
          assert.strictEqual((yield* keysOf(store, "resource=notes/companion=")).length, left.length)
        }),
      600_000
    )
  }
})
