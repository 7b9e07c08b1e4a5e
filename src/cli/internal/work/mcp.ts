/** Serves the database over the Model Context Protocol. */
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Id from "../../../crypto/Id.ts"
import { Database } from "../../../Database.ts"
import * as Access from "../../../mcp/Access.ts"
import * as Documentation from "../../../mcp/Documentation.ts"
import * as HttpListener from "../../../mcp/HttpListener.ts"
import * as Server from "../../../mcp/Server.ts"
import { didYouMean } from "../../../internal/nearest.ts"
import { Usage } from "../failure.ts"
import { Version } from "../globals.ts"
import { Output } from "../output.ts"
import { connection, withRestricted } from "./opening.ts"
import { listed } from "./requests.ts"

export interface Given {
  readonly transport: "stdio" | "http"
  readonly write: boolean
  readonly destructive: boolean
  readonly resource: Option.Option<string>
  readonly maxRows: number
  readonly maxBytes: number
  readonly timeout: number
  readonly host: Option.Option<string>
  readonly port: Option.Option<number>
  readonly allowHost: ReadonlyArray<string>
  readonly allowOrigin: ReadonlyArray<string>
}

const tokenVariable = "S3DB_MCP_TOKEN"

/** The token of the environment, or one made for this run, which is said once. */
const token = Effect.gen(function* () {
  const output = yield* Output
  const given = yield* Config.Redacted(tokenVariable).pipe(
    Config.option,
    Effect.orElseSucceed(() => Option.none<Redacted.Redacted<string>>())
  )
  if (Option.isSome(given)) return given.value
  const made = yield* Id.randomOf(43)
  yield* output.warn(`${tokenVariable} is not set; for this run the token is ${made}`)
  return Redacted.make(made)
})

/** Runs until standard input ends. */
const overStdio = Effect.fnUntraced(function* (options: Server.Options) {
  const stdio = yield* Stdio.Stdio
  const ended = yield* Deferred.make<void>()
  const watched: Stdio.Stdio = {
    ...stdio,
    stdin: stdio.stdin.pipe(Stream.ensuring(Deferred.succeed(ended, undefined)))
  }
  // What ends the server interrupts it, which is how it is meant where its client has gone.
  const fiber = yield* Effect.forkChild(
    Layer.launch(Server.layerStdio(options)).pipe(Effect.provideService(Stdio.Stdio, watched))
  )
  const exit = yield* Fiber.await(fiber)
  if (Exit.isFailure(exit) && !(yield* Deferred.isDone(ended))) return yield* exit
})

const overHttp = Effect.fnUntraced(function* (options: Server.Options, given: Given) {
  const output = yield* Output
  const secret = yield* token
  const host = Option.getOrElse(given.host, () => "127.0.0.1")
  const { url } = yield* HttpListener.serve((allowedOrigins) => Server.layerHttp({ ...options, allowedOrigins }), {
    token: secret,
    host,
    port: Option.getOrElse(given.port, () => 17_500),
    allowedHosts: given.allowHost,
    allowedOrigins: given.allowOrigin
  })
  if (!/^(127\.|::1$|localhost$)/.test(host)) {
    yield* output.warn(
      `${host} is reached from other machines, and the token travels in clear: put a proxy with TLS in front of it`
    )
  }
  yield* output.note(`listening on ${url}/mcp`)
  return yield* Effect.never
})

/** One that is made later is served then; one that is misspelt never. */
const warnOfUnknown = Effect.fnUntraced(function* (resources: ReadonlyArray<string>) {
  const output = yield* Output
  const database = yield* Database
  const names = (yield* database.listResources).map(({ name }) => name)
  for (const name of resources.filter((one) => !names.includes(one))) {
    yield* output.warn(`there is no resource ${JSON.stringify(name)} yet${didYouMean(name, names)}`)
  }
})

export const serve = (given: Given) =>
  Effect.gen(function* () {
    if (given.destructive && !given.write) {
      return yield* new Usage({ description: "--allow-destructive goes with --allow-write" })
    }
    const ofHttp = [
      ...(Option.isSome(given.host) ? ["--host"] : []),
      ...(Option.isSome(given.port) ? ["--port"] : []),
      ...(given.allowHost.length > 0 ? ["--allow-host"] : []),
      ...(given.allowOrigin.length > 0 ? ["--allow-origin"] : [])
    ]
    if (given.transport === "stdio" && ofHttp.length > 0) {
      return yield* new Usage({ description: `${ofHttp.join(", ")}: only with --transport http` })
    }
    const resources = listed(given.resource)
    if (resources?.length === 0) return yield* new Usage({ description: "--resource has to name a resource" })
    const { described } = yield* connection
    const options: Server.Options = {
      write: given.write,
      destructive: given.destructive,
      resources,
      version: yield* Version,
      location: described,
      maxRows: given.maxRows,
      maxBytes: given.maxBytes,
      timeout: given.timeout * 1000
    }
    const serving = Effect.gen(function* () {
      yield* warnOfUnknown(resources ?? [])
      if (given.transport === "http") return yield* overHttp(options, given)
      return yield* overStdio(options)
    })
    yield* Effect.scoped(serving).pipe(
      Effect.provide(Documentation.layer),
      withRestricted(Access.layer(options), given.write)
    )
  }).pipe(
    // One line of JSON for each call, on standard error.
    Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatJson)]))
  )
