/**
 * Documents in a folder, with each setting of durability, beside files that are written and read by hand: with the same `fsync`, of the file
 * and of its directory, under another name first, or without; and beside small stores that are installed (`npm run bench:peers`), of which
 * none waits for the disk. Wall time, because the disk and the threads for files are what counts.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { mkdir, open as openFile, readFile, rename, unlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { failed, schema } from "./contenders.ts"
import { user } from "./documents.ts"
import { measure } from "./measure.ts"
import * as peers from "./peers.ts"
import { digits } from "./table.ts"

const documents = 200
const times = 100
const rounds = 5

/** Those that insert come last: a query reads what is there. */
const operations = ["get", "replace", "update", "query, per document", "insert", "delete"] as const
type Operation = (typeof operations)[number]

/** What one does with a folder: each is about the document of that number. Only a store that finds documents by their fields has a query. */
type Folder = Readonly<Record<Exclude<Operation, "query, per document">, Step>> & {
  readonly "query, per document"?: Step
}
type Step = (i: number) => Effect.Effect<unknown, unknown>

const encoder = new TextEncoder()

/** As little as a program can do that loses nothing when the machine stops: a file of another name, `fsync`, `rename`, `fsync` of the directory. */
const byHand = (path: string, fsync: boolean): Effect.Effect<Folder> =>
  Effect.promise(async () => {
    await mkdir(path, { recursive: true })
    const fileOf = (i: number) => join(path, `user-${i}`)
    const sync = async (file: string) => {
      const handle = await openFile(file, "r")
      await handle.sync()
      await handle.close()
    }
    let temporary = 0
    const write = async (i: number) => {
      const file = join(path, `.${temporary++}`)
      const body = encoder.encode(JSON.stringify(user(i)))
      if (fsync) {
        const handle = await openFile(file, "w")
        await handle.writeFile(body)
        await handle.sync()
        await handle.close()
      } else await writeFile(file, body)
      await rename(file, fileOf(i))
      if (fsync) await sync(path)
    }
    const read = async (i: number): Promise<unknown> => JSON.parse(await readFile(fileOf(i), "utf8"))
    const put = (i: number) => Effect.promise(() => write(i))
    return {
      insert: put,
      get: (i) => Effect.promise(() => read(i)),
      replace: put,
      update: (i) =>
        Effect.andThen(
          Effect.promise(() => read(i)),
          put(i)
        ),
      delete: (i) =>
        Effect.promise(async () => {
          await unlink(fileOf(i))
          if (fsync) await sync(path)
        }),
      "query, per document": () =>
        Effect.promise(async () => {
          for (let i = 0; i < documents; i++) await read(i)
        })
    }
  })

const Users = Resource.define("users", { schema, primaryKey: "id" })

const ours = Effect.fnUntraced(function* (
  path: string,
  durability: "fsync" | "none"
): Effect.fn.Return<Folder, unknown, Scope.Scope> {
  const store = yield* FileStore.make({ path, durability })
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const users = yield* Effect.provideService(Resource.make(Users), Database.Database, database)
  return {
    insert: (i) => users.insert(user(i)),
    get: (i) => users.get(`user-${i}`),
    replace: (i) => users.replace(user(i)),
    update: (i) => users.update(`user-${i}`, { age: i }),
    delete: (i) => users.delete(`user-${i}`),
    "query, per document": () => Stream.runDrain(users.query({ where: { age: 27 }, scan: true }))
  }
})

// The others.

const step =
  (run: (i: number) => Promise<unknown>): Step =>
  (i) =>
    Effect.tryPromise({ try: () => run(i), catch: failed })

interface Nedb {
  readonly default: new (options: { readonly filename: string }) => {
    readonly loadDatabaseAsync: () => Promise<unknown>
    readonly insertAsync: (document: object) => Promise<unknown>
    readonly findOneAsync: (query: object) => Promise<unknown>
    readonly findAsync: (query: object) => Promise<ReadonlyArray<unknown>>
    readonly updateAsync: (query: object, change: object, options: object) => Promise<unknown>
    readonly removeAsync: (query: object, options: object) => Promise<unknown>
  }
}

/** One file, to which every change is appended; all documents are in memory. */
const nedb = async ({ default: Datastore }: Nedb, path: string): Promise<Folder> => {
  const data = new Datastore({ filename: join(path, "data.db") })
  await data.loadDatabaseAsync()
  const id = (i: number) => ({ _id: `user-${i}` })
  return {
    insert: step((i) => data.insertAsync({ ...user(i), ...id(i) })),
    get: step((i) => data.findOneAsync(id(i))),
    replace: step((i) => data.updateAsync(id(i), { ...user(i), ...id(i) }, {})),
    update: step((i) => data.updateAsync(id(i), { $set: { age: i } }, {})),
    delete: step((i) => data.removeAsync(id(i), {})),
    "query, per document": step(() => data.findAsync({ age: 27 }))
  }
}

interface KeyvFileModule {
  readonly KeyvFile: new (options: object) => {
    readonly set: (key: string, value: object) => Promise<unknown>
    readonly get: (key: string) => Promise<object | undefined>
    readonly delete: (key: string) => Promise<unknown>
  }
}

/** A file for each value: with one for all of them it writes all of them each time. */
const keyvFile = async ({ KeyvFile }: KeyvFileModule, path: string): Promise<Folder> => {
  const values = new KeyvFile({ filename: join(path, "data"), separatedFile: true, writeDelay: 0 })
  const put = step((i) => values.set(`user-${i}`, user(i)))
  return {
    insert: put,
    get: step((i) => values.get(`user-${i}`)),
    replace: put,
    update: step(async (i) => values.set(`user-${i}`, { ...(await values.get(`user-${i}`)), age: i })),
    delete: step((i) => values.delete(`user-${i}`))
  }
}

interface PouchModule {
  readonly default: new (path: string) => {
    readonly put: (document: object) => Promise<unknown>
    readonly get: (id: string) => Promise<{ readonly _rev: string; readonly _id: string }>
    readonly remove: (document: object) => Promise<unknown>
    readonly allDocs: (options: object) => Promise<{ readonly rows: ReadonlyArray<{ readonly doc: { age: number } }> }>
  }
}

/** On LevelDB, with revisions: a document is changed by who has its last one. */
const pouchdb = async ({ default: Pouch }: PouchModule, path: string): Promise<Folder> => {
  const data = new Pouch(join(path, "data"))
  const last = (i: number) => data.get(`user-${i}`)
  return {
    insert: step((i) => data.put({ ...user(i), _id: `user-${i}` })),
    get: step(last),
    replace: step(async (i) => {
      const { _id, _rev } = await last(i)
      return data.put({ ...user(i), _id, _rev })
    }),
    update: step(async (i) => data.put({ ...(await last(i)), age: i })),
    delete: step(async (i) => data.remove(await last(i))),
    "query, per document": step(async () =>
      (await data.allDocs({ include_docs: true })).rows.filter(({ doc }) => doc.age === 27)
    )
  }
}

const small = {
  nedb: (module, path) => nedb(module as Nedb, path),
  "keyv-file": (module, path) => keyvFile(module as KeyvFileModule, path),
  pouchdb: (module, path) => pouchdb(module as PouchModule, path)
} satisfies Partial<Readonly<Record<peers.Name, (module: unknown, path: string) => Promise<Folder>>>>

let next = 1_000_000

/** The first documents stay; those that are inserted or deleted come after them. */
const caseOf = (name: string, baseline: string, folder: Folder, operation: Operation) => {
  let from = next
  const loop = (count: number, step: (i: number) => Effect.Effect<unknown, unknown>) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (let i = 0; i < count; i++) yield* step(i)
      })
    )
  const act = folder[operation]
  if (act === undefined) return undefined
  switch (operation) {
    case "insert":
      return { name, baseline, run: (count: number) => loop(count, () => act(next++)) }
    case "delete":
      return {
        name,
        baseline,
        prepare: (count: number) => {
          from = next
          next += count
          return loop(count, (i) => folder.insert(from + i))
        },
        run: (count: number) => loop(count, (i) => act(from + i))
      }
    case "query, per document":
      return { name, baseline, run: (count: number) => loop(Math.ceil(count / documents), act) }
    default:
      return { name, baseline, run: (count: number) => loop(count, (i) => act(i % documents)) }
  }
}

export const report = () =>
  Effect.gen(function* () {
    const root = mkdtempSync(join(tmpdir(), "effect-s3db-filestore-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(root, { recursive: true, force: true })))
    const bareFsync = "files by hand, fsync"
    const bareNone = "files by hand"
    const notes: Array<string> = []
    const others: Array<readonly [string, string, Folder]> = []
    for (const name of Object.keys(small) as ReadonlyArray<keyof typeof small>) {
      const path = join(root, name)
      yield* Effect.promise(() => mkdir(path))
      const module = peers.load(name)
      if (module === undefined) notes.push(`${peers.title(name)} is not installed: npm run bench:peers`)
      else {
        const made = Effect.tryPromise({ try: async () => small[name](await module, path), catch: failed })
        const folder = yield* Effect.result(made)
        if (Result.isSuccess(folder)) others.push([peers.title(name), bareNone, folder.success])
        else notes.push(`${peers.title(name)} cannot be loaded: ${folder.failure.message}`)
      }
    }
    const folders: ReadonlyArray<readonly [string, string, Folder]> = [
      [bareFsync, bareFsync, yield* byHand(join(root, "a"), true)],
      ['durability: "fsync"', bareFsync, yield* ours(join(root, "b"), "fsync")],
      [bareNone, bareNone, yield* byHand(join(root, "c"), false)],
      ['durability: "none"', bareNone, yield* ours(join(root, "d"), "none")],
      ...others
    ]
    for (const [, , folder] of folders) for (let i = 0; i < documents; i++) yield* folder.insert(i)
    const results = []
    for (const operation of operations) {
      const cases = folders.flatMap(([name, baseline, folder]) => caseOf(name, baseline, folder, operation) ?? [])
      const count = operation === "query, per document" ? documents : times
      results.push({ operation, measured: yield* Effect.promise(() => measure(cases, count, rounds)) })
    }
    const rows = results.map(({ measured, operation }) => {
      const timeOf = (name: string) => measured.find((one) => one.name === name)?.wall.median ?? Number.NaN
      const times = folders.slice(0, 4).map(([name]) => timeOf(name))
      const mine = times[3]!
      return [
        operation,
        ...times.map(digits),
        digits(times[1]! / times[0]!),
        digits(mine / times[2]!),
        ...others.map(([name]) => digits(timeOf(name) / mine))
      ]
    })
    const columns = [
      "",
      ...folders.slice(0, 4).map(([name]) => name),
      "ratio with fsync",
      "ratio without",
      ...others.map(([name]) => name)
    ]
    const title = `Microseconds of an operation as time passes, median of ${rounds} rounds; ratios to files by hand; then the others' time to ours without fsync: above 1, they take more`
    return { results, tables: [{ title, columns, rows }], notes }
  }).pipe(Effect.scoped, Effect.runPromise)
