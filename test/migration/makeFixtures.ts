/**
 * Writes what releases of s3db.js that can be had store, for the tests of moving from it: node test/migration/makeFixtures.ts
 *
 * They have to be installed (`npm run bench:peers`). Each file of `fixtures` has all objects of one database, and what was written.
 */
import { writeFileSync } from "node:fs"
import { gzipSync } from "node:zlib"
import { load, type Name, title } from "../benchmark/peers.ts"
import { passphrase } from "./passphrase.ts"

interface Resource {
  readonly insert: (document: object) => Promise<unknown>
  readonly update: (id: string, change: object) => Promise<unknown>
  readonly setContent: (options: object) => Promise<unknown>
}

interface StoredObject {
  readonly body?: string
  readonly metadata: Readonly<Record<string, string>>
  readonly contentType?: string
}

interface Original {
  readonly Database: new (options: object) => {
    readonly connect: () => Promise<unknown>
    readonly createResource: (options: object) => Promise<Resource>
    readonly client: { readonly snapshot: () => { readonly objects: Readonly<Record<string, StoredObject>> } }
  }
}

const attributes = {
  name: "string|required",
  age: "number|integer|optional",
  score: "number|optional",
  active: "boolean|optional",
  tags: "array|items:string|optional",
  numbers: "array|items:number|optional",
  address: { city: "string|optional", zip: "string|optional" },
  price: "money|optional",
  weight: "decimal:3|optional",
  latitude: "geo:lat|optional",
  place: "geo:point|optional",
  ip: "ip4|optional",
  ip6: "ip6|optional",
  status: "string|optional",
  bio: "string|optional",
  token: "secret|optional",
  vector: "embedding:3|optional",
  json: "json|optional",
  anything: "object|optional"
}

/** Without what some releases demand although it says `optional`. */
const needed = { place: [1, 2], vector: [0, 0, 0] }

const whole = {
  name: "José",
  age: 30,
  score: 9.5,
  active: true,
  tags: ["a", "b|c", "d\\e"],
  numbers: [1.5, 2, -3],
  address: { city: "São Paulo", zip: "01310-100" },
  price: 19.99,
  weight: -1.5,
  latitude: -23.550519,
  place: { lat: -23.550519, lon: -46.633309 },
  ip: "192.168.1.1",
  ip6: "2001:db8::1",
  status: "completed",
  bio: '李明 said\n"hi"',
  token: "hush-hush",
  vector: [0.1, -0.5, 0],
  json: { a: [1, { b: null }] },
  anything: { x: 1 }
}

const behaviors = ["user-managed", "body-overflow", "body-only", "truncate-data", "enforce-limits"] as const

for (const name of ["s3db.js 16", "s3db.js 19", "s3db.js 21"] satisfies ReadonlyArray<Name>) {
  const loaded = load(name)
  if (loaded === undefined) {
    console.log(`not installed: ${title(name)}`)
    continue
  }
  const { Database } = (await loaded) as Original
  const secret = passphrase
  const database = new Database({
    connectionString: "memory://fixtures/app",
    verbose: false,
    logLevel: "silent",
    passphrase: secret,
    security: { passphrase: secret }
  })
  await database.connect()
  const written: Array<{ readonly resource: string; readonly document: object }> = []
  for (const behavior of behaviors) {
    const resource = await database.createResource({
      name: behavior,
      attributes,
      behavior,
      timestamps: true,
      asyncPartitions: false,
      partitions: { byStatus: { fields: { status: "string" } } }
    })
    const insert = async (document: object) => {
      await resource.insert(document)
      written.push({ resource: behavior, document })
    }
    await insert({ id: "whole", ...whole })
    await insert({ ...needed, id: "least", name: "x" })
    if (behavior !== "enforce-limits") await insert({ ...needed, id: "large", name: "x", bio: "y".repeat(3000) })
    await insert({ ...needed, id: "updated", name: "x", age: 1, status: "open" })
    await resource.update("updated", { age: 2 })
    written.push({ resource: behavior, document: { ...needed, id: "updated", name: "x", age: 2, status: "open" } })
    await insert({ ...needed, id: "content", name: "with content" })
    await resource.setContent({ id: "content", buffer: Buffer.from("content!"), contentType: "text/plain" })
  }
  const objects = Object.entries(database.client.snapshot().objects).map(
    ([key, { body = "", contentType, metadata }]) => ({
      key: key.replace(/^app\//, ""),
      metadata,
      contentType,
      body
    })
  )
  const file = new URL(`fixtures/${title(name).replaceAll(/[ .]/g, "-")}.json.gz`, import.meta.url)
  writeFileSync(file, gzipSync(JSON.stringify({ by: title(name), objects, written })))
  console.log(`${title(name)}: ${objects.length} objects`)
}
process.exit()
