/**
 * What a backup takes beside copying every object from store to store by hand, as one does without: whole, of 1 % that has changed, of nothing,
 * checked, and put back. Documents of some 500 bytes, in memory, so that what is measured is the work and not a network.
 *
 * npm run bench -- backup [--documents=100000] [--json]
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Backup from "effect-s3db/plugins/Backup"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { listAll, ObjectStore } from "effect-s3db/storage/ObjectStore"
import { countOf } from "./option.ts"
import { digits } from "./table.ts"

const documents = countOf("documents", 20_000)

class Notes extends Resource.Service<Notes>()("bench/notes", {
  schema: Schema.Struct({ id: Schema.String, author: Schema.String, text: Schema.String, rank: Schema.Int }),
  primaryKey: "id"
}) {}

const noteAt = (at: number, round: number) => ({
  id: `note-${String(at).padStart(7, "0")}`,
  author: `author ${at % 97}`,
  text: `${round}: ${Array.from({ length: 60 }, (_, word) => ((at * 31 + word * 17) % 9973).toString(36)).join(" ")} `.repeat(
    2
  ),
  rank: at
})

const copied = Effect.fnUntraced(function* (from: ObjectStore["Service"], to: ObjectStore["Service"]) {
  yield* listAll(from, { prefix: "" }).pipe(
    Stream.mapEffect(
      Effect.fnUntraced(function* ({ key }) {
        const { body, contentType, metadata } = yield* from.get(key)
        yield* to.put({ key, body, contentType, metadata })
      }),
      { concurrency: 16 }
    ),
    Stream.runDrain
  )
})

const bytesIn = (store: ObjectStore["Service"]) =>
  Stream.runFold(
    listAll(store, { prefix: "" }),
    () => 0,
    (sum, { size = 0 }) => sum + size
  )

export const report = () => Effect.runPromise(Effect.scoped(measured))

const measured = Effect.gen(function* () {
  const fresh = Effect.map(MemoryStore.make(), ({ store }) => InstrumentedStore.make(store))
  const [source, vault, copy, target] = [yield* fresh, yield* fresh, yield* fresh, yield* fresh]
  const database = yield* Effect.provideService(Database.make({ catalogLease: "1 hour" }), ObjectStore, source.store)
  const notes = yield* Effect.provideService(Resource.make(Notes.definition), Database.Database, database)
  yield* notes.insertMany(Array.from({ length: documents }, (_, at) => noteAt(at, 0)))
  const backups = yield* Backup.make({ source: source.store, vault: vault.store })

  const results: Array<Record<string, string | number>> = []
  const timed = Effect.fnUntraced(function* <A, E>(name: string, effect: Effect.Effect<A, E>) {
    const counters = [source.counter, vault.counter, copy.counter, target.counter]
    const requests = Effect.map(Effect.all(counters.map(({ counts }) => counts)), (all) =>
      all.flatMap((one) => Object.values(one)).reduce((sum, count) => sum + count, 0)
    )
    globalThis.gc?.()
    const [before, cpu, resident] = [yield* requests, process.cpuUsage(), process.memoryUsage().rss]
    let most = resident
    const watching = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 20)
    const value = yield* effect
    clearInterval(watching)
    const { system, user } = process.cpuUsage(cpu)
    results.push({
      operation: name,
      milliseconds: Math.round((user + system) / 1000),
      requests: (yield* requests) - before,
      grownMegabytes: Math.round((most - resident) / 1e6)
    })
    return value
  })

  yield* timed("every object copied by hand", copied(source.store, copy.store))
  yield* timed("backup, the first", backups.create())
  yield* timed("backup, nothing has changed", backups.create())
  for (let at = 0; at < documents; at += 100) yield* notes.replace(noteAt(at, 1))
  const last = yield* timed("backup, 1 % has changed", backups.create())
  yield* timed("verify", backups.verify(last.id))
  yield* timed("restore", backups.restore(last.id, { target: target.store }))
  const bytes = { objects: yield* bytesIn(source.store), vault: yield* bytesIn(vault.store) }
  const baseline = Number(results[0]!["milliseconds"])
  return {
    results: results.map((one) => ({ ...one, ratio: Number((Number(one["milliseconds"]) / baseline).toFixed(3)) })),
    tables: [
      {
        title: `${documents} documents`,
        columns: ["", "CPU ms", "times copying by hand", "requests", "memory, MB more"],
        rows: results.map(({ grownMegabytes, milliseconds, operation, requests }) => [
          String(operation),
          digits(Number(milliseconds)),
          digits(Number(milliseconds) / baseline),
          digits(Number(requests)),
          digits(Number(grownMegabytes))
        ])
      }
    ],
    notes: [
      `The bodies of the objects are ${bytes.objects} bytes, beside their metadata; three backups of them take ${bytes.vault} in the vault.`,
      "Memory grows by what the stores in memory hold as well."
    ]
  }
})
