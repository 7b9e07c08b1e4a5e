/** Many random databases, with backups by the journal and by listings. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Backup from "effect-s3db/plugins/Backup"
import { memory } from "../fixture.ts"
import { counted, keepJournal, killedClients, opened, randomBackups } from "./journaledBackups.ts"

describe("backups by the journal", () => {
  it.effect.each(Array.from({ length: 60 }, (_, at) => at + 2))("are what a listing makes: seed %i", (seed) =>
    randomBackups(seed)
  )

  it.effect.each(["before", "after"] as const)("have what a client has left, killed %s any request", (when) =>
    Effect.gen(function* () {
      for (let at = 1; at < 100; at += 1) if (yield* killedClients(at, when)) return
      assert.fail("the client did not come to its end")
    })
  )

  it.effect("of 100,000 documents, of which 1 % have changed, cost a tenth of the listings", () =>
    Effect.gen(function* () {
      const [source, vault] = [yield* memory, yield* memory]
      const program = yield* opened(source)
      yield* program.items.insert({ id: "d", group: "g", code: "d" })
      const { body, metadata } = yield* source.get("resource=items/data/id=d")
      for (let at = 0; at < 100_000; at += 1)
        yield* source.put({ key: `resource=items/data/id=x${at}`, body, metadata })
      yield* TestClock.adjust("1 hour")
      const from = counted(source)
      const backups = yield* Backup.make({ source: from.store, vault })
      yield* backups.create()
      for (const changes of ["listing", "journal"] as const) {
        for (let at = 0; at < 1000; at += 1) {
          yield* program.items.insert({ id: `a${changes}${at}`, group: "g", code: `${changes}${at}` })
        }
        yield* keepJournal(program)
        yield* TestClock.adjust("1 hour")
        from.take()
        const made = yield* backups.create({ changes })
        assert.deepInclude(made, { isByJournal: changes === "journal", isInstant: true })
        const { get = 0, list = 0 } = from.take()
        // Each document, its marker and its reservation.
        assert.isAtMost(get, 3 * 1000 + 20)
        if (changes === "listing") assert.isAtLeast(list, 200)
        else assert.isAtMost(list, 20)
      }
    })
  )
})
