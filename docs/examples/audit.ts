/**
 * Two processes of a bank share a folder: one writes accounts and keeps the journal; the other makes the audit trail of it, and tells
 * customers of what was booked, each booking once it is committed.
 *
 * npm run example -- docs/examples/audit.ts
 *
 * Prints:
 * to the holder of A-1: opened
 * to the holder of A-2: opened
 * to the holder of A-1: booked, the balance is 70
 * to the holder of A-2: booked, the balance is 80
 * A-1: insert by ana, at the counter
 * A-1: update by bo, online
 * bo has written 2 versions, of 1 request
 * in the north: 2 writes; of 1 the trail does not tell, which has no images of before
 * the chain holds for 4 entries
 * the plugins: audit up, journaler up
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Consumer from "effect-s3db/kernel/Consumer"
import * as Plugin from "effect-s3db/Plugin"
import * as Audit from "effect-s3db/plugins/Audit"
import * as Journaler from "effect-s3db/plugins/Journaler"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import * as WriteContext from "effect-s3db/WriteContext"

class Accounts extends Resource.Service<Accounts>()("bank/accounts", {
  schema: Schema.Struct({ id: Schema.String, branch: Schema.String, balance: Schema.Int }),
  primaryKey: "id",
  partitions: { byBranch: ["branch"] },
  journal: { images: "after", context: true }
}) {}

// The pauses are short, so that there is something to see at once.
const bank = Layer.merge(Accounts.layer, Journaler.layerWith({ firstPause: "50 millis" }))
const office = Layer.merge(Accounts.layer, Audit.layer({ firstPause: "50 millis" }))

/** A process: what it runs, and the database. */
const processOf = <A, E>(layer: Layer.Layer<A, E, Database.Database>, folder: string) =>
  Layer.fresh(layer.pipe(Layer.provideMerge(Database.layer), Layer.provide(ConnectionString.layer(`file://${folder}`))))

const by =
  (user: string, channel: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(
      Effect.provideService(CurrentUser.CurrentUser, CurrentUser.make(user)),
      Effect.provideService(WriteContext.WriteContext, { channel })
    )

const write = Effect.gen(function* () {
  const accounts = yield* Accounts
  const { transaction } = yield* Database.Database
  yield* accounts.insert({ id: "A-1", branch: "north", balance: 100 }).pipe(by("ana", "at the counter"))
  yield* accounts.insert({ id: "A-2", branch: "south", balance: 50 }).pipe(by("ana", "at the counter"))
  const book = (id: string, amount: number) => accounts.update(id, ({ balance }) => ({ balance: balance + amount }))
  yield* transaction(Effect.andThen(book("A-1", -30), book("A-2", 30))).pipe(by("bo", "online"))
  // Refused, and not committed: neither the journal nor the trail has it.
  yield* transaction(Effect.andThen(book("A-1", -900), Effect.fail("not so much" as const))).pipe(
    by("eve", "online"),
    Effect.ignore
  )
})

const tell = Effect.fn("tell")(function* (told: Deferred.Deferred<void>) {
  const { journal, store } = yield* Database.Database
  const accounts = yield* Accounts
  const letters = Consumer.journal(store, journal, { name: "letters", firstPause: "50 millis", batchSize: 10 })
  let count = 0
  yield* letters.consume((entries) =>
    Effect.forEach(
      entries,
      Effect.fnUntraced(function* ({ value: { id, kind } }) {
        const { balance } = yield* accounts.get(id)
        yield* Console.log(
          `to the holder of ${id}: ${kind === "insert" ? "opened" : `booked, the balance is ${balance}`}`
        )
        if ((count += 1) === 4) yield* Deferred.succeed(told, undefined)
      }),
      { discard: true }
    )
  )
})

const look = Effect.gen(function* () {
  const audit = yield* Audit.Audit
  yield* audit.caughtUp
  yield* Stream.runForEach(audit.history("accounts", "A-1"), ({ context, operation, user }) =>
    Console.log(`A-1: ${operation} by ${user}, ${String(context?.["channel"])}`)
  )
  const entries = yield* Stream.runCollect(audit.query({ user: "bo" }))
  const channels = new Set(entries.map(({ context }) => context?.["channel"]))
  yield* Console.log(`bo has written ${entries.length} versions, of ${channels.size} request`)
  const north = { partition: "byBranch", values: { branch: "north" } } as const
  const { total, unknown } = yield* audit.partitionStats("accounts", yield* Accounts, north)
  yield* Console.log(
    `in the north: ${total} writes; of ${unknown} the trail does not tell, which has no images of before`
  )
  const { head, next } = yield* audit.status
  const verified = yield* audit.verify({ head, next })
  yield* Console.log(`the chain holds for ${verified.next} entries`)
})

const program = Effect.fn("program")(function* (folder: string) {
  const writer = yield* Layer.build(processOf(bank, folder))
  const reader = yield* Layer.build(processOf(office, folder))
  const told = yield* Deferred.make<void>()
  yield* Effect.provide(write, writer)
  yield* Effect.provide(tell(told), reader)
  yield* Deferred.await(told)
  yield* Effect.provide(look, reader)
  const statuses = [
    ...(yield* Effect.provide(Plugin.statuses, reader)),
    ...(yield* Effect.provide(Plugin.statuses, writer))
  ]
  yield* Console.log(`the plugins: ${statuses.map(({ health, plugin }) => `${plugin} ${health.level}`).join(", ")}`)
})

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-audit-"))
await Effect.runPromise(
  Effect.ensuring(
    Effect.scoped(program(folder)),
    Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
)
