/** The client of S3 that speaks HTTP itself: requests are signed here, answers are read here. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { percentEncode } from "../../internal/text.ts"
import type { Metadata } from "../ObjectStore.ts"
import { type Reason, StoreError, Timeout, Unsupported } from "../StoreError.ts"
import * as httpNode from "./httpNode.ts"
import { type HttpAnswer, NoAnswerInTime, type Transport } from "./httpTransport.ts"
import { invalidOption } from "./optionRules.ts"
import { nodeModules } from "./s3Agents.ts"
import { answersTo, kindOf, NotOfS3, rootOf, statusOfLateError } from "./s3Answers.ts"
import type { Requests } from "./s3Bucket.ts"
import * as s3Digests from "./s3Digests.ts"
import * as s3Errors from "./s3Errors.ts"
import * as s3Keys from "./s3Keys.ts"
import {
  defaultConnectTimeout,
  defaultMaxSockets,
  describePlace,
  noticeableSkewMillis,
  type Options as SharedOptions,
  type Variants,
  warnOfClock
} from "./s3Options.ts"
import { isRegion, placeOf } from "./s3Place.ts"
import { readListing, numberIn, timeIn } from "./s3Listing.ts"
import type { Client, Found } from "./s3Port.ts"
import * as s3Text from "./s3Text.ts"
import { escapeXml, readXml } from "./s3Xml.ts"
import * as sigV4 from "./sigV4.ts"

/** The options of the client. */
export interface Options extends Omit<SharedOptions, "credentials">, Variants {
  readonly credentials?: s3Keys.Source
  readonly payload?: "signed" | "unsigned" | undefined
  readonly transport?: "node" | "undici" | "fetch" | undefined
}

type Header = readonly [name: string, value: string]

/** Makes a result of an answer. `text`: its body, where it was read to tell whether it is one of S3. */
type Read<A> = (answer: HttpAnswer, text: string) => A

/** A request before it is signed. */
interface Prepared {
  readonly facts: Omit<s3Errors.RequestFacts, "region" | "place">
  /** The key that it is about, for errors. */
  readonly about: string
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE"
  /** Percent-encoded, below the bucket. Absent: the bucket itself. */
  readonly path?: string
  /** In the order of the names. */
  readonly query?: string
  /** Beside those that every request has. */
  readonly headers: ReadonlyArray<Header>
  readonly body?: Uint8Array
  /** The digest of the body, where it is known. */
  readonly payload?: string
}

const xmlNamespace = "http://s3.amazonaws.com/doc/2006-03-01/"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const byName = ([a]: Header, [b]: Header): number => (a < b ? -1 : 1)

const encodeKey = (key: string): string => percentEncode(key).replaceAll("%2F", "/")

/** What a path would be rewritten by, between slashes. */
const dotSegment = /(?:^|\/)\.\.?(?:\/|$)/

/** How often a request is made again, at most, after what its answer has taught: the clock, the region, new credentials. */
const mostLessons = 2

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

/** What is different by less than this is the time that an answer takes, and whole seconds. */
const leastSkewMillis = 60_000

/**
 * Node's own client where there is one, else `fetch`. Bun and Deno have it, too, and it keeps paths and bodies as they are; Workers
 * imitate it over `fetch`, with half of the headers.
 */
const transportOf = Effect.fnUntraced(function* (
  options: Options,
  now: () => number
): Effect.fn.Return<Transport, StoreError> {
  const limits = {
    maxSockets: options.maxSockets ?? defaultMaxSockets,
    connectTimeout: millis(options.connectTimeout ?? defaultConnectTimeout),
    requestTimeout: options.requestTimeout === undefined ? undefined : millis(options.requestTimeout),
    now
  }
  const isWorker = globalThis.navigator?.userAgent === "Cloudflare-Workers"
  switch (options.transport ?? (isWorker || nodeModules() === undefined ? "fetch" : "node")) {
    case "fetch":
      return (yield* Effect.promise(() => import("./httpFetch.ts"))).make(globalThis.fetch, limits)
    case "undici": {
      const undici = yield* loadUndici
      return (yield* Effect.promise(() => import("./httpUndici.ts"))).make(undici, limits)
    }
    case "node": {
      const modules = nodeModules()
      return modules === undefined
        ? yield* invalidOption("transport", "this runtime has no client of Node: leave it out")
        : httpNode.make(modules, limits)
    }
  }
})

const loadUndici = Effect.tryPromise({
  // A bundler takes an import that is caught for one that may be missing.
  try: () => import("undici").catch((error: unknown) => Promise.reject(error)),
  catch: (error) =>
    new StoreError({
      operation: "open",
      reason: new Unsupported({ feature: "undici", description: s3Errors.notLoaded("undici", error) })
    })
})

/** Makes a client, whose connections are closed with the scope. It makes no request. */
export const make = Effect.fnUntraced(function* (
  options: Options,
  configured: string
): Effect.fn.Return<{ readonly client: Client; readonly bucket: Requests }, StoreError, Scope.Scope> {
  const { location, place: described } = describePlace(options, configured)
  const clock = yield* Clock.Clock
  const localNow = () => clock.currentTimeMillisUnsafe()
  const transport = yield* transportOf(options, localNow)
  yield* Effect.addFinalizer(() => Effect.sync(transport.close))

  /** How much the store's clock is ahead. */
  let offset = 0
  let region = configured
  let place = placeOf(options, region)
  let lastDate: string | undefined
  let isWarned = false
  let stamp = { second: -1, text: "" }
  const now = () => localNow() + offset
  const keySource = yield* s3Keys.make(options.credentials, configured, now)
  const digests = yield* s3Digests.digests
  const signer = sigV4.make(digests)
  const isSigned = options.payload !== "unsigned"

  const warn = Effect.suspend(() => {
    if (isWarned) return Effect.void
    isWarned = true
    return warnOfClock(location, offset)
  })

  const timestamp = (): string => {
    const second = Math.floor(now() / 1000)
    if (stamp.second !== second) stamp = { second, text: sigV4.timestamp(second * 1000) }
    return stamp.text
  }

  const learnTime = (date: string | undefined): void => {
    if (date === undefined || date === lastDate) return
    lastDate = date
    const ahead = Date.parse(date) - localNow()
    if (Math.abs(ahead - offset) >= leastSkewMillis) offset = ahead
  }

  /** Signs a request as it is to be sent now. */
  const signed = (request: Prepared, keys: sigV4.Keys) => {
    const { body, method, query = "" } = request
    const { origin, path: bucketPath } = place
    const path = bucketPath + (request.path ?? "")
    const payload =
      request.payload ??
      (body === undefined || body.length === 0
        ? sigV4.emptyPayload
        : isSigned
          ? digests.sha256Hex(body)
          : sigV4.unsignedPayload)
    const time = timestamp()
    const headers: Array<Header> = [
      ...request.headers,
      ["host", origin.host],
      ["x-amz-content-sha256", payload],
      ["x-amz-date", time]
    ]
    if (keys.sessionToken !== undefined) headers.push(["x-amz-security-token", keys.sessionToken])
    headers.sort(byName)
    const authorization = signer.authorization({ method, path, query, headers, payload }, time, keys, region)
    // Some servers turn away who does not say what it is.
    const sent = ["authorization", authorization, "user-agent", "effect-s3db"]
    for (const [name, value] of headers) sent.push(name, value)
    return { method, origin, path: query === "" ? path : `${path}?${query}`, headers: sent, body }
  }

  const reasonWithoutAnswer = (cause: unknown): Reason =>
    cause instanceof NoAnswerInTime
      ? new Timeout({ afterMillis: cause.millis, description: "the store did not answer in time" })
      : s3Errors.reasonWithoutAnswer(cause)

  /** One attempt; another one, signed again, when the first was refused and its answer says what to do otherwise. */
  const attempt = <A>(
    request: Prepared,
    read: Read<A>,
    keys: sigV4.Keys,
    lessons: number
  ): Effect.Effect<A, StoreError> =>
    Effect.callback<A, StoreError>((resume) => {
      const { about, facts } = request
      const fail = (reason: Reason) =>
        resume(Effect.fail(new StoreError({ operation: facts.operation, key: about, reason })))
      const signedAt = offset
      const signedFor = region

      const refused = (answer: HttpAnswer, status: number) => {
        const refusal = refusalOf(answer, status)
        const reason = s3Errors.reasonOfRefusal(refusal, { ...facts, region: configured, place: described })
        if (lessons === 0 || status >= 500) return fail(reason)
        const elsewhere = s3Errors.regionIn(refusal)
        if (elsewhere !== undefined && elsewhere !== signedFor && isRegion(elsewhere)) {
          region = elsewhere
          place = placeOf(options, region)
          return resume(attempt(request, read, keys, lessons - 1))
        }
        if (reason._tag !== "AccessDenied") return fail(reason)
        if (Math.abs(offset - signedAt) >= noticeableSkewMillis) {
          return resume(Effect.andThen(warn, attempt(request, read, keys, lessons - 1)))
        }
        const isExpired = reason.code === "ExpiredToken" || reason.code === "TokenRefreshRequired"
        return isExpired && keySource.drop(keys) ? resume(withKeys(request, read, lessons - 1)) : fail(reason)
      }

      const answered = (answer: HttpAnswer) => {
        learnTime(answer.headers["date"])
        const { body, status } = answer
        if (status < 200 || status >= 300) return refused(answer, status)
        const expected = answersTo[facts.operation]
        let text = ""
        if (expected !== undefined && (expected.root !== undefined || body.length > 0)) {
          text = decoder.decode(body)
          const kind = kindOf(text, expected.root)
          if (kind === "error") return refused(answer, statusOfLateError)
          if (kind === "foreign") {
            return fail(reasonWithoutAnswer(new NotOfS3(status, answer.headers["content-type"], expected.to)))
          }
        }
        let found: A
        try {
          found = read(answer, text)
        } catch {
          // Half a document, or one with something in it that S3 does not write.
          return fail(
            reasonWithoutAnswer(new NotOfS3(status, answer.headers["content-type"], expected?.to ?? "a read"))
          )
        }
        resume(Effect.succeed(found))
      }

      const failed = (cause: unknown) => fail(reasonWithoutAnswer(cause))
      try {
        return Effect.sync(transport.send(signed(request, keys), answered, failed))
      } catch (cause) {
        // It cannot be sent at all.
        return failed(cause)
      }
    })

  const withKeys = <A>(request: Prepared, read: Read<A>, lessons: number): Effect.Effect<A, StoreError> =>
    keySource.renewed.pipe(
      Effect.mapError((reason) => new StoreError({ operation: request.facts.operation, key: request.about, reason })),
      Effect.flatMap((keys) => attempt(request, read, keys, lessons))
    )

  const send = <A>(request: Prepared, read: Read<A>): Effect.Effect<A, StoreError> => {
    const { about, facts } = request
    if (!transport.isExact && dotSegment.test(request.path ?? "")) {
      const description = "fetch takes . and .. out of keys: use another runtime, or other keys"
      return Effect.fail(
        new StoreError({
          operation: facts.operation,
          key: about,
          reason: new Unsupported({ feature: "keys with . or .. between slashes", description })
        })
      )
    }
    const keys = keySource.current()
    return keys === undefined ? withKeys(request, read, mostLessons) : attempt(request, read, keys, mostLessons)
  }

  const metadataHeaders = (headers: Array<Header>, metadata: Metadata | undefined) => {
    for (const name in metadata) headers.push([`x-amz-meta-${name}`, metadata[name]!])
  }

  const get: Client["get"] = (key, { ifMatch, range }) => {
    const headers: Array<Header> = []
    if (ifMatch !== undefined) headers.push(["if-match", ifMatch])
    if (range !== undefined) headers.push(["range", range])
    const facts = { operation: "get" as const, conditional: ifMatch !== undefined }
    const reading = send({ facts, about: key, method: "GET", path: encodeKey(key), headers }, (answer) => ({
      found: foundIn(answer),
      contentRange: answer.headers["content-range"],
      body: answer.body
    }))
    if (transport.isExact) return reading
    return Effect.flatMap(reading, (answer) => {
      const encoding = answer.found.contentEncoding
      if (encoding === undefined || !decodedByFetch.test(encoding)) return Effect.succeed(answer)
      const description = `fetch decodes what is stored as ${encoding}, so that it cannot be read as it is: use another runtime`
      const reason = new Unsupported({ feature: "content encodings", description })
      return Effect.fail(new StoreError({ operation: "get", key, reason }))
    })
  }

  const bucketRequest = (method: "HEAD" | "PUT", body?: Uint8Array) =>
    send(
      { facts: { operation: "open" }, about: "", method, headers: [], ...(body === undefined ? {} : { body }) },
      () => undefined
    )

  const client: Client = {
    put: ({ body, contentEncoding, contentType, ifMatch, ifNoneMatch, key, metadata, metadataBytes }) => {
      const headers: Array<Header> = [["content-type", contentType]]
      if (contentEncoding !== undefined) headers.push(["content-encoding", contentEncoding])
      if (ifMatch !== undefined) headers.push(["if-match", ifMatch])
      if (ifNoneMatch !== undefined) headers.push(["if-none-match", ifNoneMatch])
      metadataHeaders(headers, metadata)
      const conditional = ifMatch !== undefined || ifNoneMatch !== undefined
      const facts = { operation: "put" as const, metadataBytes, conditional }
      return send({ facts, about: key, method: "PUT", path: encodeKey(key), headers, body }, etagIn)
    },
    get,
    head: (key) =>
      send(
        { facts: { operation: "head" }, about: key, method: "HEAD", path: encodeKey(key), headers: [] },
        (answer) => ({
          found: foundIn(answer),
          size: numberIn(answer.headers["content-length"])
        })
      ),
    delete: (key, ifMatch) => {
      const facts = { operation: "delete" as const, conditional: ifMatch !== undefined }
      const headers: ReadonlyArray<Header> = ifMatch === undefined ? [] : [["if-match", ifMatch]]
      return send({ facts, about: key, method: "DELETE", path: encodeKey(key), headers }, () => undefined)
    },
    deleteMany: (keys, form) => {
      const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join("")
      const body = encoder.encode(`<Delete xmlns="${xmlNamespace}">${objects}<Quiet>false</Quiet></Delete>`)
      const digest: ReadonlyArray<Header> =
        form === "md5"
          ? [["content-md5", digests.md5Base64(body)]]
          : [
              ["x-amz-checksum-sha256", digests.sha256Base64(body)],
              ["x-amz-sdk-checksum-algorithm", "SHA256"]
            ]
      const headers: ReadonlyArray<Header> = [["content-type", "application/xml"], ...digest]
      const facts = { operation: "deleteMany" as const }
      return send({ facts, about: keys[0]!, method: "POST", query: "delete=", headers, body }, (_, text) =>
        readDeletion(text)
      )
    },
    copy: ({ contentType, from, ifSourceMatch, metadata, metadataBytes, to }) => {
      const headers: Array<Header> = [
        ["x-amz-copy-source", s3Text.copySource(options.bucket, from)],
        ["x-amz-metadata-directive", metadata === undefined ? "COPY" : "REPLACE"]
      ]
      if (ifSourceMatch !== undefined) headers.push(["x-amz-copy-source-if-match", ifSourceMatch])
      if (metadata !== undefined) headers.push(["content-type", contentType])
      metadataHeaders(headers, metadata)
      const facts = { operation: "copy" as const, metadataBytes, conditional: ifSourceMatch !== undefined }
      const body = new Uint8Array()
      return send({ facts, about: from, method: "PUT", path: encodeKey(to), headers, body }, (_, text) => ({
        etag: readField(text, "ETag")
      }))
    },
    list: ({ delimiter, maxKeys, prefix, startAfter, token }) => {
      const query = [
        parameter("continuation-token", token),
        parameter("delimiter", delimiter),
        // XML cannot hold every key as it is.
        "encoding-type=url",
        "list-type=2",
        `max-keys=${maxKeys}`,
        parameter("prefix", prefix),
        parameter("start-after", startAfter)
      ]
        .filter((part) => part !== undefined)
        .join("&")
      const facts = { operation: "list" as const }
      return send({ facts, about: prefix ?? "", method: "GET", query, headers: [] }, (_, text) => readListing(text))
    }
  }
  return {
    client,
    bucket: {
      find: bucketRequest("HEAD"),
      create: Effect.suspend(() => bucketRequest("PUT", locationOf(region))),
      createAnywhere: bucketRequest("PUT", new Uint8Array())
    }
  }
})

/** Encodings that `fetch` undoes. */
const decodedByFetch = /\b(?:gzip|x-gzip|deflate|x-deflate|br|zstd|compress)\b/i

/** AWS wants the region as the location for all regions but the first, which has none. */
const locationOf = (region: string): Uint8Array =>
  region === "us-east-1"
    ? new Uint8Array()
    : encoder.encode(
        `<CreateBucketConfiguration xmlns="${xmlNamespace}"><LocationConstraint>${escapeXml(region)}</LocationConstraint></CreateBucketConfiguration>`
      )

const parameter = (name: string, value: string | undefined): string | undefined =>
  value === undefined ? undefined : `${name}=${percentEncode(value)}`

const etagIn = ({ headers }: HttpAnswer) => ({ etag: headers["etag"] })

const metadataPrefix = "x-amz-meta-"

const foundIn = ({ headers }: HttpAnswer): Found => {
  const metadata: Record<string, string> = {}
  for (const name in headers) {
    if (name.startsWith(metadataPrefix)) metadata[name.slice(metadataPrefix.length)] = headers[name] ?? ""
  }
  return {
    etag: headers["etag"],
    metadata,
    contentType: headers["content-type"],
    contentEncoding: headers["content-encoding"],
    lastModified: timeIn(headers["last-modified"])
  }
}

/** What an error says of itself, in XML, if it does. */
const refusalOf = ({ body, headers }: HttpAnswer, status: number): s3Errors.Refusal => {
  const fields: Record<string, string> = Object.create(null)
  const text = decoder.decode(body)
  if (rootOf(text) === "Error") {
    try {
      readXml(text, (name, text, depth) => {
        if (depth === 1 && text !== "") fields[name] = text
      })
    } catch {
      // Then its status says what there is to say.
    }
  }
  return {
    status,
    code: fields["Code"],
    requestId: headers["x-amz-request-id"] ?? fields["RequestId"],
    region: fields["Region"],
    argument: fields["ArgumentName"],
    header: (name) => headers[name]
  }
}

/** The text of an element right below the root. */
const readField = (document: string, field: string): string | undefined => {
  let found: string | undefined
  readXml(document, (name, text, depth) => {
    if (depth === 1 && name === field) found = text
  })
  return found
}

const readDeletion = (document: string) => {
  const deleted: Array<string> = []
  const errors: Array<{ readonly key: string; readonly code: string | undefined }> = []
  let key = ""
  let code: string | undefined
  readXml(document, (name, text, depth) => {
    if (depth === 2) {
      if (name === "Key") key = text
      else if (name === "Code") code = text
    } else if (depth === 1) {
      if (name === "Deleted") deleted.push(key)
      else if (name === "Error") errors.push({ key, code })
      key = ""
      code = undefined
    }
  })
  return { deleted, errors }
}
