/** A server with an admin page, for a browser: 2,500 people, hostile documents, accounts, keys, a queue, a journal, costs. */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Accounts from "effect-s3db/http/Accounts"
import * as Admin from "effect-s3db/http/Admin"
import * as ApiKeys from "effect-s3db/http/ApiKeys"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Costs from "effect-s3db/plugins/Costs"
import * as Journaler from "effect-s3db/plugins/Journaler"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Prices from "effect-s3db/storage/Prices"

export class People extends Resource.Service<People>()("library/people", {
  schema: Schema.Struct({
    id: Schema.String,
    name: Schema.NonEmptyString,
    age: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 150 })),
    country: Schema.String,
    role: Schema.Literals(["reader", "librarian"]),
    isMember: Schema.Boolean,
    email: Schema.optionalKey(Schema.String),
    address: Schema.optionalKey(Schema.Struct({ city: Schema.String, street: Schema.optionalKey(Schema.String) })),
    tags: Schema.optionalKey(Schema.Array(Schema.String)),
    token: Schema.optionalKey(Attribute.SecretText),
    extra: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
  }),
  primaryKey: "id",
  scan: true,
  history: true,
  content: true,
  journal: true,
  partitions: { byCountry: ["country"] },
  unique: { byEmail: ["email"] }
}) {}

class Members extends Resource.Service<Members>()("library/members", {
  schema: Schema.Struct({ id: Schema.String, password: Attribute.Password, role: Schema.String }),
  primaryKey: "id"
}) {}

class Reminders extends S3Queue.Service<Reminders>()("library/reminders", {
  payload: Schema.Struct({ to: Schema.String })
}) {}

export const secret = "the token of somebody"
export const password = "correct horse battery"

/** What would do harm if it was taken for anything but text. */
export const hostile = [
  { id: "<img src=x onerror=alert(1)>", name: "<script>alert(2)</script>" },
  { id: "a/b/../c", name: 'javascript:alert(3)//"onmouseover="alert(4)' },
  { id: "👩‍🚀 \u202e?#%2F&", name: "{{constructor.constructor('alert(5)')()}}" },
  { id: "__proto__", name: "__proto__" },
  { id: "-", name: "\u0000\u001b[31m".replaceAll("\u0000", " ") }
] as const

const countries = ["BR", "DE", "IN", "JP", "PT"]

const some = (i: number) => ({
  id: `p${String(i).padStart(4, "0")}`,
  name: `Person ${i}`,
  age: i % 90,
  country: countries[i % 5]!,
  role: i % 10 === 0 ? ("librarian" as const) : ("reader" as const),
  isMember: i % 2 === 0,
  ...(i % 3 === 0 ? { email: `p${i}@example.com` } : {}),
  ...(i % 4 === 0 ? { address: { city: "Recife", street: `Rua ${i}` }, tags: ["early", `n${i}`] } : {}),
  ...(i === 1 ? { token: Redacted.make(secret) } : {})
})

const users = Effect.map(Members, (members): Accounts.Users<typeof Members.definition.schema.Type> => {
  const get = (id: string) => Effect.map(members.getOption(id), Option.getOrUndefined)
  return {
    find: get,
    get,
    hash: (account) => account.password,
    user: ({ id, role }) => CurrentUser.make(id, { roles: [role] }),
    setPassword: (id, password) => members.update(id, { password })
  }
})

const people = HttpResources.expose(People)
const Api = HttpResources.api("library", [people], { prefix: "/api", title: "A library" }).add(
  Accounts.group.prefix("/api")
)

const Live = Layer.mergeAll(
  Accounts.layer(users, {
    issuer: "https://library.example.com",
    audience: "https://library.example.com/api",
    secrets: [Redacted.make("32 bytes or more, out of a vault")]
  }).pipe(Layer.provide(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory)))),
  ApiKeys.layer,
  Reminders.layer,
  Journaler.layerWith({ firstPause: "50 millis", longestPause: "100 millis" }),
  Costs.layer({ prices: Prices.s3Standard["eu-central-1"], write: false })
).pipe(
  Layer.provideMerge([People.layer, Members.layer]),
  Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
  Layer.provideMerge([
    MemoryStore.layer,
    PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) }),
    KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(1)) } })
  ])
)

const Auth = Authentication.layer(
  Effect.gen(function* () {
    const { verifier } = yield* Accounts.Accounts
    return Authentication.firstOf(Authentication.bearer(verifier), yield* Authentication.apiKey)
  })
)

const Routes = Layer.mergeAll(
  HttpResources.layer(Api, [people]),
  Admin.layer(Api, [people], { title: "A library", costs: Costs.Costs })
).pipe(Layer.provide(Accounts.handlers(Api)), Layer.provide(Auth))

/** Serves until the scope closes. `as` is what the program itself does meanwhile. */
export const start = Effect.gen(function* () {
  const services = yield* Layer.build(
    HttpRouter.serve(Routes, {
      disableLogger: true,
      disableListenLog: true,
      routerConfig: HttpResources.routerConfig
    }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
      Layer.provideMerge(Live)
    )
  )
  return yield* Effect.gen(function* () {
    const repository = yield* People
    yield* repository.insertMany(Array.from({ length: 2500 }, (_, i) => some(i)))
    for (const one of hostile) {
      yield* repository.insert({
        ...one,
        age: 1,
        country: "<b>XX</b>",
        role: "reader",
        isMember: false,
        extra: { constructor: "<i>own</i>", toString: "<u>own</u>" }
      })
    }
    // No URL can name it.
    yield* repository.insert({ id: "..", name: "Dots", age: 1, country: "XY", role: "reader", isMember: false })
    const members = yield* Members
    yield* members.insert({ id: "ana", password: Redacted.make(password), role: "admin" })
    yield* members.insert({ id: "bob", password: Redacted.make(password), role: "reader" })
    const queue = yield* Reminders
    for (const to of ["a", "b", "c"]) yield* queue.offer({ to })
    const keys = yield* ApiKeys.ApiKeys
    const { key } = yield* keys.issue({ user: "ops", roles: ["admin"] })
    const { address } = yield* HttpServer.HttpServer
    return { repository, keys, key: Redacted.value(key), url: HttpServer.formatAddress(address) }
  }).pipe(Effect.provideContext(services))
})
