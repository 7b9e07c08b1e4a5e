/**
 * Backups of a whole database: what lies in its bucket, object by object, in packs that are compressed, named by their content, and shared
 * by all backups of a vault. Each one is whole, and costs what has changed since the one before.
 *
 * ```ts
 * import * as Backup from "effect-s3db/plugins/Backup"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Console, Effect } from "effect"
 *
 * const program = (vault: ObjectStore["Service"], elsewhere: ObjectStore["Service"]) =>
 *   Effect.gen(function* () {
 *     const backups = yield* Backup.make({ source: yield* ObjectStore, vault })
 *     const { id } = yield* backups.create()
 *     const { problems } = yield* backups.verify(id)
 *     if (problems.length === 0) yield* backups.restore(id, { target: elsewhere })
 *     yield* Console.log(yield* backups.prune({ daily: 7, weekly: 4 }))
 *   })
 * ```
 *
 * **Details**
 *
 * A backup is told by two listings what has changed: an object is read when its ETag, its size or its time is another than in the backup
 * before. Programs may write meanwhile. When a further listing finds everything as it was copied, the backup is that of one instant
 * (`isInstant`), and transactions are in it whole or not at all; else it looks again, `passes` times. Of resources with a journal that tells
 * what has changed, without a listing.
 *
 * The manifest is written last. A backup that is killed is not there, and the next one goes on where it stopped.
 *
 * @see `docs/design/backups.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import type * as KeyRing from "../crypto/KeyRing.ts"
import type { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { compareUtf8 } from "../internal/text.ts"
import type * as BlobCodec from "../kernel/BlobCodec.ts"
import * as Journal from "../kernel/Journal.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import type * as Repository from "../Repository.ts"
import { headOption, listAll, maxKeysPerRequest, ObjectStore } from "../storage/ObjectStore.ts"
import { Corrupt, InvalidArgument, StoreError, Unsupported } from "../storage/StoreError.ts"
import * as Collecting from "./backup/internal/collecting.ts"
import * as format from "./backup/internal/format.ts"
import * as Journaled from "./backup/internal/journaled.ts"
import * as Retention from "./backup/internal/retention.ts"
import * as Rewinding from "./backup/internal/rewinding.ts"
import * as Restoring from "./backup/internal/restoring.ts"
import * as Target from "./backup/internal/target.ts"
import * as Vault from "./backup/internal/vault.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * There is no backup with this id, or not any more.
 *
 * @remedy `list` tells those that are there.
 * @category errors
 * @since 0.1.0
 */
export class NoSuchBackup extends ExpectedError<NoSuchBackup>("effect-s3db/plugins/Backup/NoSuchBackup")(
  "NoSuchBackup",
  { id: Schema.String },
  { httpApiStatus: 404 }
) {
  override get message(): string {
    return `there is no backup ${JSON.stringify(this.id)}`
  }
}

/**
 * Programs have written during every pass, and `instant: true` asks for a backup of one instant.
 *
 * @remedy Raise `passes`, take the backup when less is written, or stop the programs for as long as a listing takes.
 * @category errors
 * @since 0.1.0
 */
export class NotInstant extends ExpectedError<NotInstant>("effect-s3db/plugins/Backup/NotInstant")("NotInstant", {
  passes: Schema.Int,
  changes: Schema.Int
}) {
  override get message(): string {
    return `${this.changes} objects have changed during the last of ${this.passes} passes: this is no backup of one instant`
  }
}

/**
 * A backup came to its end, and what it stands on is there no more: it was taken for abandoned, or somebody has removed objects of the vault.
 *
 * @remedy Take the backup again. Let no rule of the bucket remove objects of a vault: `prune` does, as far as they are used no more.
 * @category errors
 * @since 0.1.0
 */
export class BackupLost extends ExpectedError<BackupLost>("effect-s3db/plugins/Backup/BackupLost")("BackupLost", {
  id: Schema.String,
  key: Schema.String
}) {
  override get message(): string {
    return `the backup ${this.id} was not made: ${this.key} is gone from the vault`
  }
}

/**
 * Parts of a backup are missing or were altered. Nothing was restored, but where the mode is `empty` and nothing was verified before: what is
 * there then is no database yet, and the restoration goes on once the parts are back.
 *
 * @remedy `verify` tells which. Take another backup, or bring the objects back from a copy of the vault.
 * @category errors
 * @since 0.1.0
 */
export class BackupDamaged extends ExpectedError<BackupDamaged>("effect-s3db/plugins/Backup/BackupDamaged")(
  "BackupDamaged",
  { id: Schema.String, problems: Schema.Int, first: Schema.String }
) {
  override get message(): string {
    return `the backup ${this.id} is damaged, ${this.problems} problems; the first: ${this.first}`
  }
}

/**
 * There is something where the backup is to go.
 *
 * @remedy Restore into an empty prefix, or say by `mode` what becomes of what is there.
 * @category errors
 * @since 0.1.0
 */
export class TargetNotEmpty extends ExpectedError<TargetNotEmpty>("effect-s3db/plugins/Backup/TargetNotEmpty")(
  "TargetNotEmpty",
  { key: Schema.String },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `the target is not empty: there is ${JSON.stringify(this.key)}`
  }
}

/**
 * The target is another database than the one of the backup, or an older state of it: its catalog does not know what the documents of the
 * backup are written by.
 *
 * @remedy Use the mode `replace`, or restore into an empty prefix and carry the documents over by `s3db export` and `s3db import`.
 * @category errors
 * @since 0.1.0
 */
export class OtherDatabase extends ExpectedError<OtherDatabase>("effect-s3db/plugins/Backup/OtherDatabase")(
  "OtherDatabase",
  { description: Schema.String },
  { httpApiStatus: 409 }
) {}

/**
 * Another restoration has begun in the target and not ended.
 *
 * @remedy Let it end, or begin it again with the same backup and mode: it goes on. If its backup is gone, remove the object that is named
 * and restore with the mode `replace`.
 * @category errors
 * @since 0.1.0
 */
export class RestoreUnderWay extends ExpectedError<RestoreUnderWay>("effect-s3db/plugins/Backup/RestoreUnderWay")(
  "RestoreUnderWay",
  { id: Schema.String, mode: Schema.String, key: Schema.String },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `the restoration of ${this.id} (${this.mode}) has not ended: ${this.key}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What is backed up, and where to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The store of the database. It has to list in the order of keys. */
  readonly source: ObjectStore["Service"]
  /** Where backups lie: another bucket, another prefix (`PrefixedStore`) or a folder, which nothing else writes to. */
  readonly vault: ObjectStore["Service"]
  /** Seals everything but the salt of the vault. Default: backups are not sealed; secrets are in them as they are stored. */
  readonly keys?: KeyRing.KeyRing["Service"] | undefined
  /** Default: `"gzip"`, which every platform reads. */
  readonly compression?: BlobCodec.Compression | undefined
  /** Where the journal of the database lies, if its programs say so (`Database.Options`). */
  readonly journal?: Journal.Options | undefined
}

/**
 * How far a backup, a check or a restoration has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly phase: "copy" | "verify" | "restore"
  /** From 1. Each pass looks at all objects. */
  readonly pass: number
  readonly objects: number
  readonly bytes: number
  /** How many there will be, where that is known. */
  readonly total: number | undefined
}

/**
 * What is in a backup, and how hard it tries.
 *
 * @category models
 * @since 0.1.0
 */
export interface CreateOptions {
  /** Only these resources, with the catalog. Default: all, with the journal and transactions under way. */
  readonly resources?: ReadonlyArray<string> | undefined
  readonly exclude?: ReadonlyArray<string> | undefined
  /** Whether what plugins keep is in it: queues, schedules, positions, indexes. Default: `false`; what follows from documents is made again. */
  readonly plugins?: boolean | undefined
  /** How many passes there are at most, from 1. The last ones look for what has changed meanwhile. Default: 4. */
  readonly passes?: number | undefined
  /** Fails with `NotInstant` where there is no backup of one instant. Default: `false`. */
  readonly instant?: boolean | undefined
  /**
   * What tells which objects have changed since the backup before. `"journal"`, the default: the journal, of the documents of resources with
   * `journal: true`, as far as it reaches back, and a listing of the rest. Each 25th backup looks at everything. `"listing"`: always a listing.
   */
  readonly changes?: "journal" | "listing" | undefined
  /** How many objects are read at once. Default: 16. */
  readonly concurrency?: number | undefined
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

/**
 * A backup that is there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly id: string
  /** What the store of the database was called. */
  readonly source: string
  readonly startedAt: DateTime.Utc
  readonly finishedAt: DateTime.Utc
  /** Whether it is the database as it was at one instant, or each object as it was at some instant between the two times. */
  readonly isInstant: boolean
  /**
   * Whether resources with `history: true`, once restored, can be [rewound](#rewind) to one instant: any time before `startedAt` at which no
   * transaction had begun that had not ended by then. So it is however much was written meanwhile; not of backups of earlier releases.
   */
  readonly isRewindable: boolean
  readonly objects: number
  /** Of the objects, before compression. */
  readonly bytes: number
  /** How many were read: the others were in the vault. */
  readonly read: number
  /** Whether the journal has told what had changed since the backup before, of the resources that have one. */
  readonly isByJournal: boolean
  /** How many objects of the backup before are there no more. */
  readonly removed: number
  /** The backup that objects were taken over from. That one may be removed all the same. */
  readonly parent: string | undefined
  /** Absent: all. */
  readonly resources: ReadonlyArray<string> | undefined
  readonly exclude: ReadonlyArray<string>
  readonly plugins: boolean
}

/**
 * What is wrong with a backup.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  /** The key in the vault. */
  readonly key: string
  /** How many objects of the database cannot be brought back because of it. */
  readonly objects: number
  readonly description: string
}

/**
 * What a check has found. `problems` has at most 100, `lost` counts the objects of all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Verification {
  readonly objects: number
  readonly bytes: number
  readonly lost: number
  readonly problems: ReadonlyArray<Problem>
}

/**
 * What becomes of what is in the target.
 *
 * - `empty`: nothing may be there
 * - `merge`: objects of the backup take the place of those that are there, others stay
 * - `skip`: objects that are there stay, others are put
 * - `replace`: everything is as in the backup afterwards; what is not in it is removed, also what plugins keep
 *
 * `merge` and `skip` want the same database, whose catalog stays, and no program that has it open.
 *
 * @category models
 * @since 0.1.0
 */
export type Mode = Restoring.Mode

/**
 * Where a backup goes, and what becomes of what is there.
 *
 * @category models
 * @since 0.1.0
 */
export interface RestoreOptions {
  /** Default: the source. */
  readonly target?: ObjectStore["Service"] | undefined
  /** Default: `"empty"`. */
  readonly mode?: Mode | undefined
  /** Only these resources. Default: all that the backup has. */
  readonly resources?: ReadonlyArray<string> | undefined
  /** Whether everything is read once before anything is written. Default: `true`, but for `empty`. */
  readonly verify?: boolean | undefined
  /** How many objects are written at once. Default: 16. */
  readonly concurrency?: number | undefined
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

/**
 * What a restoration would do, or has done: numbers of objects, the catalog aside.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  readonly mode: Mode
  readonly created: number
  readonly overwritten: number
  readonly unchanged: number
  readonly kept: number
  readonly removed: number
  /** Of what is written. */
  readonly bytes: number
}

/**
 * Which backups are kept: the last one of each of so many hours, days, weeks (ISO 8601), months and years that have any; the newest one always.
 *
 * @category models
 * @since 0.1.0
 */
export type Policy = Retention.Policy

/**
 * Which backups a policy keeps, and why, and which it drops.
 *
 * @category models
 * @since 0.1.0
 */
export type Retained<Kept> = Retention.Retained<Kept>

/**
 * What was removed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pruned {
  readonly kept: ReadonlyArray<string>
  readonly dropped: ReadonlyArray<string>
  /** How many packs and indexes nobody used any more. */
  readonly objects: number
}

/**
 * How backups are removed.
 *
 * @category models
 * @since 0.1.0
 */
export interface PruneOptions {
  /** Only tells what would be. Default: `false`. */
  readonly dryRun?: boolean | undefined
  /** What is younger may belong to a backup under way. Default: 1 day, by the time of the store. */
  readonly grace?: Duration.Input | undefined
  /** A backup under way that has not come further for so long is abandoned. At least `grace`. Default: 7 days. */
  readonly abandoned?: Duration.Input | undefined
}

type Failure = StoreError

/**
 * The backups of one database in one vault.
 *
 * @category services
 * @since 0.1.0
 */
export class Backup extends Context.Service<
  Backup,
  {
    /**
     * Takes a backup. 1 GET, 1 LIST for each 1,000 objects and pass, 1 GET for each object that has changed; of documents that a journal tells of
     * and what they own 4 LIST for each resource and pass, whatever their number. In the vault 1 GET for each run of some
     * 1,000 keys that was there, 1 PUT for each that has changed and for each 4 MiB, and about 10 more.
     */
    readonly create: (options?: CreateOptions) => Effect.Effect<Snapshot, Failure | NotInstant | BackupLost>
    /** The backups that are there, the oldest first. 1 GET for each. */
    readonly list: Effect.Effect<ReadonlyArray<Snapshot>, Failure>
    /** One backup. 1 GET. */
    readonly get: (id: string) => Effect.Effect<Snapshot, Failure | NoSuchBackup>
    /** Reads a backup whole, and compares everything with its digest. 1 GET for each pack and index. */
    readonly verify: (
      id: string,
      options?: Pick<RestoreOptions, "onProgress">
    ) => Effect.Effect<Verification, Failure | NoSuchBackup>
    /** What `restore` would do. It changes nothing. 1 LIST for each 1,000 objects of the target, 1 GET for each index. */
    readonly plan: (
      id: string,
      options?: RestoreOptions
    ) => Effect.Effect<Plan, Failure | NoSuchBackup | TargetNotEmpty | OtherDatabase | RestoreUnderWay | BackupDamaged>
    /**
     * Puts a backup back; the catalog comes last. One that was killed is begun again in the same way, and goes on; where it had come to its end,
     * and all is there as it was, nothing is done. 1 PUT for each object that is
     * not there as it was.
     */
    readonly restore: (
      id: string,
      options?: RestoreOptions
    ) => Effect.Effect<Plan, Failure | NoSuchBackup | TargetNotEmpty | OtherDatabase | RestoreUnderWay | BackupDamaged>
    /**
     * Removes the backups that a policy does not keep, and what nobody uses any more. The policy is for the backups of each database and choice of
     * resources by themselves.
     */
    readonly prune: (policy: Policy, options?: PruneOptions) => Effect.Effect<Pruned, Failure>
    /** Removes one backup, also one whose manifest cannot be read. What only it has used is removed by the next `prune`. */
    readonly remove: (id: string) => Effect.Effect<void, Failure | NoSuchBackup>
  }
>()("effect-s3db/plugins/Backup") {}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const quietly = () => Effect.void
const mostProblems = 100

/** So many backups in a row go by the journal; the next one looks at everything, also at what no journal tells of. */
const mostByJournal = 24

const snapshotOf = (manifest: format.Manifest): Snapshot => ({
  id: manifest.id,
  source: manifest.source,
  startedAt: DateTime.makeUnsafe(manifest.startedAt),
  finishedAt: DateTime.makeUnsafe(manifest.finishedAt),
  isInstant: manifest.isInstant,
  isRewindable: manifest.isInstant || manifest.hasVersions === true,
  objects: manifest.objects,
  bytes: manifest.bytes,
  read: manifest.read,
  isByJournal: (manifest.journal?.runs ?? 0) > 0,
  removed: manifest.removed,
  parent: manifest.parent,
  resources: manifest.selection.resources,
  exclude: manifest.selection.exclude,
  plugins: manifest.selection.plugins
})

const invalid = (argument: string, problem: string) =>
  new StoreError({
    operation: "open",
    reason: new InvalidArgument({ argument, description: `${argument}: ${problem}` })
  })

const checkCount = (name: string, value: number | undefined) =>
  value === undefined || (Number.isInteger(value) && value >= 1)
    ? undefined
    : invalid(name, "expected an integer from 1")

const isSameSelection = (a: format.Selection, b: format.Selection) => JSON.stringify(a) === JSON.stringify(b)

/**
 * Opens the vault of a database, and makes it where there is none.
 *
 * Fails with `Corrupt` when the vault is none, `AccessDenied` when it is sealed and there are no keys, or the other way round, `Unsupported` when a
 * later release has made it, or the store of the database does not list in the order of keys. 1 GET.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Backup.make")(function* (
  options: Options
): Effect.fn.Return<Backup["Service"], StoreError | KeyRing.InvalidKeyRing> {
  const { source } = options
  if (source.capabilities?.orderedList === false) {
    const description = "backups go along a listing in the order of keys, and this store has none"
    return yield* new StoreError({
      operation: "open",
      reason: new Unsupported({ feature: "ordered listings", description })
    })
  }
  const vault = yield* Vault.open(options.vault, { keys: options.keys, compression: options.compression })
  const { store } = vault
  const journal = yield* Journal.make(source, options.journal)

  const manifestOf = Effect.fnUntraced(function* (id: string) {
    const found = format.idPattern.test(id) ? yield* Vault.readManifest(vault, id) : Option.none<format.Manifest>()
    return Option.isSome(found) ? found.value : yield* new NoSuchBackup({ id })
  })

  const manifests = Effect.gen(function* () {
    const ids = yield* Vault.ids(vault)
    const all = yield* Effect.forEach(ids, (id) => Vault.readManifest(vault, id), { concurrency: 16 })
    return all.flatMap((found) => (Option.isSome(found) ? [found.value] : []))
  })

  /** The newest backup of the same, whose objects need not be read again. */
  const parentOf = Effect.fnUntraced(function* (selection: format.Selection) {
    for (const id of (yield* Vault.ids(vault)).toReversed()) {
      const read = yield* damage(Vault.readManifest(vault, id))
      // A backup that cannot be read keeps nobody from taking another one.
      if (Result.isFailure(read)) {
        yield* Effect.logWarning(`nothing is taken over from the backup ${id}: ${read.failure}`)
        continue
      }
      const found = read.success
      if (Option.isNone(found)) continue
      const { selection: itsOwn, source: itsSource } = found.value
      if (itsSource === source.location && isSameSelection(itsOwn, selection)) return found.value
    }
    return undefined
  })

  const newId = Effect.gen(function* () {
    const random = yield* (yield* Id.Generator).randomBytes(8)
    const letters = Array.from(random, (byte) => (byte % 36).toString(36)).join("")
    return format.idOf(yield* Clock.currentTimeMillis, letters)
  })

  /** Says that a backup is under way, and what it stands on: whoever prunes leaves that. */
  const announced = Effect.fnUntraced(function* (state: format.Unfinished) {
    const put = yield* Vault.encodeUnfinished(vault, state)
    yield* store.put({ ...put, repeatable: true })
  })

  /** Fails with what is gone of the objects that a manifest names. 1 LIST for each 1,000. */
  const missing = Effect.fnUntraced(function* (parts: ReadonlyArray<format.Part>) {
    const wanted = namesIn([{ parts }])
    for (const prefix of ["packs/", "indexes/"]) {
      yield* Stream.runForEach(listAll(store, { prefix, keysOnly: true }), ({ key }) =>
        Effect.sync(() => wanted.delete(key))
      )
    }
    return [...wanted][0]
  })

  const create = Effect.fn("Backup.create")(function* ({
    changes: told = "journal",
    concurrency = 16,
    exclude = [],
    instant = false,
    onProgress = quietly,
    passes = 4,
    plugins = false,
    resources
  }: CreateOptions = {}): Effect.fn.Return<Snapshot, StoreError | NotInstant | BackupLost> {
    const problem = checkCount("passes", passes) ?? checkCount("concurrency", concurrency)
    if (problem !== undefined) return yield* problem
    const selection: format.Selection = {
      ...(resources === undefined ? {} : { resources: resources.toSorted() }),
      exclude: exclude.toSorted(),
      plugins
    }
    const startedAt = yield* Clock.currentTimeMillis
    const id = yield* newId

    const others = (yield* Vault.unfinished(vault)).filter(
      ({ state }) => state.source === source.location && isSameSelection(state.selection, selection)
    )
    // The one that has come furthest. It may still be under way: nothing of it is changed.
    let left = others.toSorted((a, b) => b.state.parts.length - a.state.parts.length)[0]?.state
    let parent = yield* parentOf(selection)
    let state: format.Unfinished = {
      format: format.version,
      id,
      source: source.location,
      selection,
      ...(parent === undefined ? {} : { parent: parent.id }),
      parts: left?.parts ?? []
    }
    yield* announced(state)
    // Whoever has removed them before that did not know that they are used.
    if (parent !== undefined && Option.isNone(yield* Vault.readManifest(vault, parent.id))) parent = undefined
    if (left !== undefined && Option.isNone(yield* headOption(store, format.unfinishedKey(left.id)))) left = undefined

    const lost = (key: string) => new BackupLost({ id, key })
    const gone = Effect.fail(lost(format.unfinishedKey(id)))
    /** Of the database what is gone is none; of the vault it is what copies are in. */
    const lostIn = <E>(error: StoreError | E): StoreError | BackupLost | E =>
      error instanceof StoreError && error.reason._tag === "NoSuchKey" ? lost(error.key ?? "") : error
    const noted = Effect.fnUntraced(function* (parts: ReadonlyArray<format.Part>) {
      state = { ...state, parts: [...parts] }
      // Nobody else writes it, and who prunes removes it. Without `If-Match`: of a vault nobody has found out whether its store has that.
      yield* Effect.catchReason(store.head(format.unfinishedKey(id)), "StoreError", "NoSuchKey", () => gone)
      yield* announced(state)
    })

    let flushes = 0
    const onParts = (parts: ReadonlyArray<format.Part>) => {
      flushes += 1
      return flushes % flushesPerNote === 0 ? noted(parts) : Effect.void
    }

    const covers = format.covers(selection)
    let parents: ReadonlyArray<ReadonlyArray<format.Part>> = [
      parent?.parts ?? [],
      ...(left === undefined ? [] : [left.parts])
    ]
    let read = 0
    let removed = 0
    let number = 1
    let changes = 0
    let parts: ReadonlyArray<format.Part> = []
    const before = parent?.journal
    let standing = before !== undefined && before.runs < mostByJournal ? before : undefined
    let runs = 0
    let isSettled = false
    let isConsistent = parent?.isInstant === true
    for (; ; number += 1) {
      const pass = number
      const isAsked = number === 1 || standing !== undefined
      // A listing does not need it: the next backup goes by it.
      const since = told === "journal" ? standing : undefined
      const look = isAsked ? yield* Journaled.look(source, journal, since) : undefined
      const [copies = []] = parents
      const readIndex = Vault.indexReader(vault)
      const changed =
        look?.changed === undefined
          ? undefined
          : yield* Journaled.told(vault, source, look.changed, {
              concurrency,
              covers,
              isConsistent,
              parts: copies,
              readIndex
            }).pipe(
              // Of a pack that is damaged nothing has to be read, where a listing tells.
              Effect.catchReason("StoreError", "Corrupt", () => Effect.undefined),
              Effect.mapError(lostIn)
            )
      const tombstones = Journaled.tombstonesIn(Object.keys(look?.standing?.resources ?? {}))
      const made = yield* Collecting.pass(vault, source, {
        concurrency,
        covers,
        parents: changed === undefined ? parents : [copies],
        readIndex: changed === undefined ? (part) => Vault.readIndex(vault, part) : readIndex,
        told: changed,
        onListed: tombstones.onListed,
        onParts: number === 1 ? onParts : quietly,
        onProgress: ({ bytes, objects }) => onProgress({ phase: "copy", pass, objects, bytes, total: undefined })
      }).pipe(Effect.mapError(lostIn))
      read += made.read
      standing =
        look?.standing === undefined
          ? undefined
          : Journaled.withOpen(look.standing, [...tombstones.found, ...(changed?.tombstones ?? [])])
      if (number === 1 && changed !== undefined) runs = (before?.runs ?? 0) + 1
      if (number === 1) removed = made.removed
      parts = made.parts
      changes = made.changes
      // What is as in older copies has been so all the time since: so everything has been as it is at the beginning of this pass.
      isConsistent = changed !== undefined && isConsistent
      isSettled = changes === 0 && (parents.length === 1 || changed !== undefined)
      if (isSettled || number >= passes) break
      yield* noted(parts)
      parents = [parts]
    }
    const isInstant = isSettled
    yield* noted(parts)
    if (instant && !isInstant) return yield* new NotInstant({ passes: number, changes })
    if (!isInstant) {
      const made = yield* Effect.mapError(
        Collecting.versions(vault, source, {
          concurrency,
          covers,
          parts,
          readIndex: (part) => Vault.readIndex(vault, part),
          onProgress: ({ bytes, objects }) =>
            onProgress({ phase: "copy", pass: number + 1, objects, bytes, total: undefined })
        }),
        lostIn
      )
      parts = made.parts
      read += made.read
      yield* noted(parts)
    }
    const absent = yield* missing(parts)
    if (absent !== undefined) return yield* lost(absent)
    const manifest: format.Manifest = {
      format: format.version,
      id,
      source: source.location,
      startedAt,
      finishedAt: yield* Clock.currentTimeMillis,
      ...(parent === undefined ? {} : { parent: parent.id }),
      isInstant,
      hasVersions: true,
      ...(standing === undefined ? {} : { journal: { ...standing, runs } }),
      passes: number,
      selection,
      objects: parts.reduce((sum, { objects }) => sum + objects, 0),
      bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
      read,
      removed,
      parts
    }
    const put = yield* Vault.encodeManifest(vault, manifest)
    yield* store
      .put({ ...put, ifNoneMatch: "*" })
      .pipe(Effect.catchReason("StoreError", "PreconditionFailed", () => Effect.void))
    yield* store.delete(format.unfinishedKey(id), { repeatable: true })
    return snapshotOf(manifest)
  })

  const verified = Effect.fnUntraced(function* (
    { objects: total, parts }: format.Manifest,
    onProgress: NonNullable<CreateOptions["onProgress"]>
  ) {
    const packs = Vault.packReader(vault)
    const problems: Array<Problem> = []
    const broken = new Map<string, string>()
    let [objects, bytes, lost] = [0, 0, 0]
    const tell = (key: string, count: number, description: string) => {
      lost += count
      if (problems.length < mostProblems) problems.push({ key, objects: count, description })
    }
    for (const part of parts) {
      const index = yield* damage(Vault.readIndex(vault, part))
      if (Result.isFailure(index)) {
        tell(format.indexKey(part.name), part.objects, index.failure)
        continue
      }
      for (const [name, rows] of Map.groupBy(index.success, ({ pack }) => pack)) {
        const known = broken.get(name)
        const pack = known === undefined ? yield* damage(packs(name)) : Result.fail(known)
        if (Result.isFailure(pack)) {
          broken.set(name, pack.failure)
          tell(format.packKey(name), rows.length, pack.failure)
          continue
        }
        for (const row of rows) {
          const record = yield* Effect.result(format.recordAt(pack.success, row))
          if (Result.isFailure(record)) tell(format.packKey(name), 1, record.failure.description)
          else {
            objects += 1
            bytes += row.size
          }
        }
      }
      yield* onProgress({ phase: "verify", pass: 1, objects, bytes, total })
    }
    return { objects, bytes, lost, problems }
  })

  const planned = Effect.fnUntraced(function* (
    id: string,
    { mode = "empty", resources, target = source }: RestoreOptions
  ) {
    if (target.capabilities?.orderedList === false) {
      const description = "a restoration goes along a listing in the order of keys, and the target has none"
      return yield* new StoreError({
        operation: "open",
        reason: new Unsupported({ feature: "ordered listings", description })
      })
    }
    const manifest = yield* manifestOf(id)
    const { selection } = manifest
    const unknown = resources?.find((name) => !format.covers(selection)(format.resourceKey(name)))
    if (unknown !== undefined) {
      return yield* invalid("resources", `the backup ${id} does not have ${JSON.stringify(unknown)}`)
    }
    const wanted = resources === undefined ? selection : { ...selection, resources }
    return {
      manifest,
      covers: format.covers(wanted),
      // What plugins keep is about documents and positions that are not there afterwards.
      isReplaced: format.covers({ ...wanted, plugins: true }),
      mode,
      target
    }
  })

  /**
   * How many objects are there, if that is all as it was and nothing else: a restoration that was killed after its last request has come to its
   * end, and comes to it again.
   */
  const ended = Effect.fnUntraced(function* (
    target: ObjectStore["Service"],
    parts: ReadonlyArray<format.Part>,
    catalog: Target.Catalog,
    covers: (key: string) => boolean
  ) {
    if (!(yield* Target.hasCatalog(target, catalog))) return undefined
    const { objectOf } = Restoring.writer(vault, target)
    const isSame = Effect.fnUntraced(function* (action: Restoring.Action) {
      if (action._tag === "Same") return true
      // The ETags of another store may be others.
      return action._tag === "Put" && action.isThere && (yield* Target.has(target, yield* objectOf(action.row)))
    })
    return yield* Restoring.actions(vault, target, parts, { covers, isReplaced: covers, mode: "replace" }).pipe(
      Stream.mapEffect(isSame, { concurrency: 16 }),
      Stream.takeUntil((isOne) => !isOne),
      Stream.runFold(
        (): number | undefined => 0,
        (count, isOne) => (isOne && count !== undefined ? count + 1 : undefined)
      )
    )
  })

  /** What has to be true of a target before anything is done. */
  const checked = Effect.fnUntraced(function* (
    { covers, manifest: { id, parts }, mode, target }: Effect.Success<ReturnType<typeof planned>>,
    catalog: Target.Catalog
  ) {
    const state = yield* Target.state(target)
    if (state !== undefined && (state.id !== id || state.mode !== mode)) {
      return yield* new RestoreUnderWay({ ...state, key: Target.stateKey })
    }
    if (mode === "empty" && state === undefined) {
      const first = yield* Stream.runHead(
        Stream.filter(listAll(target, { prefix: "", keysOnly: true }), ({ key }) => covers(key))
      )
      const there = Option.isSome(first) ? yield* ended(target, parts, catalog, covers) : undefined
      if (there !== undefined) return { isBegun: false, there }
      if (Option.isSome(first)) return yield* new TargetNotEmpty({ key: first.value.key })
    }
    if (mode === "merge" || mode === "skip") {
      const description = yield* Target.difference(target, catalog)
      if (description !== undefined) return yield* new OtherDatabase({ description })
    }
    return { isBegun: state !== undefined, there: undefined }
  })

  /** The catalog of a backup. */
  const catalogOf = Effect.fnUntraced(function* ({ id, parts }: format.Manifest) {
    const { objectOf } = Restoring.writer(vault, store)
    const found: { -readonly [Key in keyof Target.Catalog]: Target.Catalog[Key] } = {
      catalog: undefined,
      copy: undefined
    }
    for (const part of parts) {
      if (compareUtf8(part.last, format.catalogKey) < 0 || compareUtf8(part.first, format.catalogCopyKey) > 0) continue
      for (const row of yield* Vault.readIndex(vault, part)) {
        if (row.key === format.catalogKey) found.catalog = yield* objectOf(row)
        if (row.key === format.catalogCopyKey) found.copy = yield* objectOf(row)
      }
    }
    if (found.catalog !== undefined) return found
    const description = `the backup ${id} has no catalog: there was none when it was taken`
    return yield* new StoreError({
      operation: "get",
      key: format.snapshotKey(id),
      reason: new Corrupt({ description })
    })
  })

  const damagedNamed = <A, E>(effect: Effect.Effect<A, StoreError | E>, id: string) =>
    Effect.mapError(effect, damagedIn(id))

  const counted = (mode: Mode) => ({
    mode,
    created: 0,
    overwritten: 0,
    unchanged: 0,
    kept: 0,
    removed: 0,
    bytes: 0
  })

  const count = (plan: ReturnType<typeof counted>, action: Restoring.Action): void => {
    switch (action._tag) {
      case "Put":
        plan[action.isThere ? "overwritten" : "created"] += 1
        plan.bytes += action.row.size
        return
      case "Same":
        plan.unchanged += 1
        return
      case "Keep":
        plan.kept += 1
        return
      case "Remove":
        plan.removed += 1
    }
  }

  const plan = Effect.fn("Backup.plan")(function* (id: string, options: RestoreOptions = {}) {
    const what = yield* planned(id, options)
    const { manifest, mode, target } = what
    const { there } = yield* checked(what, yield* catalogOf(manifest))
    if (there !== undefined) return { ...counted(mode), unchanged: there }
    const made = counted(mode)
    yield* Stream.runForEach(Restoring.actions(vault, target, manifest.parts, what), (action) =>
      Effect.sync(() => count(made, action))
    )
    return made
  }, damagedNamed)

  /**
   * Says that a backup is read, as one that is under way says what it stands on: whoever prunes leaves it. Who may only read the vault does
   * without.
   */
  const announcedReading = Effect.fnUntraced(function* ({ id, parts, selection }: format.Manifest) {
    const own = yield* newId
    const denied = Effect.logWarning(
      `nothing says that the backup ${id} is being restored: the vault is not written to`
    )
    const note = { format: format.version, id: own, source: format.readerOf(id), selection, parent: id, parts }
    yield* announced(note).pipe(
      Effect.catchReasons("StoreError", { AccessDenied: () => denied, Unsupported: () => denied })
    )
    // Whoever has removed it before that did not know that it is read.
    if (Option.isNone(yield* Vault.readManifest(vault, id))) return yield* new NoSuchBackup({ id })
    return own
  })

  const restore = Effect.fn("Backup.restore")(function* (id: string, options: RestoreOptions = {}) {
    const { concurrency = 16 } = options
    const problem = checkCount("concurrency", concurrency)
    if (problem !== undefined) return yield* problem
    const what = yield* planned(id, options)
    const reading = yield* announcedReading(what.manifest)
    // What is left of it keeps the backup from being pruned for as long as one under way is not abandoned.
    const over = Effect.ignore(store.delete(format.unfinishedKey(reading), { repeatable: true }))
    return yield* restored(what, options).pipe(
      Effect.tapError(() => over),
      Effect.tap(() => over)
    )
  }, damagedNamed)

  const restored = Effect.fnUntraced(function* (
    what: Effect.Success<ReturnType<typeof planned>>,
    options: RestoreOptions
  ) {
    const { concurrency = 16, onProgress = quietly } = options
    const { manifest, mode, target } = what
    const { id } = manifest
    const catalog = yield* catalogOf(manifest)
    const { isBegun, there } = yield* checked(what, catalog)
    if (there !== undefined) return { ...counted(mode), unchanged: there }
    if (options.verify ?? mode !== "empty") {
      const { lost, problems } = yield* verified(manifest, onProgress)
      const [first] = problems
      if (first !== undefined) {
        return yield* new BackupDamaged({ id, problems: lost, first: `${first.key}: ${first.description}` })
      }
    }
    const gone = yield* missing(manifest.parts)
    if (gone !== undefined) return yield* new BackupDamaged({ id, problems: 1, first: `${gone}: it is gone` })
    if (!isBegun) {
      const other = yield* Target.begin(target, { id, mode })
      if (other !== undefined) return yield* new RestoreUnderWay({ ...other, key: Target.stateKey })
    }
    // Until everything is there nothing is to open it.
    if (mode === "replace") {
      yield* target.delete(format.catalogCopyKey, { repeatable: true })
      yield* target.delete(format.catalogKey, { repeatable: true })
    }
    const made = counted(mode)
    const { put } = Restoring.writer(vault, target)
    const done = yield* Ref.make(0)
    const removed: Array<string> = []
    yield* Restoring.actions(vault, target, manifest.parts, what).pipe(
      Stream.mapEffect(
        Effect.fnUntraced(function* (action) {
          count(made, action)
          if (action._tag === "Put") yield* put(action.row)
          if (action._tag === "Remove") removed.push(action.key)
          const objects = yield* Ref.updateAndGet(done, (before) => before + 1)
          if (objects % 1000 === 0) {
            yield* onProgress({ phase: "restore", pass: 1, objects, bytes: made.bytes, total: manifest.objects })
          }
          if (removed.length >= maxKeysPerRequest) yield* Target.remove(target, removed.splice(0))
        }),
        { concurrency, unordered: true }
      ),
      Stream.runDrain
    )
    if (removed.length > 0) yield* Target.remove(target, removed)
    // What is restored beside others, or a part of it, is not in the journal that is there then.
    const isWhole = mode === "empty" || mode === "replace"
    const isAll = isWhole && options.resources === undefined && format.isWhole(manifest.selection)
    if (!isAll && Journaled.hasJournal(catalog)) {
      yield* Target.noteRestored(target, { id, mode })
    }
    if (isWhole) yield* Target.putCatalog(target, catalog)
    yield* target.delete(Target.stateKey, { repeatable: true })
    yield* onProgress({
      phase: "restore",
      pass: 1,
      objects: manifest.objects,
      bytes: made.bytes,
      total: manifest.objects
    })
    return made
  })

  const prune = Effect.fn("Backup.prune")(function* (
    policy: Policy,
    { abandoned = "7 days", dryRun = false, grace = "1 day" }: PruneOptions = {}
  ): Effect.fn.Return<Pruned, StoreError> {
    const problem = Retention.check(policy)
    if (problem !== undefined) return yield* invalid(...problem)
    const [young, old] = [millisecondsOf(grace), millisecondsOf(abandoned)]
    if (!(young >= 0)) return yield* invalid("grace", "expected a duration")
    if (!(old >= young)) return yield* invalid("abandoned", "expected at least as long as grace")
    const all = yield* manifests
    const now = yield* StoreClock.now(store)
    const underWay: Array<Vault.UnderWay> = []
    for (const one of yield* Vault.unfinished(vault)) {
      if (now - one.lastModified < old) underWay.push(one)
      else if (!dryRun) yield* store.delete(format.unfinishedKey(one.state.id), { repeatable: true })
    }
    const used = new Set(underWay.flatMap(({ state: { parent } }) => (parent === undefined ? [] : [parent])))
    const groups = Map.groupBy(all, ({ selection, source }) => JSON.stringify([source, selection]))
    const drop = [...groups.values()].flatMap((group) => retain(group.map(snapshotOf), policy).drop)
    const dropped = new Set(drop.map(({ id }) => id).filter((id) => !used.has(id)))
    if (!dryRun) {
      for (const id of dropped) yield* store.delete(format.snapshotKey(id), { repeatable: true })
    }
    // What has begun by now named a backup before it was removed, or looks and finds it gone. What has ended since then is among the manifests.
    const begun = dryRun ? underWay : yield* Vault.unfinished(vault)
    const there = dryRun ? all.filter(({ id }) => !dropped.has(id)) : yield* manifests
    const parents = new Set(begun.flatMap(({ state: { parent } }) => (parent === undefined ? [] : [parent])))
    const named = namesIn([
      ...there,
      ...[...underWay, ...begun].map(({ state }) => state),
      ...all.filter(({ id }) => parents.has(id))
    ])
    let objects = 0
    for (const prefix of ["packs/", "indexes/"]) {
      yield* listAll(store, { prefix }).pipe(
        Stream.filter(({ key, lastModified = now }) => !named.has(key) && now - lastModified >= young),
        Stream.grouped(maxKeysPerRequest),
        Stream.runForEach((some) => {
          objects += some.length
          const keys = some.map(({ key }) => key)
          return dryRun ? Effect.void : Target.remove(store, keys)
        })
      )
    }
    return { kept: all.map(({ id }) => id).filter((id) => !dropped.has(id)), dropped: [...dropped], objects }
  })

  return Backup.of({
    create,
    list: Effect.map(manifests, (all) => all.map(snapshotOf)),
    get: (id) => Effect.map(manifestOf(id), snapshotOf),
    verify: Effect.fn("Backup.verify")(function* (id, { onProgress = quietly } = {}) {
      const found = yield* verified(yield* manifestOf(id), onProgress)
      // What is gone of one that was pruned meanwhile is no damage.
      if (found.problems.length > 0) yield* manifestOf(id)
      return found
    }),
    plan,
    restore,
    prune,
    remove: Effect.fn("Backup.remove")(function* (id) {
      // One that cannot be read is removed as well.
      yield* Effect.catchReason(manifestOf(id), "StoreError", "Corrupt", () => Effect.void)
      yield* store.delete(format.snapshotKey(id), { repeatable: true })
    })
  })
})

/** The keys of everything that backups consist of. */
const namesIn = (all: ReadonlyArray<{ readonly parts: ReadonlyArray<format.Part> }>): Set<string> =>
  new Set(
    all.flatMap(({ parts }) =>
      parts.flatMap(({ name, packs }) => [format.indexKey(name), ...packs.map(format.packKey)])
    )
  )

/** How many times packs were written before it is noted how far a backup has come. */
const flushesPerNote = 8

const isDamage = ({ _tag }: StoreError["reason"]): boolean =>
  _tag === "Corrupt" || _tag === "NoSuchKey" || _tag === "EntityTooLarge"

/** What is wrong with what was read; that the vault does not answer is another matter. */
const damage = <A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<Result.Result<A, string>, StoreError> =>
  Effect.matchEffect(effect, {
    onSuccess: (value) => Effect.succeed(Result.succeed(value)),
    onFailure: (error) =>
      isDamage(error.reason) ? Effect.succeed(Result.fail(error.reason.description)) : Effect.fail(error)
  })

/** Names the backup where a pack or an index of it is what cannot be read: keys of a target begin otherwise. */
const damagedIn =
  (id: string) =>
  <E>(error: StoreError | E): StoreError | E | BackupDamaged =>
    error instanceof StoreError && /^(packs|indexes)\//.test(error.key ?? "") && isDamage(error.reason)
      ? new BackupDamaged({ id, problems: 1, first: `${error.key}: ${error.reason.description}` })
      : error

/**
 * Says which backups a policy keeps, and why. A pure function: `prune` does as it says.
 *
 * @category combinators
 * @since 0.1.0
 */
export const retain: <Kept extends Pick<Snapshot, "id" | "finishedAt">>(
  backups: ReadonlyArray<Kept>,
  policy: Policy
) => Retained<Kept> = Retention.retain

/**
 * Takes a backup into each of several vaults, one after the other, and says what became of each.
 *
 * - `all`: fails with the first failure when one has failed, after all were tried. The default
 * - `any`: fails only when all have failed
 * - `priority`: stops at the first that succeeds; fails when none does
 *
 * @category combinators
 * @since 0.1.0
 */
export const createAll = Effect.fn("Backup.createAll")(function* (
  backups: ReadonlyArray<Backup["Service"]>,
  { strategy = "all", ...options }: CreateOptions & { readonly strategy?: "all" | "any" | "priority" | undefined } = {}
) {
  const results: Array<Result.Result<Snapshot, StoreError | NotInstant | BackupLost>> = []
  for (const one of backups) {
    const result = yield* Effect.result(one.create(options))
    results.push(result)
    if (strategy === "priority" && Result.isSuccess(result)) break
  }
  const failure = results.find(Result.isFailure)
  if (failure !== undefined && (strategy === "all" || !results.some(Result.isSuccess))) {
    return yield* Effect.fail(failure.failure)
  }
  return results
})

/**
 * What becomes of a document that is rewound.
 *
 * @category models
 * @since 0.1.0
 */
export type Rewound = Rewinding.Rewound

/**
 * Which resources are rewound, and to when. `dryRun`, default `false`, only tells. `concurrency`: how many documents are under way at once,
 * default 8.
 *
 * @category models
 * @since 0.1.0
 */
export type RewindOptions = Rewinding.Options

/**
 * Brings resources with `history: true` back to a time, in a database that is open: documents that were created since are deleted, those that
 * were changed or deleted since get the version of that time as a new one. Everything goes through the protocol of writes, so that partitions
 * and unique keys are right, guards are asked, and it can itself be taken back.
 *
 * A transaction has one time in all of its documents, so that it is in the result whole or not at all, as long as programs do not write
 * meanwhile. Each document is done by itself; who is interrupted begins again. Documents that hold each other's unique values are done in one
 * transaction, up to 100.
 *
 * 1 LIST for each 1,000 documents and versions, 1 GET for each document; for each that has changed 1 GET and 1 LIST more, and the requests of a
 * `replace`. `NotAllowed`: a resource has no history. What cannot be done with one document is told, as `Failed`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const rewind: (
  options: RewindOptions
) => Stream.Stream<Rewound, DbError.DbError | Repository.HistoryError, Database> = Rewinding.rewind

/**
 * Provides the backups of the database whose store is there, in the vault that is given.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Omit<Options, "source">
): Layer.Layer<Backup, StoreError | KeyRing.InvalidKeyRing, ObjectStore> =>
  Layer.effect(
    Backup,
    Effect.flatMap(ObjectStore, (source) => make({ ...options, source }))
  )
