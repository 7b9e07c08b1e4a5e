/** An API in memory, without a socket: requests go to a handler. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Id from "effect-s3db/crypto/Id"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"

export class Address extends Schema.Class<Address>("http/Address")({
  city: Schema.String,
  street: Schema.optionalKey(Schema.String)
}) {}

export class User extends Schema.Class<User>("http/User")({
  id: Id.Random,
  name: Schema.NonEmptyString,
  age: Schema.Int,
  country: Schema.String,
  joined: Attribute.DateTime.pipe(Schema.optionalKey),
  address: Schema.optionalKey(Address),
  internal: Schema.optionalKey(Schema.String),
  role: Schema.optionalKey(Schema.String),
  email: Schema.optionalKey(Schema.String),
  token: Schema.optionalKey(Attribute.SecretText),
  password: Schema.optionalKey(Attribute.Password)
}) {}

export class Users extends Resource.Service<Users>()("http/users", {
  schema: User,
  primaryKey: "id",
  partitions: { byCountry: ["country"], byInternal: ["internal"] },
  unique: { byEmail: ["email"] }
}) {}

export class Notes extends Resource.Service<Notes>()("http/notes", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String, tenant: Schema.String }),
  primaryKey: "id",
  partitions: { byTenant: ["tenant"] }
}) {}

const isTenants = Guard.record<{ readonly tenant?: string }>(
  (note, user) => user !== undefined && note.tenant === user.claims["tenant"]
)

/** `Bearer ana` is Ana, `Bearer ana:acme` Ana of a tenant; `Bearer forged` proves nothing. */
export const Auth = Authentication.layerFrom(({ headers }) => {
  const [, token] = /^Bearer (.+)$/.exec(headers["authorization"] ?? "") ?? []
  if (token === "forged") return Effect.fail(new CurrentUser.Unauthenticated())
  if (token === undefined) return Effect.succeed(undefined)
  const [id = "", tenant = ""] = token.split(":")
  return Effect.succeed(CurrentUser.make(id, { claims: { tenant }, roles: id === "admin" ? ["admin"] : [] }))
})

export const services = Layer.mergeAll(
  KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(1)) } }),
  PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
)

export const users = HttpResources.expose(Users, {
  protect: ["internal", "address.street"],
  readonly: ["role"],
  maxBodyBytes: 64 * 1024
})
export const notes = HttpResources.expose(Notes, { hideForbidden: true, requireIfMatch: true })

export const Api = HttpResources.api("shop", [users, notes], { prefix: "/api", title: "A shop" })

export const Data = Layer.mergeAll(Users.layer, Resource.guard(Notes, { "*": isTenants })).pipe(
  Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
  Layer.provideMerge(MemoryStore.layer),
  Layer.provideMerge(services)
)

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Whatever the answer says: tests compare it. */
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any
}

export interface Client {
  readonly send: (
    method: string,
    path: string,
    options?: {
      readonly body?: unknown
      readonly raw?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>
      readonly as?: string | undefined
      readonly headers?: Record<string, string>
    }
  ) => Effect.Effect<Answer>
}

const base = "http://localhost"

/** Serves routes until the scope closes. */
export const serve = Effect.fnUntraced(function* <E>(
  routes: Layer.Layer<never, E, HttpRouter.HttpRouter | Layer.Success<typeof HttpServer.layerServices>>
) {
  const { dispose, handler } = HttpRouter.toWebHandler(Layer.provide(routes, HttpServer.layerServices), {
    disableLogger: true,
    routerConfig: HttpResources.routerConfig
  })
  yield* Effect.addFinalizer(() => Effect.promise(dispose))
  const client: Client = {
    send: (method, path, { as = "ana", body, headers = {}, raw } = {}) =>
      Effect.promise(async () => {
        const given = new Headers(headers)
        if (as !== "") given.set("authorization", `Bearer ${as}`)
        if (body !== undefined && !given.has("content-type")) given.set("content-type", "application/json")
        const content = raw ?? (body === undefined ? undefined : JSON.stringify(body))
        const request = new Request(base + path, {
          method,
          headers: given,
          ...(content === undefined ? {} : { body: content, duplex: "half" })
        } as RequestInit)
        const response = await handler(request)
        const text = await response.text()
        const isJson = /[/+]json/.test(response.headers.get("content-type") ?? "")
        return {
          status: response.status,
          headers: response.headers,
          text,
          json: isJson && text !== "" ? (JSON.parse(text) as unknown) : undefined
        }
      })
  }
  return { ...client, handler: handler as (request: Request) => Promise<Response> }
})

/** The API of this file, with a database of its own. */
export const shop = serve(
  HttpResources.layer(Api, [users, notes], { openApi: "public" }).pipe(Layer.provide([Data, Auth]))
)

/** Every refusal is a problem, in the form of RFC 9457. */
export const isProblem = (answer: Answer, status: number, code?: string) => {
  assert.strictEqual(answer.status, status, answer.text)
  assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
  assert.strictEqual(answer.json.status, status)
  assert.match(answer.json.type, /^urn:effect-s3db:problem:[a-z-]+$/)
  assert.strictEqual(answer.json.requestId, answer.headers.get("x-request-id"))
  if (code !== undefined) assert.strictEqual(answer.json.code, code)
}
