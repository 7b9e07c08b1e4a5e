/** Logging in by a provider that others have written, over HTTP. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import * as Database from "effect-s3db/Database"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Oidc from "effect-s3db/http/Oidc"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { Notes, serve, services } from "./api.ts"
import { type Browser, makeBrowser, type Page } from "./browser.ts"
import { type Client, startProvider } from "./identityProvider.ts"

const origin = "https://app.example"
const notes = HttpResources.expose(Notes)
const Api = HttpResources.api("shop", [notes], { prefix: "/api" }).add(Oidc.group)

/** Notes everything that is logged, or said in a span. */
const watching = (redacted: Layer.Layer<never> = Oidc.layerRedacted) => {
  const told: Array<string> = []
  const note = (...parts: ReadonlyArray<unknown>) => {
    for (const part of parts) told.push(typeof part === "string" ? part : `${String(part)} ${JSON.stringify(part)}`)
  }
  const logger = Logger.make(({ cause, fiber, message }) =>
    note(message, cause, fiber.getRef(References.CurrentLogAnnotations))
  )
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const attribute = span.attribute.bind(span)
      const end = span.end.bind(span)
      note(options.name)
      span.attribute = (key, value) => {
        note(key, value)
        attribute(key, value)
      }
      span.end = (time, exit) => {
        if (exit._tag === "Failure") note(exit)
        end(time, exit)
      }
      return span
    }
  })
  const layer = Layer.mergeAll(
    Logger.layer([logger]),
    Layer.succeed(References.MinimumLogLevel, "Trace"),
    Layer.succeed(Tracer.Tracer, tracer),
    redacted
  )
  return { told, layer }
}

/** The program on a store, without a server. */
const programOf = (
  store: ObjectStore["Service"],
  providers: Oidc.Options["providers"],
  more: Partial<Oidc.Options> = {}
) => {
  const made: { oidc?: Oidc.Oidc["Service"] } = {}
  const Live = Oidc.layer({ origin, providers, ...more }).pipe(
    Layer.tap((context) => Effect.sync(() => void (made.oidc = Effect.runSync(Effect.provide(Oidc.Oidc, context))))),
    Layer.provideMerge(Notes.layer),
    Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
    Layer.provide([Layer.succeed(ObjectStore, store), services, FetchHttpClient.layer])
  )
  const Auth = Authentication.layer(
    Effect.flatMap(Oidc.authentication, (ways) =>
      Authentication.pathRules(ways, [
        { path: "/auth/**", allow: "anybody" },
        { path: "/api/notes/**", methods: ["GET"], allow: { roles: ["editors"] } },
        { path: "/api/notes/**", allow: { roles: ["staff"] } }
      ])
    )
  )
  const routes = HttpResources.layer(Api, [notes]).pipe(
    Layer.provide(Oidc.handlers(Api)),
    Layer.provide(Auth),
    Layer.provide(Live)
  )
  return { made, routes }
}

/** A process of the program, on a store. */
const processOf = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  providers: Oidc.Options["providers"],
  more: Partial<Oidc.Options> = {},
  around: Layer.Layer<never> = Layer.empty
) {
  const { made, routes } = programOf(store, providers, more)
  const { handler, send } = yield* serve(Layer.provideMerge(routes, around))
  // It is made with the first request.
  yield* send("GET", "/nothing")
  return { handler, oidc: made.oidc! }
})

/** The same on a socket; what ends TLS before it is left out. */
const socketOf = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  providers: Oidc.Options["providers"],
  around: Layer.Layer<never>
) {
  const context = yield* Layer.build(
    HttpRouter.serve(programOf(store, providers).routes, {
      disableListenLog: true,
      routerConfig: HttpResources.routerConfig
    }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
      Layer.provide(around)
    )
  )
  const address = HttpServer.formatAddress(Context.get(context, HttpServer.HttpServer).address)
  return async (request: Request) => {
    const body = request.method === "POST" ? await request.text() : undefined
    return fetch(request.url.replace(origin, address), {
      method: request.method,
      headers: request.headers,
      redirect: "manual",
      ...(body === undefined ? {} : { body })
    })
  }
})

const app: Client = { origin, name: "id", id: "the-app", secret: "the secret of the client" }

const optionsOf = (issuer: string, client: Client = app): Oidc.Provider => ({
  name: client.name,
  issuer,
  clientId: client.id,
  clientSecret: Redacted.make(client.secret),
  scopes: ["email", "roles"],
  userinfo: true,
  cooldown: 0,
  user: { roles: ["groups"], keep: ["email"] }
})

/** From a page of the provider to the address that it sends the browser back to, which is not asked yet. */
const pass = Effect.fnUntraced(function* (browser: Browser, from: Page, name: string, home = origin) {
  let page = from
  const isBack = (url: string) => url.startsWith(home)
  for (let i = 0; i < 4; i++) {
    page = yield* browser.follow(page, isBack)
    const to = browser.next(page)
    if (to !== undefined) return to
    page = yield* browser.submit(page, /name="login"/.test(page.text) ? { login: name, password: "x" } : {})
  }
  return assert.fail(`the provider did not come to an end: ${page.text.slice(0, 300)}`)
})

const logIn = Effect.fnUntraced(function* (browser: Browser, name = "ana", returnTo = "/notes", client = app) {
  const begun = yield* browser.send(
    "GET",
    `${client.origin}/auth/${client.name}/login?returnTo=${encodeURIComponent(returnTo)}`
  )
  assert.strictEqual(begun.status, 303, begun.text)
  const back = yield* pass(browser, begun, name, client.origin)
  return { begun, back, page: yield* browser.send("GET", back) }
})

const ask = (browser: Browser, path = "/auth/session") =>
  Effect.map(browser.send("GET", origin + path), ({ status, text }) => ({ status, json: JSON.parse(text) }))

const world = Effect.fnUntraced(function* (
  more: Partial<Oidc.Options> = {},
  around: Layer.Layer<never> = Layer.empty,
  provider: Partial<Oidc.Provider> = {},
  accessTokenFor = 600
) {
  const { store } = yield* MemoryStore.make()
  const site: { handler: (request: Request) => Promise<Response> } = {
    handler: () => Promise.reject(new Error("not yet"))
  }
  const identity = yield* startProvider([app], (request) => site.handler(request), accessTokenFor)
  const providers: Oidc.Options["providers"] = [{ ...optionsOf(identity.issuer), ...provider }]
  const one = yield* processOf(store, providers, more, around)
  const two = yield* processOf(store, providers, more, around)
  site.handler = two.handler
  return { identity, one, two, store, browser: () => makeBrowser({ [origin]: one.handler }) }
})

describe("logging in by a provider", () => {
  it.live("over HTTP, with its pages; the session counts at every process, and ends at every one", () =>
    Effect.gen(function* () {
      const { browser, identity, two } = yield* world()
      const ana = browser()
      assert.strictEqual((yield* ana.send("GET", `${origin}/api/notes`)).status, 401)
      const { begun, page } = yield* logIn(ana)
      assert.strictEqual(page.status, 303, `${page.text} ${identity.errors.join()}`)
      assert.strictEqual(page.headers.get("location"), "/notes")
      const all = [...begun.headers.getSetCookie(), ...page.headers.getSetCookie()]
      for (const cookie of all) {
        assert.match(cookie, /^__Host-/)
        assert.match(cookie, /; Path=\/; .*HttpOnly; Secure; SameSite=Lax/)
        assert.notMatch(cookie, /Domain/)
      }
      assert.match(begun.headers.getSetCookie()[0]!, /; Max-Age=600;/)
      assert.match(
        page.headers.getSetCookie().find((one) => one.startsWith(Oidc.cookieName))!,
        /; Max-Age=6047\d\d|604800;/
      )
      for (const answer of [begun, page]) assert.include(answer.headers.get("cache-control"), "no-store")
      assert.deepStrictEqual([...ana.cookies(origin).keys()], [Oidc.cookieName])
      assert.deepStrictEqual(yield* ask(ana), {
        status: 200,
        json: { id: "id:ana", roles: ["editors", "staff"], scopes: [] }
      })
      // The other process has never seen it.
      const elsewhere = makeBrowser({ [origin]: two.handler })
      elsewhere.cookies(origin).set(Oidc.cookieName, ana.cookies(origin).get(Oidc.cookieName)!)
      assert.strictEqual((yield* ask(elsewhere)).status, 200)
      assert.strictEqual((yield* ask(elsewhere, "/api/notes")).status, 200)

      const out = yield* elsewhere.send("POST", `${origin}/auth/logout?returnTo=/bye`, undefined, { origin })
      assert.strictEqual(out.status, 303, out.text)
      const to = new URL(elsewhere.next(out)!)
      assert.strictEqual(to.origin, identity.issuer)
      assert.isAbove(to.searchParams.get("id_token_hint")!.length, 100)
      assert.strictEqual((yield* ask(ana)).status, 401)
      // The provider has its cookies in Ana's browser.
      ana.cookies(origin).clear()
      for (const [name, value] of elsewhere.cookies(origin)) ana.cookies(origin).set(name, value)
      const leaving = yield* ana.send("GET", to.href)
      const confirmed = yield* ana.submit(leaving, { logout: "yes" })
      const back = yield* ana.follow(confirmed, (url) => url.startsWith(origin))
      const home = yield* ana.send("GET", ana.next(back)!)
      assert.strictEqual(home.headers.get("location"), "/bye", home.text)
      assert.strictEqual(ana.cookies(origin).size, 0)
      // Its state counts once.
      assert.strictEqual((yield* ana.send("GET", ana.next(back)!)).status, 400)
    })
  )

  it.live("a logout over the back channel ends the session at every process", () =>
    Effect.gen(function* () {
      const { browser, identity } = yield* world()
      const [ana, bo] = [browser(), browser()]
      yield* logIn(ana)
      yield* logIn(bo, "bo")
      // Ana leaves at the provider itself.
      const leaving = yield* ana.send("GET", `${identity.issuer}/session/end`)
      yield* ana.submit(leaving, { logout: "yes" })
      assert.deepStrictEqual(
        identity.delivered.map(({ status }) => status),
        [200],
        identity.errors.join()
      )
      assert.strictEqual((yield* ask(ana)).status, 401)
      assert.strictEqual((yield* ask(bo)).status, 200)
      // The same token again.
      const [{ body, url }] = identity.delivered as [(typeof identity.delivered)[0]]
      const again = yield* browser().send("POST", url, new URLSearchParams(body))
      assert.strictEqual(again.status, 400, again.text)
    })
  )

  it.live("two tabs at once; each answer counts once, and for the browser that began it", () =>
    Effect.gen(function* () {
      const { browser } = yield* world()
      const ana = browser()
      const [first, second] = [
        yield* ana.send("GET", `${origin}/auth/id/login?returnTo=/first`),
        yield* ana.send("GET", `${origin}/auth/id/login?returnTo=/second`)
      ]
      const backOfSecond = yield* pass(ana, second, "ana")
      const backOfFirst = yield* pass(ana, first, "ana")
      // Somebody else, with and without an attempt of his own.
      const eve = browser()
      assert.strictEqual((yield* eve.send("GET", backOfFirst)).status, 400)
      yield* eve.send("GET", `${origin}/auth/id/login`)
      const foreign = yield* eve.send("GET", backOfFirst)
      assert.strictEqual(foreign.status, 400)
      assert.isFalse(eve.cookies(origin).has(Oidc.cookieName))
      const stolen = new Map(ana.cookies(origin))
      assert.strictEqual((yield* ana.send("GET", backOfFirst)).headers.get("location"), "/first")
      const firstSession = ana.cookies(origin).get(Oidc.cookieName)
      assert.strictEqual((yield* ana.send("GET", backOfSecond)).headers.get("location"), "/second")
      assert.notStrictEqual(ana.cookies(origin).get(Oidc.cookieName), firstSession)
      // The session before has ended with the new one; whoever stole the cookies of the attempts comes too late.
      const old = browser()
      old.cookies(origin).set(Oidc.cookieName, firstSession!)
      assert.strictEqual((yield* ask(old)).status, 401)
      for (const [name, value] of stolen) eve.cookies(origin).set(name, value)
      for (const back of [backOfFirst, backOfSecond]) assert.strictEqual((yield* eve.send("GET", back)).status, 400)
      // The code again, with an attempt that is open.
      const third = yield* ana.send("GET", `${origin}/auth/id/login`)
      const url = new URL(ana.next(third)!)
      const replayed = new URL(backOfFirst)
      replayed.searchParams.set("state", url.searchParams.get("state")!)
      assert.strictEqual((yield* ana.send("GET", replayed.href)).status, 401)
    })
  )

  it.live("keys that the provider changes meanwhile, and a session that was planted", () =>
    Effect.gen(function* () {
      const { browser, identity } = yield* world()
      const [ana, eve] = [browser(), browser()]
      yield* logIn(eve, "eve")
      const planted = eve.cookies(origin).get(Oidc.cookieName)!
      ana.cookies(origin).set(Oidc.cookieName, planted)
      const begun = yield* ana.send("GET", `${origin}/auth/id/login`)
      const back = yield* pass(ana, begun, "ana")
      yield* identity.rotate("second")
      const page = yield* ana.send("GET", back)
      assert.strictEqual(page.status, 303, page.text)
      assert.notStrictEqual(ana.cookies(origin).get(Oidc.cookieName), planted)
      assert.strictEqual((yield* ask(ana)).json.id, "id:ana")
      assert.strictEqual((yield* ask(eve)).status, 401)
    })
  )

  it.live("what a cookie logs in writes for pages of the origin alone", () =>
    Effect.gen(function* () {
      const { browser } = yield* world()
      const ana = browser()
      yield* logIn(ana)
      const put = (headers: Record<string, string>) =>
        Effect.map(ana.send("DELETE", `${origin}/api/notes/1`, undefined, headers), ({ status }) => status)
      assert.strictEqual(yield* put({ origin }), 404)
      assert.strictEqual(yield* put({ "sec-fetch-site": "same-origin" }), 404)
      // A form of a page with `Referrer-Policy: no-referrer`.
      assert.strictEqual(yield* put({ origin: "null", "sec-fetch-site": "same-origin" }), 404)
      for (const headers of [
        {},
        { origin: "https://evil.example" },
        { origin: "null" },
        { origin: "https://app.example.evil.example" },
        { origin: "http://app.example" },
        { origin: "https://evil.example", "sec-fetch-site": "same-origin" },
        { "sec-fetch-site": "cross-site" },
        { origin: "null", "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" },
        { "sec-fetch-site": "none" }
      ]) {
        assert.strictEqual(yield* put(headers), 403, JSON.stringify(headers))
        const out = yield* ana.send("POST", `${origin}/auth/logout`, undefined, headers)
        assert.strictEqual(out.status, 403, JSON.stringify(headers))
      }
      assert.strictEqual((yield* ask(ana)).status, 200)
      const local = yield* ana.send("POST", `${origin}/auth/logout?local=true`, undefined, { origin })
      assert.strictEqual(local.headers.get("location"), "/")
      assert.strictEqual((yield* ask(ana)).status, 401)
      // Those of other browsers end by being asked for, and not otherwise.
      const browsers = [browser(), browser(), browser()]
      for (const one of browsers) yield* logIn(one)
      const [first, second, third] = browsers as [typeof ana, typeof ana, typeof ana]
      yield* first.send("POST", `${origin}/auth/logout?local=true&everywhere=false`, undefined, { origin })
      assert.deepStrictEqual([(yield* ask(first)).status, (yield* ask(second)).status], [401, 200])
      yield* second.send("POST", `${origin}/auth/logout?local=true&everywhere=true`, undefined, { origin })
      assert.deepStrictEqual([(yield* ask(second)).status, (yield* ask(third)).status], [401, 401])
    })
  )

  it.live("refresh tokens are kept sealed, and used by one process at a time", () =>
    Effect.gen(function* () {
      const { browser, identity, one, store, two } = yield* world(
        {},
        Layer.empty,
        { keepTokens: true, scopes: ["email", "roles", "offline_access"], parameters: { prompt: "consent" } },
        20
      )
      const ana = browser()
      yield* logIn(ana)
      const secret = Redacted.make(ana.cookies(origin).get(Oidc.cookieName)!)
      // They are as good as over when they come: each call renews, and a refresh token that was used twice would end all.
      const renewed = yield* Effect.all(
        [one, two, one, two, one, two].map(({ oidc }) => oidc.accessToken(secret)),
        { concurrency: "unbounded" }
      )
      const all = renewed.map((token) => Redacted.value(token!))
      assert.strictEqual(new Set(all).size, 6)
      assert.deepStrictEqual(identity.errors, [])
      const answer = yield* browser().send("GET", `${identity.issuer}/me`, undefined, {
        authorization: `Bearer ${all[0]}`
      })
      assert.include(answer.text, "ana@id.example")
      const { entries } = yield* store.list({ prefix: "" })
      const bodies = yield* Effect.forEach(entries, ({ key }) =>
        Effect.map(
          store.get(key),
          ({ body, metadata }) => key + JSON.stringify(metadata) + Buffer.from(body).toString("latin1")
        )
      )
      for (const hidden of [...all, Redacted.value(secret)]) assert.notInclude(bodies.join("\n"), hidden)
      // A JSON Web Token: three letters of it are in random text now and then.
      assert.notMatch(bodies.join("\n"), /eyJ[\w-]{10,}\.eyJ/)
      yield* ana.send("POST", `${origin}/auth/logout`, undefined, { origin })
      assert.isUndefined(yield* two.oidc.accessToken(secret))
    })
  )

  it.live(
    "an answer that is lost while another process writes neither ends a renewal nor uses a refresh token twice",
    () =>
      Effect.gen(function* () {
        const { browser, identity, store, two } = yield* world(
          {},
          Layer.empty,
          { keepTokens: true, scopes: ["email", "roles", "offline_access"], parameters: { prompt: "consent" } },
          20
        )
        const ana = browser()
        yield* logIn(ana)
        const secret = Redacted.make(ana.cookies(origin).get(Oidc.cookieName)!)
        const lost = new StoreError.StoreError({
          operation: "put",
          reason: new StoreError.Unavailable({ description: "the answer was lost", sent: true })
        })
        let puts = 0
        let at = 0
        let isWritten = false
        /** Loses the answer to one write of tokens, carried out or not, until another process has written. */
        const losing: ObjectStore["Service"] = {
          ...store,
          put: (request) =>
            Effect.suspend(() => {
              if (!request.key.includes("oidc_tokens") || (puts += 1) !== at) return store.put(request)
              return Effect.andThen(
                isWritten ? Effect.exit(store.put(request)) : Effect.void,
                Effect.andThen(Effect.orDie(two.oidc.accessToken(secret)), Effect.fail(lost))
              )
            })
        }
        const retrying = RetryingStore.make(losing)
        const three = yield* processOf(retrying, [
          {
            ...optionsOf(identity.issuer),
            keepTokens: true,
            scopes: ["email", "roles", "offline_access"],
            parameters: { prompt: "consent" }
          }
        ])
        // The claim, which was not carried out; and the new tokens, which were.
        for (const [which, written] of [
          [1, false],
          [2, true]
        ] as const) {
          puts = 0
          at = which
          isWritten = written
          assert.isDefined(yield* three.oidc.accessToken(secret))
          assert.isAtLeast(puts, which)
          at = 0
          assert.isDefined(yield* two.oidc.accessToken(secret))
        }
        assert.deepStrictEqual(identity.errors, [])
      })
  )

  it.live("no code, token or cookie is in a log or a span", () =>
    Effect.gen(function* () {
      const { layer, told } = watching()
      const { browser, identity } = yield* world({}, layer, { keepTokens: true })
      const ana = browser()
      const secrets = new Set<string>([app.secret])
      const begun = yield* ana.send("GET", `${origin}/auth/id/login`)
      const note = () => {
        for (const value of ana.cookies(origin).values()) secrets.add(value)
      }
      note()
      const back = yield* pass(ana, begun, "ana")
      for (const name of ["code", "state"]) secrets.add(new URL(back).searchParams.get(name)!)
      yield* ana.send("GET", back)
      note()
      yield* ask(ana)
      yield* ana.send("GET", back)
      yield* ana.send("GET", `${back}x`)
      const out = yield* ana.send("POST", `${origin}/auth/logout`, undefined, { origin })
      const to = new URL(ana.next(out)!)
      for (const name of ["state", "id_token_hint"]) secrets.add(to.searchParams.get(name)!)
      yield* ana.submit(yield* ana.send("GET", to.href), { logout: "yes" })
      for (const { body } of identity.delivered) secrets.add(new URLSearchParams(body).get("logout_token")!)
      assert.isAbove(secrets.size, 6)
      assert.isAbove(told.length, 50)
      const everything = told.join("\n")
      assert.include(everything, "/auth/id/callback")
      for (const secret of secrets) assert.notInclude(everything, secret)
    })
  )

  it.live("over sockets, with the spans and the log of a server: a session of one is one of the other", () =>
    Effect.gen(function* () {
      const { layer, told } = watching()
      const { store } = yield* MemoryStore.make()
      const site: { handler: (request: Request) => Promise<Response> } = { handler: () => Promise.reject(new Error()) }
      const identity = yield* startProvider([app], (request) => site.handler(request))
      const [one, two] = [
        yield* socketOf(store, [optionsOf(identity.issuer)], layer),
        yield* socketOf(store, [optionsOf(identity.issuer)], layer)
      ]
      site.handler = two
      const ana = makeBrowser({ [origin]: one })
      const { back, page } = yield* logIn(ana)
      assert.strictEqual(page.status, 303, page.text)
      const session = ana.cookies(origin).get(Oidc.cookieName)!
      const elsewhere = makeBrowser({ [origin]: two })
      elsewhere.cookies(origin).set(Oidc.cookieName, session)
      assert.strictEqual((yield* ask(elsewhere)).json.id, "id:ana")
      const leaving = yield* ana.send("GET", `${identity.issuer}/session/end`)
      yield* ana.submit(leaving, { logout: "yes" })
      assert.deepStrictEqual([(yield* ask(ana)).status, (yield* ask(elsewhere)).status], [401, 401])
      const { searchParams } = new URL(back)
      const everything = told.join("\n")
      assert.include(everything, "/auth/id/callback")
      assert.include(everything, "Sent HTTP response")
      for (const one of [session, searchParams.get("code")!, searchParams.get("state")!]) {
        assert.notInclude(everything, one)
      }
    })
  )

  it.live("no code goes to the end of a redirect", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const server = createServer((request, response) => {
        asked.push(`${request.method} ${request.url}`)
        request.resume()
        const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
        if (request.url === "/token") response.writeHead(307, { location: `${issuer}/elsewhere` }).end()
        else {
          response.setHeader("content-type", "application/json")
          response.end(
            JSON.stringify({
              issuer,
              authorization_endpoint: `${issuer}/authorize`,
              token_endpoint: `${issuer}/token`,
              jwks_uri: `${issuer}/jwks`
            })
          )
        }
      })
      yield* Effect.acquireRelease(
        Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
        () =>
          Effect.promise(() => {
            server.closeAllConnections()
            return new Promise<void>((resolve) => server.close(() => resolve()))
          })
      )
      const { store } = yield* MemoryStore.make()
      const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const { handler } = yield* processOf(store, [optionsOf(issuer)])
      const ana = makeBrowser({ [origin]: handler })
      const begun = yield* ana.send("GET", `${origin}/auth/id/login`)
      const state = new URL(ana.next(begun)!).searchParams.get("state")!
      const page = yield* ana.send("GET", `${origin}/auth/id/callback?code=c&state=${state}`)
      assert.strictEqual(page.status, 503, page.text)
      assert.deepStrictEqual(asked, ["GET /.well-known/openid-configuration", "POST /token"])
    })
  )
})
