/**
 * The admin page itself: one document, a program and a style, which hold nothing of the database, and so are for anybody.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Base64 from "effect/encoding/Base64"
import * as Hex from "effect/encoding/Hex"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Json } from "../../encoding/Json.ts"
import { sha256 } from "../../internal/sha256.ts"
import * as AdminAssets from "./adminAssets.ts"

/** Nothing is run or styled but what is served here, nothing else is asked, and no other page shows this one. */
const headers = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'"
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()"
}

interface Asset {
  readonly body: string
  readonly contentType: string
  readonly etag: string
  readonly cacheControl: string
}

const digestOf = (text: string): Uint8Array => sha256(new TextEncoder().encode(text))

const integrityOf = (text: string): string => `sha256-${Base64.encode(digestOf(text))}`

const escaped = (text: string): string =>
  text
    .replace(/[&<>"']/g, (found) => `&#${found.codePointAt(0)};`)
    .replace(/[^\x20-\x7e]/gu, (found) => `&#${found.codePointAt(0)};`)

const assetOf = (body: string, contentType: string, cacheControl: string): Asset => ({
  body,
  contentType,
  cacheControl,
  etag: `"${Hex.encode(digestOf(body)).slice(0, 32)}"`
})

/** A name says what is in it, so that it is never asked for again. */
const forever = "public, max-age=31536000, immutable"

const assetsOf = (path: string, title: string, config: Json, { script, style }: AdminAssets.Assets) => {
  const nameOf = (text: string, ending: string) => `admin.${Hex.encode(digestOf(text)).slice(0, 16)}.${ending}`
  const [js, css] = [nameOf(script, "js"), nameOf(style, "css")]
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta name="admin" content="${escaped(JSON.stringify(config))}">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${path}/assets/${css}" integrity="${integrityOf(style)}">
<script type="module" src="${path}/assets/${js}" integrity="${integrityOf(script)}"></script>
</head>
<body><div id="app"></div><noscript>This page needs JavaScript.</noscript></body>
</html>
`
  return new Map<string, Asset>([
    ["", assetOf(html, "text/html; charset=utf-8", "no-cache")],
    [`assets/${js}`, assetOf(script, "text/javascript; charset=utf-8", forever)],
    [`assets/${css}`, assetOf(style, "text/css; charset=utf-8", forever)]
  ])
}

const isKnown = (header: string | undefined, etag: string): boolean =>
  header !== undefined && header.split(",").some((one) => one.trim() === "*" || one.trim().replace(/^W\//, "") === etag)

const answer = (asset: Asset | undefined, known: string | undefined): HttpServerResponse.HttpServerResponse => {
  if (asset === undefined) {
    return HttpServerResponse.text("There is nothing here.\n", {
      status: 404,
      headers: { ...headers, "cache-control": "no-store" }
    })
  }
  const mine = { ...headers, etag: asset.etag, "cache-control": asset.cacheControl }
  return isKnown(known, asset.etag)
    ? HttpServerResponse.empty({ status: 304, headers: mine })
    : HttpServerResponse.text(asset.body, { contentType: asset.contentType, headers: mine })
}

/** Serves the page at a path, and what it consists of below that. What it is told of the API is in it. */
export const layer = (
  path: `/${string}`,
  title: string,
  config: Json
): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const assets = yield* Effect.cached(Effect.map(AdminAssets.load, (files) => assetsOf(path, title, config, files)))
      const page = Effect.gen(function* () {
        const request = yield* HttpServerRequest
        const { "*": part = "" } = yield* HttpRouter.params
        return answer((yield* assets).get(part), request.headers["if-none-match"])
      })
      // The path itself, and all that is below it.
      yield* router.add("GET", `${path}/*`, page)
    })
  )
