/** Folders of s3db.js as stores: many files. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as S3dbJsFolder from "effect-s3db/migration/S3dbJsFolder"
import type * as ObjectStore from "effect-s3db/storage/ObjectStore"
import { inFolder, keysOf, put } from "./folderTests.ts"

describe("S3dbJsFolder", () => {
  inFolder("2,500 keys come by three pages, while others are added", (folder) =>
    Effect.gen(function* () {
      for (let i = 0; i < 2500; i++) put(folder, `resource=x/data/id=${i}`, "")
      const store = yield* S3dbJsFolder.make({ path: folder })
      let token: string | undefined
      const found: Array<string> = []
      let pages = 0
      do {
        const page: ObjectStore.ListPage = yield* store.list({ prefix: "resource=x/data/id=", token, keysOnly: true })
        found.push(...page.entries.map(({ key }) => key))
        token = page.nextToken
        pages += 1
        put(folder, `resource=x/data/id=1${pages}x`, "")
      } while (token !== undefined)
      assert.strictEqual(pages, 3)
      assert.strictEqual(new Set(found).size, found.length)
      assert.isAtLeast(found.length, 2500)
      // A new listing sees them.
      assert.strictEqual((yield* keysOf(store, { keysOnly: true })).length, 2503)
    })
  )
})
