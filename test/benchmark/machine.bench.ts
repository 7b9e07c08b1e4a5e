/**
 * Transitions of state machines, in memory, in a folder, and on Ceph's gateway where it answers; and the pure step, without a store, beside XState's.
 *
 * The baseline of each store is the least that a transition can be there: GET and PUT on condition of an object of the same size, by as many fibers, on as many entities. s3db.js 16.2 names 320 to 2,750 operations a
 * second at 2.5 requests each for its own.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Database } from "effect-s3db/Database"
import * as CasCell from "effect-s3db/kernel/CasCell"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Step from "../../src/plugins/statemachine/step.ts"
import { openOn } from "../fixture.ts"
import { storeAt } from "../plugins/queueStores.ts"
import { gateway } from "../services/available.ts"
import { counting } from "./counting.ts"
import { measure } from "./measure.ts"
import { load, title } from "./peers.ts"

type Store = ObjectStore["Service"]

interface Result {
  readonly store: string
  readonly name: string
  readonly perSecond: number
  /** To the baseline of the store. */
  readonly ratio: number
  readonly requestsPerTransition: number
}

const Gate = StateMachine.make("gate", {
  context: Schema.Struct({ opened: Schema.Int }),
  events: { Open: { by: Schema.String }, Close: {} }
})
  .states({
    closed: {
      on: {
        Open: {
          target: "open",
          guard: ({ event }) => (event.by === "Eve" ? Effect.fail("not you") : Effect.void),
          update: ({ context }) => ({ opened: context.opened + 1 })
        }
      }
    },
    open: { on: { Close: "closed" } }
  })
  .initial("closed")

const Timed = StateMachine.make("timed", { context: Schema.Struct({}), events: { Open: {}, Close: {} } })
  .states({
    closed: { on: { Open: "open" } },
    open: { on: { Close: "closed" }, triggers: [{ after: "1 day", send: "Close" }] }
  })
  .initial("closed")

class Gates extends Resource.Service<Gates>()("effect-s3db/test/benchmark/machine/Gates", {
  schema: Schema.Struct({ id: Schema.String, machine: StateMachine.Stored }),
  primaryKey: "id",
  name: "gates"
}) {}

class Timers extends Resource.Service<Timers>()("effect-s3db/test/benchmark/machine/Timers", {
  schema: Schema.Struct({ id: Schema.String, machine: StateMachine.Stored }),
  primaryKey: "id",
  name: "timers"
}) {}

const entities = 16
const ids = Array.from({ length: entities }, (_, i) => `gate-${i}`)

const processOn = Effect.fnUntraced(function* (store: Store) {
  const { database } = yield* openOn(store)
  const inside = Effect.provideService(Database, database)
  const gates = yield* inside(Resource.make(Gates.definition))
  const timers = yield* inside(Resource.make(Timers.definition))
  const settings = { field: "machine", triggers: false } as const
  const gate = yield* inside(
    Effect.provideService(StateMachine.open({ ...settings, machine: Gate, resource: Gates }), Gates, gates)
  )
  const timed = yield* inside(
    Effect.provideService(
      StateMachine.open({ ...settings, machine: Timed, resource: Timers, statistics: true }),
      Timers,
      timers
    )
  )
  return { gate, timed }
})

type Process = Effect.Success<ReturnType<typeof processOn>>

interface Run {
  readonly name: string
  readonly run: (process: Process, store: Store, id: string, i: number) => Effect.Effect<unknown, unknown>
  /** Both processes on the same entities. */
  readonly isShared?: boolean
  /** Whether all is sent to one entity. */
  readonly isOne?: boolean
}

const sendGate = ({ gate }: Process, id: string, i: number) =>
  i % 2 === 0 ? gate.send(id, { _tag: "Open", by: "Ada" }) : gate.send(id, { _tag: "Close" })

/** As long as what a transition writes. */
const filling = "x".repeat(1000)

const runs: ReadonlyArray<Run> = [
  {
    name: "baseline: GET and PUT on condition",
    run: (_, store, id) =>
      CasCell.make(
        store,
        `by-hand/${id}`,
        CasCell.schemaFormat(Schema.Struct({ n: Schema.Int, filling: Schema.String }), { what: "a number" })
      ).modify((one) => Effect.succeed({ n: (one?.n ?? 0) + 1, filling }))
  },
  { name: "send", run: (process, _, id, i) => sendGate(process, id, i) },
  {
    name: "send, with a trigger and statistics",
    run: ({ timed }, _, id, i) => timed.send(id, i % 2 === 0 ? "Open" : "Close")
  },
  {
    name: "send to one entity by two processes, refusals too",
    isShared: true,
    isOne: true,
    run: (process, _, id, i) => Effect.result(sendGate(process, id, i))
  }
]

const measureOn = Effect.fnUntraced(function* (name: string, inner: Store, transitions: number) {
  const { counts, store } = counting(inner)
  const processes = [yield* processOn(store), yield* processOn(store)] as const
  yield* Effect.forEach([...ids, "one"], (id) => processes[0].gate.start(id, { opened: 0 }), { discard: true })
  yield* Effect.forEach(ids, (id) => processes[0].timed.start(id, {}), { discard: true })
  const results: Array<Result> = []
  for (const { isOne = false, isShared = false, name: what, run } of runs) {
    const of = isOne ? ["one"] : ids
    const each = Math.ceil(transitions / (isOne ? 16 : entities))
    counts.requests = 0
    const begun = performance.now()
    yield* Effect.forEach(
      isShared ? processes : [processes[0]],
      (process) =>
        Effect.forEach(
          of,
          (id) =>
            Effect.forEach(
              Array.from({ length: each }, (_, i) => i),
              (i) => run(process, store, id, i),
              { discard: true }
            ),
          { concurrency: entities, discard: true }
        ),
      { concurrency: 2, discard: true }
    )
    const count = each * of.length * (isShared ? 2 : 1)
    const perSecond = count / ((performance.now() - begun) / 1000)
    const ratio = results[0] === undefined ? 1 : perSecond / results[0].perSecond
    results.push({ store: name, name: what, perSecond, ratio, requestsPerTransition: counts.requests / count })
  }
  return results
})

const at = (location: string, name: string, transitions: number) =>
  Effect.scoped(
    Effect.flatMap(ObjectStore, (store) => measureOn(name, store, transitions)).pipe(
      Effect.provide(Layer.fresh(storeAt(location)))
    )
  )

interface XState {
  readonly createMachine: (definition: unknown) => unknown
  readonly assign: (update: unknown) => unknown
  readonly initialTransition: (machine: unknown) => readonly [snapshot: unknown, actions: unknown]
  readonly transition: (
    machine: unknown,
    snapshot: unknown,
    event: unknown
  ) => readonly [snapshot: { readonly value: unknown }, actions: unknown]
}

/** A step without a store: ours with the codecs of context and event, which make what is stored; XState's with neither. */
const pureSteps = async () => {
  const first = await Effect.runPromise(
    Effect.flatMap(Step.begin(Gate.rules, { opened: 0 }, { key: "k", life: "l", now: 0 }), (stored) =>
      Step.view(Gate.rules, "g", stored)
    )
  )
  const step = (view: Step.View, i: number) =>
    Effect.map(
      Step.step(Gate.rules, view, {
        id: "g",
        document: undefined,
        event: i % 2 === 0 ? { _tag: "Open", by: "Ada" } : { _tag: "Close" },
        key: "k",
        now: i
      }),
      ({ context, stored }) => ({ context, stored: { ...stored, recent: stored.recent.slice(-10) } })
    )
  const ours = {
    name: "ours, with what is stored",
    run: (times: number) =>
      // The guard of this machine needs no service.
      Effect.runPromise(
        Effect.gen(function* () {
          let view: Step.View = first
          for (let i = 0; i < times; i++) view = yield* step(view, i)
        }) as Effect.Effect<void, unknown>
      )
  }
  const module = await load("xstate")
  if (module === undefined) return measure([ours], { milliseconds: 150 })
  // What it is installed as.
  const { assign, createMachine, initialTransition, transition } = module as XState
  const machine = createMachine({
    initial: "closed",
    context: { opened: 0 },
    states: {
      closed: {
        on: {
          Open: {
            target: "open",
            guard: ({ event }: { readonly event: { readonly by: string } }) => event.by !== "Eve",
            actions: assign({
              opened: ({ context }: { readonly context: { readonly opened: number } }) => context.opened + 1
            })
          }
        }
      },
      open: { on: { Close: "closed" } }
    }
  })
  const theirs = {
    name: title("xstate"),
    run: (times: number) => {
      let [snapshot]: readonly [unknown, unknown] = initialTransition(machine)
      for (let i = 0; i < times; i++) {
        const [next] = transition(machine, snapshot, i % 2 === 0 ? { type: "Open", by: "Ada" } : { type: "Close" })
        if (next.value !== (i % 2 === 0 ? "open" : "closed")) throw new Error("it is in another state")
        snapshot = next
      }
    }
  }
  return measure([theirs, ours], { milliseconds: 150 })
}

export const report = async () => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-bench-machine-"))
  try {
    const memory = Effect.scoped(Effect.flatMap(MemoryStore.make(), ({ store }) => measureOn("memory", store, 1600)))
    const results = [
      ...(await Effect.runPromise(memory)),
      ...(await Effect.runPromise(at(folder, "folder", 480))),
      ...(gateway.available
        ? await Effect.runPromise(at(`gateway:bench-machine-${performance.timeOrigin}`, "gateway", 480))
        : [])
    ]
    const steps = await pureSteps()
    return {
      results: { transitions: results, steps },
      tables: [
        {
          title: "Transitions, 16 entities at a time",
          columns: ["store", "", "a second", "ratio", "requests each"],
          rows: results.map(({ name, perSecond, ratio, requestsPerTransition, store }) => [
            store,
            name,
            perSecond.toFixed(0),
            ratio.toFixed(2),
            requestsPerTransition.toFixed(3)
          ])
        },
        {
          title: "A step without a store, in microseconds of the processor",
          columns: ["", "best", "median", "ratio of the medians"],
          rows: steps.map(({ cpu, cpuRatio, name }) => [
            name,
            cpu.best.toFixed(2),
            cpu.median.toFixed(2),
            cpuRatio.toFixed(2)
          ])
        }
      ],
      notes: [
        ...(gateway.available ? [] : ["the gateway does not answer: npm run services -- up"]),
        ...(steps.length > 1 ? [] : ["XState is not installed: npm run bench:peers -- xstate"])
      ]
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
