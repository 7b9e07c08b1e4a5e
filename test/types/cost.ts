/**
 * What the types of resources cost the compiler: `node test/types/cost.ts [git revision]` compiles a program of 30
 * resources with partitions, unique keys and nested fields, each used in nine ways, and prints the instantiations and the
 * check time of the working tree, and of a revision beside it. What the library takes by itself is told apart.
 */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "../..")
const resources = 30

const program = (n: number): string => {
  const parts = [
    `import * as Effect from "effect/Effect"`,
    `import * as Schema from "effect/Schema"`,
    `import * as Stream from "effect/Stream"`,
    `import * as Resource from "effect-s3db/Resource"`,
    `export const used = [Effect.void, Schema.String, Stream.empty, Resource.Service]`
  ]
  for (let i = 0; i < n; i++) parts.push(resource(i))
  return parts.join("\n")
}

/** The names differ, so that no type of one resource serves another. */
const resource = (i: number): string => `
class Doc${i} extends Schema.Class<Doc${i}>("cost/Doc${i}")({
  id: Schema.String,
  email${i}: Schema.String,
  country${i}: Schema.String,
  age${i}: Schema.Int,
  kind${i}: Schema.Literals(["a", "b", "c"]),
  placed${i}: Schema.DateTimeUtcFromString,
  nick${i}: Schema.optionalKey(Schema.String),
  tags${i}: Schema.Array(Schema.String),
  address${i}: Schema.Struct({ street: Schema.String, city${i}: Schema.String, geo: Schema.Struct({ lat: Schema.Finite, lon: Schema.Finite }) }),
  settings${i}: Schema.optionalKey(Schema.Struct({ theme: Schema.String, size${i}: Schema.Int }))
}) {
  get label() {
    return this.email${i}
  }
}
class Docs${i} extends Resource.Service<Docs${i}>()("cost/docs${i}", {
  schema: Doc${i},
  primaryKey: "id",
  partitions: {
    byCountry: ["country${i}"],
    byCity: { fields: ["address${i}.city${i}", "kind${i}"], covering: ["email${i}"] },
    byMonth: { fields: { placed${i}: "month" } }
  },
  unique: { email: ["email${i}"] },
  history: true
}) {}
export const uses${i} = Effect.gen(function* () {
  const docs = yield* Docs${i}
  const one = yield* docs.get("a")
  yield* docs.update(one.id, { age${i}: one.age${i} + 1, "address${i}.city${i}": "Recife" })
  yield* docs.update("a", (current) => ({ age${i}: current.age${i} + 1 }))
  yield* docs.patch("a", { address${i}: { geo: { lat: 3 } } })
  const some = yield* Stream.runCollect(docs.query({ where: { country${i}: "BR", age${i}: { gte: 18 }, "address${i}.city${i}": "Recife" }, order: "-age${i}", limit: 10 }))
  yield* docs.list({ partition: "byCountry", values: { country${i}: "BR" }, limit: 3 })
  yield* Stream.runCollect(docs.scan({ partition: "byCity", values: { "address${i}.city${i}": "Recife" } }))
  yield* docs.getByUnique("email", { email${i}: "a@b.c" })
  const groups = yield* docs.aggregate({ groupBy: ["country${i}"], values: { most: { max: "age${i}" } } })
  return [one, some, groups]
})`

interface Cost {
  readonly instantiations: number
  readonly types: number
  readonly checkSeconds: number
}

const compile = (folder: string, n: number): Cost => {
  fs.writeFileSync(path.join(folder, "program.ts"), program(n))
  const options = { cwd: folder, encoding: "utf8" } as const
  const tsc = path.join(root, "node_modules/typescript/bin/tsc")
  const args = ["-p", "tsconfig.cost.json", "--extendedDiagnostics", "--singleThreaded"]
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...args], options)
  if (status !== 0) throw new Error(`the program does not compile\n${stdout.slice(0, 2000)}`)
  const found = (label: string): number => Number(new RegExp(`^${label}:\\s+([\\d.]+)`, "m").exec(stdout)?.[1])
  return {
    instantiations: found("Instantiations"),
    types: found("Types"),
    checkSeconds: found("Check time")
  }
}

/** The sources, of the working tree or of a revision, as a package of their own. */
const unpack = (folder: string, revision: string | undefined): void => {
  const names = ["src", "package.json", "tsconfig.json"]
  if (revision === undefined) {
    for (const name of names) fs.cpSync(path.join(root, name), path.join(folder, name), { recursive: true })
  } else {
    const archive = execFileSync("git", ["archive", revision, ...names], { cwd: root, maxBuffer: 2 ** 28 })
    execFileSync("tar", ["-x"], { cwd: folder, input: archive })
  }
  fs.symlinkSync(path.join(root, "node_modules"), path.join(folder, "node_modules"))
  const tsconfig = { extends: "./tsconfig.json", include: ["program.ts"] }
  fs.writeFileSync(path.join(folder, "tsconfig.cost.json"), JSON.stringify(tsconfig))
}

const measure = (label: string, revision: string | undefined): number => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "s3db-types-"))
  try {
    unpack(folder, revision)
    const alone = compile(folder, 0)
    const runs = [1, 2, 3].map(() => compile(folder, resources))
    const { instantiations, types } = runs[0]!
    const best = (of: ReadonlyArray<Cost>) => Math.min(...of.map(({ checkSeconds }) => checkSeconds))
    const own = instantiations - alone.instantiations
    console.log(
      `${label.padEnd(14)} ${instantiations} instantiations (${own} of the program), ${types} types, check ${best(runs)} s (${alone.checkSeconds} s of the library alone)`
    )
    return own
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

const revision = process.argv[2]
const before = revision === undefined ? undefined : measure(revision, revision)
const now = measure("working tree", undefined)
if (before !== undefined) console.log(`growth of the program: ${((now / before - 1) * 100).toFixed(1)} %`)
