/**
 * Writes folders as the FileSystemClient of releases of s3db.js that can be had writes them: node test/migration/makeFolders.ts
 *
 * They have to be installed (`npm run bench:peers`). Each file of `fixtures` has the files of one folder, in base 64.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { load, type Name, title } from "../benchmark/peers.ts"
import { passphrase } from "./passphrase.ts"

interface Original {
  readonly FileSystemClient: new (options: object) => unknown
  readonly Database: new (options: object) => {
    readonly connect: () => Promise<unknown>
    readonly createResource: (options: object) => Promise<{
      readonly insert: (document: object) => Promise<unknown>
      readonly update: (id: string, change: object) => Promise<unknown>
      readonly setContent: (options: object) => Promise<unknown>
    }>
  }
}

for (const name of ["s3db.js 16", "s3db.js 19", "s3db.js 21"] satisfies ReadonlyArray<Name>) {
  const loaded = load(name)
  if (loaded === undefined) {
    console.log(`not installed: ${title(name)}`)
    continue
  }
  const { Database, FileSystemClient } = (await loaded) as Original
  const folder = mkdtempSync(join(tmpdir(), "s3db-js-"))
  const client = new FileSystemClient({
    basePath: folder,
    keyPrefix: "app",
    compression: { enabled: true, threshold: 200 },
    backup: { enabled: true },
    journal: { enabled: true },
    logLevel: "silent"
  })
  const database = new Database({ client, logLevel: "silent", passphrase, security: { passphrase } })
  await database.connect()
  const users = await database.createResource({
    name: "users",
    attributes: {
      name: "string|required",
      age: "number|optional",
      bio: "string|optional",
      token: "secret|optional",
      status: "string|optional"
    },
    behavior: "body-overflow",
    timestamps: true,
    asyncPartitions: false,
    partitions: { byStatus: { fields: { status: "string" } } }
  })
  await users.insert({ id: "José 李", name: "José", age: 30, bio: "y".repeat(3000), token: "hush", status: "open" })
  await users.insert({ id: "plain", name: "x", status: "open" })
  await users.update("plain", { name: "y" })
  await users.insert({ id: "odd.bak", name: "like a backup" })
  await users.insert({ id: "content", name: "with content" })
  await users.setContent({ id: "content", buffer: Buffer.from("content!"), contentType: "text/plain" })
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => statSync(join(folder, file)).isFile())
    .map((file) => [file.replaceAll("\\", "/"), readFileSync(join(folder, file)).toString("base64")])
    .toSorted()
  rmSync(folder, { recursive: true })
  const target = new URL(`fixtures/folder-${title(name).replaceAll(/[ .]/g, "-")}.json.gz`, import.meta.url)
  writeFileSync(target, gzipSync(JSON.stringify({ by: title(name), files: Object.fromEntries(files) })))
  console.log(`${title(name)}: ${files.length} files`)
}
process.exit()
