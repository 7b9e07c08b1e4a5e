/**
 * What a request to the HTTP API takes beside a bare handler of `node:http`, a bare `HttpRouter` of Effect, and Hono where it is installed, with the same documents in a map: each server is
 * a process of its own, asked by 16 connections that stay open, one request at a time on each, all in turn. The time of the processor is that of the server alone. autocannon asks where it is
 * installed (`npm run bench:peers -- hono autocannon`), else a client that does the same.
 */
import { type ChildProcess, fork } from "node:child_process"
import { Agent, request } from "node:http"
import { fileURLToPath } from "node:url"
import { median } from "./measure.ts"
import * as peers from "./peers.ts"
import { digits } from "./table.ts"

const connections = 16
const rounds = 3
const milliseconds = 1000
/** A server that runs for days has been compiled: the more there is of it, the longer that takes. */
const roundsToWarmUp = 8

/** What a server says next. One that has ended says nothing any more. */
const saidBy = <A>(child: ChildProcess, kind: string): Promise<A> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null, signal: string | null) => {
      child.off("message", said)
      reject(new Error(`the server ${kind} ended (${code ?? signal}) before it said anything: Node ${process.version}`))
    }
    const said = (message: unknown) => {
      child.off("exit", ended)
      resolve(message as A)
    }
    child.once("exit", ended).once("message", said)
  })

interface Server {
  readonly child: ChildProcess
  readonly kind: string
  readonly port: number
}

const start = async (kind: string): Promise<Server> => {
  const child = fork(fileURLToPath(new URL("httpProcess.ts", import.meta.url)), [kind], {
    execArgv: ["--conditions=effect-s3db-source", "--no-warnings"]
  })
  const { port } = await saidBy<{ readonly port: number }>(child, kind)
  return { child, kind, port }
}

/** Microseconds. */
const processorOf = async ({ child, kind }: Server): Promise<number> => {
  child.send("cpu")
  const { cpu } = await saidBy<{ readonly cpu: NodeJS.CpuUsage }>(child, kind)
  return cpu.user + cpu.system
}

interface Kind {
  readonly name: string
  readonly method: string
  readonly status: number
  readonly path: (turn: number) => string
  readonly body?: string
}

const kinds: ReadonlyArray<Kind> = [
  {
    name: "get",
    method: "GET",
    status: 200,
    path: (turn) => `/api/books/b${String((turn * 7) % 1000).padStart(4, "0")}`
  },
  { name: "list of 20", method: "GET", status: 200, path: () => "/api/books?limit=20" },
  {
    name: "create",
    method: "POST",
    status: 201,
    path: () => "/api/books",
    body: '{"title":"A new book","author":"Author 1","year":2000}'
  }
]

const ask = (agent: Agent, port: number, { body, method, path, status }: Kind, turn: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json", "content-length": body.length }
    const sent = request({ agent, host: "127.0.0.1", port, method, path: path(turn), headers }, (response) => {
      response.resume().on("end", () => {
        if (response.statusCode === status) resolve()
        else reject(new Error(`${method} ${path(turn)}: ${response.statusCode}`))
      })
    })
    sent.on("error", reject).end(body)
  })

interface Asked {
  readonly requests: number
  readonly seconds: number
  /** Milliseconds. */
  readonly p99: number
}

/** Asks for a while, over all connections. */
type Asking = (port: number, kind: Kind) => Promise<Asked>

const plainly: Asking = async (port, kind) => {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const times: Array<number> = []
  const begin = performance.now()
  const client = async () => {
    while (performance.now() - begin < milliseconds) {
      const before = performance.now()
      await ask(agent, port, kind, times.length)
      times.push(performance.now() - before)
    }
  }
  await Promise.all(Array.from({ length: connections }, client))
  const seconds = (performance.now() - begin) / 1000
  agent.destroy()
  const p99 = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN
  return { requests: times.length, seconds, p99 }
}

/** What is used of autocannon. */
type Autocannon = (options: object) => Promise<{
  readonly requests: { readonly total: number }
  readonly latency: { readonly p99: number }
  readonly duration: number
  readonly errors: number
  readonly statusCodeStats: Readonly<Record<string, { readonly count: number }>>
}>

const byAutocannon =
  (autocannon: Autocannon): Asking =>
  async (port, { body, method, path, status }) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" }
    const requests = Array.from({ length: body === undefined ? 1_000 : 1 }, (_, turn) => ({
      method,
      path: path(turn),
      headers,
      body
    }))
    const url = `http://127.0.0.1:${port}`
    const {
      duration,
      errors,
      latency,
      requests: made,
      statusCodeStats
    } = await autocannon({
      url,
      connections,
      duration: milliseconds / 1000,
      requests
    })
    const statuses = Object.keys(statusCodeStats)
    if (errors > 0 || statuses.some((one) => one !== String(status))) {
      throw new Error(`${method} ${path(0)}: ${errors} errors, statuses ${statuses.join(", ")}`)
    }
    return { requests: made.total, seconds: duration, p99: latency.p99 }
  }

const load = async (server: Server, kind: Kind, asking: Asking) => {
  const processor = await processorOf(server)
  const { p99, requests, seconds } = await asking(server.port, kind)
  return { rate: requests / seconds, p99, cpu: ((await processorOf(server)) - processor) / requests }
}

const middle = (all: ReadonlyArray<Awaited<ReturnType<typeof load>>>) => ({
  rate: Math.round(median(all.map(({ rate }) => rate))),
  p99: Number(median(all.map(({ p99 }) => p99)).toFixed(2)),
  cpu: Math.round(median(all.map(({ cpu }) => cpu)))
})

export const report = async () => {
  const autocannon = (await peers.load("autocannon")) as { readonly default: Autocannon } | undefined
  const asking = autocannon === undefined ? plainly : byAutocannon(autocannon.default)
  const hasHono = peers.load("hono") !== undefined
  const servers = [
    { name: "node:http", ...(await start("bare")) },
    { name: "Effect's HttpRouter", ...(await start("router")) },
    ...(hasHono ? [{ name: peers.title("hono"), ...(await start("hono")) }] : []),
    { name: "effect-s3db", ...(await start("ours")) }
  ]
  const results = []
  for (const kind of kinds) {
    const measured = servers.map((server) => ({ server, all: [] as Array<Awaited<ReturnType<typeof load>>> }))
    for (let round = -roundsToWarmUp; round < rounds; round += 1) {
      for (const { all, server } of measured) {
        const figures = await load(server, kind, asking)
        if (round >= 0) all.push(figures)
      }
    }
    const all = measured.map((one) => ({ name: one.server.name, ...middle(one.all) }))
    const baseline = all[0]!.cpu
    results.push(...all.map((one) => ({ request: kind.name, ...one, ratio: Number((one.cpu / baseline).toFixed(2)) })))
  }
  for (const { child } of servers) child.disconnect()
  return {
    results,
    tables: [
      {
        title: `${connections} connections, the median of ${rounds} rounds after ${roundsToWarmUp} that do not count`,
        columns: ["", "", "requests/s", "p99 ms", "CPU µs of the server", "times node:http's"],
        rows: results.map(({ cpu, name, p99, rate, ratio, request: asked }) => [
          asked,
          name,
          digits(rate),
          digits(p99),
          digits(cpu),
          digits(ratio)
        ])
      }
    ],
    notes: [
      `Asked by ${autocannon === undefined ? "a client of our own" : peers.title("autocannon")}.`,
      "The client has a share of the machine as well: rates are lower than a server alone would give."
    ]
  }
}
