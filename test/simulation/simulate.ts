/**
 * Runs histories on a store that fails in every way, and checks each: linearizability of every document, reachability
 * through partitions, uniqueness, the sum of a bank, no secret in clear, nothing left after a repair.
 *
 * With --queue: messages of a queue instead (queueHistories.ts), with the broken builds of queueOrders.ts. With --kernel: processes that
 * use the kernel (kernelSimulation.ts), with those of kernelActors.ts: no write of who has lost the lease, no number twice, no work lost or
 * claimed twice, no increment lost. With --journal: documents that have a journal (journal.ts): every version that was committed has to be
 * in it once, in the order of its document, and nothing else. With --scheduler: jobs of several schedulers (schedulerHistories.ts): each
 * slot is started once, and decided of as its policies say. With --replica: replicas (replicaHistories.ts): they never go back in version, and end as
 * their source. With --backup: backups and restorations (backupHistories.ts): what says that it is of one instant was there at one. With --counter: counters of several
 * processes (counterHistories.ts), with the broken builds of counterOrders.ts and escrowOrders.ts: each operation counts once, and what is bounded is never below zero.
 * With --machine: machines of several processes (machineHistories.ts): their histories are ways without a gap, actions run at least once and after their commit, triggers
 * come in time, and are not lost.
 *
 * npm run simulate -- [--queue|--kernel|--journal|--scheduler|--counter|--machine|--segments|--replica|--backup] --seed 1 --histories 100 --ops 200 [--break late-markers|forgotten-indexes|...] [--trace] [--json]
 */
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as backupHistories from "./backupHistories.ts"
import * as counterHistories from "./counterHistories.ts"
import { breaks as common, breaksOfVersions } from "./breaks.ts"
import { journalBreaks, runJournal } from "./journal.ts"
import { kernelBreaks } from "./kernelActors.ts"
import { runKernel } from "./kernelSimulation.ts"
import * as machineHistories from "./machineHistories.ts"
import * as queueHistories from "./queueHistories.ts"
import { breaks as breaksOfQueues } from "./queueOrders.ts"
import * as replicaHistories from "./replicaHistories.ts"
import * as segmentHistories from "./segmentHistories.ts"
import * as schedulerHistories from "./schedulerHistories.ts"
import { run } from "./simulation.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    histories: { type: "string", default: "100" },
    ops: { type: "string", default: "200" },
    break: { type: "string" },
    queue: { type: "boolean", default: false },
    kernel: { type: "boolean", default: false },
    journal: { type: "boolean", default: false },
    scheduler: { type: "boolean", default: false },
    counter: { type: "boolean", default: false },
    machine: { type: "boolean", default: false },
    segments: { type: "boolean", default: false },
    replica: { type: "boolean", default: false },
    backup: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
    json: { type: "boolean", default: false }
  }
})
const parts = {
  queue: { breaks: breaksOfQueues, historyOf: queueHistories.run },
  kernel: { breaks: kernelBreaks, historyOf: runKernel },
  counter: { breaks: counterHistories.breaks, historyOf: counterHistories.run },
  scheduler: { breaks: schedulerHistories.schedulerBreaks, historyOf: schedulerHistories.run },
  documents: { breaks: { ...common, ...breaksOfVersions }, historyOf: run }
}
const chosen = (["queue", "kernel", "scheduler", "counter"] as const).find((name) => values[name])
const { breaks, historyOf } = parts[chosen ?? "documents"]
const first = Number(values.seed)
const histories = Number(values.histories)
const ops = Number(values.ops)
if (![first, histories, ops].every(Number.isSafeInteger)) throw new Error("--seed, --histories and --ops are integers")
const broken = values.break === undefined ? undefined : breaks[values.break]
const brokenMachine = values.break === undefined ? undefined : machineHistories.machineBreaks[values.break]
const brokenJournal = values.break === undefined ? undefined : journalBreaks[values.break]
const brokenSegments = values.break === undefined ? undefined : segmentHistories.segmentBreaks[values.break]
const brokenReplica = values.break === undefined ? undefined : replicaHistories.replicaBreaks[values.break]
const brokenBackup = values.break === undefined ? undefined : backupHistories.backupBreaks[values.break]
const [here, named] = values.backup
  ? [backupHistories.backupBreaks, brokenBackup]
  : values.replica
    ? [replicaHistories.replicaBreaks, brokenReplica]
    : values.machine
      ? [machineHistories.machineBreaks, brokenMachine]
      : values.journal
        ? [journalBreaks, brokenJournal]
        : values.segments
          ? [segmentHistories.segmentBreaks, brokenSegments]
          : [breaks, broken]
if (values.break !== undefined && named === undefined) {
  throw new Error(`--break is one of ${Object.keys(here).join(", ")}`)
}

const totals = { histories: 0, operations: 0, requests: 0, crashes: 0, unknown: 0, faults: 0 }
const faults: Record<string, number> = {}
const found: Array<{ readonly seed: number; readonly violations: ReadonlyArray<string> }> = []
const start = performance.now()
let told = start
for (let seed = first; seed < first + histories; seed++) {
  const history = values.backup
    ? backupHistories.run({ seed, ops, break: brokenBackup })
    : values.replica
      ? replicaHistories.run({ seed, ops, break: brokenReplica })
      : values.machine
        ? machineHistories.run({ seed, ops, break: brokenMachine })
        : values.journal
          ? runJournal({ seed, ops, break: brokenJournal })
          : values.segments
            ? segmentHistories.run({ seed, ops, break: brokenSegments })
            : historyOf({ seed, ops, break: broken })
  const report = await Effect.runPromise(Effect.provide(history, TestClock.layer()))
  totals.histories += 1
  totals.operations += report.operations
  totals.requests += report.requests
  totals.crashes += report.crashes
  totals.unknown += report.unknown
  for (const [kind, count] of Object.entries(report.faults)) {
    faults[kind] = (faults[kind] ?? 0) + count
    totals.faults += count
  }
  if (report.violations.length > 0) found.push({ seed, violations: report.violations })
  if (values.trace) console.log(report.trace.join("\n"))
  if (!values.json && performance.now() - told > 10_000) {
    told = performance.now()
    console.error(
      `${totals.histories} of ${histories} histories, ${totals.faults} faults, ${found.length} with violations`
    )
  }
}
const seconds = Number(((performance.now() - start) / 1000).toFixed(1))
if (values.json) console.log(JSON.stringify({ ...totals, faults, seconds, violations: found }, null, 2))
else {
  console.log(`${totals.histories} histories from seed ${first}, ${ops} operations each, ${seconds} s`)
  console.log(`  operations  ${totals.operations}, of which ${totals.unknown} with an unknown outcome`)
  console.log(`  requests    ${totals.requests}`)
  console.log(`  crashes     ${totals.crashes}`)
  console.log(
    `  faults      ${totals.faults}: ${Object.entries(faults)
      .map(([kind, count]) => `${kind} ${count}`)
      .join(", ")}`
  )
  console.log(`  violations  ${found.length === 0 ? "none" : ""}`)
  for (const { seed, violations } of found.slice(0, 10)) {
    console.log(`    seed ${seed}`)
    for (const violation of violations.slice(0, 3)) console.log(`      ${violation.replaceAll("\n", "\n      ")}`)
  }
  if (found.length > 10)
    console.log(
      `    and ${found.length - 10} more seeds: ${found
        .slice(10)
        .map((one) => one.seed)
        .join(" ")}`
    )
}
process.exitCode = found.length === 0 ? 0 : 1
