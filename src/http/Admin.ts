/**
 * A page for people who look after a database: documents of the resources of an API, their history and content, plugins, costs, and
 * what the store can do.
 *
 * ```ts
 * import * as Admin from "effect-s3db/http/Admin"
 * import * as HttpResources from "effect-s3db/http/HttpResources"
 * import * as Resource from "effect-s3db/Resource"
 * import { Layer, Schema } from "effect"
 *
 * class Notes extends Resource.Service<Notes>()("app/notes", {
 *   schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
 *   primaryKey: "id"
 * }) {}
 *
 * const notes = HttpResources.expose(Notes)
 * const Api = HttpResources.api("app", [notes], { prefix: "/api" })
 *
 * const Routes = Layer.merge(HttpResources.layer(Api, [notes]), Admin.layer(Api, [notes]))
 * ```
 *
 * **Details**
 *
 * - The page is one document with a program and a style, at `/admin`. Anybody can read it, and nothing of the database is in it. It needs no network
 *   but this server, and runs under a strict Content Security Policy.
 * - Whoever uses it logs in as any client of the API does, and has the rights that he has there: documents come from the endpoints of
 *   the API. What those do not tell comes from `/-/admin` below the prefix, for who has the role or the scope `admin`.
 * - Credentials are in the memory of the page, and those that end by themselves or can be revoked in the storage of its tab; in no cookie and in no URL.
 *   Only who signs in by a provider has the cookie of `Oidc`, which no script reads, and which writes for this origin alone.
 * - Its endpoints are those of this page, of this version, and not in the OpenAPI document.
 *
 * @see `docs/guide/admin.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as HttpApi from "effect/http-api/HttpApi"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as CurrentUser from "../CurrentUser.ts"
import { Database } from "../Database.ts"
import type { Definition } from "../Definition.ts"
import type { Json } from "../encoding/Json.ts"
import type * as Costs from "../plugins/Costs.ts"
import type { DynamicSchema } from "../Portable.ts"
import { Authentication } from "./Authentication.ts"
import * as AdminData from "./internal/adminData.ts"
import * as AdminPage from "./internal/adminPage.ts"
import * as Answer from "./internal/answer.ts"
import type * as Documents from "./internal/documents.ts"
import * as Gate from "./internal/gate.ts"
import * as Routes from "./internal/routes.ts"
import type * as Oidc from "./Oidc.ts"

/**
 * Where the page is, and for whom.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<out E = never, out R = never, out E2 = never, out R2 = never> {
  /** Segments of letters, digits, `_`, `~`, `.` and `-`. Default: `/admin`. */
  readonly path?: `/${string}` | undefined
  /** What the page is called. Default: the id of the API. */
  readonly title?: string | undefined
  /** Who may use it: who has one of the roles or one of the scopes. Default: the role `admin`, and the scope `admin`. */
  readonly allow?:
    | { readonly roles?: ReadonlyArray<string> | undefined; readonly scopes?: ReadonlyArray<string> | undefined }
    | undefined
  /** The costs that are shown: `Costs.Costs`, where the layer of that plugin is there. Default: none. */
  readonly costs?: Effect.Effect<Costs.Costs["Service"], E, R> | undefined
  /**
   * The providers that somebody can sign in by: `Oidc.Oidc`, where its `group` is in the API and its way to be known in `Authentication`. Default:
   * none.
   */
  readonly logins?: Effect.Effect<Pick<Oidc.Oidc["Service"], "providers">, E2, R2> | undefined
}

/** A resource that an API serves, as `HttpResources.expose` makes it. */
interface Exposed {
  readonly name: string
  readonly definition: Definition<DynamicSchema>
  readonly settings: Documents.Settings
}

const segments = /^(?:\/[\w~.-]+)+$/

/** Ways to log in that the page knows, as the schemes of the OpenAPI document tell them. */
const waysOf = (schemes: Authentication["Service"]["schemes"]): ReadonlyArray<Json> =>
  Object.values(schemes).flatMap((scheme): ReadonlyArray<Json> => {
    if (scheme.type === "apiKey" && scheme.in === "header") return [{ way: "header", header: scheme.name }]
    if (scheme.type !== "http") return []
    const name = scheme.scheme.toLowerCase()
    return name === "bearer" || name === "basic" ? [{ way: name }] : []
  })

/** What the paths of the resources begin with: other groups of the API may have paths of any form. */
const prefixOf = (api: HttpApi.HttpApi<string, HttpApiGroup.Top>, resources: ReadonlyArray<Exposed>): string => {
  const groups = resources.flatMap(({ name }) => {
    const group = Object.hasOwn(api.groups, name) ? api.groups[name] : undefined
    return group === undefined ? [] : [group]
  })
  return Routes.prefixOf(groups.length === 0 ? Object.values(api.groups) : groups)
}

/** The most pages of a listing that one request measures. */
const mostPages = 10

/**
 * Serves the page, and what it asks for beside the endpoints of the API. `api` and `resources` are what `HttpResources.layer` is given.
 *
 * Throws where `path` has another form, or `logins` are given for an API that has no endpoints of them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  Id extends string,
  Groups extends HttpApiGroup.Constraint,
  E = never,
  R = never,
  E2 = never,
  R2 = never
>(
  api: HttpApi.HttpApi<Id, Groups>,
  resources: ReadonlyArray<Exposed>,
  options: Options<E, R, E2, R2> = {}
): Layer.Layer<never, E | E2, R | R2 | HttpRouter.HttpRouter | Database | Authentication> => {
  const { allow = { roles: ["admin"], scopes: ["admin"] }, costs, path = "/admin", title = api.identifier } = options
  if (!segments.test(path)) {
    throw new Error(`${JSON.stringify(path)} cannot be where the page is: write it as /admin, or /tools/admin`)
  }
  const untyped = api as unknown as HttpApi.HttpApi<Id, HttpApiGroup.Top>
  const prefix = prefixOf(untyped, resources)
  const served = resources.map((one): AdminData.Served => ({
    ...one,
    operations: Object.keys(untyped.groups[one.name]?.endpoints ?? {})
  }))
  const hasAccounts = untyped.groups["accounts"]?.endpoints["login"]?.path === `${prefix}/accounts/login`

  const loginPath = untyped.groups["oidc"]?.endpoints["login"]?.path
  const logins = options.logins
  if (logins !== undefined && loginPath === undefined) {
    throw new Error("logins by a provider need Oidc.group in the API")
  }

  const mayUse = Effect.flatMap(CurrentUser.required, (user) =>
    allow.roles?.some((role) => user.roles.includes(role)) || allow.scopes?.some((scope) => user.scopes.includes(scope))
      ? Effect.succeed(user)
      : Answer.refuse(403, "Forbidden", "this is for administrators")
  )

  const data = HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const database = yield* Database
      const gate = Gate.make(yield* Authentication)
      const priced = costs === undefined ? undefined : yield* costs
      const described = AdminData.resources(served)

      const add = (
        name: string,
        data: (user: CurrentUser.User, parameters: URLSearchParams) => Effect.Effect<Json, Answer.Failure>
      ) => {
        const answered = Effect.gen(function* () {
          const { url } = yield* HttpServerRequest
          const user = yield* mayUse
          const { searchParams } = new URL(url, "http://localhost")
          return HttpServerResponse.jsonUnsafe(yield* data(user, searchParams), {
            headers: { "cache-control": "no-store" }
          })
        })
        const told = Effect.flatMap(Gate.RequestId, (requestId) => Answer.told(answered, requestId))
        return router.add("GET", `${prefix}/-/admin${name}` as HttpRouter.PathInput, gate(told, { isOpen: false }))
      }

      yield* add("", ({ id, roles, scopes }) =>
        Effect.gen(function* () {
          return {
            user: { id, roles, scopes },
            hasCosts: priced !== undefined,
            resources: yield* described,
            others: yield* AdminData.others(database, served)
          }
        })
      )
      yield* add("/sizes", (_, parameters) =>
        Effect.gen(function* () {
          const resource = parameters.get("resource") ?? ""
          const known = yield* database.listResources
          if (known.every(({ name }) => name !== resource)) {
            return yield* Answer.refuse(404, "NotFound", "the catalog has no resource of this name")
          }
          const token = parameters.get("token") ?? undefined
          return yield* AdminData.sizes(database, resource, { pages: mostPages, token })
        })
      )
      yield* add("/plugins", () => AdminData.plugins(database, served))
      yield* add("/costs", () =>
        priced === undefined
          ? Answer.refuse(404, "NotFound", "this server does not price requests")
          : AdminData.costs(priced)
      )
      yield* add("/store", () => Effect.succeed(AdminData.store(database)))
    })
  )

  const page = Layer.unwrap(
    Effect.gen(function* () {
      const { schemes } = yield* Authentication
      const providers = logins === undefined ? [] : (yield* logins).providers
      return AdminPage.layer(path, title, {
        api: prefix,
        page: path,
        title,
        ways: waysOf(schemes),
        hasAccounts,
        providers: providers.map((name) => ({ name, login: loginPath!.replace(":provider", () => name) })),
        ...(providers.length === 0 ? {} : { logout: loginPath!.replace(":provider/login", "logout") })
      })
    })
  )
  return Layer.mergeAll(data, page)
}
