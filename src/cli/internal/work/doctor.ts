/** `doctor`: whether what a database needs of a store is there, one thing after the other, and what to do where it is not. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Id from "../../../crypto/Id.ts"
import type { JsonObject } from "../../../encoding/Json.ts"
import * as StoreClock from "../../../kernel/StoreClock.ts"
import * as CapabilityProbe from "../../../storage/CapabilityProbe.ts"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import { type Capabilities, maxMetadataBytes, ObjectStore } from "../../../storage/ObjectStore.ts"
import * as s3Options from "../../../storage/internal/s3Options.ts"
import type { StoreError } from "../../../storage/StoreError.ts"
import { Partial } from "../failure.ts"
import { Output } from "../output.ts"
import { harmless } from "../table.ts"
import { catalogKey, connection } from "./opening.ts"

type State = "ok" | "failed" | "warning" | "skipped"

interface Finding {
  readonly check: string
  readonly state: State
  readonly detail: string
  readonly remedy?: string
}

type S3Place = Extract<ConnectionString.Parsed, { readonly _tag: "S3" }>["options"]

const ok = (check: string, detail: string): Finding => ({ check, state: "ok", detail })

/** What is wrong with the keys themselves, so that no policy helps. */
const remediesOfKeys: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: "correct the access key, and see that the endpoint is the store that has given it",
  SignatureDoesNotMatch: "correct the secret key; in a URL it is percent-encoded: / as %2F, + as %2B, @ as %40",
  InvalidToken: "get new credentials with their session token, or leave ?sessionToken= out for keys that have none",
  ExpiredToken: "get new credentials: these have expired",
  TokenRefreshRequired: "get new credentials: these have expired",
  RequestExpired: "set the clock of this machine (NTP), or get new credentials",
  RequestTimeTooSkewed: "set the clock of this machine (NTP)"
}

const remedyOfKeys = ({ reason }: StoreError): string | undefined =>
  reason._tag === "AccessDenied" && reason.code !== undefined && Object.hasOwn(remediesOfKeys, reason.code)
    ? remediesOfKeys[reason.code]
    : undefined

/** What to do about a failure, by its reason. */
const remedyOf = (error: StoreError, permission?: string): string => {
  const { reason } = error
  const ofKeys = remedyOfKeys(error)
  if (ofKeys !== undefined) return ofKeys
  switch (reason._tag) {
    case "NoSuchBucket":
      return "make it with `s3db create bucket`, or correct its name, region or endpoint in the URL"
    case "AccessDenied":
      return permission === undefined
        ? "check the keys, and what their policy allows"
        : `the policy of these keys has to allow ${permission}`
    case "Unavailable":
    case "Timeout":
      return "check the endpoint, the network and proxies, and that the server runs"
    case "Throttled":
      return "wait, or ask for less at once (?concurrency= in the URL)"
    default:
      return "see what the store says of it"
  }
}

const failed = (check: string, error: StoreError, permission?: string): Finding => ({
  check,
  state: "failed",
  detail: error.message,
  remedy: remedyOf(error, permission)
})

const skipped = (check: string, detail: string): Finding => ({ check, state: "skipped", detail })

type Store = ObjectStore["Service"]

/** The store answers. */
const reach = Effect.fnUntraced(function* (store: Store) {
  const before = yield* Clock.currentTimeMillis
  const answer = yield* Effect.result(store.list({ prefix: "", maxKeys: 1 }))
  const millis = (yield* Clock.currentTimeMillis) - before
  return Result.isSuccess(answer)
    ? { finding: ok("connection", `${store.location} answers in ${millis} ms`), isReached: true }
    : {
        finding: failed("connection", answer.failure, "s3:ListBucket"),
        // Others may be allowed where listing is not; with keys that are wrong nothing is.
        isReached: answer.failure.reason._tag === "AccessDenied" && remedyOfKeys(answer.failure) === undefined
      }
})

/** Each permission by itself, on scratch objects, which are removed. */
const permissions = Effect.fnUntraced(function* (store: Store) {
  const root = `s3db-doctor/${yield* Id.randomOf(12)}`
  const [key, copy] = [`${root}/a`, `${root}/b`]
  const body = new TextEncoder().encode("s3db doctor")
  const tries: ReadonlyArray<readonly [name: string, permission: string, request: Effect.Effect<unknown, StoreError>]> =
    [
      ["write", "s3:PutObject", store.put({ key, body, metadata: { a: "b" }, repeatable: true })],
      ["read", "s3:GetObject", store.get(key)],
      ["look at", "s3:GetObject", store.head(key)],
      ["list", "s3:ListBucket", store.list({ prefix: `${root}/`, maxKeys: 10 })],
      ["copy", "s3:GetObject and s3:PutObject", store.copy({ from: key, to: copy })],
      ["delete", "s3:DeleteObject", store.delete(key, { repeatable: true })],
      ["delete several", "s3:DeleteObject", store.deleteMany([key, copy], { repeatable: true })]
    ]
  const findings: Array<Finding> = []
  let canWrite = true
  for (const [name, permission, request] of tries) {
    const check = `permission to ${name}`
    if (!canWrite && name !== "list") {
      findings.push(skipped(check, "there is nothing to try it on"))
      continue
    }
    const answer = yield* Effect.result(request)
    if (Result.isSuccess(answer)) findings.push(ok(check, permission))
    else findings.push(failed(check, answer.failure, permission))
    if (name === "write") canWrite = Result.isSuccess(answer)
  }
  return { findings, canWrite }
}, Effect.uninterruptible)

/** More than this, and signatures of requests may be refused: AWS allows 15 minutes. */
const [tolerated, refused] = [5_000, 10 * 60_000]

const clockSkew = Effect.fnUntraced(function* (store: Store) {
  const check = "clock"
  const answer = yield* Effect.result(StoreClock.now(store))
  if (Result.isFailure(answer)) return failed(check, answer.failure)
  const skew = Math.round((yield* Clock.currentTimeMillis) - answer.success)
  const detail = `this machine is ${Math.abs(skew)} ms ${skew < 0 ? "behind" : "ahead of"} the store`
  if (Math.abs(skew) < tolerated) return ok(check, detail)
  const remedy = "set the clock of this machine (NTP)"
  return { check, state: Math.abs(skew) < refused ? "warning" : "failed", detail, remedy } satisfies Finding
})

const abilities = (capabilities: Capabilities): ReadonlyArray<Finding> => {
  const needed = (check: string, has: boolean, remedy: string): Finding =>
    has ? ok(check, "honoured") : { check, state: "failed", detail: "ignored", remedy }
  const wanted = (check: string, has: boolean, remedy: string): Finding =>
    has ? ok(check, "honoured") : { check, state: "warning", detail: "not honoured", remedy }
  const other = "use another store, or, if no other process ever writes there, --single-writer"
  const { metadataBytes } = capabilities
  return [
    needed("create if absent (If-None-Match)", capabilities.createIfAbsent, other),
    needed("compare and set (If-Match)", capabilities.compareAndSet, other),
    wanted("conditional delete", capabilities.conditionalDelete, "nothing: deletions take a request more"),
    metadataBytes >= maxMetadataBytes
      ? ok("metadata", `${metadataBytes} bytes`)
      : {
          check: "metadata",
          state: capabilities.metadataKept === false || metadataBytes < 256 ? "failed" : "warning",
          detail: `${metadataBytes} bytes of ${maxMetadataBytes}`,
          remedy: "documents spill into bodies sooner; see that what is between here and the store passes headers on"
        },
    wanted("listing in order", capabilities.orderedList, "nothing: pages and some plugins cannot be used there")
  ]
}

const latency = Effect.fnUntraced(function* (store: Store) {
  const times: Array<number> = []
  for (let i = 0; i < 7; i++) {
    const before = yield* Clock.currentTimeMillis
    // Whether it is there or not, it is an answer.
    yield* Effect.exit(store.head(catalogKey))
    times.push((yield* Clock.currentTimeMillis) - before)
  }
  const [median = 0] = times.toSorted((a, b) => a - b).slice(3)
  const detail = `${median} ms, the median of 7`
  return median < 250
    ? ok("latency", detail)
    : ({
        check: "latency",
        state: "warning",
        detail,
        remedy: "run it nearer to the bucket: in its region"
      } satisfies Finding)
})

/** Where the bucket says that it is: S3 tells anybody, and so with whatever keys. Nothing: it does not say, or not in time. */
const regionSaid = Effect.fnUntraced(function* (endpoint: string | undefined, bucket: string) {
  const url = `${(endpoint ?? "https://s3.amazonaws.com").replace(/\/+$/, "")}/${encodeURIComponent(bucket)}`
  const answer = yield* HttpClient.head(url).pipe(
    Effect.timeout("5 seconds"),
    Effect.option,
    // An answer that sends us to another region says where that is.
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
    Effect.provide(FetchHttpClient.layer)
  )
  return Option.flatMapNullishOr(answer, ({ headers }) => headers["x-amz-bucket-region"])
})

const regionOf = Effect.fnUntraced(function* (place: S3Place) {
  const { bucket, endpoint } = place
  const check = "region"
  const given = yield* s3Options.regionOf(place)
  const said = yield* regionSaid(endpoint, bucket)
  if (Option.isNone(said)) return ok(check, `${given}; the bucket does not say where it is`)
  if (said.value === given) return ok(check, `${given}, as the bucket says`)
  return {
    check,
    state: "warning",
    detail: `${given}, and the bucket is in ${said.value}`,
    remedy: `say ?region=${said.value} in the URL, or set AWS_REGION: each process asks in vain first`
  } satisfies Finding
})

const examine = Effect.gen(function* () {
  const store = yield* ObjectStore
  const findings: Array<Finding> = []
  const { finding, isReached } = yield* reach(store)
  findings.push(finding)
  if (!isReached) return findings
  const { canWrite, findings: permitted } = yield* permissions(store)
  findings.push(...permitted)
  if (canWrite) {
    findings.push(yield* clockSkew(store))
    const probed = yield* Effect.result(CapabilityProbe.probe(store))
    findings.push(
      ...(Result.isSuccess(probed) ? abilities(probed.success) : [failed("conditional writes", probed.failure)])
    )
  } else findings.push(skipped("conditional writes", "there is nothing to try them on"))
  findings.push(yield* latency(store))
  findings.push(yield* databaseOf(store))
  return findings
})

const databaseOf = Effect.fnUntraced(function* (store: Store) {
  const check = "database"
  const catalog = yield* Effect.result(store.head(catalogKey))
  if (Result.isSuccess(catalog)) return ok(check, "it is there")
  if (catalog.failure.reason._tag === "Corrupt") {
    return {
      check,
      state: "failed",
      detail: catalog.failure.message,
      remedy: `put the object ${catalogKey} back, from ${catalogKey}.backup beside it or a backup of yours`
    } satisfies Finding
  }
  if (catalog.failure.reason._tag !== "NoSuchKey") {
    return skipped(check, `whether there is one cannot be told: ${catalog.failure.message}`)
  }
  return {
    check,
    state: "warning",
    detail: "there is none yet",
    remedy: "`s3db create resource` makes one"
  } satisfies Finding
})

/** Opening a folder makes it, which a mistyped path must not. */
const folderMissing = Effect.fnUntraced(function* (parsed: ConnectionString.Parsed) {
  if (parsed._tag !== "File") return undefined
  const fs = yield* FileSystem.FileSystem
  if (yield* Effect.orElseSucceed(fs.exists(parsed.options.path), () => true)) return undefined
  return {
    check: "connection",
    state: "failed",
    detail: `there is no folder ${parsed.options.path}, and none was made`,
    remedy: "correct the path, or make the folder: `s3db create resource` does, and a database in it"
  } satisfies Finding
})

export const doctor = () =>
  Effect.gen(function* () {
    const output = yield* Output
    const { described, parsed, source, url } = yield* connection
    const region = parsed._tag === "S3" ? yield* regionOf(parsed.options) : undefined
    const missing = yield* folderMissing(parsed)
    const found = yield* Effect.result(
      missing === undefined ? Effect.provide(examine, ConnectionString.layer(url)) : Effect.succeed([missing])
    )
    const opened: ReadonlyArray<Finding> = Result.isSuccess(found)
      ? found.success
      : [{ check: "connection", state: "failed", detail: found.failure.message, remedy: "correct the URL" }]
    const findings = [ok("where", `${described}, by ${source}`), ...(region === undefined ? [] : [region]), ...opened]
    const marks = {
      ok: output.style("ok", "green"),
      failed: output.style("FAILED", "red"),
      warning: output.style("warning", "yellow"),
      skipped: output.style("-", "dim")
    }
    if (output.isForPeople) {
      const lines = findings.map(({ check, detail, remedy, state }) =>
        [
          `${marks[state]}${" ".repeat(Math.max(1, 9 - (state === "skipped" ? 1 : state.length)))}${check}: ${harmless(detail)}`,
          ...(remedy === undefined ? [] : [`         ${harmless(remedy)}`])
        ].join("\n")
      )
      yield* output.raw(Stream.succeed(`${lines.join("\n")}\n`))
    } else yield* output.rows(Stream.fromIterable(findings.map((finding): JsonObject => ({ ...finding }))))
    const wrong = findings.filter(({ state }) => state === "failed").length
    if (wrong > 0) return yield* new Partial({ description: `${wrong} of ${findings.length} checks failed` })
  })
