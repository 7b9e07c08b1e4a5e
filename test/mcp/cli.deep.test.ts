/** `s3db mcp` as a process, over both transports, with the official client. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { inFolder, inProcess } from "../cli/shell.ts"
import { call } from "./serving.ts"
import { until } from "../waiting.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

const node = (args: ReadonlyArray<string>) => ["--conditions=effect-s3db-source", "--no-warnings", main, ...args]

const fill = Effect.fnUntraced(function* (url: string) {
  const definition = JSON.stringify({
    attributes: { name: "string", country: "string|optional", password: "password|optional" },
    partitions: { byCountry: { fields: { country: "string" } } }
  })
  assert.strictEqual((yield* inProcess(["create", "resource", "users", definition, "--url", url])).code, 0)
  const ana = JSON.stringify({ id: "ana", name: "Ana", country: "BR", password: "correct horse battery" })
  assert.strictEqual((yield* inProcess(["insert", "users", ana, "--url", url])).code, 0)
})

const overStdio = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const transport = new StdioClientTransport({ command: process.execPath, args: [...node(args)], stderr: "pipe" })
  const said = { err: "" }
  transport.stderr?.on("data", (chunk: Buffer) => (said.err += chunk.toString()))
  const client = yield* Effect.acquireRelease(
    Effect.promise(() => {
      const client = new Client({ name: "tests", version: "1.0.0" })
      return client.connect(transport).then(() => client)
    }),
    (client) => Effect.promise(() => client.close())
  )
  return { client, said }
})

/** A process that is written to by hand. */
const raw = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [...node(args)], { env: { ...process.env, ...env } })
      const said = { out: "", err: "" }
      child.stdout.setEncoding("utf8").on("data", (text: string) => (said.out += text))
      child.stderr.setEncoding("utf8").on("data", (text: string) => (said.err += text))
      const ended = new Promise<number | null>((resolve) => child.on("close", (code) => resolve(code)))
      return { child, said, ended }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

describe("s3db mcp", () => {
  it.live(
    "over standard input and output: tools, resources and prompts; the log is on standard error",
    () =>
      Effect.gen(function* () {
        const { url } = yield* inFolder
        yield* fill(url)
        const { client, said } = yield* overStdio(["mcp", "--url", url, "--allow-write", "--allow-destructive"])
        const inserted = yield* call(client, "insert_documents", {
          resource: "users",
          documents: [{ id: "bo", name: "Bo", country: "SE" }]
        })
        assert.deepInclude(inserted.value, { written: 1 })
        const got = yield* call(client, "get_documents", { resource: "users", ids: ["bo", "ana"] })
        assert.deepStrictEqual(got.value["documents"], [
          { id: "bo", name: "Bo", country: "SE" },
          { id: "ana", name: "Ana", country: "BR" }
        ])
        assert.deepInclude((yield* call(client, "count_documents", { resource: "users" })).value, { count: 2 })
        assert.deepInclude((yield* call(client, "delete_documents", { resource: "users", ids: ["bo"] })).value, {
          deleted: 1
        })
        const page = yield* Effect.promise(() => client.readResource({ uri: "s3db://resource/users" }))
        assert.include(JSON.stringify(page), "byCountry")
        const prompt = yield* Effect.promise(() =>
          client.getPrompt({ name: "explore_resource", arguments: { resource: "users" } })
        )
        assert.include(JSON.stringify(prompt), "users")
        const calls = said.err
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as { readonly annotations: Readonly<Record<string, unknown>> })
        assert.deepStrictEqual(
          calls.map(({ annotations }) => annotations["tool"]),
          ["insert_documents", "get_documents", "count_documents", "delete_documents"]
        )
        assert.notMatch(said.err, /\bBo\b/)
      }).pipe(Effect.scoped),
    { timeout: 600_000 }
  )

  it.live(
    "a line that is none is answered, those around it are read, and the end of the input is the end",
    () =>
      Effect.gen(function* () {
        const { url } = yield* inFolder
        yield* fill(url)
        const { child, ended, said } = yield* raw(["mcp", "--url", url])
        const send = (message: unknown) => child.stdin.write(`${JSON.stringify(message)}\n`)
        child.stdin.write("not JSON\n\n{}\n[1,2\n")
        send({
          jsonrpc: "2.0",
          id: 1,
          method: "initialize",
          params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "raw", version: "1" } }
        })
        send({ jsonrpc: "2.0", method: "notifications/initialized" })
        const half = JSON.stringify({ jsonrpc: "2.0", id: 2, method: "ping" })
        child.stdin.write(half.slice(0, 10))
        yield* Effect.sleep("100 millis")
        child.stdin.write(`${half.slice(10)}\r\n`)
        send({ jsonrpc: "2.0", id: 3, method: "tools/call", params: { name: "get_documents", arguments: {} } })
        send({
          jsonrpc: "2.0",
          id: 4,
          method: "tools/call",
          params: { name: "delete_documents", arguments: { resource: "users", ids: ["ana"] } }
        })
        // In one write with those around it: none of them may wait for ever.
        const deep = `${"[".repeat(6000)}${"]".repeat(6000)}`
        const ping = (id: number) => `${JSON.stringify({ jsonrpc: "2.0", id, method: "ping" })}\n`
        child.stdin.write(`${ping(5)}{"jsonrpc":"2.0","id":6,"method":"ping","params":{"a":${deep}}}\n${ping(7)}`)
        child.stdin.write("x".repeat(5_000_000))
        child.stdin.write("\n")
        yield* until(
          "all are answered",
          () => said.out.includes('"id":4') && said.out.includes('"id":7') && said.out.includes("no more than")
        )
        child.stdin.end()
        assert.strictEqual(yield* Effect.promise(() => ended), 0)
        const answers = said.out
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as { readonly id: unknown; readonly error?: { readonly code: number } })
        const codes = answers.filter(({ error }) => error !== undefined).map(({ error, id }) => [id, error?.code])
        assert.sameDeepMembers(codes, [
          [null, -32_700],
          [null, -32_600],
          [null, -32_700],
          [null, -32_600],
          [null, -32_600],
          [3, -32_602],
          [4, -32_602]
        ])
        for (const ping of [2, 5, 7]) assert.isTrue(answers.some(({ id }) => id === ping))
        assert.strictEqual((yield* inProcess(["count", "users", "--url", url])).out, "1\n")
      }).pipe(Effect.scoped),
    { timeout: 600_000 }
  )

  it.live(
    "over HTTP: with the token of the environment, or one that is said once; an interruption ends it",
    () =>
      Effect.gen(function* () {
        const { url } = yield* inFolder
        yield* fill(url)
        const token = "a-token-of-the-environment"
        for (const env of [{ S3DB_MCP_TOKEN: token }, {}]) {
          const { child, ended, said } = yield* raw(["mcp", "--url", url, "--transport", "http", "--port", "0"], env)
          yield* until("it listens", () => said.err.includes("listening on"))
          const [, address] = /listening on (\S+)/.exec(said.err)!
          const [, made] = /the token is (\S+)/.exec(said.err) ?? []
          assert.strictEqual(made === undefined, "S3DB_MCP_TOKEN" in env)
          assert.match(address!, /^http:\/\/127\.0\.0\.1:\d+\/mcp$/)
          const client = new Client({ name: "tests", version: "1.0.0" })
          const transport = new StreamableHTTPClientTransport(new URL(address!), {
            requestInit: { headers: { authorization: `Bearer ${made ?? token}` } }
          })
          yield* Effect.promise(() => client.connect(transport as Parameters<Client["connect"]>[0]))
          assert.deepInclude((yield* call(client, "count_documents", { resource: "users" })).value, { count: 1 })
          yield* Effect.promise(() => client.close())
          const status = yield* Effect.promise(() => fetch(address!, { method: "POST" }).then((one) => one.status))
          assert.strictEqual(status, 401)
          child.kill("SIGINT")
          assert.strictEqual(yield* Effect.promise(() => ended), 130)
          assert.strictEqual(said.out, "")
          assert.notInclude(said.err, token)
        }
      }).pipe(Effect.scoped),
    { timeout: 600_000 }
  )

  it.live("says what is wrong with how it is started", () =>
    Effect.gen(function* () {
      const { url } = yield* inFolder
      for (const [args, code, said] of [
        [["--allow-destructive", "--url", url], 2, "--allow-write"],
        [["--url", url], 3, "there is no database"],
        [["--resource", ",", "--url", url], 2, "--resource"],
        [["--port", "80", "--allow-host", "x", "--url", url], 2, "--port, --allow-host: only with --transport http"],
        [["--max-bytes", "1", "--url", url], 2, "4096"],
        [["--transport", "carrier-pigeon", "--url", url], 2, "stdio"]
      ] as const) {
        const ran = yield* inProcess(["mcp", ...args])
        assert.strictEqual(ran.code, code, ran.err)
        assert.include(ran.err, said)
      }
    }).pipe(Effect.scoped)
  )
})
