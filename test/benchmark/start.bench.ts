/**
 * What it takes until a program is there: importing, declaring 200 resources, opening them when they are new, and opening them again; and
 * what `s3db` takes of the processor for a small command; and checking the types of a small program, against the declarations as they are published. Milliseconds, the best of some rounds. Opening is compared with what nobody can save: the catalog that it leaves, written once as JSON and
 * read again; the import, of one bundled file, with that of the part of Effect that every program imports.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { gzipSync } from "node:zlib"
import { buildSync } from "esbuild"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Catalog from "effect-s3db/Catalog"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

const resources = 200
const rounds = 7

const declare = () =>
  Array.from({ length: resources }, (_, i) =>
    Resource.define(`resource${i}`, {
      schema: Schema.Struct({
        id: Schema.String,
        name: Schema.String,
        email: Schema.String,
        age: Schema.Int,
        active: Schema.Boolean,
        joined: Schema.Date,
        tags: Schema.Array(Schema.String),
        address: Schema.Struct({ city: Schema.String, zip: Schema.String })
      }),
      primaryKey: "id",
      partitions: { byCity: ["address.city"] }
    })
  )

type Store = ObjectStore["Service"]
type Definitions = ReturnType<typeof declare>

const open = (store: Store, definitions: Definitions, concurrency: number | "unbounded") =>
  Effect.scoped(
    Effect.gen(function* () {
      const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
      yield* Effect.forEach(
        definitions,
        (one) => Effect.provideService(Resource.make(one), Database.Database, database),
        { concurrency, discard: true }
      )
    })
  )

const timed = async (work: () => unknown): Promise<number> => {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** Our modules, which the application loads with Effect, in one file each: size, and the time that a process takes to import it. */
const bundled = (folder: string, name: string, contents: string) => {
  const outfile = join(folder, `${name}.mjs`)
  buildSync({
    stdin: { contents, resolveDir: import.meta.dirname },
    outfile,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    conditions: ["effect-s3db-source"],
    external: ["@aws-sdk/*", "@smithy/*", "undici"],
    // Of modules that are CommonJS.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }
  })
  const program = `const start = performance.now(); await import(${JSON.stringify(pathToFileURL(outfile).href)}); console.log(performance.now() - start)`
  const run = () =>
    Number(
      execFileSync(process.execPath, ["--no-warnings", "--input-type=module", "-e", program], { encoding: "utf8" })
    )
  const minified = readFileSync(outfile)
  return {
    milliseconds: Math.min(...Array.from({ length: rounds }, run)),
    minified: minified.length,
    gzipped: gzipSync(minified).length
  }
}

const root = join(import.meta.dirname, "../..")
const tsc = (cwd: string, ...options: ReadonlyArray<string>) =>
  execFileSync(join(root, "node_modules/.bin/tsc"), options, { cwd, encoding: "utf8" })

/** Tells on file descriptor 3 what the process has taken of the processor, in microseconds. */
const tellCpu = `import { writeSync } from "node:fs"
process.on("exit", () => {
  const { system, user } = process.cpuUsage()
  writeSync(3, String(system + user))
})`

/** Milliseconds of the processor that commands of `s3db` take as they are published, and a process that does nothing. */
const commands = (folder: string, installed: string) => {
  const url = pathToFileURL(join(folder, "s3db")).href
  const run = (...args: ReadonlyArray<string>): number => {
    const hook = ["--import", `data:text/javascript,${encodeURIComponent(tellCpu)}`]
    const env = { ...process.env, S3DB_URL: url }
    const { output, status } = spawnSync(process.execPath, [...hook, ...args], {
      env,
      stdio: ["ignore", "ignore", "inherit", "pipe"]
    })
    if (status !== 0) throw new Error(`${args.join(" ")} ended with ${status}`)
    return Number(String(output[3])) / 1000
  }
  const main = join(installed, "dist/cli/main.js")
  run(main, "create", "resource", "users", "-a", "name=string")
  run(
    main,
    "insert",
    "users",
    JSON.stringify(Array.from({ length: 100 }, (_, i) => ({ id: `${i}`, name: `Name ${i}` })))
  )
  const best = (...args: ReadonlyArray<string>) => Math.min(...Array.from({ length: rounds }, () => run(...args)))
  return {
    nothing: best("-e", "0"),
    version: best(main, "--version"),
    count: best(main, "count", "users")
  }
}

/** Programs whose types are checked: one that opens and uses a resource, and what of it is Effect's. */
const programs = {
  effect: `import { Effect, Schema } from "effect"

const User = Schema.Struct({ id: Schema.String, email: Schema.String, age: Schema.optionalKey(Schema.Int) })

export const program = Effect.gen(function* () {
  const user = yield* Schema.decodeUnknownEffect(User)({ id: "1", email: "ana@example.com" })
  return user.email
})
`,
  ours: `import { Effect, Schema, Stream } from "effect"
import { Database, Resource } from "effect-s3db"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"

class Users extends Resource.Service<Users>()("users", {
  schema: Schema.Struct({ id: Schema.String, email: Schema.String, age: Schema.optionalKey(Schema.Int) }),
  primaryKey: "id",
  unique: { email: ["email"] }
}) {}

export const program = Effect.gen(function* () {
  const users = yield* Users
  yield* users.insert({ id: "1", email: "ana@example.com" })
  yield* users.update("1", { age: 32 })
  const adults = yield* Stream.runCollect(users.query({ where: { age: { gte: 18 } }, scan: true }))
  return adults.map(({ email }) => email)
})

export const layers = [Users.layer, Database.layer, MemoryStore.layer] as const
`
}

/** What the package and its command line load. */
const packages = ["effect", "@effect", "@aws-sdk", "@noble", "hash-wasm", "jsonrepair", "sorted-btree"]

/** What `tsc` takes for each, and how many types and instantiations it makes. */
const checked = (folder: string) => {
  const at = join(folder, "types")
  const installed = join(at, "node_modules/effect-s3db")
  mkdirSync(installed, { recursive: true })
  tsc(root, "-p", join(root, "tsconfig.build.json"), "--outDir", join(installed, "dist"), "--sourceMap", "false")
  cpSync(join(root, "package.json"), join(installed, "package.json"))
  for (const name of [...packages, "@types", "@smithy"]) {
    symlinkSync(join(root, "node_modules", name), join(at, "node_modules", name))
  }
  writeFileSync(join(at, "package.json"), JSON.stringify({ type: "module" }))
  const options = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck"]
  const target = ["--target", "es2024", "--module", "nodenext", "--types", "node"]
  const check = (name: keyof typeof programs) => {
    const file = join(at, `${name}.ts`)
    writeFileSync(file, programs[name])
    const runs = Array.from({ length: 3 }, () => {
      const text = tsc(at, "--ignoreConfig", ...options, ...target, "--extendedDiagnostics", file)
      const figure = (label: string) => Number(new RegExp(`^${label}:\\s+([\\d.]+)`, "m").exec(text)?.[1])
      return { milliseconds: figure("Total time") * 1000, instantiations: figure("Instantiations") }
    })
    const { instantiations } = runs[0]!
    return { instantiations, milliseconds: Math.min(...runs.map(({ milliseconds }) => milliseconds)) }
  }
  return { installed, effect: check("effect"), ours: check("ours") }
}

interface Result {
  readonly name: string
  readonly milliseconds: number
  readonly baseline: string
  readonly ratio: number
}

export const report = async () => {
  const best = new Map<string, number>()
  const note = (name: string, milliseconds: number) =>
    best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, milliseconds))
  let catalog: Uint8Array = new Uint8Array()
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-start-"))
  for (let round = 0; round < rounds; round++) {
    let definitions: Definitions = []
    note(`declare ${resources} resources`, await timed(() => (definitions = declare())))
    await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const stores: ReadonlyArray<readonly [string, Store]> = [
            ["memory", (yield* MemoryStore.make()).store],
            ["a folder", yield* FileStore.make({ path: join(folder, String(round)) })]
          ]
          for (const [where, store] of stores) {
            const opening = (concurrency: number | "unbounded") =>
              Effect.promise(() => timed(() => Effect.runPromise(open(store, definitions, concurrency))))
            note(`open ${resources} that are new, in ${where}`, yield* opening("unbounded"))
            note(`open them again, in ${where}`, yield* opening("unbounded"))
            catalog = (yield* store.get(Catalog.key)).body
          }
          const { store } = yield* MemoryStore.make()
          const oneByOne = timed(() => Effect.runPromise(open(store, definitions, 1)))
          note(`open ${resources} that are new, one after the other, in memory`, yield* Effect.promise(() => oneByOne))
        })
      )
    )
    const again = () => new TextEncoder().encode(JSON.stringify(JSON.parse(new TextDecoder().decode(catalog))))
    note("the catalog as JSON", await timed(again))
  }
  const json = "the catalog as JSON"
  const results: Array<Result> = [...best].map(([name, milliseconds]) => ({
    name,
    milliseconds: Number(milliseconds.toFixed(1)),
    baseline: json,
    ratio: Number((milliseconds / best.get(json)!).toFixed(1))
  }))
  const effect = "import of Effect, Layer, Schema and Stream alone"
  const modules = ["Effect", "Layer", "Schema", "Stream"]
    .map((name) => `export * as ${name} from "effect/${name}"`)
    .join("\n")
  const core = `${modules}
export * as Database from "../../src/Database.ts"
export * as Resource from "../../src/Resource.ts"
export * as MemoryStore from "../../src/storage/MemoryStore.ts"`
  const [alone, ours] = [bundled(folder, "effect", modules), bundled(folder, "core", core)]
  const { installed, ...types } = checked(folder)
  const processor = commands(folder, installed)
  rmSync(folder, { recursive: true, force: true })
  const imports = [[effect, alone] as const, ["import of them with Database, Resource and MemoryStore", ours] as const]
  for (const [name, { milliseconds }] of imports) {
    const ratio = Number((milliseconds / alone.milliseconds).toFixed(1))
    results.push({ name, milliseconds: Number(milliseconds.toFixed(1)), baseline: effect, ratio })
  }
  const alike = "tsc of a small program with Effect alone"
  for (const [name, of] of [
    [alike, types.effect],
    ["tsc of a small program with a resource", types.ours]
  ] as const) {
    const ratio = Number((of.milliseconds / types.effect.milliseconds).toFixed(1))
    results.push({ name, milliseconds: of.milliseconds, baseline: alike, ratio })
  }
  const empty = "processor time of Node that does nothing"
  for (const [name, milliseconds] of [
    [empty, processor.nothing],
    ["processor time of s3db --version", processor.version],
    ["processor time of s3db count, of 100 in a folder", processor.count]
  ] as const) {
    const ratio = Number((milliseconds / processor.nothing).toFixed(1))
    results.push({ name, milliseconds: Number(milliseconds.toFixed(1)), baseline: empty, ratio })
  }
  const of = (baseline: string) => (baseline === json ? "the catalog" : baseline === empty ? "Node" : "Effect")
  const lines = results.map(
    ({ baseline, milliseconds, name, ratio }) =>
      `  ${name.padEnd(58)} ${milliseconds.toFixed(1).padStart(8)} ms  ${ratio.toFixed(1).padStart(7)}x ${of(baseline)}`
  )
  const kilobytes = (bytes: number) => `${(bytes / 1024).toFixed(0)} KB`
  const sizes = [
    `  the catalog: ${catalog.length} bytes, ${Math.round(catalog.length / resources)} for each resource`,
    ...imports.map(
      ([name, { gzipped, minified }]) => `  ${name}: ${kilobytes(minified)} minified, ${kilobytes(gzipped)} gzipped`
    ),
    `  instantiations of types: ${types.effect.instantiations} with Effect alone, ${types.ours.instantiations} with a resource`
  ]
  return {
    results: { catalogBytes: catalog.length, alone, ours, types, results },
    text: [...lines, ...sizes].join("\n")
  }
}
