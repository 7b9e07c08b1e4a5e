/** Takes backups, looks after them and puts them back. */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as KeyRing from "../../../crypto/KeyRing.ts"
import type { JsonObject } from "../../../encoding/Json.ts"
import * as Backup from "../../../plugins/Backup.ts"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import { ObjectStore } from "../../../storage/ObjectStore.ts"
import * as Connection from "../connection.ts"
import { counted, Missing, NoConnection, Partial, Usage } from "../failure.ts"
import { Output } from "../output.ts"
import { catalogKey, connection, definition, store, withDatabase } from "./opening.ts"
import { placeOf } from "./places.ts"

interface Given {
  readonly vault: Option.Option<Redacted.Redacted<string>>
}

const secret = (name: string) =>
  Config.Redacted(name).pipe(
    Config.option,
    Effect.orElseSucceed(() => Option.none<Redacted.Redacted<string>>())
  )

/** The store of a layer, for as long as the command takes. */
const storeOf = <E, R>(layer: Layer.Layer<ObjectStore, E, R>) =>
  Effect.map(Layer.build(layer), (context) => Context.get(context, ObjectStore))

const keysThere = Effect.gen(function* () {
  const given = yield* secret("S3DB_BACKUP_KEYS")
  if (Option.isNone(given)) return undefined
  return yield* Effect.provide(KeyRing.KeyRing, KeyRing.layerText(given.value))
})

const opened = Effect.fnUntraced(function* ({ vault: given }: Given, needsDatabase = false) {
  const url = Option.getOrUndefined(given) ?? Option.getOrUndefined(yield* secret("S3DB_VAULT"))
  if (url === undefined) {
    return yield* new Usage({
      description: "nobody has said where backups are: give --vault, or set S3DB_VAULT"
    })
  }
  const parsed = yield* ConnectionString.parse(url)
  const { described, parsed: database } = yield* connection
  const isThere = parsed._tag !== "Memory" || database._tag === "Memory"
  if (!isThere) {
    return yield* new Usage({
      description: "a vault in memory is gone when the command has ended: name a folder or a bucket"
    })
  }
  const place = yield* placeOf(parsed)
  if (place !== "memory" && place === (yield* placeOf(database))) {
    return yield* new Usage({
      description: `${described} is where the database is: backups go into another bucket, prefix or folder, which --vault names`
    })
  }
  const source = yield* storeOf(store)
  if (needsDatabase) {
    yield* source
      .head(catalogKey)
      .pipe(
        Effect.catchReason(
          "StoreError",
          "NoSuchKey",
          () => new NoConnection({ description: `there is no database at ${described}: correct the URL` })
        )
      )
  }
  const backups = yield* Backup.make({
    source,
    vault: yield* storeOf(ConnectionString.layer(url)),
    keys: yield* keysThere
  })
  return { backups, vault: Connection.describe(parsed), described }
})

/** The id that is meant. */
const named = Effect.fnUntraced(function* (
  backups: Backup.Backup["Service"],
  { id, vault }: { readonly id: string; readonly vault: string }
) {
  if (id !== "latest") return id
  const all = yield* backups.list
  const last = all.at(-1)
  if (last === undefined) return yield* new Missing({ description: `there is no backup in ${vault}` })
  const sources = new Set(all.map(({ source }) => source))
  if (sources.size === 1) return last.id
  const description = `there are backups of ${sources.size} databases in ${vault}: give the id of one, which \`s3db backup list\` tells`
  return yield* new Usage({ description })
})

const rowOf = (one: Backup.Snapshot): JsonObject => ({
  id: one.id,
  source: one.source,
  startedAt: DateTime.formatIso(one.startedAt),
  finishedAt: DateTime.formatIso(one.finishedAt),
  instant: one.isInstant,
  rewindable: one.isRewindable,
  objects: one.objects,
  bytes: one.bytes,
  read: one.read,
  removed: one.removed,
  ...(one.parent === undefined ? {} : { parent: one.parent }),
  ...(one.resources === undefined ? {} : { resources: [...one.resources] }),
  ...(one.exclude.length === 0 ? {} : { exclude: [...one.exclude] }),
  ...(one.plugins ? { plugins: true } : {})
})

const columns = ["id", "source", "finishedAt", "instant", "objects", "bytes", "read", "removed"]

const progressOf = Effect.fnUntraced(function* (label: string) {
  const output = yield* Output
  const { end, update } = yield* output.progress(label)
  return { end, onProgress: ({ objects, total }: Backup.Progress) => update(objects, total) }
})

const some = (names: ReadonlyArray<string>) => (names.length === 0 ? undefined : names)

export const create = Effect.fnUntraced(function* (
  given: Given & {
    readonly resource: ReadonlyArray<string>
    readonly exclude: ReadonlyArray<string>
    readonly plugins: boolean
    readonly passes: number
    readonly instant: boolean
    readonly concurrency: number
  }
) {
  const output = yield* Output
  const { backups } = yield* opened(given, true)
  const { end, onProgress } = yield* progressOf("looked at")
  const { concurrency, exclude, instant, passes, plugins, resource } = given
  const made = yield* backups
    .create({ resources: some(resource), exclude, plugins, passes, instant, concurrency, onProgress })
    .pipe(Effect.ensuring(end))
  if (!made.isInstant) {
    yield* output.warn(
      "programs have written all the while: each object is as it was at some moment, not all at one. Transactions may be in it by halves, until resources with a history are rewound after the restoration (`s3db rewind`)"
    )
  }
  yield* output.value(
    rowOf(made),
    `${made.id}: ${counted(made.objects, "object")}, ${made.read} of which were read, ${made.bytes} bytes`
  )
}, Effect.scoped)

export const list = Effect.fnUntraced(function* (given: Given) {
  const output = yield* Output
  const { backups } = yield* opened(given)
  yield* output.rows(Stream.fromIterable((yield* backups.list).map(rowOf)), {
    columns,
    footer: (count) => counted(count, "backup")
  })
}, Effect.scoped)

export const verify = Effect.fnUntraced(function* (given: Given & { readonly id: string }) {
  const output = yield* Output
  const { backups, vault } = yield* opened(given)
  const id = yield* named(backups, { id: given.id, vault })
  const { end, onProgress } = yield* progressOf("verified")
  const { bytes, lost, objects, problems } = yield* backups.verify(id, { onProgress }).pipe(Effect.ensuring(end))
  yield* output.value(
    { id, objects, bytes, lost, problems: problems.map((problem): JsonObject => ({ ...problem })) },
    [
      `${id}: ${counted(objects, "object")} can be brought back, ${bytes} bytes`,
      ...problems.map(
        ({ description, key, objects: affected }) => `${key}: ${description} (${counted(affected, "object")})`
      )
    ].join("\n")
  )
  if (problems.length > 0)
    return yield* new Partial({ description: `${counted(lost, "object")} cannot be brought back` })
}, Effect.scoped)

interface Where extends Given {
  readonly id: string
  readonly mode: Backup.Mode
  readonly resource: ReadonlyArray<string>
  readonly concurrency: number
}

const planRow = (
  id: string,
  { bytes, created, kept, mode, overwritten, removed, unchanged }: Backup.Plan
): JsonObject => ({
  id,
  mode,
  created,
  overwritten,
  unchanged,
  kept,
  removed,
  bytes
})

const sentenceOf = ({ created, kept, overwritten, removed, unchanged }: Backup.Plan): string =>
  `${created} new, ${overwritten} in the place of others, ${unchanged} there as they were, ${kept} left as they are, ${removed} removed`

export const plan = Effect.fnUntraced(function* (given: Where) {
  const output = yield* Output
  const { backups, vault } = yield* opened(given)
  const id = yield* named(backups, { id: given.id, vault })
  const made = yield* backups.plan(id, { mode: given.mode, resources: some(given.resource) })
  yield* output.value(planRow(id, made), `${id}, ${made.mode}: ${sentenceOf(made)}; nothing was changed`)
}, Effect.scoped)

export const restore = Effect.fnUntraced(function* (
  given: Where & { readonly noVerify: boolean; readonly force: boolean }
) {
  const output = yield* Output
  const { backups, described, vault } = yield* opened(given)
  const id = yield* named(backups, { id: given.id, vault })
  const options: Backup.RestoreOptions = {
    mode: given.mode,
    resources: some(given.resource),
    concurrency: given.concurrency,
    ...(given.noVerify ? { verify: false } : {})
  }
  if (given.mode !== "empty") {
    const planned = yield* backups.plan(id, options)
    yield* output.confirm(`Restore ${id} into ${described}: ${sentenceOf(planned)}?`, given.force)
  }
  const { end, onProgress } = yield* progressOf("restored")
  const made = yield* backups.restore(id, { ...options, onProgress }).pipe(
    Effect.ensuring(end),
    Effect.onInterrupt(() => output.warn("interrupted: run the same again, and it goes on"))
  )
  yield* output.value(planRow(id, made), `${id}: ${sentenceOf(made)}`)
}, Effect.scoped)

export const prune = Effect.fnUntraced(function* (
  given: Given & {
    readonly last: Option.Option<number>
    readonly hourly: Option.Option<number>
    readonly daily: Option.Option<number>
    readonly weekly: Option.Option<number>
    readonly monthly: Option.Option<number>
    readonly yearly: Option.Option<number>
    readonly timeZone: Option.Option<string>
    readonly dryRun: boolean
    readonly force: boolean
  }
) {
  const output = yield* Output
  const policy: Backup.Policy = {
    last: Option.getOrUndefined(given.last),
    hourly: Option.getOrUndefined(given.hourly),
    daily: Option.getOrUndefined(given.daily),
    weekly: Option.getOrUndefined(given.weekly),
    monthly: Option.getOrUndefined(given.monthly),
    yearly: Option.getOrUndefined(given.yearly)
  }
  if (Object.values(policy).every((value) => value === undefined)) {
    return yield* new Usage({
      description: "nobody has said what is kept: give --last, --hourly, --daily, --weekly, --monthly or --yearly"
    })
  }
  const { backups, vault } = yield* opened(given)
  const kept = Option.isNone(given.timeZone) ? policy : { ...policy, timeZone: given.timeZone.value }
  const planned = yield* backups.prune(kept, { dryRun: true })
  if (!given.dryRun && planned.dropped.length > 0) {
    yield* output.confirm(`Remove ${counted(planned.dropped.length, "backup")} of ${vault}?`, given.force)
  }
  const { dropped, kept: left, objects } = given.dryRun ? planned : yield* backups.prune(kept)
  yield* output.value(
    { kept: [...left], dropped: [...dropped], objects, dryRun: given.dryRun },
    [
      ...dropped.map((id) => `${given.dryRun ? "would remove" : "removed"} ${id}`),
      `${counted(left.length, "backup")} kept, ${counted(objects, "object")} of the vault that nobody uses`
    ].join("\n")
  )
}, Effect.scoped)

export const remove = Effect.fnUntraced(function* (given: Given & { readonly id: string; readonly force: boolean }) {
  const output = yield* Output
  const { backups, vault } = yield* opened(given)
  const id = yield* named(backups, { id: given.id, vault })
  yield* backups.get(id)
  yield* output.confirm(`Remove the backup ${id} of ${vault}?`, given.force)
  yield* backups.remove(id)
  yield* output.value({ id, removed: true }, `removed ${id}`)
}, Effect.scoped)

export const rewind = (given: {
  readonly resources: ReadonlyArray<string>
  readonly time: string
  readonly dryRun: boolean
  readonly force: boolean
}) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const time = DateTime.make(given.time)
      if (Option.isNone(time)) {
        return yield* new Usage({ description: "--time has to be a time, such as 2026-01-31T12:00:00Z" })
      }
      const resources = [...new Set(given.resources)]
      // A name that is not there is told before anything is done.
      for (const name of resources) yield* definition(name)
      if (!given.dryRun) {
        yield* output.confirm(
          `Bring all documents of ${resources.join(", ")} back to ${DateTime.formatIso(time.value)}?`,
          given.force
        )
      }
      const progress = yield* output.progress("looked at")
      const counts = { restored: 0, deleted: 0, unchanged: 0, failed: 0 }
      yield* Backup.rewind({ resources, time: time.value, dryRun: given.dryRun }).pipe(
        Stream.runForEach(
          Effect.fnUntraced(function* ({ id, outcome, reason, resource }) {
            const name = { Restored: "restored", Deleted: "deleted", Unchanged: "unchanged", Failed: "failed" } as const
            counts[name[outcome]] += 1
            if (reason !== undefined) yield* output.warn(`${resource} ${JSON.stringify(id)}: ${reason.message}`)
            yield* progress.update(counts.restored + counts.deleted + counts.unchanged + counts.failed)
          })
        ),
        Effect.ensuring(progress.end),
        Effect.onInterrupt(() => output.warn("interrupted: run the same again, and the rest is done"))
      )
      const { deleted, failed, restored, unchanged } = counts
      const would = given.dryRun ? " would be" : ""
      yield* output.value(
        { ...counts, dryRun: given.dryRun },
        `${restored}${would} restored, ${deleted}${would} deleted, ${unchanged} as they were then`
      )
      if (failed > 0) return yield* new Partial({ description: `left as before: ${counted(failed, "document")}` })
    })
  )
