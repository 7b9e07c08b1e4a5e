/**
 * Runs few operations of few clients in every order of their requests, within bounds, and checks each outcome: see serial.ts.
 *
 * npm run explore -- [--scenario TEXT] [--preemptions 2] [--crashes 0] [--interruptions 0]
 *   [--pause "11 seconds"] [--profile aws] [--remote]
 *   [--break late-markers|no-write-id|blind-writes|blind-claims|blind-commits|blind-deletions] [--limit N] [--json]
 *
 * Scenarios of queues (queueOrders.ts) begin with "queue: ", and have broken builds of their own: blind-queues, deleted-queues,
 * forgotten-tokens, forgotten-ids, forgotten-claims, recounted-queues. Those of counters (counterOrders.ts) begin with "counter: "; theirs are
 * blind-lanes, forgotten-marks, forgotten-refusals, early-trims, renumbered-lanes, one-number, torn-folds. Those of bounded counters (escrowOrders.ts) begin with "escrow: "; theirs are
 * blind-slots, hasty-slots, forgotten-arrivals, forgotten-ways. Those of machines (machineOrders.ts) begin with "machine: "; theirs are blind-events, forgotten-events,
 * and late-triggers and late-pasts, which take --crashes 1. Those of the kernel (kernelOrders.ts) begin with "kernel: "; their broken builds are
 * blind-fences, blind-numbers, blind-creations, blind-values, blind-leases, removed-leases, early-removals. Those of relations (relationOrders.ts) begin with "relation: ":
 * forgotten-notes, which takes --crashes 1, and blind-cascades.
 */
import { parseArgs } from "node:util"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import type { Profile } from "effect-s3db/storage/MemoryStore"
import { breaks } from "./breaks.ts"
import { kernelBreaks } from "./kernelActors.ts"
import { exploreKernel, kernelScenarios } from "./kernelOrders.ts"
import * as escrows from "../kernel/escrowOrders.ts"
import * as counters from "./counterOrders.ts"
import * as journals from "./journalOrders.ts"
import * as machines from "./machineOrders.ts"
import * as queues from "./queueOrders.ts"
import * as relations from "./relationOrders.ts"
import { explore, type Outcome, scenarios } from "./serial.ts"

const { values } = parseArgs({
  options: {
    scenario: { type: "string", default: "" },
    preemptions: { type: "string" },
    crashes: { type: "string", default: "0" },
    interruptions: { type: "string", default: "0" },
    remote: { type: "boolean", default: false },
    pause: { type: "string" },
    profile: { type: "string", default: "aws" },
    break: { type: "string" },
    limit: { type: "string", default: "100000" },
    json: { type: "boolean", default: false }
  }
})
const [preemptions, crashes, interruptions, limit] = [
  values.preemptions ?? "2",
  values.crashes,
  values.interruptions,
  values.limit
].map(Number)
if (![preemptions, crashes, interruptions, limit].every(Number.isSafeInteger)) {
  throw new Error("--preemptions, --crashes, --interruptions and --limit are integers")
}
const broken = values.break === undefined ? undefined : breaks[values.break]
const breaksOfQueues = { ...queues.breaks, ...queues.breaksOfRemovals }
const brokenQueue = values.break === undefined ? undefined : breaksOfQueues[values.break]
const brokenKernel = values.break === undefined ? undefined : kernelBreaks[values.break]
const brokenCounter = values.break === undefined ? undefined : counters.breaks[values.break]
const brokenEscrow = values.break === undefined ? undefined : escrows.breaks[values.break]
const brokenMachine = values.break === undefined ? undefined : machines.breaks[values.break]
const brokenRelation = values.break === undefined ? undefined : relations.breaks[values.break]
if (
  values.break !== undefined &&
  (broken ?? brokenQueue ?? brokenKernel ?? brokenCounter ?? brokenEscrow ?? brokenMachine ?? brokenRelation) ===
    undefined
) {
  const all = {
    ...breaks,
    ...breaksOfQueues,
    ...kernelBreaks,
    ...counters.breaks,
    ...escrows.breaks,
    ...machines.breaks,
    ...relations.breaks
  }
  throw new Error(`--break is one of ${Object.keys(all).join(", ")}`)
}
const pause = Option.getOrUndefined(Duration.fromInput((values.pause ?? "0 seconds") as Duration.Input))
if (pause === undefined) throw new Error(`--pause is a duration, such as "11 seconds"`)
const known = Object.keys({
  ...scenarios,
  ...counters.scenarios,
  ...escrows.scenarios,
  ...machines.scenarios,
  ...queues.scenarios,
  ...kernelScenarios,
  ...journals.scenarios,
  ...relations.scenarios
})
const brokenOf = (name: string) =>
  name in queues.scenarios
    ? brokenQueue
    : name in counters.scenarios
      ? brokenCounter
      : name in escrows.scenarios
        ? brokenEscrow
        : name in machines.scenarios
          ? brokenMachine
          : name in kernelScenarios
            ? brokenKernel
            : name in relations.scenarios
              ? brokenRelation
              : name in journals.scenarios
                ? undefined
                : broken
const isBroken = (name: string) => values.break === undefined || brokenOf(name) !== undefined
const names = known.filter((name) => name.includes(values.scenario) && isBroken(name))
if (names.length === 0) throw new Error(`--scenario is part of one of:\n  ${known.join("\n  ")}`)

const told: Array<{ readonly scenario: string; readonly seconds: number } & Outcome> = []
for (const scenario of names) {
  const start = performance.now()
  const bounds = { crashes, interruptions, remote: values.remote, limit, profile: values.profile as Profile }
  const pausing = { pause: values.pause === undefined ? undefined : pause }
  const own = values.preemptions === undefined ? {} : { preemptions: preemptions! }
  const queue = queues.scenarios[scenario]
  const kernel = kernelScenarios[scenario]
  const counter = counters.scenarios[scenario]
  const escrow = escrows.scenarios[scenario]
  const machine = machines.scenarios[scenario]
  const journal = journals.scenarios[scenario]
  const relation = relations.scenarios[scenario]
  // Each run of a journaler is long: a part of the orders, unless it is said how many.
  const part = { journalers: 1, preemptions: 1, limit: Math.min(limit!, 400), crashes }
  const exploring =
    queue !== undefined
      ? queues.explore(queue, { ...bounds, ...own, break: brokenQueue })
      : counter !== undefined
        ? counters.explore(counter, { ...bounds, ...own, break: brokenCounter })
        : escrow !== undefined
          ? escrows.explore(escrow, { ...bounds, ...own, break: brokenEscrow })
          : machine !== undefined
            ? machines.explore(machine, { ...bounds, ...own, break: brokenMachine })
            : kernel !== undefined
              ? exploreKernel({ ...kernel, ...own }, { ...bounds, ...pausing, preemptions, break: brokenKernel })
              : relation !== undefined
                ? relations.explore(relation, {
                    preemptions: 1,
                    ...own,
                    crashes,
                    limit: Math.min(limit!, 300),
                    break: brokenRelation
                  })
                : journal !== undefined
                  ? journals.explore(journal, values.preemptions === undefined ? part : { ...part, ...own, limit })
                  : explore({ ...scenarios[scenario]!, ...own }, { ...bounds, ...pausing, preemptions, break: broken })
  const outcome = await Effect.runPromise(exploring.pipe(Effect.provide(TestClock.layer()), Effect.scoped))
  const seconds = Number(((performance.now() - start) / 1000).toFixed(1))
  told.push({ scenario, seconds, ...outcome })
  if (values.json) continue
  const { complete, outcomes, requests, schedules, violations } = outcome
  const all = complete ? "all schedules" : "not all"
  console.log(`${scenario}: ${schedules} (${all}), ${requests} requests, ${outcomes} outcomes, ${seconds} s`)
  for (const violation of violations) console.log(`  ${violation.replaceAll("\n", "\n  ")}`)
}
const sum = (of: (one: Outcome) => number) => told.reduce((all, one) => all + of(one), 0)
const totals = {
  scenarios: told.length,
  schedules: sum((one) => one.schedules),
  requests: sum((one) => one.requests),
  violations: sum((one) => one.violations.length)
}
if (values.json) console.log(JSON.stringify({ ...totals, told }, null, 2))
else {
  console.log(
    `${totals.scenarios} scenarios, ${totals.schedules} schedules, ${totals.requests} requests, ${totals.violations} violations`
  )
}
process.exitCode = totals.violations === 0 ? 0 : 1
