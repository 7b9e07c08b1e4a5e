import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { check, describe as tell, generatedPages } from "./links.ts"
import { publicModules } from "./publicModules.ts"
import { isInstalled, reference, write } from "./reference.ts"

// What makes the pages is installed by `npm run docs`, and by CI here.
describe.skipIf(!isInstalled() && process.env["CI"] !== "true")("the reference", () => {
  it("has a page for each public module, whose links lead to what is there", () => {
    const names = write()
    assert.deepStrictEqual(
      names,
      publicModules().map(({ name }) => name)
    )
    for (const name of names) assert.isTrue(existsSync(join(reference, `${name}.md`)), name)
    assert.lengthOf(generatedPages(), names.length + 1)
    assert.deepStrictEqual(check(generatedPages()).map(tell), [])
    const page = readFileSync(join(reference, "DbError.md"), "utf8")
    assert.include(page, "A document with this id that exists already; it was left as it is.")
    assert.include(page, "Choose another id, or use `upsert` or `replace`.")
  })
})
