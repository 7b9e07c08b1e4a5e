import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { check } from "./floors.ts"

const problemsOf = (files: Readonly<Record<string, string>>): ReadonlyArray<string> => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-floors-"))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    return check(folder).map(({ file, line, problem }) => `${file}:${line} ${problem}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe("floors", () => {
  it("the library keeps to them", () => {
    assert.deepStrictEqual(check(fileURLToPath(new URL("../../src", import.meta.url))), [])
  })

  it("finds an import upward, a circle, a barrel, and Node where it must not be", () => {
    const problems = problemsOf({
      "Resource.ts": `import { a } from "./plugins/A.ts"\nimport "effect"\n`,
      "plugins/A.ts": `// import "effect"\nexport const a = 1\n`,
      "storage/X.ts": `import fs from "node:fs"\nimport * as Y from "./Y.ts"\n`,
      "storage/Y.ts": `export * from "./X.ts"\nconst z = () => import("../Database.ts")\n`,
      "Database.ts": ``,
      "stray/S.ts": ``
    })
    assert.deepStrictEqual(problems, [
      "Resource.ts:1 imports plugins/A.ts, which is on a higher floor",
      "Resource.ts:2 imports the barrel effect",
      "storage/X.ts:1 imports node:fs, but has to run without Node",
      "storage/Y.ts:2 imports Database.ts, which is on a higher floor",
      "stray/S.ts:1 belongs to no floor",
      "storage/X.ts:1 imports itself: storage/X.ts -> storage/Y.ts -> storage/X.ts"
    ])
  })
})
