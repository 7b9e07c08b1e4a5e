/** Moves a database that s3db.js has written into one of ours. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { JsonObject } from "../../../encoding/Json.ts"
import { didYouMean } from "../../../internal/nearest.ts"
import * as S3dbJs from "../../../migration/S3dbJs.ts"
import * as S3dbJsFolder from "../../../migration/S3dbJsFolder.ts"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import { ObjectStore } from "../../../storage/ObjectStore.ts"
import * as PrefixedStore from "../../../storage/PrefixedStore.ts"
import * as RestrictedStore from "../../../storage/RestrictedStore.ts"
import * as Connection from "../connection.ts"
import { counted, fileFailure, Missing, NoConnection, Partial, Usage } from "../failure.ts"
import { Output } from "../output.ts"
import { connection, withEmpty, withNewDatabase, withRestricted } from "./opening.ts"
import { placeOf } from "./places.ts"

export interface Given {
  readonly source: Option.Option<Redacted.Redacted<string>>
  readonly dryRun: boolean
  readonly verify: boolean
  readonly noVerify: boolean
  readonly resource: ReadonlyArray<string>
  readonly rules: "keep" | "types"
  readonly content: boolean
  readonly rejects: Option.Option<string>
  readonly concurrency: number
}

const secret = (name: string) =>
  Config.Redacted(name).pipe(
    Config.option,
    Effect.orElseSucceed(() => Option.none<Redacted.Redacted<string>>())
  )

// -----------------------------------------------------------------------------
// Where from
// -----------------------------------------------------------------------------

/** The store of the old database, of which nothing can be written. */
const storeOf = (url: Redacted.Redacted<string>, parsed: ConnectionString.Parsed) => {
  if (parsed._tag === "File") {
    const { path, prefix } = parsed.options
    return Effect.map(S3dbJsFolder.make({ path }), (store) => PrefixedStore.make(store, prefix))
  }
  return Effect.map(Layer.build(RestrictedStore.layer.pipe(Layer.provide(ConnectionString.layer(url)))), (context) =>
    ObjectStore.pipe(Effect.provideContext(context))
  ).pipe(Effect.flatten)
}

const opened = Effect.fnUntraced(function* (given: Given) {
  const output = yield* Output
  const url = Option.getOrUndefined(given.source) ?? Option.getOrUndefined(yield* secret("S3DB_OLD_URL"))
  if (url === undefined) {
    return yield* new Usage({
      description: "nobody has said where the old database is: give its connection string, or set S3DB_OLD_URL"
    })
  }
  const parsed = yield* ConnectionString.parse(url)
  if (parsed._tag === "Memory") {
    return yield* new Usage({
      description:
        "memory:// of another process cannot be read: have the program that holds the database write it to a folder or a bucket, and give that"
    })
  }
  if (parsed._tag === "S3" && parsed.options.createBucket === true) {
    return yield* new Usage({ description: "nothing is made where the old database is: leave createBucket out" })
  }
  const { described, parsed: target } = yield* connection
  if ((yield* placeOf(parsed)) === (yield* placeOf(target))) {
    return yield* new Usage({
      description: `${described} is where the old database is: it is moved into another bucket, prefix or folder, which --url or --profile names`
    })
  }
  const passphrase = Option.getOrUndefined(yield* secret("S3DB_OLD_PASSPHRASE"))
  const store = yield* storeOf(url, parsed)
  const source = yield* S3dbJs.open(store, { passphrase, rules: given.rules, content: given.content }).pipe(
    Effect.catchTag("NotS3dbJs", ({ description }) =>
      Effect.fail(
        new NoConnection({
          description: `${Connection.describe(parsed)} holds no database of s3db.js: ${description}`
        })
      )
    )
  )
  const names = [...source.resources, ...source.left.map(({ resource }) => ({ name: resource }))].map(
    ({ name }) => name
  )
  for (const name of given.resource) {
    if (names.includes(name)) continue
    const there = names.length === 0 ? "it has none" : `there are ${names.join(", ")}`
    const description = `the old database has no resource called ${JSON.stringify(name)}: ${there}${didYouMean(name, names)}`
    return yield* new Missing({ description })
  }
  const isWanted = (name: string) => given.resource.length === 0 || given.resource.includes(name)
  const resources = source.resources.filter(({ name }) => isWanted(name))
  const left = source.left.filter(({ resource }) => isWanted(resource))
  const hasSecrets = resources.some(({ definition }) => definition.attributes.some(({ codec }) => codec === "secret"))
  if (hasSecrets && passphrase === undefined) {
    yield* output.warn(
      "there are secrets, and no S3DB_OLD_PASSPHRASE to open them: records are moved without them. Databases that were opened without a passphrase have `secret`"
    )
  }
  return { source, resources, left }
})

// -----------------------------------------------------------------------------
// What has become of it
// -----------------------------------------------------------------------------

const isRejected = ({ _tag, problems }: S3dbJs.Outcome): boolean =>
  (_tag !== "Written" && _tag !== "Unchanged") || problems.length > 0

const rejectOf = ({ _tag, fields, id, key, problems, reason, resource }: S3dbJs.Outcome): JsonObject => ({
  outcome: _tag,
  resource,
  id,
  key,
  ...(reason === undefined ? {} : { reason }),
  ...(fields === undefined ? {} : { fields: [...fields] }),
  ...(problems.length === 0 ? {} : { problems: problems.map(({ field, problem }) => ({ field, problem })) })
})

const sentenceOf = ({ _tag, fields = [], id, problems, reason, resource }: S3dbJs.Outcome): string => {
  const what = `${resource} ${JSON.stringify(id)}: `
  const told = problems.map(({ field, problem }) => (field === "" ? problem : `${field}: ${problem}`)).join("; ")
  switch (_tag) {
    case "Different":
      return `${what}there is another document, which differs in ${fields.join(", ")}`
    case "Missing":
      return `${what}there is no document`
    case "Refused":
    case "Unreadable":
      return `${what}${reason ?? ""}`
    default:
      return `${what}not all of it: ${told}`
  }
}

/** Those that are told one by one. */
const mostTold = 20

/** Where rejected records are written, one on a line, as they come. */
const rejectsInto = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const failed = fileFailure(file, "written", path.dirname(path.resolve(file)))
  const open = yield* Effect.mapError(fs.open(file, { flag: "w", mode: 0o600 }), failed)
  return (line: JsonObject) =>
    Effect.mapError(open.writeAll(new TextEncoder().encode(`${JSON.stringify(line)}\n`)), failed)
})

const columns = [
  "resource",
  "records",
  "written",
  "unchanged",
  "different",
  "missing",
  "refused",
  "unreadable",
  "partial",
  "verified"
]

const shown = ({ records, ...counters }: S3dbJs.Report) => ({ records, ...counters })

export const migrateFrom = Effect.fnUntraced(function* (given: Given) {
  const output = yield* Output
  if (given.verify && (given.dryRun || given.noVerify)) {
    return yield* new Usage({
      description: `--verify writes nothing and compares: leave ${given.dryRun ? "--dry-run" : "--no-verify"} out`
    })
  }
  const { left, resources, source } = yield* opened(given)
  const write = Option.isSome(given.rejects) ? yield* rejectsInto(given.rejects.value) : () => Effect.void
  const mode = given.dryRun ? "dry-run" : given.verify ? "verify" : "write"

  const reports = new Map<string, S3dbJs.Report>(resources.map(({ name }) => [name, S3dbJs.emptyReport]))
  const verified = new Map<string, number>()
  /** Those that a verification finds again. */
  const rejected = new Set<string>()
  let [seen, told] = [0, 0]
  const reject = Effect.fnUntraced(function* (outcome: S3dbJs.Outcome) {
    rejected.add(`${outcome.resource}/${outcome.id}`)
    told += 1
    if (told <= mostTold) yield* output.warn(sentenceOf(outcome))
    if (told === mostTold + 1) yield* output.warn("there are more: --rejects FILE has all of them")
    yield* write(rejectOf(outcome))
  })

  const run = Effect.fnUntraced(function* (
    mode: "write" | "dry-run" | "verify",
    each: (outcome: S3dbJs.Outcome) => Effect.Effect<void, Effect.Error<ReturnType<typeof reject>>>
  ) {
    const progress = yield* output.progress(mode === "write" ? "moved" : mode === "verify" ? "verified" : "looked at")
    let done = 0
    yield* Stream.runForEach(
      S3dbJs.migrate(source, { resources: resources.map(({ name }) => name), mode, concurrency: given.concurrency }),
      Effect.fnUntraced(function* (outcome) {
        done += 1
        yield* each(outcome)
        if (done % 100 === 0) yield* progress.update(done)
      })
    ).pipe(Effect.ensuring(progress.end))
  })

  const work = Effect.gen(function* () {
    yield* run(mode, (outcome) => {
      seen += 1
      const before = reports.get(outcome.resource) ?? S3dbJs.emptyReport
      reports.set(outcome.resource, S3dbJs.add(before, outcome))
      return isRejected(outcome) ? reject(outcome) : Effect.void
    })
    if (mode !== "write" || given.noVerify) return
    for (const { name } of resources) verified.set(name, 0)
    yield* run("verify", (outcome) => {
      const { _tag, id, resource } = outcome
      if (_tag === "Unchanged") verified.set(resource, (verified.get(resource) ?? 0) + 1)
      if (!isRejected(outcome) || rejected.has(`${resource}/${id}`)) return Effect.void
      const before = reports.get(resource) ?? S3dbJs.emptyReport
      const counter = _tag === "Missing" ? "missing" : _tag === "Different" ? "different" : "unreadable"
      reports.set(resource, { ...before, [counter]: before[counter] + 1 })
      return reject(outcome)
    })
  }).pipe(
    Effect.onInterrupt(() =>
      mode === "write"
        ? output.warn(
            `interrupted after ${counted(seen, "record")}, each of which is moved in full or not at all. To go on, run it again: what is there is compared`
          )
        : Effect.void
    )
  )

  for (const { name, notes } of resources) for (const note of notes) yield* output.note(`${name}: ${note}`)
  for (const { problem, resource } of left) yield* output.warn(`${resource} is left: ${problem}`)

  if (mode === "write") yield* withNewDatabase(work)
  else if (mode === "verify") yield* withRestricted(RestrictedStore.layer, false)(work)
  else {
    // Where there is no database yet nothing is made, and all of it would be new.
    yield* Effect.catchTag(withRestricted(RestrictedStore.layer, false)(work), "NoConnection", () => withEmpty(work))
  }

  const rows = [
    ...resources.map(({ name, notes }): JsonObject => ({
      resource: name,
      ...shown(reports.get(name) ?? S3dbJs.emptyReport),
      ...(verified.has(name) ? { verified: verified.get(name)! } : {}),
      notes: [...notes]
    })),
    ...left.map(({ problem, resource }): JsonObject => ({ resource, left: problem }))
  ]
  yield* output.rows(Stream.fromIterable(rows), {
    columns: left.length === 0 ? columns : [...columns, "left"],
    footer: () => footerOf(mode, seen, verified)
  })
  const problems = [
    ...(told === 0 ? [] : [`${counted(told, "record")} of ${seen}`]),
    ...(left.length === 0 ? [] : [counted(left.length, "resource")])
  ]
  if (problems.length > 0) {
    const what =
      mode === "verify" ? "not the same" : mode === "write" ? "not moved, or not in full" : "would not be moved in full"
    return yield* new Partial({ description: `${what}: ${problems.join(", and ")}` })
  }
}, Effect.scoped)

const footerOf = (
  mode: "write" | "dry-run" | "verify",
  seen: number,
  verified: ReadonlyMap<string, number>
): string => {
  const records = counted(seen, "record")
  if (mode === "dry-run") return `looked at ${records}; nothing was written`
  if (mode === "verify") return `compared ${records}`
  const same = [...verified.values()].reduce((sum, count) => sum + count, 0)
  return `went through ${records}${verified.size === 0 ? "" : `, ${same} of which were read again and are the same`}`
}
