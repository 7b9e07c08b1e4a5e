import { assert, describe, it } from "vitest"
import { notLoaded } from "../../../src/storage/internal/s3Errors.ts"

describe("an SDK that cannot be loaded", () => {
  it("is missing", () => {
    const error = Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" })
    assert.strictEqual(notLoaded("@aws-sdk/client-s3", error), "the package @aws-sdk/client-s3 is missing: install it")
  })

  it("is there, and not as it can be loaded: the cause is told, and what to do", () => {
    assert.strictEqual(
      notLoaded("@aws-sdk/client-s3", new Error('Dynamic require of "buffer" is not supported')),
      'the package @aws-sdk/client-s3 could not be loaded (Dynamic require of "buffer" is not supported): a bundler has to take its ES modules (esbuild: mainFields ["module", "main"]) or leave it external'
    )
  })
})
