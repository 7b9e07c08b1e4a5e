/** The command line on a server that speaks S3, and knows no conditions. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { server } from "../services/fauxqs.ts"
import { inProcess } from "./shell.ts"

describe("a bucket on the command line", () => {
  it.live("is made, refused without conditional writes, and used by a single writer", () =>
    Effect.gen(function* () {
      const { port } = new URL((yield* server).address)
      const secret = "SECRET-of-mine"
      const url = `http://KEY:${secret}@127.0.0.1:${port}/new-bucket/pre?retryFor=0`
      const s3db = (...args: ReadonlyArray<string>) =>
        Effect.tap(inProcess([...args, "--url", url]), ({ err, out }) =>
          Effect.sync(() => assert.notInclude(out + err, secret))
        )
      const none = yield* s3db("list")
      assert.strictEqual(none.code, exitCodes.Configuration)
      assert.include(none.err, "s3db create bucket")
      const made = yield* s3db("create", "bucket", "--json")
      assert.deepStrictEqual([made.code, made.out], [0, '{"bucket":"new-bucket"}\n'], made.err)
      assert.strictEqual((yield* s3db("create", "bucket")).code, 0)
      const create = ["create", "resource", "notes", "-a", "text=string"]
      const refused = yield* s3db(...create)
      assert.strictEqual(refused.code, exitCodes.Unsupported)
      assert.include(refused.err, "--single-writer")
      assert.strictEqual((yield* s3db(...create, "--single-writer")).code, 0)
      assert.strictEqual((yield* s3db("insert", "notes", '{"id":"a","text":"x"}', "--single-writer")).code, 0)
      assert.strictEqual((yield* s3db("get", "notes", "a", "--json", "--single-writer")).out, '{"id":"a","text":"x"}\n')
      const status = yield* s3db("status", "--single-writer")
      assert.include(status.out, `s3://new-bucket/pre (endpoint http://127.0.0.1:${port})`)
    })
  )
})
