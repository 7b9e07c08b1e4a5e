/**
 * What an API has beside the endpoints of resources: answers for everything else below its prefix, and its OpenAPI document.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as HttpApi from "effect/http-api/HttpApi"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiScalar from "effect/http-api/HttpApiScalar"
import * as OpenApi from "effect/http-api/OpenApi"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { Authentication } from "../Authentication.ts"
import * as Problem from "../Problem.ts"
import * as Gate from "./gate.ts"

export interface Options {
  readonly openApi?: "nobody" | "authenticated" | "public" | undefined
  readonly docs?: boolean | undefined
}

/** The page has its program in itself, and asks this origin alone. */
const pageHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer"
}

/** The page for people. */
export const page = (
  api: HttpApi.HttpApi<string, HttpApiGroup.Top>
): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  HttpApiScalar.layer(api, {
    path: `${prefixOf(Object.values(api.groups))}/docs` as `/${string}`,
    scalar: { withDefaultFonts: false }
  }).pipe(
    Layer.provide(
      HttpRouter.middleware((effect) =>
        Effect.map(effect, (response) => HttpServerResponse.setHeaders(response, pageHeaders))
      ).layer
    )
  )

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS"

const methods: ReadonlyArray<Method> = ["GET", "POST", "PUT", "PATCH", "DELETE"]

/** The methods of each path, as clients may use them. */
const methodsByPath = (api: HttpApi.HttpApi<string, HttpApiGroup.Top>): ReadonlyMap<string, ReadonlySet<string>> => {
  const found = new Map<string, Set<string>>()
  for (const group of Object.values(api.groups)) {
    for (const { method, path } of Object.values(group.endpoints)) {
      const known = found.get(path) ?? new Set(["OPTIONS"])
      known.add(method)
      if (method === "GET") known.add("HEAD")
      found.set(path, known)
    }
  }
  return found
}

/** What all paths begin with. */
export const prefixOf = ([group]: ReadonlyArray<HttpApiGroup.Top>): string => {
  const endpoint = group === undefined ? undefined : Object.values(group.endpoints)[0]
  const end = endpoint?.path.indexOf(`/${group?.identifier}`) ?? -1
  return end < 0 ? "" : endpoint!.path.slice(0, end)
}

const allowed = (of: ReadonlySet<string>): string => [...of].toSorted().join(", ")

/** The document with what the program knows of authentication. */
const describe = (
  api: HttpApi.HttpApi<string, HttpApiGroup.Top>,
  schemes: Authentication["Service"]["schemes"]
): OpenApi.OpenAPISpec => {
  const spec = OpenApi.fromApi(api)
  spec.components.securitySchemes = { ...spec.components.securitySchemes, ...schemes }
  const wanted = Object.keys(schemes).map((name) => ({ [name]: [] }))
  for (const group of Object.values(api.groups)) {
    for (const endpoint of Object.values(group.endpoints)) {
      const path = endpoint.path.replaceAll(/:(\w+)/g, "{$1}")
      const operation = spec.paths[path]?.[endpoint.method.toLowerCase() as "get"]
      if (operation !== undefined) operation.security = Gate.isOpen(endpoint.annotations) ? [{}, ...wanted] : wanted
    }
  }
  return spec
}

export const layer = (
  api: HttpApi.HttpApi<string, HttpApiGroup.Top>,
  { openApi = "authenticated" }: Options
): Layer.Layer<never, never, HttpRouter.HttpRouter | Authentication> =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const authentication = yield* Authentication
      const gate = Gate.make(authentication)
      const open = { isOpen: true }
      for (const [path, of] of methodsByPath(api)) {
        const allow = allowed(of)
        yield* router.add(
          "OPTIONS",
          path as HttpRouter.PathInput,
          gate(Effect.succeed(HttpServerResponse.empty({ status: 204, headers: { allow } })), open)
        )
        for (const method of methods) {
          if (of.has(method)) continue
          const refused = Effect.map(Gate.RequestId, (requestId) =>
            HttpServerResponse.setHeader(
              Problem.toResponse(Problem.make(405, "MethodNotAllowed", `this path takes ${allow}`, { requestId })),
              "allow",
              allow
            )
          )
          yield* router.add(method, path as HttpRouter.PathInput, gate(refused, open))
        }
      }
      const prefix = prefixOf(Object.values(api.groups))
      if (openApi !== "nobody") {
        let made: HttpServerResponse.HttpServerResponse | undefined
        const document = Effect.sync(
          () => (made ??= HttpServerResponse.jsonUnsafe(describe(api, authentication.schemes)))
        )
        yield* router.add(
          "GET",
          `${prefix}/openapi.json` as HttpRouter.PathInput,
          gate(document, { isOpen: openApi === "public" })
        )
      }
      if (prefix !== "") {
        const missing = Effect.map(Gate.RequestId, (requestId) =>
          Problem.toResponse(Problem.make(404, "NoSuchPath", "the API has nothing of this name", { requestId }))
        )
        // A HEAD that is no endpoint is looked for as GET: a route for all methods would take those that are.
        for (const method of [...methods, "OPTIONS"] as const) {
          yield* router.add(method, `${prefix}/*` as HttpRouter.PathInput, gate(missing, open))
        }
      }
    })
  )
