/**
 * A wallet in one folder that two processes pay into and out of at once. Amounts are exact, a page of the shop is viewed by both, and the
 * month is told by days of the shop's own time zone.
 *
 * npm run example -- docs/examples/wallet.ts
 *
 * Prints:
 * in the document, and with what waits: 100 and 147.5
 * after the fold: 147.5
 * a payment at once: 127.5
 * views of the page: 200
 * 2026-03-07: 2 payments, 47.5 in all
 * 2026-03-08: 1 payments, -20 in all
 * most payments: ada with 3
 * more than there is: refused
 * written by mistake: 0, and made again of 3 operations: 127.5
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as BigDecimal from "effect/BigDecimal"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

const fields = {
  id: Schema.String,
  // A wallet is never overdrawn: a payment that would is refused.
  balance: Attribute.Money("EUR").check(Schema.isGreaterThanOrEqualToBigDecimal(BigDecimal.fromBigInt(0n))),
  views: Schema.optionalKey(Schema.Int)
}

class Wallets extends Resource.Service<Wallets>()("shop/wallets", {
  schema: Schema.Struct(Plugin.withAttributes(fields, EventualConsistency.attributes)),
  primaryKey: "id"
}) {}

const balance = EventualConsistency.counter(Wallets, "balance", { analytics: true, history: true })
const views = EventualConsistency.counter(Wallets, "views", { hot: true })

/** What one process has open. It folds when it is told to, so that the example prints the same each time. */
const processOn = (folder: string) =>
  EventualConsistency.layer({ counters: [balance, views], fold: false }).pipe(
    Layer.provideMerge(Wallets.layer),
    Layer.provide(Database.layer),
    Layer.provide(ConnectionString.layer(`file://${folder}`)),
    Layer.fresh
  )

const euros = BigDecimal.fromStringUnsafe
const text = BigDecimal.format

const program = Effect.fnUntraced(function* (folder: string) {
  const one = yield* Layer.build(processOn(folder))
  const other = yield* Layer.build(processOn(folder))
  const wallets = Context.get(one, Wallets)
  const here = Context.get(one, EventualConsistency.EventualConsistency)
  const there = Context.get(other, EventualConsistency.EventualConsistency)

  yield* TestClock.setTime(Date.parse("2026-03-08T02:30:00Z"))
  yield* wallets.insert({ id: "ada", balance: euros("100") })
  yield* Effect.all([here.add(balance, "ada", euros("50.10")), there.subtract(balance, "ada", euros("2.60"))], {
    concurrency: 2
  })
  const stored = yield* here.read(balance, "ada")
  const exact = yield* there.read(balance, "ada", { pending: true })
  yield* Console.log(`in the document, and with what waits: ${text(stored)} and ${text(exact)}`)
  yield* there.foldAll
  yield* Console.log(`after the fold: ${text((yield* wallets.get("ada")).balance)}`)

  yield* TestClock.setTime(Date.parse("2026-03-08T12:00:00Z"))
  const left = yield* here.apply(balance, "ada", { subtract: euros("20") })
  yield* Console.log(`a payment at once: ${text(left)}`)
  const view = (i: number) => (i % 2 === 0 ? here : there).add(views, "ada", 1)
  const visitors = Array.from({ length: 200 }, (_, i) => i)
  yield* Effect.forEach(visitors, view, { concurrency: "unbounded", discard: true })
  yield* here.foldAll
  yield* Console.log(`views of the page: ${(yield* wallets.get("ada")).views}`)

  const days = yield* here.analytics(balance, {
    from: "2026-03-01T05:00:00Z",
    to: "2026-03-09T05:00:00Z",
    by: "day",
    timeZone: "America/New_York",
    fillGaps: false
  })
  for (const { cohort, operations, total } of days) {
    const count = (operations.add?.count ?? 0) + (operations.subtract?.count ?? 0)
    yield* Console.log(`${cohort}: ${count} payments, ${text(total)} in all`)
  }
  const [most] = yield* here.top(balance, { from: "2026-03-01T00:00:00Z", limit: 1 })
  yield* Console.log(`most payments: ${most?.id} with ${most?.count}`)

  const refused = yield* here.apply(balance, "ada", { subtract: euros("1000") }).pipe(
    Effect.as("paid"),
    Effect.catchTag("InvalidOperation", () => Effect.succeed("refused"))
  )
  yield* Console.log(`more than there is: ${refused}`)

  yield* wallets.update("ada", { balance: euros("0") })
  const { before, operations, value } = yield* there.recalculate(balance, "ada")
  yield* Console.log(`written by mistake: ${text(before)}, and made again of ${operations} operations: ${text(value)}`)
})

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-wallet-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

// Time passes as the example says.
await Effect.runPromise(
  Effect.flatMap(temporary, program).pipe(Effect.scoped, Effect.provide(TestClock.layer({ warningDelay: "1 hour" })))
)
