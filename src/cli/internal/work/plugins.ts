/** What plugins there are, and the workers that need no program. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Database from "../../../Database.ts"
import * as DbError from "../../../DbError.ts"
import type { JsonObject } from "../../../encoding/Json.ts"
import { didYouMean } from "../../../internal/nearest.ts"
import * as Plugin from "../../../Plugin.ts"
import { counted, Partial, Usage } from "../failure.ts"
import { Output } from "../output.ts"
import { resource, withDatabase } from "./opening.ts"

/** What does the work of a plugin. What is code cannot be told by a database. */
const workers: Readonly<Record<string, string>> = {
  journaler: "s3db plugins run journal",
  segments: "s3db plugins run segments RESOURCE",
  ttl: "a program with Ttl.layer: what becomes of documents that expire is code",
  scheduler: "a program with Scheduler.layer: jobs are code",
  queue: "a program with S3Queue.layerWorker: what is done with an item is code",
  audit: "a program with Audit.layer: it is told of what that program does",
  cache: "a program with Cache.layer: it is between that program and its reads"
}

/** How the journal fares, by what waits for it. */
const journalHealth = Effect.gen(function* () {
  const { journal } = yield* Database.Database
  const failed = DbError.fromStore("plugins")
  const waiting = yield* Effect.mapError(Stream.runCollect(Stream.take(journal.pending, 1000)), failed)
  const now = yield* Clock.currentTimeMillis
  const oldest = Math.min(now, ...waiting.map(({ time }) => time))
  const position = yield* Effect.mapError(journal.position, failed)
  const some = waiting.length < 1000 ? counted(waiting.length, "change") : "1,000 changes and more"
  const isLate = waiting.length > 0 && now - oldest > 120_000
  return {
    health: isLate ? "late" : "up",
    detail: `at position ${position}, ${waiting.length === 0 ? "nothing waits" : `${some} ${waiting.length === 1 ? "waits" : "wait"}, the oldest for ${Math.round((now - oldest) / 1000)} s`}`
  }
})

export const plugins = () =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const installed = yield* Plugin.installed
      const rows = yield* Effect.forEach(
        installed,
        Effect.fnUntraced(function* (one): Effect.fn.Return<JsonObject, DbError.DbError, Database.Database> {
          const health = one.plugin === "journaler" ? yield* journalHealth : {}
          return { ...one, ...health, worker: workers[one.plugin] ?? "a program with its layer" }
        })
      )
      yield* output.rows(Stream.fromIterable(rows), {
        columns: ["plugin", "namespace", "version", "isInstalled", "health", "detail", "worker"],
        footer: (count) => (count === 0 ? "the catalog knows of no plugin" : counted(count, "plugin"))
      })
    })
  )

interface Run {
  readonly plugin: string
  readonly resources: ReadonlyArray<string>
  readonly once: boolean
  readonly every: Option.Option<number>
}

const journal = Effect.fnUntraced(function* ({ once }: Run) {
  const output = yield* Output
  const { journal, journaled } = yield* Database.Database
  if (once) {
    const done = yield* Effect.mapError(journal.catchUp(journaled), DbError.fromStore("plugins run"))
    return yield* output.value(
      { ...done },
      `journaled ${counted(done.appended, "change")}, up to position ${done.next}`
    )
  }
  const Journaler = yield* Effect.promise(() => import("../../../plugins/Journaler.ts"))
  yield* Journaler.make()
  yield* output.note("keeping the journal; Ctrl-C ends it")
  let before = ""
  const changed = Effect.gen(function* () {
    const [status] = yield* Plugin.statuses
    const { detail = "", level = "up" } = status?.health ?? {}
    const now = `${level} ${detail}`
    if (now === before) return []
    before = now
    return [{ health: level, detail }]
  })
  yield* output.rows(
    Stream.fromSchedule(Schedule.spaced("1 second")).pipe(
      Stream.mapEffect(() => changed),
      Stream.flatMap(Stream.fromIterable)
    ),
    { columns: ["health", "detail"] }
  )
})

const segments = Effect.fnUntraced(function* ({ every, once, resources }: Run) {
  const output = yield* Output
  if (resources.length === 0) {
    return yield* new Usage({
      description: "name the resources of which there are segments: s3db plugins run segments orders"
    })
  }
  const Segments = yield* Effect.promise(() => import("../../../plugins/Segments.ts"))
  const sources = yield* Effect.forEach(
    [...new Set(resources)],
    Effect.fnUntraced(function* (name) {
      const { definition, repository } = yield* resource(name)
      return Object.assign(Effect.succeed(repository), { definition })
    })
  )
  const pause = Option.match(every, { onNone: () => ({}), onSome: (seconds) => ({ every: Duration.seconds(seconds) }) })
  const kept = yield* Segments.make({ resources: sources, compact: !once, ...pause })
  if (once) {
    const done = yield* kept.compactNow()
    return yield* output.rows(Stream.fromIterable(done.map(({ _tag, ...summary }): JsonObject => ({ ...summary }))))
  }
  yield* output.note(`keeping the segments of ${resources.join(", ")}; Ctrl-C ends it`)
  let failed = 0
  yield* output.rows(
    Stream.mapEffect(
      kept.events,
      Effect.fnUntraced(function* ({ _tag, ...event }) {
        if (_tag === "Failed") {
          failed += 1
          yield* output.warn("a compaction has failed; it is tried again")
        }
        return { event: _tag, ...event } as JsonObject
      })
    )
  )
  if (failed > 0) return yield* new Partial({ description: `${counted(failed, "compaction")} failed` })
})

export const run = (given: Run) =>
  withDatabase(
    Effect.gen(function* () {
      if (given.plugin === "journal" || given.plugin === "journaler") return yield* journal(given)
      if (given.plugin === "segments") return yield* segments(given)
      const worker = Object.hasOwn(workers, given.plugin) ? workers[given.plugin] : undefined
      return yield* new Usage({
        description:
          worker === undefined
            ? `there is no worker called ${JSON.stringify(given.plugin)}: there are journal and segments${didYouMean(given.plugin, ["journal", "segments"])}`
            : `${given.plugin} needs ${worker}`
      })
    }).pipe(Effect.scoped)
  )
