/**
 * One client in a process of its own: does random operations on a store and tells what it does, line by line, with the time
 * of the machine's steady clock, which all processes share. It may be killed at any moment.
 *
 * node worker.ts <connection string> <name> <seed> <operations>
 */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { clientOn, type Event, ok, type Op, outcomeOf, ring, stepOf } from "./workload.ts"

export type Line =
  | { readonly t: string; readonly key: string; readonly event: Event }
  /** What an update has read, before it writes. */
  | { readonly t: string; readonly key: string; readonly id: number; readonly op: Op }
  | { readonly violation: string }

const [url = "", name = "", seed = "0", operations = "100"] = process.argv.slice(2)

const tell = (line: Line): void => {
  writeSync(1, `${JSON.stringify(line)}\n`)
}

const now = (): string => String(process.hrtime.bigint())

let ids = 0
let written = 0
/** The operation under way on each document: a client does one after the other, or several in one transaction. */
const running = new Map<string, number>()

const step = stepOf({
  recorded: (client, key, op, effect, onSuccess = () => ok) =>
    Effect.suspend(() => {
      const id = (ids += 1)
      running.set(key, id)
      tell({ t: now(), key, event: { _tag: "Invoke", id, process: client.name, op: op() } })
      return Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          const t = now()
          const [reason] = Exit.isFailure(exit) ? exit.cause.reasons : []
          const outcome = Exit.isSuccess(exit)
            ? ({ _tag: "Return", result: onSuccess(exit.value) } as const)
            : reason?._tag === "Fail"
              ? outcomeOf(reason.error, op())
              : ({ _tag: "Unknown" } as const)
          tell({ t, key, id, op: op() })
          tell({ t, key, event: { ...outcome, id } })
        })
      )
    }),
  announce: (key, op) => tell({ t: now(), key, id: running.get(key) ?? 0, op }),
  violation: (text) => tell({ violation: text }),
  newValue: (client) => `${client.name}-${(written += 1)}`
})

const program = Effect.gen(function* () {
  // A deploy has both for a while.
  const version = /^c\d*[13579]\./.test(name) ? "older" : "newer"
  const client = yield* clientOn(yield* ObjectStore, name, version)
  for (let i = 0; i < Number(operations); i++) yield* Effect.exit(step(client))
}).pipe(Random.withSeed(`${seed}-${name}`), Effect.provide([ring, ConnectionString.layer(url)]))

await Effect.runPromise(program)
