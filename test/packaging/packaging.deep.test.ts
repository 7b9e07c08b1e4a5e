import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { bundlers, installed, run } from "./build.ts"

const app = fileURLToPath(new URL("./app.ts", import.meta.url))
const expected = ["ana true", "ana false", "bob true", "bob false"]

let folder = ""
/** A store that lets nobody in. */
const server = createServer((_, response) => {
  response.writeHead(403, { "content-type": "application/xml" })
  response.end("<Error><Code>AccessDenied</Code><Message>no entry here</Message></Error>")
})

beforeAll(async () => {
  folder = installed()
  await once(server.listen(0, "127.0.0.1"), "listening")
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  server.close()
})

describe("a program that is bundled into one file", () => {
  for (const [name, bundle] of Object.entries(bundlers)) {
    it(`hashes passwords with nothing beside it: ${name}`, async () => {
      const entry = join(folder, `app-${name}.ts`)
      copyFileSync(app, entry)
      // Outside of everything that has modules.
      const alone = mkdtempSync(join(tmpdir(), "effect-s3db-bundle-"))
      try {
        await bundle(entry, join(alone, "app.mjs"))
        assert.deepStrictEqual(readdirSync(alone), ["app.mjs"])
        for (const url of ["memory://app", `file://${join(alone, "data")}`]) {
          const { stderr, stdout } = await run(process.execPath, ["--no-warnings", "app.mjs"], alone, {
            APP_DATABASE: url
          })
          assert.strictEqual(stderr, "")
          assert.deepStrictEqual(stdout.trim().split("\n"), [...expected, ...expected])
        }
        // What speaks to S3 is in it and works, the AWS SDK as well.
        for (const client of ["http", "sdk"]) {
          const { stderr } = await run(process.execPath, ["--no-warnings", "app.mjs"], alone, {
            APP_DATABASE: `http://key:secret@127.0.0.1:${(server.address() as AddressInfo).port}/bucket?client=${client}`
          })
          assert.include(stderr, "Database.open failed: AccessDenied: ")
        }
      } finally {
        rmSync(alone, { recursive: true, force: true })
      }
    })
  }
})

describe("the built library without a bundler", () => {
  it("hashes passwords", async () => {
    copyFileSync(app, join(folder, "plain.ts"))
    const { stderr, stdout } = await run(process.execPath, ["--no-warnings", "plain.ts"], folder, {
      APP_DATABASE: "memory://app"
    })
    assert.strictEqual(stderr, "")
    assert.deepStrictEqual(stdout.trim().split("\n"), [...expected, ...expected])
  })
})

/** A Node of the system that is older than what is needed, where there is one. */
const oldNode = ["/usr/bin/node", "/usr/local/bin/node"].find((path) => {
  if (!existsSync(path)) return false
  const [major = 0, minor = 0] = spawnSync(path, ["-p", "process.versions.node"], { encoding: "utf8" })
    .stdout.split(".")
    .map(Number)
  return major < 22 || (major === 22 && minor < 19)
})

if (oldNode !== undefined)
  describe("an older Node", () => {
    it("every module says which one is needed, or loads", async () => {
      const dist = join(folder, "node_modules/effect-s3db/dist")
      const entries = readdirSync(dist, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".js"))
        // What tests stand on needs a test runner, and the program is run by being imported.
        .filter((name) => !name.startsWith("testing/") && name !== "cli/main.js")
        .map((name) => `./node_modules/effect-s3db/dist/${name}`)
      const script = `
      const said = {}
      for (const entry of ${JSON.stringify(entries)}) {
        await import(entry).then(() => { said[entry] = "" }, (error) => { said[entry] = String(error) })
      }
      console.log(JSON.stringify(said))`
      const { stdout } = await run(oldNode, ["--input-type=module", "-e", script], folder)
      const said = JSON.parse(stdout) as Readonly<Record<string, string>>
      const refused = Object.entries(said).filter(([, error]) => error !== "")
      for (const [entry, error] of refused) {
        assert.match(error, /^Error: effect-s3db needs Node 22\.19 or later, and this is Node [0-9.]+: /, entry)
      }
      const names = refused.map(([entry]) => entry.slice("./node_modules/effect-s3db/dist/".length, -3))
      for (const name of [
        "index",
        "Database",
        "Resource",
        "storage/FileStore",
        "storage/MemoryStore",
        "storage/S3Store",
        "storage/ConnectionString"
      ]) {
        assert.include(names, name)
      }
    })
  })
