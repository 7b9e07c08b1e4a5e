/** The workload of the simulation without its faults: several processes, some of which are killed, on real stores. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import type { Line } from "./worker.ts"
import { accountIds, clientOn, type Event, type Op, ring, setUpVersions, verify } from "./workload.ts"

/** A new folder, which is gone after the tests of the file. */
export const newFolder = (): string => {
  const root = mkdtempSync(join(tmpdir(), "effect-s3db-histories-"))
  afterAll(() => rmSync(root, { recursive: true, force: true }))
  return join(root, "store")
}

const worker = fileURLToPath(new URL("./worker.ts", import.meta.url))

/** Runs a worker to its end, or kills it after a while; gives what it has told. */
const run = (url: string, name: string, operations: number, killAfter: number | undefined) =>
  new Promise<ReadonlyArray<Line>>((resolve, reject) => {
    const args = ["--conditions=effect-s3db-source", "--no-warnings", worker, url, name, "7", String(operations)]
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
    let text = ""
    let timer: NodeJS.Timeout | undefined
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8")
      // It counts from its first operation on.
      if (killAfter !== undefined) timer ??= setTimeout(() => child.kill("SIGKILL"), killAfter)
    })
    child.on("close", (code, signal) => {
      clearTimeout(timer)
      if (code !== 0 && signal !== "SIGKILL") return reject(new Error(`${name} ended with ${code}`))
      const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n")
      resolve(lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Line))
    })
  })

/** Histories by document, out of what all workers have told. */
const merge = (told: ReadonlyArray<ReadonlyArray<Line>>) => {
  const violations: Array<string> = []
  const events: Array<{ readonly t: bigint; readonly key: string; readonly event: Event }> = []
  told.forEach((lines, run) => {
    const ops = new Map<number, Op>()
    for (const line of lines) if ("op" in line) ops.set(line.id, line.op)
    for (const line of lines) {
      if ("violation" in line) violations.push(line.violation)
      if (!("event" in line)) continue
      const id = line.event.id + run * 1_000_000
      const event: Event =
        line.event._tag === "Invoke"
          ? { ...line.event, id, op: ops.get(line.event.id) ?? line.event.op }
          : { ...line.event, id }
      events.push({ t: BigInt(line.t), key: line.key, event })
    }
  })
  events.sort((a, b) => (a.t < b.t ? -1 : 1))
  const histories = new Map<string, Array<Event>>()
  for (const { event, key } of events) histories.set(key, [...(histories.get(key) ?? []), event])
  return { histories, violations, operations: events.filter(({ event }) => event._tag === "Invoke").length }
}

export interface Work {
  /** Operations of each process that is not killed. */
  readonly operations: number
  /** Clients at work at once. */
  readonly clients: number
  /** Processes of each client, one after the other, all but the last of which are killed. */
  readonly lives: number
}

/** Lets clients work on a store, each in processes of its own, and checks the histories that these tell. */
export const check = (url: string, { clients: count, lives, operations }: Work) =>
  Effect.gen(function* () {
    const store = yield* ObjectStore
    yield* setUpVersions(store)
    const setup = yield* clientOn(store, "setup")
    for (const id of accountIds) yield* setup.accounts.insert({ id, balance: 100 })
    const clients = Array.from({ length: count }, async (_, i) => {
      const told: Array<ReadonlyArray<Line>> = []
      for (let life = 0; life < lives; life++) {
        told.push(await run(url, `c${i}.${life}`, operations, life < lives - 1 ? 400 + 150 * i : undefined))
      }
      return told
    })
    const {
      histories,
      operations: made,
      violations
    } = merge((yield* Effect.promise(() => Promise.all(clients))).flat())
    assert.isAbove(histories.size, 4)
    yield* verify(store, { histories, violations, settle: (effect) => effect })
    assert.deepStrictEqual(violations, [])
    console.log(
      `${url.replace(/\/\/.*@/, "//")}: ${made} operations of ${count * lives} processes on ${histories.size} documents`
    )
  }).pipe(Effect.provide([ring, ConnectionString.layer(url)]), Effect.scoped)
