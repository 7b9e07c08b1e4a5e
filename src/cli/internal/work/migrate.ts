/** Migrations: programs of a folder that are run once each, in their order, by one process at a time. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "../../../Database.ts"
import * as DbError from "../../../DbError.ts"
import type { JsonObject } from "../../../encoding/Json.ts"
import { sha256 } from "../../../internal/sha256.ts"
import * as CasCell from "../../../kernel/CasCell.ts"
import * as Lease from "../../../kernel/Lease.ts"
import { Missing, Partial, Refused, Unreadable, Usage } from "../failure.ts"
import { Output } from "../output.ts"
import { withDatabase, withNewDatabase } from "./opening.ts"

const Applied = Schema.Struct({
  id: Schema.String,
  /** SHA-256 of the file, as it was run. */
  checksum: Schema.String,
  /** Those of one `up` are taken back together. */
  batch: Schema.Int,
  at: Schema.String
})

const State = Schema.Struct({ applied: Schema.Array(Applied) })

const format = CasCell.schemaFormat(State, { what: "the state of the migrations" })

const root = "plugin=s3db-migrations"

const cellOf = Effect.map(Database.Database, ({ store }) => CasCell.make(store, `${root}/state`, format))

const fileName = /^\d{8}T\d{6}_[\w-]+\.(ts|mts|js|mjs)$/

/** What somebody may take for a migration; declarations of types are none. */
const isProgram = /(?<!\.d)\.(ts|mts|cts|js|mjs|cjs)$/

interface Known {
  readonly id: string
  readonly file: string
  readonly checksum: string
}

const noFolder = (folder: string): string =>
  `there is no folder ${folder}: \`s3db migrate generate NAME\` makes it, with a first migration; --folder names another`

const isThere = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* Effect.orElseSucceed(fs.exists(folder), () => true)
})

/** The migrations of a folder, in their order. */
const filesIn = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const failed = (error: { readonly message: string }) =>
    new Unreadable({ description: `the migrations in ${folder} cannot be read: ${error.message}` })
  const output = yield* Output
  if (!(yield* isThere(folder))) {
    return yield* new Unreadable({ description: noFolder(folder) })
  }
  const all = (yield* Effect.mapError(fs.readDirectory(folder), failed)).toSorted()
  const names = all.filter((name) => fileName.test(name))
  const passedOver = all.filter((name) => isProgram.test(name) && !fileName.test(name))
  if (passedOver.length > 0) {
    yield* output.warn(
      `${passedOver.join(", ")} in ${folder} ${passedOver.length === 1 ? "is" : "are"} passed over: the file of a migration is called as 20260131T120000_NAME.ts (or .mts, .js, .mjs), by which they are ordered; NAME has letters, digits, _ and -`
    )
  }
  const found: Array<Known> = []
  for (const name of names) {
    const file = path.resolve(folder, name)
    const text = yield* Effect.mapError(fs.readFileString(file), failed)
    found.push({
      id: name.slice(0, name.lastIndexOf(".")),
      file,
      checksum: Hex.encode(sha256(new TextEncoder().encode(text)))
    })
  }
  return found
})

type Step = Effect.Effect<unknown, unknown, Database.Database>

/** A migration is a program of its project, and takes what it imports from there. */
const whyNotLoaded = (error: unknown, folder: string): string => {
  const message = error instanceof Error ? error.message : String(error)
  const [, missing] = /^Cannot find package '([^']+)'/.exec(message) ?? []
  if (missing === undefined) return `cannot be loaded: ${message}`
  const others = ["effect", "effect-s3db"].includes(missing) ? "effect effect-s3db" : missing
  return `needs the package ${missing}, which is not installed for ${folder}: keep migrations in the folder of a project, and run \`npm install ${others}\` there; \`s3db init\` makes one`
}

const stepOf = Effect.fnUntraced(function* ({ file, id }: Known, direction: "up" | "down") {
  const path = yield* Path.Path
  const failed = (description: string) => new Unreadable({ description: `the migration ${id} ${description}` })
  const url = yield* Effect.mapError(path.toFileUrl(file), (error) => failed(error.message))
  const module = yield* Effect.tryPromise({
    try: () => import(url.href) as Promise<Readonly<Record<string, unknown>>>,
    catch: (error) => failed(whyNotLoaded(error, path.dirname(file)))
  })
  const step = module[direction]
  if (!Effect.isEffect(step)) return yield* failed(`exports no Effect called ${direction}`)
  return step as Step
})

const failedStep = (id: string, error: unknown) =>
  new Partial({
    description: `${id} failed, and is not noted down: ${error instanceof Error ? error.message : JSON.stringify(error)}`
  })

/** Runs while nobody else migrates. */
const alone = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const { store } = yield* Database.Database
  const lease = Lease.make(store, { key: `${root}/lease` })
  const held = yield* Effect.mapError(lease.tryAcquire, DbError.fromStore("migrate"))
  if (Option.isNone(held)) {
    return yield* new Refused({ description: "another process migrates this database: wait until it is done" })
  }
  return yield* effect
}, Effect.scoped)

const readState = Effect.fnUntraced(function* () {
  const cell = yield* cellOf
  const { value } = yield* Effect.mapError(cell.read, DbError.fromStore("migrate"))
  return value?.applied ?? []
})

const note = Effect.fnUntraced(function* (
  change: (applied: (typeof State.Type)["applied"]) => (typeof State.Type)["applied"]
) {
  const cell = yield* cellOf
  yield* Effect.mapError(
    cell.modify((before) => Effect.succeed({ applied: change(before?.applied ?? []) })),
    DbError.fromStore("migrate")
  )
})

interface Folder {
  readonly folder: string
}

export const generate = (given: Folder & { readonly name: string }) =>
  Effect.gen(function* () {
    const output = yield* Output
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    if (!/^[\w-]{1,80}$/.test(given.name)) {
      return yield* new Usage({ description: "the name of a migration has letters, digits, _ and -" })
    }
    const stamp = DateTime.formatIso(yield* DateTime.now)
      .slice(0, 19)
      .replaceAll(/[-:]/g, "")
    const file = path.join(given.folder, `${stamp}_${given.name}.ts`)
    const text = `import { Effect } from "effect"
import * as Database from "effect-s3db/Database"

/** Run once. May be run again from the beginning where it was interrupted: make it so that this does no harm. */
export const up = Effect.gen(function* () {
  const database = yield* Database.Database
  yield* Effect.log((yield* database.listResources).map(({ name }) => name))
})

/** Takes it back. */
export const down = Effect.void
`
    yield* Effect.mapError(
      Effect.andThen(
        fs.makeDirectory(given.folder, { recursive: true }),
        fs.writeFileString(file, text, { flag: "wx" })
      ),
      (error) => new Unreadable({ description: `${file} cannot be written: ${error.message}` })
    )
    yield* output.value({ file }, file)
  })

/** Migrations that are not what was run are told before anything is done. */
const changedOf = (files: ReadonlyArray<Known>, applied: (typeof State.Type)["applied"]) =>
  applied
    .filter(({ checksum, id }) => files.some((file) => file.id === id && file.checksum !== checksum))
    .map(({ id }) => id)

export const up = (given: Folder & { readonly steps: Option.Option<number>; readonly force: boolean }) =>
  Effect.flatMap(filesIn(given.folder), (files) => run(files, given))

/** A folder that cannot be read is told before a database is made. */
const run = (files: ReadonlyArray<Known>, given: { readonly steps: Option.Option<number>; readonly force: boolean }) =>
  withNewDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const ran = yield* alone(
        Effect.gen(function* () {
          const applied = yield* readState()
          const changed = changedOf(files, applied)
          if (changed.length > 0 && !given.force) {
            return yield* new Refused({
              description: `${changed.join(", ")} changed after being run: undo the change, or say --force to go on with the others`
            })
          }
          const batch = Math.max(0, ...applied.map((one) => one.batch)) + 1
          const pending = files.filter(({ id }) => applied.every((one) => one.id !== id))
          const ran: Array<string> = []
          for (const file of pending.slice(
            0,
            Option.getOrElse(given.steps, () => pending.length)
          )) {
            yield* output.note(`running ${file.id}`)
            yield* Effect.mapError(yield* stepOf(file, "up"), (error) => failedStep(file.id, error))
            const at = DateTime.formatIso(yield* DateTime.now)
            yield* note((all) => [...all, { id: file.id, checksum: file.checksum, batch, at }])
            ran.push(file.id)
          }
          return ran
        })
      )
      yield* output.value({ applied: ran }, ran.length === 0 ? "nothing to do" : `applied ${ran.join(", ")}`)
    })
  )

export const down = (given: Folder & { readonly batches: number; readonly force: boolean }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const files = yield* filesIn(given.folder)
      const undone = yield* alone(
        Effect.gen(function* () {
          const applied = yield* readState()
          const batches = [...new Set(applied.map(({ batch }) => batch))]
            .toSorted((a, b) => b - a)
            .slice(0, given.batches)
          const last = applied.filter(({ batch }) => batches.includes(batch)).toReversed()
          if (last.length === 0) return []
          yield* output.confirm(`Take back ${last.map(({ id }) => id).join(", ")}?`, given.force)
          for (const { id } of last) {
            const file = files.find((one) => one.id === id)
            if (file === undefined)
              return yield* new Missing({ description: `there is no file of ${id} in ${given.folder}` })
            yield* output.note(`taking back ${id}`)
            yield* Effect.mapError(yield* stepOf(file, "down"), (error) => failedStep(id, error))
            yield* note((all) => all.filter((one) => one.id !== id))
          }
          return last.map(({ id }) => id)
        })
      )
      yield* output.value({ undone }, undone.length === 0 ? "nothing to do" : `took back ${undone.join(", ")}`)
    })
  )

export const status = (given: Folder) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const hasFolder = yield* isThere(given.folder)
      if (!hasFolder) yield* output.note(noFolder(given.folder))
      const files = hasFolder ? yield* filesIn(given.folder) : []
      const applied = yield* readState()
      const { store } = yield* Database.Database
      const lease = yield* Effect.mapError(
        Lease.make(store, { key: `${root}/lease` }).state,
        DbError.fromStore("migrate")
      )
      if (Option.isSome(lease) && lease.value.holder !== undefined)
        yield* output.note("a process migrates now, or has come to a sudden end")
      const ids = [...new Set([...files.map(({ id }) => id), ...applied.map(({ id }) => id)])].toSorted()
      const rows = ids.map((id): JsonObject => {
        const file = files.find((one) => one.id === id)
        const done = applied.find((one) => one.id === id)
        const state =
          done === undefined
            ? "pending"
            : file === undefined
              ? "file missing"
              : file.checksum === done.checksum
                ? "applied"
                : "changed"
        return { migration: id, state, batch: done?.batch ?? null, at: done?.at ?? null }
      })
      yield* output.rows(Stream.fromIterable(rows), { columns: ["migration", "state", "batch", "at"] })
    })
  )
