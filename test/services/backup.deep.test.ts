/** Backups from Ceph's gateway into it, through the store that connection strings take, which nobody has probed for the vault. */
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Backup from "effect-s3db/plugins/Backup"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { describeWithGateway, gateway } from "./available.ts"

const things = Resource.fromAttributes("things", { text: "string" }, { partitions: { byText: ["text"] } })

describeWithGateway("backups on Ceph's gateway", () => {
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const url = (place: string) =>
    Redacted.make(
      `${endpoint.replace("//", `//${accessKeyId}:${secretAccessKey}@`)}/s3db/backup-${performance.timeOrigin}/${place}`
    )
  const storeAt = (place: string) =>
    Effect.map(Layer.build(ConnectionString.layer(url(place))), (context) => Context.get(context, ObjectStore))

  it.live("cost nothing of what has not changed, and bring back 2,500 documents", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* storeAt("db"), yield* storeAt("vault"), yield* storeAt("target")]
      const on = (store: ObjectStore["Service"]) =>
        Layer.fresh(Database.layer).pipe(Layer.provide(Layer.succeed(ObjectStore, store)))
      const count = 2_500
      yield* Effect.gen(function* () {
        const repository = yield* Resource.make(things)
        for (let at = 0; at < count; at += 500) {
          const some = Array.from({ length: 500 }, (_, i) => ({ id: `t${at + i}`, text: `x${i % 7}` }))
          yield* Effect.forEach(some, (one) => repository.insertJson(one), { concurrency: 16, discard: true })
        }
      }).pipe(Effect.provide(on(source)))
      const backups = yield* Backup.make({ source, vault })
      const first = yield* backups.create()
      assert.isTrue(first.isInstant)
      const second = yield* backups.create()
      assert.deepInclude(second, { read: 0, isInstant: true, objects: first.objects })
      assert.deepStrictEqual((yield* backups.verify(second.id)).problems, [])
      yield* backups.restore(second.id, { target })
      assert.deepInclude(yield* backups.plan(second.id, { target, mode: "replace" }), {
        created: 0,
        overwritten: 0,
        removed: 0
      })
      const found = yield* Effect.flatMap(Resource.make(things), (repository) =>
        Stream.runCollect(repository.scan({ partition: "byText", values: { text: "x3" } }))
      ).pipe(Effect.provide(on(target)))
      assert.isAbove(found.length, 300)
      yield* backups.prune({ last: 1 }, { grace: 0, abandoned: 0 })
      assert.deepStrictEqual((yield* backups.verify(second.id)).problems, [])
    }).pipe(Effect.scoped)
  )
})
