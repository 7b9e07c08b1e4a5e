/** The OpenAPI document under two validators, requests made from it, and a server with sockets. */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as OpenApi from "effect/http-api/OpenApi"
import { Validator } from "@seriousme/openapi-schema-validator"
import * as HttpResources from "effect-s3db/http/HttpResources"
import { Api, Auth, Data, notes, shop, users } from "./api.ts"
import { Api as Library } from "../../docs/examples/http-api.ts"
import { Api as Nearest } from "./nearestApi.ts"

const documents: ReadonlyArray<readonly [string, OpenApi.OpenAPISpec]> = [
  ["a shop", OpenApi.fromApi(Api)],
  ["a library", OpenApi.fromApi(Library)],
  ["places and vectors", OpenApi.fromApi(Nearest)]
]

const redocly = fileURLToPath(import.meta.resolve("@redocly/cli/package.json")).replace(/package\.json$/, "bin/cli.js")

const copyOf = (document: object) => JSON.parse(JSON.stringify(document)) as Record<string, unknown>

/** Who may come in is known to the server alone. */
const lint = (document: object, isServed = false): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), "openapi-"))
  const file = join(folder, "openapi.json")
  writeFileSync(file, JSON.stringify(document))
  // Whether an API has a license is for its owner to say; ours has none of its own.
  const rules = ["--skip-rule", "info-license", ...(isServed ? [] : ["--skip-rule", "security-defined"])]
  const args = [
    redocly,
    "lint",
    "--extends",
    "recommended",
    "--max-problems",
    "1000",
    "--format",
    "json",
    ...rules,
    file
  ]
  return new Promise((resolve) =>
    execFile(
      process.execPath,
      args,
      { cwd: folder, env: { ...process.env, REDOCLY_TELEMETRY: "off" } },
      (_, out, err) => {
        rmSync(folder, { recursive: true })
        resolve(out || err)
      }
    )
  )
}

describe("the OpenAPI document", () => {
  for (const [name, document] of documents) {
    it(`of ${name} passes the linter without errors and warnings`, () =>
      lint(document).then((text) => {
        const { totals } = JSON.parse(text) as { totals: { errors: number; warnings: number } }
        assert.deepInclude(totals, { errors: 0, warnings: 0 }, text)
      }))

    it(`of ${name} is valid by its schema`, () =>
      new Validator()
        .validate(copyOf(document))
        .then(({ errors, valid }) => assert.isTrue(valid, JSON.stringify(errors))))
  }

  it.effect("passes as it is served, too", () =>
    Effect.gen(function* () {
      const served = yield* (yield* shop).send("GET", "/api/openapi.json", { as: "" })
      const text = yield* Effect.promise(() => lint(served.json as object, true))
      const { totals } = JSON.parse(text) as { totals: { errors: number; warnings: number } }
      assert.deepInclude(totals, { errors: 0, warnings: 0 }, text)
    })
  )

  it("a document that is broken is found", () => {
    const broken = structuredClone(documents[0]![1])
    Object.assign(broken.paths["/api/users"]!.get!, { responses: undefined, parameters: [{ name: "x" }] })
    return Promise.all([lint(broken), new Validator().validate(copyOf(broken))]).then(([text, { valid }]) => {
      assert.isAbove((JSON.parse(text) as { totals: { errors: number } }).totals.errors, 0)
      assert.isFalse(valid)
    })
  })
})

/** The same numbers for the same seed. */
const randomOf = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

describe("requests made from the document", () => {
  it.effect(
    "have an answer that it names, whatever is in them",
    () =>
      Effect.gen(function* () {
        const api = yield* shop
        const random = randomOf(7)
        const pick = <A>(all: ReadonlyArray<A>): A => all[random(all.length)]!
        const texts = [
          "a",
          "..",
          "%",
          "é😀",
          "'\"<>",
          "-1",
          "1e309",
          "null",
          "{}",
          "[]",
          "true",
          "x".repeat(500),
          "__proto__"
        ]
        const values: ReadonlyArray<unknown> = [
          null,
          0,
          -1.5,
          1e300,
          "",
          "text",
          true,
          [],
          {},
          [[]],
          { a: { b: [] } },
          ...texts
        ]
        const spec = documents[0]![1]
        const operations = Object.entries(spec.paths).flatMap(([path, item]) =>
          Object.entries(item).map(([method, operation]) => ({
            path,
            method,
            operation: operation as OpenApi.OpenAPISpecOperation
          }))
        )
        const seen = new Map<number, number>()
        for (let n = 0; n < 3000; n += 1) {
          const { method, operation, path } = pick(operations)
          if (path.endsWith("changes")) continue
          const query = new URLSearchParams()
          for (const { in: where, name } of operation.parameters) {
            if (where === "query" && random(3) === 0) query.append(name, pick(texts))
          }
          if (random(4) === 0)
            query.append(pick(["country", "age[gte]", "id[in]", "address.city", "[", "x[y]"]), pick(texts))
          const example = (operation.requestBody?.content as Record<string, { example?: object }> | undefined)?.[
            "application/json"
          ]?.example
          const body: unknown =
            operation.requestBody === undefined
              ? undefined
              : random(3) === 0
                ? pick(values)
                : Object.fromEntries(
                    Object.entries({ ...example, [pick(["id", "name", "age", "nothing"])]: pick(values) }).filter(
                      () => random(8) > 0
                    )
                  )
          const headers: Record<string, string> = {}
          if (random(4) === 0) headers["if-match"] = pick(['"x"', "*", "x", 'W/"x"', '""'])
          if (random(4) === 0) headers["if-none-match"] = pick(['"x"', "*", "x"])
          if (method === "post" && random(4) === 0) headers["idempotency-key"] = pick(["k1", "k2", "a b"])
          const id = encodeURIComponent(pick(["text", "a", "nobody", "a/b", ...texts.filter((one) => one !== "..")]))
          const target = `${path.replace("{id}", id)}?${query}`
          const answer = yield* api.send(method.toUpperCase(), target, {
            body,
            headers,
            as: pick(["ana", "ana:acme", "", "forged"])
          })
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1)
          assert.isBelow(answer.status, 500, `${method} ${target} ${JSON.stringify(body)}: ${answer.text}`)
          const named = { ...operation.responses, 304: true, 204: true }
          assert.property(named, String(answer.status), `${method} ${target} ${JSON.stringify(body)}: ${answer.text}`)
          if (answer.status >= 400) assert.strictEqual(answer.json.status, answer.status)
        }
        // It went everywhere.
        for (const status of [200, 201, 204, 400, 401, 404, 409, 412, 422])
          assert.isTrue(seen.has(status), `none was ${status}`)
      }),
    600_000
  )
})

describe("a server with sockets", () => {
  const server = HttpRouter.serve(HttpResources.layer(Api, [users, notes]).pipe(Layer.provide([Data, Auth])), {
    disableLogger: true,
    disableListenLog: true,
    routerConfig: HttpResources.routerConfig
  }).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0 })))

  const portOf = Effect.map(HttpServer.HttpServer, ({ address }) =>
    Number(/:(\d+)\/?$/.exec(HttpServer.formatAddress(address))?.[1])
  )

  /** Sends text as it is, and gives what comes back until the other side, or the time, ends it. */
  const raw = (port: number, text: string, wait = 60_000): Effect.Effect<string> =>
    Effect.promise(
      () =>
        new Promise<string>((resolve) => {
          let answer = ""
          const socket = connect(port, "127.0.0.1", () => socket.write(text))
          const end = () => {
            socket.destroy()
            resolve(answer)
          }
          const timer = setTimeout(end, wait)
          socket.on("data", (bytes) => (answer += bytes.toString("latin1")))
          socket.on("error", () => undefined)
          socket.on("close", () => {
            clearTimeout(timer)
            end()
          })
        })
    )

  const auth = "Host: localhost\r\nAuthorization: Bearer ana\r\nConnection: close\r\n"

  it.live(
    "answers what no client sends, and goes on",
    () =>
      Effect.gen(function* () {
        const port = yield* portOf
        const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
        const body = JSON.stringify({ id: "..", name: "A", age: 1, country: "BR" })
        for (const [request, wanted] of [
          [`GET /api/users/../../etc/passwd HTTP/1.1\r\n${auth}\r\n`, [404]],
          [`GET /api/users/.. HTTP/1.1\r\n${auth}\r\n`, [404]],
          [`GET /api/users/%2e%2e%2f%2e%2e HTTP/1.1\r\n${auth}\r\n`, [404]],
          [`GET http://evil.example.com/api/users HTTP/1.1\r\n${auth}\r\n`, [200, 404]],
          [`GET /api/users/%00 HTTP/1.1\r\n${auth}\r\n`, [404, 422]],
          // Two lengths, and a length beside chunks: requests that two readers would end at different places.
          [`POST /api/users HTTP/1.1\r\n${auth}Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}GET `, [400]],
          [
            `POST /api/users HTTP/1.1\r\n${auth}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
            [400]
          ],
          [`GET /api/users HTTP/1.1\r\n${auth}X-Request-Id: a\u0001b\r\n\r\n`, [200, 400]],
          [`GET /api/users?${"a".repeat(100_000)} HTTP/1.1\r\n${auth}\r\n`, [431]],
          [
            `POST /api/users HTTP/1.1\r\n${auth}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
            [422]
          ]
        ] as const) {
          const answer = yield* raw(port, request)
          assert.include(wanted, statusOf(answer) as never, `${request.slice(0, 80)}: ${answer.slice(0, 200)}`)
          assert.notInclude(answer, "at file:")
        }
        // Slow ones that never end hold nobody up.
        const slow = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 500 }),
            () =>
              raw(
                port,
                `POST /api/users HTTP/1.1\r\n${auth}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
                3000
              ),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.sleep("500 millis")
        for (let n = 0; n < 20; n += 1)
          assert.strictEqual(statusOf(yield* raw(port, `GET /api/users HTTP/1.1\r\n${auth}\r\n`)), 200)
        void slow
      }).pipe(Effect.provide(server)),
    600_000
  )
})
