/** Commands that take care of a resource, and look into how it is stored. */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Database from "../../../Database.ts"
import * as Document from "../../../Document.ts"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import type * as Repository from "../../../Repository.ts"
import { listAll } from "../../../storage/ObjectStore.ts"
import * as DbError from "../../../DbError.ts"
import * as Prices from "../../../storage/Prices.ts"
import { counted, Missing, Partial, Usage } from "../failure.ts"
import * as input from "../input.ts"
import { Output } from "../output.ts"
import { harmlessJson } from "../table.ts"
import { resource, withDatabase } from "./opening.ts"
import * as requests from "./requests.ts"
import { intoFile, mayOverwrite } from "./transfer.ts"

interface Named {
  readonly resource: string
}

const adminOf = Effect.fnUntraced(function* (name: string) {
  const opened = yield* resource(name)
  return { ...opened, admin: yield* opened.repository.admin }
})

// -----------------------------------------------------------------------------
// Work on all documents
// -----------------------------------------------------------------------------

/** Runs work that tells of each document: those that could not be done are shown, the others counted. */
const rewriting = <A extends Repository.Rewritten, E, R>(
  label: string,
  work: Stream.Stream<A, E, R>,
  problemsOf: (one: A) => ReadonlyArray<string>
) =>
  Effect.gen(function* () {
    const output = yield* Output
    const progress = yield* output.progress(label)
    let [seen, rewritten, failed] = [0, 0, 0]
    yield* Stream.runForEach(
      work,
      Effect.fnUntraced(function* (one: A) {
        seen += 1
        if (one.rewritten) rewritten += 1
        const problems = problemsOf(one)
        if (problems.length > 0) failed += 1
        for (const problem of problems) yield* output.warn(`${one.id}: ${problem}`)
        yield* progress.update(seen)
      })
    ).pipe(
      Effect.onInterrupt(() =>
        output.warn(`interrupted after ${counted(seen, "document")}: run it again, and it goes on`)
      ),
      Effect.ensuring(progress.end)
    )
    yield* output.value({ seen, rewritten, failed }, `${label} ${rewritten} of ${counted(seen, "document")}`)
    if (failed > 0) return yield* new Partial({ description: `left as before: ${counted(failed, "document")}` })
  })

const errorOf = ({ error }: Repository.Rewritten): ReadonlyArray<string> => (error === undefined ? [] : [error.message])

export const backfill = (given: Named) =>
  withDatabase(
    Effect.gen(function* () {
      const { admin } = yield* adminOf(given.resource)
      yield* rewriting("indexed", admin.backfill(), (one) => [
        ...errorOf(one),
        ...one.violations.map((violation) => violation.message)
      ])
    })
  )

export const upgrade = (given: Named) =>
  withDatabase(
    Effect.gen(function* () {
      const { admin } = yield* adminOf(given.resource)
      yield* rewriting("rewrote", admin.migrate(), errorOf)
    })
  )

export const rotate = (given: Named) =>
  withDatabase(
    Effect.gen(function* () {
      const { admin } = yield* adminOf(given.resource)
      yield* rewriting("encrypted anew", admin.rotate(), errorOf)
    })
  )

export const recount = (given: Named) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { admin } = yield* adminOf(given.resource)
      const progress = yield* output.progress("counted")
      const counted = yield* Effect.ensuring(
        admin.recount({ onProgress: ({ done }) => progress.update(done) }),
        progress.end
      )
      yield* output.value({ ...counted }, `${counted.before} before, ${counted.after} now`)
    })
  )

export const repair = (given: Named & { readonly fix: boolean }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { admin } = yield* adminOf(given.resource)
      let left = 0
      const findings = admin.repair({ dryRun: !given.fix }).pipe(
        Stream.map((finding): JsonObject => {
          if (!finding.repaired) left += 1
          const { description, ...rest } = finding
          return { ...rest, ...(description === undefined ? {} : { description }) }
        })
      )
      yield* output.rows(findings, {
        columns: ["kind", "id", "repaired", "key", "description"],
        footer: (count) =>
          count === 0
            ? "nothing is wrong"
            : `${counted(count, "finding")}${given.fix ? "" : ": --fix mends what can be mended"}`
      })
      if (left > 0) return yield* new Partial({ description: `not mended: ${counted(left, "finding")}` })
    })
  )

export const truncate = (given: Named & { readonly force: boolean }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      yield* output.confirm(`Delete all documents of ${given.resource}?`, given.force)
      const deleted = yield* repository.deleteAll
      yield* output.value({ deleted }, `deleted ${counted(deleted, "document")}`)
    })
  )

// -----------------------------------------------------------------------------
// History and content
// -----------------------------------------------------------------------------

const versionRow = (
  document: Pick<Document.Document<unknown>, "version" | "writtenAt" | "schemaVersion" | "storedIn">
): JsonObject => ({
  version: document.version,
  writtenAt: DateTime.formatIso(document.writtenAt),
  schemaVersion: document.schemaVersion,
  storedIn: document.storedIn
})

export const history = (given: Named & { readonly id: string }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      const rows = repository
        .historyResults(given.id)
        .pipe(
          Stream.map(({ result, version }): JsonObject =>
            Result.isSuccess(result) ? versionRow(result.success) : { version, error: result.failure.message }
          )
        )
      const count = yield* output.rows(rows, {
        columns: ["version", "writtenAt", "schemaVersion", "storedIn", "error"]
      })
      if (count === 0 && !(yield* repository.exists(given.id))) {
        return yield* new DbError.NotFound({ resource: given.resource, id: given.id })
      }
      if (output.isForPeople) {
        yield* output.note(count === 0 ? "there is no earlier version" : counted(count, "earlier version"))
      }
    })
  )

export const restore = (
  given: Named & {
    readonly id: string
    readonly version: Option.Option<number>
    readonly time: Option.Option<string>
    readonly force: boolean
  }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      if (Option.isSome(given.version) === Option.isSome(given.time)) {
        return yield* new Usage({ description: "give --version or --time: see `s3db history`" })
      }
      const time = Option.flatMap(given.time, (text) => DateTime.make(text))
      if (Option.isSome(given.time) && Option.isNone(time)) {
        return yield* new Usage({ description: "--time has to be a time, such as 2026-01-31T12:00:00Z" })
      }
      const when = Option.isSome(time) ? { time: time.value } : { version: Option.getOrElse(given.version, () => 0) }
      yield* output.confirm(
        `Put that version of ${JSON.stringify(given.id)} in the place of the present one?`,
        given.force
      )
      yield* repository.restore(given.id, when)
      yield* output.value(yield* repository.getJson(given.id))
    })
  )

export const contentGet = (
  given: Named & { readonly id: string; readonly output: Option.Option<string>; readonly force: boolean }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      const found = yield* repository.getContent(given.id)
      if (Option.isNone(found)) {
        return yield* new Missing({ description: `${JSON.stringify(given.id)} has no content` })
      }
      const { bytes, contentType, size } = found.value
      if (Option.isNone(given.output)) return yield* output.raw(bytes)
      yield* mayOverwrite(given.output.value, given.force)
      yield* intoFile(given.output.value, bytes)
      yield* output.note(`${counted(size, "byte")} of ${contentType}`)
    })
  )

export const contentPut = (
  given: Named & { readonly id: string; readonly file: string; readonly type: Option.Option<string> }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      const options = Option.match(given.type, { onNone: () => ({}), onSome: (contentType) => ({ contentType }) })
      const { content } = yield* repository.setContent(given.id, input.bytesOf(given.file), options)
      yield* output.value(
        { id: given.id, size: content?.size ?? 0, contentType: content?.contentType ?? null },
        counted(content?.size ?? 0, "byte")
      )
    })
  )

export const contentDelete = (given: Named & { readonly id: string; readonly force: boolean }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      yield* output.confirm(`Delete the content of ${JSON.stringify(given.id)}?`, given.force)
      yield* repository.deleteContent(given.id)
      yield* output.value({ id: given.id }, "deleted")
    })
  )

// -----------------------------------------------------------------------------
// Looking into it
// -----------------------------------------------------------------------------

export const partitions = (
  given: Named & { readonly partition: Option.Option<string>; readonly value: ReadonlyArray<string> }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const { definition, repository } = opened
      if (Option.isNone(given.partition)) {
        const indexes = yield* (yield* Database.Database).indexes(given.resource)
        const rows = Object.entries(definition.partitions).map(([name, { fields }]): JsonObject => ({
          partition: name,
          fields: fields.map(({ path }) => path.join(".")),
          state: indexes.partitions?.[name]?.state ?? "ready"
        }))
        yield* output.rows(Stream.fromIterable(rows), {
          columns: ["partition", "fields", "state"],
          footer: (count) => (count === 0 ? "there is no partition" : counted(count, "partition"))
        })
        return
      }
      const partition = given.partition.value
      const none = { from: Option.none(), to: Option.none(), startsWith: Option.none() }
      const asked = yield* requests.within(opened, { ...none, partition: given.partition, value: given.value })
      const { fields } = definition.partitions[partition]!
      const values: Readonly<Record<string, Json>> = asked.values ?? {}
      const next = fields.map(({ path }) => path.join(".")).find((path) => !Object.hasOwn(values, path))
      if (next === undefined)
        return yield* new Usage({ description: "no field of the partition follows the values: leave one out" })
      const rows = repository
        .distinct({ partition, values })
        .pipe(
          Stream.mapEffect((value) =>
            Effect.map(
              repository.count({ partition, values: { ...values, [next]: value }, verify: false }),
              (documents): JsonObject => ({ [next]: value, documents })
            )
          )
        )
      yield* output.rows(rows, { columns: [next, "documents"] })
    })
  )

/** In US dollars. */
const prices = Prices.s3Standard["us-east-1"]

export const analyze = (given: Named & { readonly sample: number }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      const documents = yield* repository.count({ verify: false })
      const sampled = yield* Stream.runCollect(Stream.take(repository.scanDocuments({ concurrency: 8 }), given.sample))
      const explained = yield* Effect.forEach(sampled, (document) => repository.explain(document))
      const bytes = sampled.map((document) => document.metadataBytes + document.bodyBytes)
      const sum = (all: ReadonlyArray<number>) => all.reduce((total, one) => total + one, 0)
      const mean = (all: ReadonlyArray<number>) => (all.length === 0 ? 0 : Math.round(sum(all) / all.length))
      const spilled = sampled.filter(({ storedIn }) => storedIn !== "metadata").length
      const fields = new Map<string, { bytes: number; present: number; spills: number; most: number }>()
      for (const { fields: all } of explained) {
        for (const { bytes, path, place } of all) {
          const before = fields.get(path) ?? { bytes: 0, present: 0, spills: 0, most: 0 }
          fields.set(path, {
            bytes: before.bytes + bytes,
            present: before.present + 1,
            spills: before.spills + (place === "body" ? 1 : 0),
            most: Math.max(before.most, bytes)
          })
        }
      }
      const limit = explained[0]?.limitBytes ?? 0
      const fullest = Math.max(0, ...explained.map(({ metadataBytes }) => metadataBytes))
      const advice = [
        ...(spilled > sampled.length / 2
          ? [
              `documents with a body: ${spilled} of ${sampled.length}; pin long fields there (pin.body), so that short ones stay in metadata`
            ]
          : []),
        ...(spilled === 0 && fullest > limit * 0.9
          ? [`the fullest document takes ${fullest} of ${limit} bytes of metadata: a new field may spill`]
          : []),
        ...[...fields]
          .filter(([, { present }]) => present < sampled.length / 20)
          .map(([path]) => `${path} is in few documents`)
      ]
      const summary: JsonObject = {
        documents,
        sampled: sampled.length,
        meanBytes: mean(bytes),
        mostBytes: Math.max(0, ...bytes),
        meanMetadataBytes: mean(sampled.map(({ metadataBytes }) => metadataBytes)),
        limitBytes: limit,
        withBody: spilled,
        compressed: explained.filter(({ fields }) => fields.some(({ isCompressed }) => isCompressed)).length,
        // A document takes no more than its bytes and key; of requests, those of reading and writing all of them once.
        dollarsPerMonth: Number(Prices.ofStorage(prices, mean(bytes) * documents).toFixed(4)),
        dollarsToReadAll: Number(Prices.ofRequests(prices, { get: documents }).toFixed(4)),
        dollarsToWriteAll: Number(Prices.ofRequests(prices, { put: documents }).toFixed(4)),
        advice
      }
      const rows = [...fields].map(([field, { bytes, most, present, spills }]): JsonObject => ({
        field,
        filled: `${Math.round((100 * present) / Math.max(1, sampled.length))} %`,
        meanBytes: Math.round(bytes / present),
        mostBytes: most,
        inBody: spills
      }))
      if (!output.isForPeople) return yield* output.value({ ...summary, fields: rows })
      yield* output.value(summary)
      yield* output.note("")
      yield* output.rows(Stream.fromIterable(rows))
    })
  )

export const explain = (given: Named & { readonly id: string }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      const { fields, ...rest } = yield* repository.explain(yield* repository.getDocument(given.id))
      const rows = fields.map(({ text, ...field }): JsonObject => ({
        ...field,
        ...(text === undefined ? {} : { text })
      }))
      if (!output.isForPeople) return yield* output.value({ ...rest, fields: rows })
      const compressed = fields.filter(({ isCompressed }) => isCompressed).length
      yield* output.value({
        ...rest,
        compressed: compressed === 0 ? "nothing" : `${compressed} of ${counted(fields.length, "field")}, together`
      })
      if (compressed > 0) {
        yield* output.note(
          "the bytes of a compressed field below are those before compression: bodyBytes is what is stored"
        )
      }
      yield* output.note("")
      yield* output.rows(Stream.fromIterable(rows), {
        columns: ["path", "attribute", "place", "isCompressed", "bytes", "jsonBytes", "text"]
      })
    })
  )

// -----------------------------------------------------------------------------
// Watching
// -----------------------------------------------------------------------------

/** The documents of a resource by their id, and what tells one version from another. Deleted ones are not there. */
const versions = Effect.fnUntraced(function* (name: string) {
  const { store } = yield* Database.Database
  const found = new Map<string, string>()
  yield* Stream.runForEach(
    Stream.mapError(listAll(store, { prefix: Document.keyPrefix(name) }), DbError.fromStore("watch", name)),
    ({ etag, key, size }) =>
      Effect.sync(() => {
        const id = Option.getOrUndefined(Document.idOf(name, key))
        if (id !== undefined && size !== Document.deletionBytes) found.set(id, etag ?? "")
      })
  )
  return found
})

interface Seen {
  readonly change: "new" | "changed" | "gone"
  readonly id: string
  /** Of its record in the journal. */
  readonly position?: number
  readonly time?: string
}

interface Shown extends Seen {
  readonly document?: JsonObject
}

/** Looks again and again at all documents: what was in between two looks is not seen. */
const byListing = Effect.fnUntraced(function* (name: string) {
  const output = yield* Output
  let before = yield* versions(name)
  yield* output.note(`watching ${counted(before.size, "document")} of ${name}; Ctrl-C ends it`)
  const look = Effect.gen(function* () {
    const now = yield* versions(name)
    const changes: Array<Seen> = []
    for (const [id, etag] of now) {
      const was = before.get(id)
      if (was !== etag) changes.push({ change: was === undefined ? "new" : "changed", id })
    }
    for (const id of before.keys()) if (!now.has(id)) changes.push({ change: "gone", id })
    before = now
    return Stream.fromIterable(changes)
  })
  return { look, end: Effect.void }
})

/** A change that waits for so long waits for somebody who keeps the journal. The longest pause of a journaler is a minute by itself. */
const keptWithin = 2 * 60_000

/** A page of a listing: among so many one is old, where none of them is journaled. */
const mostLookedAt = 1000

const changesByKind = { insert: "new", update: "changed", delete: "gone" } as const

/** Reads the journal from a position on: each version of each document, in order. */
const byJournal = Effect.fnUntraced(function* (name: string, from: Option.Option<number>) {
  const output = yield* Output
  const { journal } = yield* Database.Database
  const failed = DbError.fromStore("watch", name)
  const end = yield* Effect.mapError(journal.position, failed)
  let next = Option.getOrElse(from, () => end)
  if (next > end) {
    return yield* new Usage({ description: `--from ${next} is behind the end of the journal, which is at ${end}` })
  }
  yield* output.note(`watching ${name} in its journal from ${next} on; Ctrl-C ends it`)
  let [isTold, isWarned] = [false, false]
  const warnOfWaiting = Effect.gen(function* () {
    // They come in no order of time.
    const waiting = yield* Stream.runCollect(Stream.take(journal.pending, mostLookedAt))
    if (waiting.length === 0) return
    const oldest = Math.min(...waiting.map(({ time }) => time))
    if ((yield* Clock.currentTimeMillis) - oldest < keptWithin) {
      if (isTold) return
      isTold = true
      return yield* output.note("changes wait to be journaled, and are shown once they are: a Journaler does that")
    }
    isWarned = true
    yield* output.warn(
      "changes wait to be journaled, and nobody keeps the journal: run a program with Journaler.layer. --listing watches without it"
    )
  })
  const look = Effect.sync(() => {
    const first = next
    return journal.read({ from: next }).pipe(
      Stream.flatMap(({ position, value }) => {
        next = position + 1
        if (value.resource !== name) return Stream.empty
        const time = DateTime.formatIso(DateTime.makeUnsafe(value.time))
        return Stream.succeed<Seen>({ change: changesByKind[value.kind], id: value.id, position, time })
      }),
      Stream.onEnd(Effect.suspend(() => (isWarned || next > first ? Effect.void : warnOfWaiting))),
      Stream.mapError((error) => (error._tag === "StoreError" ? failed(error) : error))
    )
  })
  return { look, end: Effect.suspend(() => output.note(`to go on: --from ${next}`)) }
})

export const watch = (
  given: Named & {
    readonly interval: number
    readonly times: Option.Option<number>
    readonly documents: boolean
    readonly from: Option.Option<number>
    readonly listing: boolean
  }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      const isJournaled = (yield* Database.Database).upkeep(given.resource)?.settings?.journal !== undefined
      if (Option.isSome(given.from) && (given.listing || !isJournaled)) {
        return yield* new Usage({
          description: given.listing
            ? "--from is a position in the journal, which --listing does not read"
            : `--from is a position in the journal, and ${given.resource} has none`
        })
      }
      const shown = Effect.fnUntraced(function* ({
        change,
        id,
        ...place
      }: Seen): Effect.fn.Return<Shown, DbError.NotAllowed | Repository.ReadError> {
        if (!given.documents || change === "gone") return { ...place, change, id }
        const document = yield* repository
          .getJson(id)
          .pipe(Effect.catchTag("NotFound", () => Effect.succeed(undefined)))
        return document === undefined ? { ...place, change: "gone", id } : { ...place, change, id, document }
      })
      const schedule = Schedule.spaced(Duration.seconds(given.interval))
      const limited = Option.match(given.times, {
        onNone: () => schedule,
        onSome: (times) => schedule.pipe(Schedule.upTo({ times }))
      })
      const isByJournal = isJournaled && !given.listing
      const { end, look } = isByJournal
        ? yield* byJournal(given.resource, given.from)
        : yield* byListing(given.resource)
      const looks = Stream.fromSchedule(limited)
      const rows = looks.pipe(
        Stream.mapEffect(() => look),
        Stream.flatMap((changes) => changes),
        Stream.mapEffect(shown)
      )
      // Each line as it comes, also for people.
      const writing = output.isForPeople
        ? output.raw(
            Stream.map(
              rows,
              (row) =>
                `${output.style(row.change.padEnd(8), colours[row.change])}${harmlessJson(JSON.stringify(row.document ?? row.id))}\n`
            )
          )
        : Effect.asVoid(output.rows(Stream.map(rows, (row): JsonObject => ({ ...row }))))
      yield* Effect.ensuring(writing, end)
    })
  )

const colours: Readonly<Record<Seen["change"], "green" | "yellow" | "red">> = {
  new: "green",
  changed: "yellow",
  gone: "red"
}
