/** A database with a resource of every type, for the tests of the generator of TypeScript modules. */
import { mkdirSync, symlinkSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { inFolder } from "./shell.ts"

/** The packages that the module is compiled and run with. */
export const modules = fileURLToPath(new URL("../../node_modules", import.meta.url))
export const root = fileURLToPath(new URL("../..", import.meta.url))

const everything = {
  attributes: {
    name: "string|min:2|max:80|trim",
    code: "string|optional|pattern:/^[A-Z|]+$/i",
    age: "number|integer|optional|min:1|max:150",
    ratio: "number|nullable",
    mail: "email",
    key: "uuid",
    price: "money:EUR|optional",
    weight: "decimal:3|optional",
    born: "date|optional",
    day: "dateonly|optional",
    seen: "datetime|optional",
    state: "enum|values:open,in progress,done|default:open",
    isNew: "boolean|default:true",
    stars: "number|default:3",
    tags: { type: "array", items: "string|min:1", max: 10, optional: true },
    scores: { type: "record", items: "number" },
    card: "secret|optional",
    password: "password|optional",
    ip: "ip4|nullable|optional",
    at: "geo:point:5|optional",
    vector: "embedding:3|optional",
    any: "json|optional",
    address: { $$type: "object|optional", city: "string", geo: { lat: "geo:lat", lon: "geo:lon" } }
  },
  partitions: {
    byState: ["state"],
    byDay: { fields: { born: "month" }, covering: ["name"] }
  },
  unique: { byName: ["name"], byKey: { fields: ["key"], ignoreCase: true } },
  timestamps: true,
  history: true,
  content: true,
  allowDeleteAll: true,
  counters: true,
  compression: false,
  uniqueLease: "90 seconds",
  journal: { images: "after" },
  pin: { metadata: ["state"] },
  idKind: "ulid"
}

/** The folder of a project beside a database, in which the module is `resources.ts`. */
export const project = Effect.gen(function* () {
  const shell = yield* inFolder
  const env = { env: { S3DB_KEYS: `k1:${"A".repeat(43)}=` } }
  yield* shell.json(["create", "resource", "blog-posts", JSON.stringify(everything)], env)
  yield* shell.json(["create", "resource", "plain", "-a", "text=string"])
  const { code, err } = yield* shell.s3db(["types", "-o", shell.path("resources.ts")])
  if (code !== 0) return yield* Effect.die(new Error(err))
  mkdirSync(shell.path("node_modules"))
  symlinkSync(`${modules}/effect`, shell.path("node_modules/effect"))
  symlinkSync(`${modules}/@types`, shell.path("node_modules/@types"))
  symlinkSync(root, shell.path("node_modules/effect-s3db"))
  yield* shell.write("package.json", '{"type":"module"}')
  return shell
})
