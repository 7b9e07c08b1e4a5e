import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"
import * as CasCell from "effect-s3db/kernel/CasCell"
import * as Fenced from "effect-s3db/kernel/Fenced"
import * as Lease from "effect-s3db/kernel/Lease"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { type StoreError } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const key = "plugin=p/cell"
const range = (length: number) => Array.from({ length }, (_, i) => i)
const numberOn = (store: Store) => Fenced.make(store, { key, schema: Schema.Int, what: "a number" })
const up = (n = 0) => Effect.succeed(n + 1)

describe("Fenced", () => {
  it.effect("who holds a lower token is shut out from the moment that a higher one has claimed", () =>
    Effect.gen(function* () {
      const cell = numberOn(yield* memory)
      assert.isTrue(Option.isNone(yield* cell.read))
      const none = yield* cell.claim(0)
      assert.isTrue(Option.isNone(yield* none.read))
      assert.deepStrictEqual(yield* none.modify(up), Option.some(1))
      const first = yield* cell.claim(1)
      assert.deepStrictEqual(yield* first.modify(up), Option.some(2))
      const again = yield* cell.claim(1)
      assert.deepStrictEqual(yield* again.modify(up), Option.some(3))
      assert.deepStrictEqual(yield* first.modify(up), Option.some(4))
      const second = yield* cell.claim(7)
      assert.deepStrictEqual(
        [yield* second.read, second.found, none.found],
        [Option.some(4), Option.some(4), Option.none()]
      )
      for (const [token, use] of [
        [0, none.modify(up)],
        [0, none.read],
        [1, first.modify(up)],
        [1, first.read],
        [6, cell.claim(6)]
      ] as const) {
        const error = yield* Effect.flip(use as Effect.Effect<unknown, Lease.LeaseLost | StoreError>)
        assert.deepStrictEqual(
          [error._tag, error.key, error],
          ["LeaseLost", key, new Lease.LeaseLost({ key, token, seen: 7 })]
        )
      }
      assert.deepStrictEqual(yield* second.modify(up), Option.some(5))
      assert.deepStrictEqual(yield* cell.read, Option.some(5))
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter: requests, store } = InstrumentedStore.make(inner)
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* requests.reset
        const result = yield* effect
        return [result, Object.fromEntries(Object.entries(yield* requests.counts).filter(([, n]) => n > 0))] as const
      })
      const cell = numberOn(store)
      assert.deepStrictEqual((yield* made(cell.claim(0)))[1], { get: 1 })
      const [mine, claiming] = yield* made(cell.claim(1))
      assert.deepStrictEqual(claiming, { get: 1, put: 1 })
      assert.deepStrictEqual((yield* made(cell.claim(1)))[1], { get: 1 })
      for (const _ of range(3)) assert.deepStrictEqual((yield* made(mine.modify(up)))[1], { put: 1 })
      assert.deepStrictEqual((yield* made(mine.modify((n) => Effect.succeed(n))))[1], {})
      assert.deepStrictEqual((yield* made(Effect.exit(mine.modify(() => Effect.fail("no")))))[1], {})
      assert.deepStrictEqual((yield* made(mine.modify(up)))[1], { get: 1, put: 1 })
      assert.deepStrictEqual((yield* made(mine.read))[1], { get: 1 })
      const other = yield* numberOn(inner).claim(1)
      yield* other.modify(up)
      assert.deepStrictEqual((yield* made(mine.modify(up)))[1], { get: 1, put: 2 })
      assert.deepStrictEqual(yield* cell.read, Option.some(6))
    })
  )

  it.effect("100 changes at once are 100 changes, also by four with one token", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const clients = yield* Effect.forEach(range(4), () => numberOn(store).claim(3))
      yield* Effect.forEach(range(100), (i) => clients[i % 4]!.modify(up), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* numberOn(store).read, Option.some(100))
    })
  )

  it.effect(
    "a value that is none of the schema's is refused, and changes nothing; what cannot be read is an error",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const mine = yield* numberOn(store).claim(1)
        yield* mine.modify(up)
        const error = yield* Effect.flip(mine.modify(() => Effect.succeed(0.5)))
        assert.strictEqual(error._tag, "StoreError")
        assert.isTrue(error._tag === "StoreError" && error.reason._tag === "InvalidArgument")
        assert.notInclude(error.message, "0.5")
        assert.include(error.message, "a number")
        assert.deepStrictEqual(yield* mine.read, Option.some(1))
        const text = Fenced.make(store, { key, schema: Schema.String, what: "a text" })
        for (const use of [text.read, text.claim(2), (yield* numberOn(yield* memory).claim(1)).read]) {
          const exit = yield* Effect.exit(use as Effect.Effect<unknown, StoreError>)
          if (Exit.isFailure(exit)) assert.include(String(exit.cause), "Corrupt")
        }
        assert.strictEqual((yield* Effect.flip(text.read)).reason._tag, "Corrupt")
      })
  )

  describe("two processes, one of which stands still for longer than the lease", () => {
    const Log = Schema.Array(Schema.Struct({ token: Schema.Int, by: Schema.String }))
    type Entry = (typeof Log.Type)[number]
    type Append = (entry: Entry) => Effect.Effect<unknown, Lease.LeaseLost | StoreError>

    /** How a process writes once it has the lease. */
    type Way = (store: Store, held: Lease.Held) => Effect.Effect<Append, Lease.LeaseLost | StoreError>

    const fenced: Way = (store, { token }) =>
      Effect.map(
        Fenced.make(store, { key, schema: Log, what: "a log" }).claim(token),
        (mine) => (entry) => mine.modify((log = []) => Effect.succeed([...log, entry]))
      )

    /** Only asks its own clock. */
    const byClock: Way = (store, { ensure, token }) => {
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
    const removing = (store: Store): Store => ({
      ...store,
      put: (request) => {
        const isGivenUp = request.key === "lease" && !new TextDecoder().decode(request.body).includes("holder")
        return isGivenUp ? Effect.as(store.delete(request.key), { etag: "gone" }) : store.put(request)
      }
    })

    interface Case {
      readonly actors: ReadonlyArray<string>
      readonly way?: Way
      readonly through?: (store: Store) => Store
      readonly crashes?: number
      readonly preemptions?: number
      /** Only the last of them writes. */
      readonly silent?: ReadonlyArray<string>
    }

    const violations = Effect.fnUntraced(function* ({
      actors,
      crashes = 0,
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
      const report = yield* schedule.explore({
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
          }
        })
      })
      assert.isTrue(report.complete)
      return { found, endings, report }
    })

    it.effect("in every order of their requests no write of the one that was overtaken lands", () =>
      Effect.gen(function* () {
        const { endings, found } = yield* violations({ actors: ["a", "b"] })
        assert.deepStrictEqual(found, [])
        for (const ending of ["wrote wrote", "wrote none", "none wrote", "lost wrote", "wrote lost"]) {
          assert.isAbove(endings.get(ending) ?? 0, 0, ending)
        }
      })
    )

    it.effect("nor when one crashes at any request", () =>
      Effect.gen(function* () {
        const { endings, found } = yield* violations({ actors: ["a", "b"], crashes: 1, preemptions: 2 })
        assert.deepStrictEqual(found, [])
        assert.isAbove(endings.get("crashed wrote") ?? 0, 0)
      })
    )

    it.effect("broken: who only asks its own clock writes over the next", () =>
      Effect.gen(function* () {
        const { found } = yield* violations({ actors: ["a", "b"], way: byClock })
        assert.isAbove(found.length, 0)
      })
    )

    it.effect("broken: a lease that is given up by removing it gives a token twice", () =>
      Effect.gen(function* () {
        const three = { actors: ["a", "b", "c"], silent: ["b"], preemptions: 2 }
        const broken = yield* violations({ ...three, through: removing })
        assert.isAbove(broken.found.length, 0)
        const whole = yield* violations(three)
        assert.deepStrictEqual(whole.found, [])
      })
    )
  })
})
