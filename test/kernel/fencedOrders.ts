/** Processes that write what only the holder of a lease may write, in every order of their requests. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"
import * as CasCell from "effect-s3db/kernel/CasCell"
import * as Fenced from "effect-s3db/kernel/Fenced"
import * as Lease from "effect-s3db/kernel/Lease"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { type StoreError } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"

type Store = ObjectStore["Service"]

const key = "plugin=p/cell"
const range = (length: number) => Array.from({ length }, (_, i) => i)

const Log = Schema.Array(Schema.Struct({ token: Schema.Int, by: Schema.String }))
type Entry = (typeof Log.Type)[number]
type Append = (entry: Entry) => Effect.Effect<unknown, Lease.LeaseLost | StoreError>

/** How a process writes once it has the lease. */
type Way = (store: Store, held: Lease.Held) => Effect.Effect<Append, Lease.LeaseLost | StoreError>

export const fenced: Way = (store, { token }) =>
  Effect.map(
    Fenced.make(store, { key, schema: Log, what: "a log" }).claim(token),
    (mine) => (entry) => mine.modify((log = []) => Effect.succeed([...log, entry]))
  )

/** Only asks its own clock. */
export const byClock: Way = (store, { ensure, token }) => {
  const State = Schema.Struct({ token: Schema.Int, value: Log })
  const cell = CasCell.make(store, key, CasCell.schemaFormat(State, { what: "a log" }))
  return Effect.succeed((entry) =>
    Effect.andThen(
      ensure,
      cell.modify((state) => Effect.succeed({ token, value: [...(state?.value ?? []), entry] }))
    )
  )
}

/** Gives a lease up by removing it. */
export const removing = (store: Store): Store => ({
  ...store,
  put: (request) => {
    const isGivenUp = request.key === "lease" && !new TextDecoder().decode(request.body).includes("holder")
    return isGivenUp ? Effect.as(store.delete(request.key), { etag: "gone" }) : store.put(request)
  }
})

export interface Case {
  readonly actors: ReadonlyArray<string>
  readonly way?: Way
  readonly through?: (store: Store) => Store
  readonly crashes?: number
  readonly preemptions?: number
  /** Only the last of them writes. */
  readonly silent?: ReadonlyArray<string>
  /** Whether it is enough to find one that is wrong. */
  readonly isBroken?: boolean
}

/** What went wrong, and how the processes ended; of a build that is broken the first that went wrong. */
export const violations = Effect.fnUntraced(function* ({
  actors,
  crashes = 0,
  isBroken = false,
  preemptions = 3,
  silent = [],
  through = (store) => store,
  way = fenced
}: Case) {
  const { control, store } = yield* MemoryStore.make()
  const schedule = Interleavings.make(store)
  const start = yield* control.snapshot
  let written: Array<Entry> = []
  let refused: Array<Entry> = []
  const program = (name: string, index: number) =>
    Effect.gen(function* () {
      const client = through(schedule.client(name))
      const held = yield* Lease.make(client, { key: "lease" }).tryAcquire
      if (Option.isNone(held)) return "none"
      if (silent.includes(name)) return "silent"
      const { token } = held.value
      const append = yield* way(client, held.value)
      for (const _ of range(2)) {
        const entry = { token, by: name }
        yield* Effect.tapError(append(entry), () => Effect.sync(() => refused.push(entry)))
        written.push(entry)
      }
      return "wrote"
    }).pipe(
      Effect.catchTag("LeaseLost", () => Effect.succeed("lost")),
      Effect.scoped,
      Random.withSeed(`${index}`),
      Effect.provideService(Id.Generator, Id.seeded(index))
    )
  const endings = new Map<string, number>()
  const found: Array<string> = []
  const report = yield* schedule
    .explore({
      before: Effect.suspend(() => {
        written = []
        refused = []
        return control.restore(start)
      }),
      programs: Object.fromEntries(
        actors.map((name, index) => [name, Effect.suspend(() => program(name, index))] as const)
      ),
      preemptions,
      crashes,
      pause: "40 seconds",
      check: Effect.fnUntraced(function* ({ exits, trace }) {
        const reader = Fenced.make(store, { key, schema: Log, what: "a log" })
        const log = Option.getOrElse(yield* reader.read, (): typeof Log.Type => [])
        const ending = Object.values(exits).map((exit) => (Exit.isSuccess(exit) ? exit.value : "crashed"))
        endings.set(ending.join(" "), (endings.get(ending.join(" ")) ?? 0) + 1)
        const rising = log.every(({ token }, i) => i === 0 || log[i - 1]!.token <= token)
        const owners = Map.groupBy(log, ({ token }) => token)
        const alone = [...owners.values()].every((of) => new Set(of.map(({ by }) => by)).size === 1)
        const count = (entries: ReadonlyArray<Entry>, by: string) => entries.filter((one) => one.by === by).length
        const kept = actors.every((by) => count(log, by) >= count(written, by))
        const extra = actors.every((by) => exits[by]!._tag === "Failure" || count(log, by) === count(written, by))
        if (!(rising && alone && kept && extra)) {
          found.push(`${JSON.stringify({ rising, alone, kept, extra, log })} after\n${trace.join("\n")}`)
          if (isBroken) return yield* Effect.fail("found" as const)
        }
      })
    })
    .pipe(Effect.catch(() => Effect.succeed({ complete: true })))
  assert.isTrue(report.complete)
  return { found, endings }
})
