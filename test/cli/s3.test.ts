/** The command line on a server that speaks S3, and knows no conditions. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { server } from "../services/fauxqs.ts"
import { asProcess, inProcess } from "./shell.ts"

describe("a bucket on the command line", () => {
  it.live("a profile that is named and cannot be read is told, in the place of asking another bucket", () =>
    Effect.gen(function* () {
      const hook = `import { registerHooks } from "node:module"
registerHooks({ resolve(name, context, next) {
  if (!name.startsWith("@smithy/core")) return next(name, context)
  throw Object.assign(new Error("Cannot find package '@smithy/core'"), { code: "ERR_MODULE_NOT_FOUND" })
} })`
      const { code, err } = yield* asProcess(
        ["list", "--url", "s3://bucket/prefix"],
        { AWS_PROFILE: "corp", AWS_ACCESS_KEY_ID: "K", AWS_SECRET_ACCESS_KEY: "hush-hush" },
        ["--import", `data:text/javascript,${encodeURIComponent(hook)}`]
      )
      assert.strictEqual(code, exitCodes.Unsupported, err)
      assert.match(err, /AWS_PROFILE.*@smithy\/core is missing/)
    })
  )

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
