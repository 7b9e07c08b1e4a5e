/** Lifts whose machine many processes change, as a process has them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as JournalConsumer from "effect-s3db/JournalConsumer"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

/** What an action, or a guard, is told by. */
export interface Told {
  readonly id: string
  readonly action: string
  readonly version: number
  readonly from: string
  readonly to: string
  readonly event: string | undefined
  readonly key: string
  readonly attempt: number
}

/** An action that does not succeed this time. */
export class Jammed extends Schema.TaggedError<Jammed>()("Jammed", {}) {}

/** Where actions are noted. */
export class World extends Context.Service<
  World,
  {
    readonly act: (told: Told) => Effect.Effect<void, Jammed>
    /** What a guard does; a build that is wrong on purpose runs actions there. */
    readonly guard: (told: Told) => Effect.Effect<void>
  }
>()("effect-s3db/test/plugins/machines/World") {}

type Input = Omit<StateMachine.ActionInput<{}, unknown, unknown>, "context" | "document" | "event"> & {
  readonly event: { readonly _tag: string } | undefined
}

const acting = (action: string) =>
  ({
    run: ({ attempt, event, from, id, idempotencyKey: key, to, version }: Input) =>
      Effect.flatMap(World, ({ act }) => act({ id, action, version, from, to, event: event?._tag, key, attempt })),
    retry: { attempts: 4, backoff: "fixed", pause: "2 seconds" }
  }) as const

/** Seconds that states last, if nothing happens. */
export const seconds = { idle: 20, busy: 60, tick: 8 } as const

/** How often a lift that stands still on a floor says so. */
export const mostTicks = 2

/** A lift that stands still on a floor says so each time that so many seconds have passed. */
const liftOf = (tick: number) =>
  StateMachine.make("lift", {
    context: Schema.Struct({ sum: Schema.Int }),
    events: { Go: { by: Schema.Int }, Step: {}, Stop: {}, Late: {}, Rest: {}, Tick: {}, Ring: {} }
  })
    .states({
      idle: {
        on: {
          Go: {
            target: "busy",
            guard: ({ id, state, version }) =>
              Effect.flatMap(World, ({ guard }) =>
                guard({
                  id,
                  action: "begin",
                  version: version + 1,
                  from: state,
                  to: "busy.first",
                  event: "Go",
                  key: "",
                  attempt: 1
                })
              ),
            update: ({ context, event }) => ({ sum: context.sum + event.by })
          },
          Rest: "resting"
        },
        triggers: [{ after: "20 seconds", send: "Rest" }]
      },
      resting: { on: { Go: { target: "busy", update: ({ context, event }) => ({ sum: context.sum + event.by }) } } },
      busy: {
        initial: "busy.first",
        on: { Stop: "idle", Late: "idle" },
        entry: "begin",
        exit: "end",
        triggers: [{ after: "1 minute", send: "Late" }]
      },
      "busy.first": {
        on: { Step: "busy.second", Tick: {}, Ring: {} },
        triggers: [{ every: `${tick} seconds`, send: "Tick", maxTriggers: 2 }]
      },
      "busy.second": { on: { Step: { target: "busy.first", do: "step" }, Ring: {} } }
    })
    .actions({ begin: acting("begin"), end: acting("end"), step: acting("step") })
    .initial("idle")

export const Lift = liftOf(seconds.tick)

/** What leads where, said once more, by hand. */
export const moves: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  idle: { Go: "busy.first", Rest: "resting" },
  resting: { Go: "busy.first" },
  "busy.first": { Step: "busy.second", Tick: "busy.first", Ring: "busy.first", Stop: "idle", Late: "idle" },
  "busy.second": { Step: "busy.first", Ring: "busy.second", Stop: "idle", Late: "idle" }
}

/** The actions of a move, said once more. */
export const actionsOf = (from: string | undefined, to: string): ReadonlyArray<string> => {
  if (from === undefined) return []
  const isBusy = (state: string) => state.startsWith("busy.")
  return [
    ...(isBusy(from) && !isBusy(to) ? ["end"] : []),
    ...(from === "busy.second" && to === "busy.first" ? ["step"] : []),
    ...(!isBusy(from) && isBusy(to) ? ["begin"] : [])
  ]
}

export class Lifts extends Resource.Service<Lifts>()("effect-s3db/test/plugins/machines/Lifts", {
  ...StateMachine.alone(Lift),
  name: "lifts"
}) {}

/** Who wants a lift: each rings twice. */
export class Calls extends Resource.Service<Calls>()("effect-s3db/test/plugins/machines/Calls", {
  schema: Schema.Struct({ id: Schema.String, lift: Schema.String }),
  primaryKey: "id",
  name: "calls",
  journal: { images: "after" }
}) {}

const changes = [
  StateMachine.onChange(Calls, "rings", ({ after, kind }) =>
    kind === "insert" && after !== undefined
      ? [
          { id: after.lift, event: "Ring" as const },
          { id: after.lift, event: "Ring" as const }
        ]
      : []
  )
]

export type Options = Partial<
  Pick<
    StateMachine.Options<typeof Lifts, typeof Lift>,
    "actions" | "consuming" | "interval" | "keep" | "lease" | "statistics" | "triggers"
  >
> & { readonly hears?: boolean; readonly tick?: number }

/** A process that has lifts, until the scope closes. */
export const processOn = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  world: World["Service"],
  { hears = false, tick, ...options }: Options = {}
) {
  const database = yield* Effect.provideService(
    Database.make({ catalogLease: 0, journal: { compression: "none" } }),
    ObjectStore,
    store
  )
  const opened = <A, E, R>(effect: Effect.Effect<A, E, R | Database.Database>) =>
    Effect.provideService(effect, Database.Database, database)
  const lifts = yield* opened(Resource.make(Lifts.definition))
  const calls = yield* opened(Resource.make(Calls.definition))
  const flow = yield* opened(
    StateMachine.open({
      machine: tick === undefined ? Lift : liftOf(tick),
      resource: Lifts,
      field: "machine",
      triggers: false,
      actions: false,
      keep: 2,
      ...options,
      changes: hears ? changes : []
    })
  ).pipe(Effect.provideService(Lifts, lifts), Effect.provideService(Calls, calls), Effect.provideService(World, world))
  /** Gives all calls once more to whoever hears of them. */
  const callAgain = Effect.flatMap(
    opened(JournalConsumer.make({ name: "state-machine.lifts.machine.changes.rings" })),
    (consumer) => consumer.seek("beginning")
  )
  return { database, lifts, calls, callAgain, flow }
})

export type Process = Effect.Success<ReturnType<typeof processOn>>

/** What is wrong of a history, the oldest first: a gap, or a way that the machine has not. */
export const problemsOfHistory = (id: string, past: ReadonlyArray<StateMachine.Past>): ReadonlyArray<string> => {
  const found: Array<string> = []
  const keys = new Set<string>()
  for (const [i, { actions, at, event, from, key, to, version }] of past.entries()) {
    const before = past[i - 1]
    const told = `${id}, version ${version}`
    if (version !== i) found.push(`${told} stands in the place of ${i}`)
    if (keys.has(key)) found.push(`${told}: ${key} was taken twice`)
    keys.add(key)
    const isLegal =
      before === undefined
        ? event === undefined && from === undefined && to === "idle"
        : from === before.to && moves[before.to]?.[event ?? ""] === to
    if (!isLegal) found.push(`${told} is no way: ${event} from ${from} to ${to}, after ${before?.to}`)
    if (before !== undefined && at < before.at) found.push(`${told} is before the one before it`)
    if (actions.join() !== actionsOf(from, to).join()) found.push(`${told} runs ${actions.join()}`)
  }
  return found
}

/** What the context of a lift is, if its history is this. */
export const sumOf = (past: ReadonlyArray<StateMachine.Past>): number =>
  past.reduce(
    (sum, { event, payload }) =>
      event === "Go" && typeof payload === "object" && payload !== null && "by" in payload
        ? sum + Number(payload.by)
        : sum,
    0
  )
