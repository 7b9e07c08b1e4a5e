/** Writers of documents that have a journal, and journalers, in every order of their requests. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Id from "effect-s3db/crypto/Id"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Pauses from "effect-s3db/testing/Pauses"
import { drive } from "../fixture.ts"
import type { Outcome } from "./serial.ts"
import { type Client, journaledOn, observed, problemsOf } from "./journal.ts"

export interface Scenario {
  readonly before: (client: Client) => Effect.Effect<unknown, unknown>
  readonly writers: Readonly<Record<string, (client: Client) => Effect.Effect<unknown, unknown>>>
}

const document = (id: string, value: string) => ({ id, value, group: value < "m" ? "x" : "y" })

export const scenarios: Readonly<Record<string, Scenario>> = {
  "an update and a deletion": {
    before: ({ notes }) => notes.insert(document("a", "first")),
    writers: {
      a: ({ notes }) => notes.update("a", (now) => ({ ...now, value: "updated" })),
      b: ({ notes }) => notes.delete("a")
    }
  },
  "a new life, and a transaction that another meets": {
    before: ({ plain }) => Effect.andThen(plain.insert(document("a", "first")), plain.delete("a")),
    writers: {
      a: ({ database, plain }) =>
        database.transaction(Effect.andThen(plain.insert(document("a", "t")), plain.upsert(document("b", "t")))),
      b: ({ plain }) => plain.upsert(document("a", "b"))
    }
  },
  "a transaction that deletes, and a replacement": {
    before: ({ plain }) => plain.insert(document("a", "first")),
    writers: {
      a: ({ database, plain }) =>
        database.transaction(Effect.andThen(plain.delete("a"), plain.upsert(document("b", "t")))),
      b: ({ plain }) => plain.replace(document("a", "r"))
    }
  }
}

export interface Options {
  readonly journalers: number
  readonly preemptions: number
  readonly crashes?: number | undefined
  readonly limit?: number | undefined
}

const seeded = <A, E, R>(seed: number, effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provideService(Id.Generator, Id.seeded(seed)), Random.withSeed(`seed ${seed}`))

/** Runs a scenario; gives what was wrong with the first journal that was. */
export const exploreJournal = Effect.fnUntraced(function* (scenario: Scenario, options: Options) {
  const { control, store: inner } = yield* MemoryStore.make()
  const { store, versions } = observed(inner)
  const schedule = Interleavings.make(store)
  yield* seeded(1, Effect.flatMap(journaledOn(store), scenario.before))
  const start = yield* control.snapshot
  const first = new Map(versions)
  const problems: Array<string> = []
  const programs: Record<string, Effect.Effect<unknown, unknown>> = {}
  for (const [i, [name, write]] of Object.entries(scenario.writers).entries()) {
    programs[name] = seeded(10 + i, Effect.flatMap(journaledOn(schedule.client(name)), write))
  }
  for (let i = 0; i < options.journalers; i++) {
    const name = `journaler ${i}`
    const catchingUp = Effect.flatMap(journaledOn(schedule.client(name)), ({ database }) =>
      database.journal.catchUp(database.journaled, { lease: "1 second" })
    )
    programs[name] = seeded(20 + i, catchingUp)
  }
  let journaled = 0
  const look = Effect.gen(function* () {
    const observer = yield* journaledOn(store)
    // Ends what transactions have left.
    for (const id of ["a", "b"]) yield* Effect.exit(observer.plain.upsert(document(id, "last")))
    return yield* problemsOf(observer, versions)
  })
  const report = yield* schedule.explore({
    before: Effect.andThen(
      control.restore(start),
      Effect.sync(() => {
        versions.clear()
        for (const [name, all] of first) versions.set(name, all)
      })
    ),
    programs,
    preemptions: options.preemptions,
    crashes: options.crashes,
    limit: options.limit,
    check: Effect.fnUntraced(function* ({ crashed, exits, trace }: Interleavings.Run<unknown, unknown>) {
      if (problems.length > 0) return
      for (const [name, exit] of Object.entries(exits)) {
        const isBug = Exit.isFailure(exit) && Cause.hasDies(exit.cause)
        if (isBug && !crashed.includes(name)) problems.push(`${name}: ${Cause.pretty(exit.cause)}`)
      }
      // Who has crashed holds its lease, and its transaction, until their time is over.
      const found = yield* drive(yield* Effect.forkChild(Pauses.byClock(look)))
      journaled += found.journaled
      problems.push(...found.problems)
      if (problems.length > 0) problems.push(trace.join("\n"))
    })
  })
  return { report, problems, journaled }
})

/** The same, told as other explorations are. */
export const explore = (scenario: Scenario, options: Options): Effect.Effect<Outcome, unknown, Scope.Scope> =>
  Effect.map(exploreJournal(scenario, options), ({ problems, report }) => ({
    ...report,
    outcomes: 1,
    violations: problems.length === 0 ? [] : [problems.join("\n")]
  }))
