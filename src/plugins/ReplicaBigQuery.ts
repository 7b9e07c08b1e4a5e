/**
 * Replicas as tables of Google BigQuery, without a package of Google.
 *
 * ```ts
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaBigQuery from "effect-s3db/plugins/ReplicaBigQuery"
 * import * as Resource from "effect-s3db/Resource"
 * import { Redacted, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "after" }
 * }) {}
 *
 * class Warehouse extends Replicator.Service<Warehouse>()("app/Warehouse", {
 *   name: "warehouse",
 *   target: ReplicaBigQuery.bigQuery({
 *     project: "my-project",
 *     dataset: "shop",
 *     credentials: { clientEmail: "replica@my-project.iam.gserviceaccount.com", privateKey: Redacted.make("-----BEGIN PRIVATE KEY-----...") }
 *   }),
 *   resources: [Replicator.resource(Orders)],
 *   // Each batch is a query, and each query reads the table.
 *   batchSize: 5000,
 *   firstPause: "1 minute",
 *   longestPause: "5 minutes"
 * }) {}
 * ```
 *
 * **Details**
 *
 * A resource is a table: its primary key, a column for each field, `s3db_version` and `s3db_deleted`, clustered by the key. A batch is one query with one parameter, a transaction in which a `MERGE` writes a row where its version is smaller. It is not streamed: rows that are streamed
 * are appended, and those of the last minutes cannot be changed. A table beside each, `TABLE_s3db_lock`, is changed in the same transaction, so that of two processes at a time BigQuery sends one away, which tries again.
 *
 * A deletion leaves a row with the key and the version, whose `s3db_deleted` is true: leave those out where you read.
 *
 * Types are exact, or the document is refused: see the table in the guide.
 *
 * **Gotchas**
 *
 * BigQuery charges for what a query reads, and a `MERGE` reads the table: have large batches, seldom.
 *
 * Sources: BigQuery REST reference, `jobs.query`, `jobs.getQueryResults`, `tables.get`, "Error messages"; Google Identity, "Using OAuth 2.0 for Server to Server Applications"; RFC 7523.
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { millisecondsOf } from "../internal/duration.ts"
import * as ReplicaTarget from "./ReplicaTarget.ts"
import { problemsOfNames } from "./replicator/internal/plans.ts"
import * as bigQueries from "./replicator/internal/bigQuery.ts"
import { Misfit } from "./replicator/internal/values.ts"

type TargetError = ReplicaTarget.TargetError

/**
 * A service account, as the file of its key has it: `client_email` and `private_key`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceAccount {
  readonly clientEmail: string
  /** PKCS #8, as text of PEM. */
  readonly privateKey: Redacted.Redacted
}

/**
 * How BigQuery is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface BigQueryOptions {
  readonly project: string
  /** It has to be there. */
  readonly dataset: string
  /** A service account, or an effect that gives an access token, which is run for every request: let it keep them. */
  readonly credentials: ServiceAccount | Effect.Effect<Redacted.Redacted, unknown>
  /** What the names of tables begin with. Default: nothing. */
  readonly tablePrefix?: string | undefined
  /** Where the dataset is, such as `EU`. Default: BigQuery finds it by the tables. */
  readonly location?: string | undefined
  /** Default: `https://bigquery.googleapis.com`. */
  readonly endpoint?: string | undefined
  /** Where a service account gets its tokens. Default: `https://oauth2.googleapis.com/token`. */
  readonly tokenEndpoint?: string | undefined
  /** How long a query may take. Default: 10 minutes. */
  readonly timeout?: Duration.Input | undefined
}

const kind = "bigquery"

const failure = (problem: TargetError["problem"], description: string, retryAfterMillis?: number) =>
  new ReplicaTarget.TargetError({
    target: kind,
    problem,
    description,
    ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
  })

/** How long BigQuery is asked to wait before it answers. */
const waitMillis = 30_000
const tokenMargin = 60_000
const tokenSeconds = 3_600

const Failed = Schema.Struct({
  error: Schema.Struct({
    errors: Schema.optionalKey(Schema.Array(Schema.Struct({ reason: Schema.optionalKey(Schema.String) }))),
    message: Schema.optionalKey(Schema.String)
  })
})
const ErrorProto = Schema.Struct({
  reason: Schema.optionalKey(Schema.String),
  message: Schema.optionalKey(Schema.String)
})
const Answer = Schema.Struct({
  jobComplete: Schema.Boolean,
  jobReference: Schema.optionalKey(
    Schema.Struct({ jobId: Schema.String, location: Schema.optionalKey(Schema.String) })
  ),
  errors: Schema.optionalKey(Schema.Array(ErrorProto)),
  rows: Schema.optionalKey(
    Schema.Array(Schema.Struct({ f: Schema.Array(Schema.Struct({ v: Schema.NullOr(Schema.Unknown) })) }))
  )
})
type Answer = typeof Answer.Type
const There = Schema.Struct({
  type: Schema.optionalKey(Schema.String),
  schema: Schema.optionalKey(
    Schema.Struct({
      fields: Schema.optionalKey(
        Schema.Array(
          Schema.Struct({ name: Schema.String, type: Schema.String, mode: Schema.optionalKey(Schema.String) })
        )
      )
    })
  )
})
const Token = Schema.Struct({ access_token: Schema.String, expires_in: Schema.Number })

/** What is said of values, of which nothing is shown. */
const ofValues =
  /\bBad \w+ value|\bInvalid (date|timestamp|numeric|bignumeric|base64|json|input)|overflow|out of range/i
const ofSchema = /\bnot found\b|Unrecognized name|is not present in|has no column|does not exist/i

/** By the reason and the message, of which nothing is shown. */
const problemOfReason = (reason: string, message: string): TargetError["problem"] => {
  if (reason === "notFound") return "Schema"
  if (reason !== "invalidQuery" && reason !== "invalid") return "Unavailable"
  if (ofValues.test(message)) return "Refused"
  return ofSchema.test(message) ? "Schema" : "Unavailable"
}

/** What Google says of whoever wants a token, and of whoever has one. Of limits it says 403 as well. */
const ofCredentials = new Set(["accessDenied", "authError", "forbidden", "insufficientPermissions", "required"])

const failureOf = (status: number, text: string, retryAfter: string | undefined): TargetError => {
  const body = Option.getOrUndefined(Schema.decodeUnknownOption(Schema.fromJsonString(Failed))(text))
  const reason = body?.error.errors?.[0]?.reason ?? ""
  const problem =
    status === 413
      ? "Refused"
      : status === 401 || ofCredentials.has(reason)
        ? "Credentials"
        : problemOfReason(reason, body?.error.message ?? "")
  const seconds = /^\d{1,6}$/.test(retryAfter ?? "") ? Number(retryAfter) : undefined
  return failure(problem, `${status} ${reason}`.trim(), seconds === undefined ? undefined : seconds * 1000)
}

/** What is wrong with the options, if anything is. */
const problemOf = ({ dataset, endpoint, project, timeout, tokenEndpoint }: BigQueryOptions): string | undefined => {
  if (!/^[a-z0-9][a-z0-9.:-]{4,98}[a-z0-9]$/.test(project)) return "project: Expected the id of a project"
  if (!/^\w{1,1024}$/.test(dataset)) return "dataset: Expected letters of A to Z, digits and _"
  for (const [field, url] of Object.entries({ endpoint, tokenEndpoint })) {
    if (url !== undefined && !URL.canParse(url)) return `${field}: Expected an address`
  }
  return timeout === undefined || (millisecondsOf(timeout) >= 1 && millisecondsOf(timeout) < Infinity)
    ? undefined
    : "timeout: Expected a duration from 1 ms"
}

/**
 * Makes a target of BigQuery. No request. `TargetError`: an option is wrong.
 *
 * Requests: 1 for each 8 MB of a batch, and 1 more for each 30 seconds that it takes; 2 for each resource of a plan, 2 for a sweep; 1 an hour for a token of a service account.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bigQuery = Effect.fn("ReplicaBigQuery.bigQuery")(function* (
  options: BigQueryOptions
): Effect.fn.Return<ReplicaTarget.Target, TargetError, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  const { credentials, dataset, location, project, tablePrefix = "", timeout = "10 minutes" } = options
  const problem = problemOf(options)
  if (problem !== undefined) return yield* failure("Schema", problem)
  const base = `${(options.endpoint ?? "https://bigquery.googleapis.com").replace(/\/$/, "")}/bigquery/v2/projects/${encodeURIComponent(project)}`
  const tokenEndpoint = options.tokenEndpoint ?? "https://oauth2.googleapis.com/token"

  const execute = (request: HttpClientRequest.HttpClientRequest) =>
    client.execute(request).pipe(
      Effect.flatMap((response) =>
        Effect.map(response.text, (text) => ({
          status: response.status,
          retryAfter: response.headers["retry-after"],
          text
        }))
      ),
      Effect.mapError((error) => failure("Unavailable", `${error.reason._tag}: no answer`))
    )

  let kept: { readonly token: Redacted.Redacted; readonly until: number } | undefined

  const tokenOf = Effect.fnUntraced(function* ({ clientEmail, privateKey }: ServiceAccount) {
    const now = yield* Clock.currentTimeMillis
    if (kept !== undefined && now < kept.until) return kept.token
    const seconds = Math.floor(now / 1000)
    const assertion = yield* Effect.tryPromise({
      try: async () => {
        const { importPKCS8, SignJWT } = await import("jose")
        return await new SignJWT({ scope: "https://www.googleapis.com/auth/bigquery" })
          .setProtectedHeader({ alg: "RS256", typ: "JWT" })
          .setIssuer(clientEmail)
          .setAudience(tokenEndpoint)
          .setIssuedAt(seconds)
          .setExpirationTime(seconds + tokenSeconds)
          .sign(await importPKCS8(Redacted.value(privateKey), "RS256"))
      },
      catch: () => failure("Credentials", "the key of the service account is none of PKCS #8")
    })
    const { status, text } = yield* execute(
      HttpClientRequest.post(tokenEndpoint).pipe(
        HttpClientRequest.bodyUrlParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion })
      )
    )
    const answer = Option.getOrUndefined(Schema.decodeUnknownOption(Schema.fromJsonString(Token))(text))
    if (status !== 200 || answer === undefined) {
      const problem = status >= 400 && status < 500 && status !== 408 && status !== 429 ? "Credentials" : "Unavailable"
      return yield* failure(problem, `there is no token for the service account: ${status}`)
    }
    const token = Redacted.make(answer.access_token)
    kept = { token, until: now + answer.expires_in * 1000 - tokenMargin }
    return token
  })

  const token = Effect.isEffect(credentials)
    ? Effect.mapError(credentials, () => failure("Unavailable", "there is no token"))
    : tokenOf(credentials)

  const asked = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest) {
    const answer = yield* execute(HttpClientRequest.bearerToken(request, yield* token))
    // It may have been taken back.
    if (answer.status === 401) kept = undefined
    return answer
  })

  const decoded = <A, I>(schema: Schema.Codec<A, I>, text: string) =>
    Effect.mapError(Schema.decodeUnknownEffect(Schema.fromJsonString(schema))(text), () =>
      failure("Unavailable", "the answer is none of BigQuery")
    )

  /** Asks a query, and waits until it is done. */
  const query = (sql: string, parameters: Readonly<Record<string, readonly [type: string, value: string]>> = {}) =>
    Effect.gen(function* (): Effect.fn.Return<Answer, TargetError> {
      let request = HttpClientRequest.post(`${base}/queries`).pipe(
        HttpClientRequest.bodyJsonUnsafe({
          query: sql,
          useLegacySql: false,
          timeoutMs: waitMillis,
          ...(location === undefined ? {} : { location }),
          parameterMode: "NAMED",
          queryParameters: Object.entries(parameters).map(([name, [type, value]]) => ({
            name,
            parameterType: { type },
            parameterValue: { value }
          }))
        })
      )
      for (;;) {
        const { retryAfter, status, text } = yield* asked(request)
        if (status !== 200) return yield* failureOf(status, text, retryAfter)
        const answer = yield* decoded(Answer, text)
        if (answer.jobComplete) {
          const [error] = answer.errors ?? []
          if (error === undefined) return answer
          const { message = "", reason = "" } = error
          return yield* failure(problemOfReason(reason, message), `the query: ${reason}`)
        }
        const job = answer.jobReference
        if (job === undefined) return yield* failure("Unavailable", "the answer has no job")
        const place = job.location ?? location
        request = HttpClientRequest.get(`${base}/queries/${encodeURIComponent(job.jobId)}`).pipe(
          HttpClientRequest.setUrlParams({
            timeoutMs: String(waitMillis),
            ...(place === undefined ? {} : { location: place })
          })
        )
      }
    }).pipe(
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(failure("Unavailable", "no answer in time"))
      })
    )

  /** The columns of a table, in lower case as BigQuery tells them apart; `undefined` where there is none. */
  const columnsOf = Effect.fnUntraced(function* ({ name }: bigQueries.Table) {
    const { retryAfter, status, text } = yield* asked(
      HttpClientRequest.get(`${base}/datasets/${encodeURIComponent(dataset)}/tables/${encodeURIComponent(name)}`)
    )
    if (status === 404) return undefined
    if (status !== 200) return yield* failureOf(status, text, retryAfter)
    const { schema } = yield* decoded(There, text)
    return new Map(
      (schema?.fields ?? []).map(({ mode = "NULLABLE", name, type }) => [
        name.toLowerCase(),
        bigQueries.typeThere(type, mode)
      ])
    )
  })

  const tableOf = ({ name }: ReplicaTarget.Shape): bigQueries.Table => ({
    project,
    dataset,
    name: `${tablePrefix}${name}`
  })

  return {
    kind,
    keeps: "state",
    plan: Effect.fnUntraced(function* (shapes) {
      const steps: Array<ReplicaTarget.Step> = []
      const problems: Array<ReplicaTarget.Plan["problems"][number]> = []
      for (const shape of shapes) {
        const { columns, name, primaryKey } = shape
        const table = tableOf(shape)
        const tell = (problem: string) => problems.push({ name, problem })
        const wrong = problemsOfNames(shape, [
          [table.name, bigQueries.problemOfTable(table.name)],
          ...[primaryKey, ...columns.map((column) => column.name)].map(
            (of) => [of, bigQueries.problemOfColumn(of)] as const
          )
        ])
        problems.push(...wrong)
        if (wrong.length > 0) continue
        const lock = bigQueries.lockOf(table)
        if ((yield* columnsOf(lock)) === undefined) {
          steps.push({
            name,
            description: `create the table ${lock.name}`,
            statement: bigQueries.createLock(table)
          })
        }
        const there = yield* columnsOf(table)
        if (there === undefined) {
          steps.push({
            name,
            description: `create the table ${table.name}`,
            statement: bigQueries.create(table, shape)
          })
          continue
        }
        if (!there.has(bigQueries.versionColumn) || !there.has(bigQueries.deletedColumn)) {
          tell(`there is a table of this name, which is no replica: it has no column ${bigQueries.versionColumn}`)
          continue
        }
        if (there.get(primaryKey.toLowerCase()) !== "STRING") tell(`the column ${primaryKey} has to be STRING`)
        for (const column of columns) {
          const found = there.get(column.name.toLowerCase())
          const wanted = bigQueries.typeOf(column.type)
          if (found === undefined) {
            steps.push({
              name,
              description: `add the column ${column.name} to ${table.name}`,
              statement: bigQueries.add(table, column)
            })
          } else if (found !== wanted) tell(`the column ${column.name} is ${found}, and has to be ${wanted}`)
        }
      }
      return { steps, problems }
    }),
    run: ({ steps }) => Effect.forEach(steps, ({ statement }) => query(statement), { discard: true }),
    apply: Effect.fnUntraced(function* ({ changes, isRepair, shape }) {
      const last = new Map(changes.map((change) => [change.id, change]))
      const statement = bigQueries.merge(tableOf(shape), shape, isRepair)
      let rows: Array<string> = []
      let size = 0
      const send = Effect.suspend(() => {
        const text = `[${rows.join(",")}]`
        rows = []
        size = 0
        return query(statement, { rows: ["STRING", text] })
      })
      for (const change of last.values()) {
        const row = bigQueries.rowOf(shape, change)
        const sent = row instanceof Misfit ? row : bigQueries.textOf(row)
        if (sent instanceof Misfit) return yield* failure("Refused", sent.description)
        const { bytes, text } = sent
        if (size + bytes > bigQueries.mostBytes) yield* send
        rows.push(text)
        size += bytes
      }
      if (rows.length > 0) yield* send
    }),
    sweep: Effect.fnUntraced(function* (shape, version) {
      const table = tableOf(shape)
      const parameters = { version: ["INT64", String(version)] } as const
      const { rows } = yield* query(bigQueries.countOlder(table), parameters)
      const count = Number(rows?.[0]?.f[0]?.v ?? 0)
      if (count > 0) yield* query(bigQueries.sweep(table, shape), parameters)
      return count
    })
  }
})
