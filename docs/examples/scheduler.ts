/**
 * Two processes of a shop have the same timetable in one folder: each slot is started by one of them, and both know how it went.
 *
 * npm run example -- docs/examples/scheduler.ts
 *
 * Prints:
 * orders of 2026-11-25: sent to accounting
 * 3 slots, each started once, in the order 1 2 3
 * accounting, a job of ana: success after 1 attempt with {"orders":3}, not due again
 * nightly: due at 03:00 in Berlin
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Scheduler from "effect-s3db/plugins/Scheduler"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

/** A program with data: jobs of it are added at run time, and stay in the database. */
const send = Scheduler.task("send-orders", {
  payload: Schema.Struct({ day: Schema.String }),
  run: ({ day }) => Effect.as(Console.log(`orders of ${day}: sent to accounting`), { orders: 3 })
})

const tidy = Scheduler.job("tidy", { schedule: { every: "1 second" }, run: () => Effect.void })

const nightly = Scheduler.job("nightly", {
  schedule: { cron: "0 3 * * *", timeZone: "Europe/Berlin" },
  retries: 2,
  timeout: "10 minutes",
  run: () => Console.log("the accounts are closed")
})

/** What each process of the shop runs. */
const processOf = (folder: string) =>
  Scheduler.layer({ jobs: [tidy, nightly], tasks: [send] }).pipe(
    Layer.provide(Database.layer),
    Layer.provide(ConnectionString.layer(`file://${folder}`)),
    Layer.fresh
  )

/** Asks until something is there. */
const until = <A, E>(ask: Effect.Effect<Option.Option<A>, E>): Effect.Effect<A, E> =>
  Effect.flatMap(
    ask,
    Option.match({
      onNone: () => Effect.delay(until(ask), Duration.millis(100)),
      onSome: (found) => Effect.succeed(found)
    })
  )

const shop = Effect.fn("shop")(function* (folder: string) {
  const one = Context.get(yield* Layer.build(processOf(folder)), Scheduler.Scheduler)
  const two = Context.get(yield* Layer.build(processOf(folder)), Scheduler.Scheduler)

  const payload = { day: "2026-11-25" }
  yield* one.add({ name: "accounting", task: send, payload, schedule: "@yearly", meta: { owner: "ana" } })
  const run = yield* two.trigger("accounting")
  const { meta } = yield* two.status("accounting")

  const done = yield* until(
    Effect.map(two.history("tidy", { status: "success" }), (runs) =>
      runs.length >= 3 ? Option.some(runs.toReversed().slice(0, 3)) : Option.none()
    )
  )
  const slots = new Set(done.map(({ slot }) => DateTime.formatIso(slot)))
  yield* Console.log(`${slots.size} slots, each started once, in the order ${done.map(({ token }) => token).join(" ")}`)

  yield* two.remove("accounting")
  const isThere = (yield* one.statuses).some(({ name }) => name === "accounting")
  yield* Console.log(
    `accounting, a job of ${String(meta["owner"])}: ${run.status} after ${run.attempts} attempt with ${JSON.stringify(Option.getOrNull(run.result))}, ${isThere ? "due again" : "not due again"}`
  )

  const { next } = yield* one.status("nightly")
  const due = Option.map(next, (slot) =>
    DateTime.formatIntl(
      slot,
      new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", hour: "2-digit", minute: "2-digit" })
    )
  )
  yield* Console.log(`nightly: due at ${Option.getOrElse(due, () => "no time")} in Berlin`)
})

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-scheduler-"))
const program = Effect.ensuring(
  Effect.scoped(shop(folder)),
  Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)
await Effect.runPromise(program)
