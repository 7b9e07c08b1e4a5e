/** Logging in by a provider at two processes on one bucket, one of which is killed. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Oidc from "effect-s3db/http/Oidc"
import { describeWithGateway, gateway } from "../services/available.ts"
import { makeBrowser } from "./browser.ts"
import { startProvider } from "./identityProvider.ts"
import { freePort, pass, start } from "./oidcProcesses.ts"

const origin = "https://app.example"
const session = `${origin}/auth/session`

const world = Effect.gen(function* () {
  const { accessKeyId, bucket, endpoint, secretAccessKey } = gateway
  const prefix = `oidc-${performance.timeOrigin}-${Math.floor(performance.now() * 1000)}`
  const store = `${endpoint.replace("://", `://${accessKeyId}:${secretAccessKey}@`)}/${bucket}/${prefix}`
  const toBack: { ask: (request: Request) => Promise<Response> } = { ask: () => Promise.reject(new Error("not yet")) }
  const identity = yield* startProvider(
    [{ origin, name: "id", id: "the-app", secret: "the secret of the client" }],
    (request) => toBack.ask(request),
    // Every use of it is a renewal.
    1
  )
  const toldOf = (port: number) => ({ port, origin, issuer: identity.issuer, store })
  const [portA, portB] = [yield* freePort, yield* freePort]
  const a = yield* start(toldOf(portA))
  const b = yield* start(toldOf(portB))
  toBack.ask = a.ask
  return { a, b, identity, restart: start(toldOf(portA)) }
})

describeWithGateway("logging in at two processes on one bucket", () => {
  describe("two processes on one bucket", () => {
    it.live(
      "an attempt begun at one ends at the other, once; the session counts at both, its tokens are renewed once, and it ends at both",
      () =>
        Effect.gen(function* () {
          const { a, b, identity } = yield* world
          const site = { ask: a.ask }
          const ana = makeBrowser({ [origin]: (request) => site.ask(request) })
          const begun = yield* ana.send("GET", `${origin}/auth/id/login?returnTo=/home`)
          assert.strictEqual(begun.status, 303, begun.text)
          const back = yield* pass(ana, begun, "ana", origin)
          // Both are asked to end it, at the same time, with the same cookies.
          const cookie = [...ana.cookies(origin)].map(([name, value]) => `${name}=${value}`).join("; ")
          const ended = yield* Effect.promise(() =>
            Promise.all(
              [a, b, a, b].map((server) => server.ask(new Request(back, { headers: { cookie }, redirect: "manual" })))
            )
          )
          assert.deepStrictEqual(ended.map(({ status }) => status).toSorted(), [303, 400, 400, 400])
          const [set = ""] = ended
            .flatMap(({ headers }) => headers.getSetCookie())
            .filter((one) => one.startsWith(`${Oidc.cookieName}=`) && !/Max-Age=0/.test(one))
          const mine = set.split(";")[0]!
          const asked = (server: typeof a, path: string, method = "GET") =>
            Effect.promise(async () => {
              const headers = { cookie: mine, origin }
              const response = await server.ask(
                new Request(`${origin}${path}`, { method, headers, redirect: "manual" })
              )
              return { status: response.status, text: await response.text() }
            })
          for (const server of [a, b]) assert.strictEqual((yield* asked(server, "/auth/session")).status, 200)
          // A refresh token counts once: whoever uses it a second time ends all that came of it.
          for (let round = 0; round < 3; round++) {
            yield* Effect.sleep("1100 millis")
            const tokens = yield* Effect.forEach([a, b, a, b, a, b], (server) => asked(server, "/token"), {
              concurrency: "unbounded"
            })
            for (const token of tokens) assert.strictEqual(token.status, 200, token.text)
          }
          assert.deepStrictEqual(
            identity.errors.filter((error) => error.includes("grant.error")),
            []
          )
          assert.strictEqual((yield* asked(b, "/auth/logout?local=true", "POST")).status, 303)
          for (const server of [a, b]) assert.strictEqual((yield* asked(server, "/auth/session")).status, 401)
        })
    )

    it.live("one is killed while people log in: who is in stays in, and everybody gets in at the other", () =>
      Effect.gen(function* () {
        const { a, b, identity, restart } = yield* world
        let server = a
        let asked = 0
        let lost = 0
        /** The one that is there: a balancer asks the other when one does not answer. */
        const balanced = async (request: Request): Promise<Response> => {
          asked += 1
          const body = request.method === "POST" ? await request.clone().text() : undefined
          const again = () =>
            new Request(request.url, {
              method: request.method,
              headers: request.headers,
              ...(body === undefined ? {} : { body })
            })
          if (asked === 14) a.child.kill("SIGKILL")
          const first = asked % 2 === 0 ? server : b
          try {
            return await first.ask(again())
          } catch {
            lost += 1
            server = b
            return b.ask(again())
          }
        }
        const people = Array.from({ length: 10 }, (_, i) => ({
          name: `p${i}`,
          browser: makeBrowser({ [origin]: balanced })
        }))
        /** Whose login was at the one that was killed begins again. */
        const logIn = Effect.fnUntraced(function* ({ browser, name }: (typeof people)[number]) {
          for (let i = 0; i < 5; i++) {
            const begun = yield* browser.send("GET", `${origin}/auth/id/login?returnTo=/home`)
            if (begun.status !== 303) continue
            const page = yield* browser.send("GET", yield* pass(browser, begun, name, origin))
            if (page.status === 303) return i
          }
          return assert.fail(`${name} does not get in: ${identity.errors.join()}`)
        })
        yield* Effect.forEach(people, logIn, { concurrency: 4 })
        assert.isAbove(lost, 0, "nobody was disturbed")
        const isIn = Effect.fnUntraced(function* () {
          for (const { browser, name } of people) {
            const answer = yield* browser.send("GET", session)
            assert.strictEqual(answer.status, 200)
            assert.strictEqual(JSON.parse(answer.text).id, `id:${name}`)
          }
        })
        yield* isIn()
        // The one that comes back knows all of them.
        server = yield* restart
        yield* isIn()
        const [first] = people
        const out = yield* first!.browser.send("POST", `${origin}/auth/logout?local=true`, undefined, { origin })
        assert.strictEqual(out.status, 303)
        for (let i = 0; i < 4; i++) assert.strictEqual((yield* first!.browser.send("GET", session)).status, 401)
      })
    )
  })
})
