import { execFileSync } from "node:child_process"
import { assert, describe, it } from "vitest"

/** What a fresh process has loaded after an import: files and modules of Node. */
const loadedBy = (specifiers: ReadonlyArray<string>): ReadonlyArray<string> => {
  const script = `
    import { registerHooks } from "node:module"
    const seen = new Set()
    registerHooks({ resolve(specifier, context, next) {
      const resolved = next(specifier, context)
      seen.add(resolved.url)
      return resolved
    } })
    for (const specifier of ${JSON.stringify(specifiers)}) await import(specifier)
    console.log(JSON.stringify([...seen]))`
  const output = execFileSync(
    process.execPath,
    ["--conditions=effect-s3db-source", "--no-warnings", "--input-type=module", "-e", script],
    { encoding: "utf8" }
  )
  return JSON.parse(output) as ReadonlyArray<string>
}

const effect = ["Effect", "Schema", "Stream", "Layer", "Context", "PubSub"].map((name) => `effect/${name}`)
const foreign = (urls: ReadonlyArray<string>) =>
  urls.filter((url) => /@aws-sdk|@smithy|@effect\/platform|vitest/.test(url))
const ofNode = (urls: ReadonlyArray<string>) => urls.filter((url) => url.startsWith("node:") && url !== "node:module")

describe("the cost of an import", () => {
  const core = [
    "Resource",
    "Database",
    "Document",
    "DbError",
    "encoding/Encoding",
    "crypto/Id",
    "storage/ObjectStore",
    "storage/MemoryStore",
    "storage/S3HttpStore",
    "storage/ConnectionString"
  ]

  it("the core and the stores that run everywhere load no SDK and nothing of Node beyond Effect's own", () => {
    const baseline = new Set(ofNode(loadedBy(effect)))
    const loaded = loadedBy(core.map((name) => `effect-s3db/${name}`))
    assert.isTrue(loaded.some((url) => url.endsWith("src/Resource.ts")))
    assert.deepStrictEqual(foreign(loaded), [])
    assert.deepStrictEqual(
      ofNode(loaded).filter((url) => !baseline.has(url)),
      []
    )
  })

  it("the S3 store and the connection string load no SDK until they are opened", () => {
    assert.deepStrictEqual(
      foreign(loadedBy(["effect-s3db/storage/S3Store", "effect-s3db/storage/ConnectionString"])),
      []
    )
    assert.isNotEmpty(foreign(loadedBy(["@aws-sdk/client-s3"])))
  })
})
