/**
 * Documents in a folder, with each setting of durability, beside files that are written and read by hand: with the same `fsync`, of the file
 * and of its directory, under another name first, or without. Wall time, because the disk and the threads for files are what counts.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { mkdir, open as openFile, readFile, rename, unlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { schema, user } from "./contenders.ts"
import { measure } from "./measure.ts"
import { digits } from "./table.ts"

const documents = 200
const times = 100
const rounds = 5

/** Those that insert come last: a query reads what is there. */
const operations = ["get", "replace", "update", "query, per document", "insert", "delete"] as const
type Operation = (typeof operations)[number]

/** What one does with a folder: each is about the document of that number. */
type Folder = Readonly<Record<Operation, (i: number) => Effect.Effect<unknown, unknown>>>

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
    const folders = [
      [bareFsync, bareFsync, yield* byHand(join(root, "a"), true)],
      ['durability: "fsync"', bareFsync, yield* ours(join(root, "b"), "fsync")],
      [bareNone, bareNone, yield* byHand(join(root, "c"), false)],
      ['durability: "none"', bareNone, yield* ours(join(root, "d"), "none")]
    ] as const
    for (const [, , folder] of folders) for (let i = 0; i < documents; i++) yield* folder.insert(i)
    const results = []
    for (const operation of operations) {
      const cases = folders.map(([name, baseline, folder]) => caseOf(name, baseline, folder, operation))
      const count = operation === "query, per document" ? documents : times
      results.push({ operation, measured: yield* Effect.promise(() => measure(cases, count, rounds)) })
    }
    const rows = results.map(({ measured, operation }) => [
      operation,
      ...measured.map(({ wall }) => digits(wall.median)),
      digits(measured[1]!.wall.median / measured[0]!.wall.median),
      digits(measured[3]!.wall.median / measured[2]!.wall.median)
    ])
    const columns = ["", ...folders.map(([name]) => name), "ratio with fsync", "ratio without"]
    return {
      results,
      tables: [{ title: `Microseconds of an operation as time passes, median of ${rounds} rounds`, columns, rows }]
    }
  }).pipe(Effect.scoped, Effect.runPromise)
