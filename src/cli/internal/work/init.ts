/** `init`: a small project that runs. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import { Refused, Unreadable } from "../failure.ts"
import { Version } from "../globals.ts"
import { Output } from "../output.ts"

/** A line of what is written, which is no import of this file. */
const use = (names: string, from: string): string => `import ${names} from "${from}"`

const files = (name: string, version: string): Readonly<Record<string, string>> => ({
  "package.json": `${JSON.stringify(
    {
      name,
      private: true,
      type: "module",
      scripts: { start: "node src/main.ts", test: 'node --test "test/**/*.test.ts"', check: "tsc" },
      dependencies: { effect: "~4.1.0", "effect-s3db": `^${version}` },
      devDependencies: { "@types/node": "^24.0.0", typescript: ">=5.9" },
      engines: { node: ">=22.19" }
    },
    undefined,
    2
  )}\n`,
  "tsconfig.json": `${JSON.stringify(
    {
      compilerOptions: {
        target: "ES2024",
        module: "NodeNext",
        strict: true,
        exactOptionalPropertyTypes: true,
        erasableSyntaxOnly: true,
        rewriteRelativeImportExtensions: true,
        verbatimModuleSyntax: true,
        skipLibCheck: true,
        noEmit: true,
        types: ["node"]
      },
      include: ["src", "test"]
    },
    undefined,
    2
  )}\n`,
  ".gitignore": "node_modules\ndata\n",
  "README.md": `# ${name}

Tasks in a database on S3, in a folder or in memory.

- \`npm start\` adds a task and lists those that are open. The data is in the folder \`data\`, or where \`S3DB_URL\` says:
  \`S3DB_URL='s3://bucket/prefix?region=eu-west-1' npm start\`.
- \`npm test\` runs the tests, in memory.
- \`npx s3db query tasks --scan --url file://./data\` looks into the data.
`,
  "src/Tasks.ts": `${use("{ Schema }", "effect")}
${use("* as Id", "effect-s3db/crypto/Id")}
${use("* as Resource", "effect-s3db/Resource")}

export class Task extends Schema.Class<Task>("${name}/Task")({
  id: Id.Random,
  title: Schema.NonEmptyString,
  state: Schema.Literals(["open", "done"])
}) {}

/** The tasks of the database, found by their state without reading the others. */
export class Tasks extends Resource.Service<Tasks>()("${name}/tasks", {
  schema: Task,
  primaryKey: "id",
  partitions: { byState: ["state"] }
}) {}
`,
  "src/store.ts": `${use("{ Layer }", "effect")}
${use("* as Database", "effect-s3db/Database")}
${use("* as ConnectionString", "effect-s3db/storage/ConnectionString")}
${use("* as MemoryStore", "effect-s3db/storage/MemoryStore")}
${use("{ Tasks }", "./Tasks.ts")}

/** Everything in memory: for tests. */
export const memory = Tasks.layer.pipe(Layer.provide(Database.layer), Layer.provide(MemoryStore.layer))

/** Where a text says: \`file://./data\`, \`s3://bucket/prefix\`, \`https://host/bucket\`. */
export const at = (url: string) =>
  Tasks.layer.pipe(Layer.provide(Database.layer), Layer.provide(ConnectionString.layer(url)))
`,
  "src/program.ts": `${use("{ Effect, Stream }", "effect")}
${use("{ Tasks }", "./Tasks.ts")}

/** Adds a task, and gives the titles of all that are open. */
export const add = Effect.fn("add")(function* (title: string) {
  const tasks = yield* Tasks
  yield* tasks.insert({ title, state: "open" })
  const open = tasks.scan({ partition: "byState", values: { state: "open" } })
  return yield* Stream.runCollect(Stream.map(open, (task) => task.title))
})
`,
  "src/main.ts": `${use("{ Console, Effect }", "effect")}
${use("{ add }", "./program.ts")}
${use("{ at }", "./store.ts")}

const program = Effect.flatMap(add(process.argv[2] ?? "look around"), (titles) => Console.log(titles.join("\\n")))

await Effect.runPromise(Effect.provide(program, at(process.env["S3DB_URL"] ?? "file://./data")))
`,
  "test/program.test.ts": `${use("assert", "node:assert/strict")}
${use("{ test }", "node:test")}
${use("{ Effect }", "effect")}
${use("{ add }", "../src/program.ts")}
${use("{ memory }", "../src/store.ts")}

test("what was added is open", async () => {
  const titles = Effect.andThen(add("one"), add("two"))
  assert.deepEqual((await Effect.runPromise(Effect.provide(titles, memory))).toSorted(), ["one", "two"])
})

test("a task has a title", async () => {
  const error = await Effect.runPromise(Effect.provide(Effect.flip(add("")), memory))
  assert.equal(error._tag, "InvalidInput")
})
`
})

/** A name that a package can have. */
const nameOf = (folder: string): string => {
  const name = folder
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/^[._-]+|[._-]+$/g, "")
  return name === "" ? "tasks" : name
}

export const init = (given: { readonly folder: string }) =>
  Effect.gen(function* () {
    const version = yield* Version
    const output = yield* Output
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const root = path.resolve(given.folder)
    const failed = (error: { readonly message: string }) =>
      new Unreadable({ description: `${root} cannot be written: ${error.message}` })
    const all = Object.entries(files(nameOf(path.basename(root)), version))
    for (const [name] of all) {
      // Nothing of anybody's is overwritten.
      if (yield* Effect.orElseSucceed(fs.exists(path.join(root, name)), () => true)) {
        return yield* new Refused({
          description: `${path.join(given.folder, name)} is there already: choose an empty folder`
        })
      }
    }
    for (const [name, text] of all) {
      const file = path.join(root, name)
      yield* Effect.mapError(
        Effect.andThen(fs.makeDirectory(path.dirname(file), { recursive: true }), fs.writeFileString(file, text)),
        failed
      )
    }
    const steps = [...(given.folder === "." ? [] : [`cd ${given.folder}`]), "npm install", "npm test", "npm start"]
    yield* output.value(
      { folder: root, files: all.map(([name]) => name) },
      `made a project in ${root}. Now:\n${steps.map((step) => `  ${step}`).join("\n")}`
    )
  })
