/** An export into a bucket of Ceph's gateway. */
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Export from "effect-s3db/Export"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Stream from "effect/Stream"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { keysOf } from "../fixture.ts"
import { describeWithGateway, gateway } from "../services/available.ts"
import { inFolder } from "./shell.ts"

describeWithGateway("an export into a bucket", () => {
  const { accessKeyId, bucket, host, port, secretAccessKey } = gateway
  const place = (prefix: string, secret = secretAccessKey) =>
    `http://${accessKeyId}:${secret}@${host}:${port}/${bucket}/${prefix}?retryFor=0`

  describe("an export into a bucket", () => {
    it.live("is several files and their mark, or nothing at all; the secret is told nobody", () =>
      Effect.gen(function* () {
        const { json, s3db } = yield* inFolder
        yield* json(["create", "resource", "notes", "-a", "text=string"])
        yield* json(["seed", "notes", "-n", "2500"])
        const target = (prefix: string, ...more: ReadonlyArray<string>) =>
          Effect.tap(s3db(["export", "notes", "-o", place(prefix), ...more]), ({ err, out }) =>
            Effect.sync(() => assert.notInclude(out + err, secretAccessKey))
          )
        const below = (prefix: string) => Effect.provide(ObjectStore, ConnectionString.layer(place(prefix)))
        for (const format of ["ndjson", "parquet"] as const) {
          const prefix = `export ü ${randomUUID()}/notes.${format}/`.replaceAll(" ", "%20")
          const written = yield* target(prefix, "--file-size", "50000", "--quiet")
          assert.deepStrictEqual([written.code, written.out, written.err], [0, "", ""])
          const store = yield* below(prefix)
          const keys = yield* keysOf(store)
          assert.isAbove(keys.length, format === "ndjson" ? 2 : 1)
          assert.strictEqual(keys[0], "_SUCCESS")
          for (const key of keys.slice(1)) assert.match(key, new RegExp(`^part-\\d{5}-[\\w-]+\\.${format}$`))
          const again = yield* target(prefix)
          assert.strictEqual(again.code, exitCodes.Invalid)
          assert.include(again.err, "_SUCCESS")
          assert.deepStrictEqual(yield* keysOf(store), keys)
          if (format === "parquet") continue
          const lines = yield* Effect.forEach(keys.slice(1), (key) =>
            Effect.flatMap(store.get(key), ({ body }) => Stream.runCollect(Export.fromNdjson(Stream.succeed(body))))
          )
          assert.lengthOf(lines.flat(), 2500)
        }
        const told = yield* target(randomUUID(), "--format", "ndjson")
        assert.include(told.err, "exported 2500 documents into 1 file")
        const csv = yield* target(`${randomUUID()}/notes.csv`)
        assert.strictEqual(csv.code, exitCodes.Usage)
        assert.include(csv.err, "ndjson or parquet, not csv")
        const denied = yield* s3db(["export", "notes", "-o", place(randomUUID(), "WRONG-secret")])
        assert.strictEqual(denied.code, exitCodes.Denied, denied.err)
        assert.notInclude(denied.err, "WRONG-secret")
      }).pipe(Effect.scoped)
    )
  })
})
