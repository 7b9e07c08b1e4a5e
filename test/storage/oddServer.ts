/** A small S3 server that keeps objects, and is odd in the ways that a test asks for. */
import { createHash } from "node:crypto"
import http from "node:http"
import type { AddressInfo, Socket } from "node:net"
import * as Effect from "effect/Effect"
import { client } from "./s3Server.ts"

export interface Oddities {
  /** How a key is written in a listing. Default: as a form (`+` for a space), as AWS does. */
  readonly written?: (key: string) => string
  /** Whether a listing says `EncodingType`. Default: `true`. */
  readonly says?: boolean
  /** What is answered to a listing, or to DeleteObjects, instead of S3's XML. */
  readonly list?: Instead | ((url: URL, keys: ReadonlyArray<string>) => Instead | undefined)
  readonly deleteMany?: Instead
  /** DeleteObjects: asks for `Content-MD5`, tells nothing of what it deleted, or only of every other key. */
  readonly deletion?: "needs md5" | "silent" | "forgetful" | "deletes half"
  /** Keys of a page at most. */
  readonly page?: number
  /** Continuation tokens that lead to where the listing has been: to itself, or in a circle of pages. */
  readonly tokens?: "the same" | "a circle" | "others for the same"
  /** Pages with nothing in them come between the others. */
  readonly emptyPages?: boolean
  readonly ignoresStartAfter?: boolean
  readonly ignoresPrefix?: boolean
  /** Milliseconds that the server's clock is ahead; it refuses what is signed 15 minutes off. */
  readonly clock?: number
  /** Whether a connection that was used before is broken off instead of being answered. */
  readonly breaks?: (request: { readonly method: string; readonly used: number }) => boolean
  /** What it says of how long it keeps connections. */
  readonly keepAlive?: string
}

export interface Instead {
  readonly status: number
  readonly type?: string
  readonly body?: string
  readonly code?: string
}

export const html: Instead = { status: 200, type: "text/html", body: "<html><body>Welcome to the hotel</body></html>" }
export const nothing: Instead = { status: 200 }
export const noContent: Instead = { status: 204 }

interface Kept {
  readonly body: Buffer
  readonly etag: string
  readonly meta: Record<string, string>
  readonly type: string
  readonly modified: Date
}

const escaped = (text: string) => text.replace(/[&<>\r]/g, (one) => `&#${one.charCodeAt(0)};`)

const unescaped = (text: string) =>
  text
    .replace(/&#(x?)([0-9a-f]+);/gi, (_, hex, code) => String.fromCodePoint(parseInt(code, hex === "" ? 10 : 16)))
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&")

/** As AWS writes keys with `encoding-type=url`. */
export const asForm = (key: string) => encodeURIComponent(key).replaceAll("%20", "+").replaceAll("%2F", "/")

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** The server, until the scope closes. What `odd` returns may change from request to request. */
export const serveOddly = Effect.fnUntraced(function* (odd: () => Oddities) {
  const objects = new Map<string, Kept>()
  const seen: Array<{ readonly method: string; readonly path: string; readonly headers: http.IncomingHttpHeaders }> = []
  const uses = new WeakMap<Socket, number>()
  const state = { connections: 0, fresh: 0 }

  const answer = (request: http.IncomingMessage, response: http.ServerResponse, body: Buffer) => {
    const oddities = odd()
    const url = new URL(request.url!, "http://host")
    const method = request.method!
    seen.push({ method, path: request.url!, headers: request.headers })
    const used = uses.get(request.socket) ?? 0
    uses.set(request.socket, used + 1)
    if (oddities.breaks?.({ method, used }) === true) return void request.socket.destroy()
    const now = new Date(Date.now() + (oddities.clock ?? 0))
    response.setHeader("date", now.toUTCString())
    if (oddities.keepAlive !== undefined) response.setHeader("keep-alive", oddities.keepAlive)
    const send = (status: number, text = "", headers: http.OutgoingHttpHeaders = {}) => {
      response.writeHead(status, { "content-length": Buffer.byteLength(text), ...headers })
      response.end(method === "HEAD" ? undefined : text)
    }
    const fail = (status: number, code: string) =>
      send(status, `<?xml version="1.0"?>\n<Error><Code>${code}</Code></Error>`, { "content-type": "application/xml" })
    const xml = (text: string) => send(200, `<?xml version="1.0"?>\n${text}`, { "content-type": "application/xml" })
    const instead = ({ body = "", code, status, type }: Instead) =>
      code === undefined ? send(status, body, type === undefined ? {} : { "content-type": type }) : fail(status, code)

    const signed = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(String(request.headers["x-amz-date"]))
    const at = signed === null ? 0 : Date.parse(`${signed.slice(1, 4).join("-")}T${signed.slice(4).join(":")}Z`)
    if (Math.abs(at - now.getTime()) > 900_000) return fail(403, "RequestTimeTooSkewed")

    const key = decodeURIComponent(url.pathname.slice("/bkt/".length))
    const found = objects.get(key)
    const headersOf = (kept: Kept) => ({
      etag: kept.etag,
      "content-type": kept.type,
      "last-modified": kept.modified.toUTCString(),
      ...Object.fromEntries(Object.entries(kept.meta).map(([name, value]) => [`x-amz-meta-${name}`, value]))
    })
    const unmet = () => {
      const { "if-match": match, "if-none-match": none } = request.headers
      return (none === "*" && found !== undefined) || (match !== undefined && match !== found?.etag)
    }
    const metaOf = () =>
      Object.fromEntries(
        Object.entries(request.headers).flatMap(([name, value]) =>
          name.startsWith("x-amz-meta-") ? [[name.slice("x-amz-meta-".length), String(value)]] : []
        )
      )

    const list = () => {
      const text = oddities.written ?? asForm
      const prefix = url.searchParams.get("prefix") ?? ""
      const most = Math.min(Number(url.searchParams.get("max-keys") ?? 1000), oddities.page ?? 1000)
      const all = [...objects.keys()].filter((one) => oddities.ignoresPrefix === true || one.startsWith(prefix))
      const keys = all.toSorted(byBytes)
      const other = typeof oddities.list === "function" ? oddities.list(url, keys) : oddities.list
      if (other !== undefined) return instead(other)
      const token = url.searchParams.get("continuation-token")?.split("#")[0]
      const isEmpty = token?.startsWith("empty:") === true
      const after =
        token?.replace(/^(empty|full):/, "") ??
        (oddities.ignoresStartAfter === true ? "" : (url.searchParams.get("start-after") ?? ""))
      const rest = keys.filter((one) => byBytes(one, after) > 0)
      const page = isEmpty || (oddities.emptyPages === true && token === undefined) ? [] : rest.slice(0, most)
      const end = page.at(-1) ?? after
      const isTruncated = rest.length > page.length || oddities.tokens !== undefined
      const next = (): string => {
        switch (oddities.tokens) {
          case "the same":
            return "full:"
          case "others for the same":
            return `full:#${seen.length}`
          case "a circle":
            return rest.length > page.length ? `full:${end}` : "full:"
          default:
            return oddities.emptyPages === true && page.length > 0 ? `empty:${end}` : `full:${end}`
        }
      }
      const contents = page.map((one) => {
        const { body: content, etag, modified } = objects.get(one)!
        return (
          `<Contents><Key>${escaped(text(one))}</Key><LastModified>${modified.toISOString()}</LastModified>` +
          `<ETag>${escaped(etag)}</ETag><Size>${content.length}</Size></Contents>`
        )
      })
      xml(
        `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>` +
          (oddities.says === false ? "" : "<EncodingType>url</EncodingType>") +
          (isTruncated ? `<NextContinuationToken>${escaped(next())}</NextContinuationToken>` : "") +
          `${contents.join("")}</ListBucketResult>`
      )
    }

    const deleteMany = () => {
      if (oddities.deleteMany !== undefined) return instead(oddities.deleteMany)
      if (oddities.deletion === "needs md5") {
        const md5 = createHash("md5").update(body).digest("base64")
        if (request.headers["content-md5"] !== md5) return fail(400, "MissingContentMD5")
        if (Object.keys(request.headers).some((name) => name.startsWith("x-amz-checksum"))) {
          return fail(400, "InvalidRequest")
        }
      }
      const text = body.toString()
      const asked = [...text.matchAll(/<Key>([^]*?)<\/Key>/g)].map((match) => unescaped(match[1]!))
      const gone = oddities.deletion === "deletes half" ? asked.filter((_, i) => i % 2 === 0) : asked
      for (const one of gone) objects.delete(one)
      const quiet = text.includes("<Quiet>true</Quiet>") || oddities.deletion === "silent"
      const told = oddities.deletion === "forgetful" ? gone.filter((_, i) => i % 2 === 0) : gone
      const deleted = quiet ? [] : told.map((one) => `<Deleted><Key>${escaped(one)}</Key></Deleted>`)
      xml(`<DeleteResult>${deleted.join("")}</DeleteResult>`)
    }

    const keep = (content: Buffer, meta: Record<string, string>, type: string) => {
      state.fresh += 1
      const kept = { body: content, meta, type, etag: `"v${state.fresh}"`, modified: now }
      objects.set(key, kept)
      return kept
    }

    const put = () => {
      if (unmet()) return fail(412, "PreconditionFailed")
      const source = request.headers["x-amz-copy-source"]
      const type = request.headers["content-type"] ?? ""
      if (source === undefined) return send(200, "", { etag: keep(body, metaOf(), type).etag })
      const from = objects.get(decodeURIComponent(String(source)).slice("bkt/".length))
      if (from === undefined) return fail(404, "NoSuchKey")
      const match = request.headers["x-amz-copy-source-if-match"]
      if (match !== undefined && match !== from.etag) return fail(412, "PreconditionFailed")
      const isNew = request.headers["x-amz-metadata-directive"] === "REPLACE"
      const { etag } = keep(from.body, isNew ? metaOf() : from.meta, isNew ? type : from.type)
      xml(`<CopyObjectResult><ETag>${escaped(etag)}</ETag></CopyObjectResult>`)
    }

    const read = () => {
      if (found === undefined) return fail(404, "NoSuchKey")
      response.writeHead(200, { ...headersOf(found), "content-length": found.body.length })
      response.end(method === "HEAD" ? undefined : found.body)
    }

    const remove = () => {
      if (unmet()) return fail(412, "PreconditionFailed")
      objects.delete(key)
      send(204)
    }

    if (key === "") return method === "POST" ? deleteMany() : list()
    if (method === "PUT") return put()
    return method === "DELETE" ? remove() : read()
  }

  const server = http.createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => answer(request, response, Buffer.concat(chunks)))
  })
  server.on("connection", () => {
    state.connections += 1
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.promise(() => {
        server.closeAllConnections()
        return new Promise((resolve) => server.close(resolve))
      })
  )
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { objects, seen, state, options: { ...client, endpoint } }
})
