/** What a tool is, and how a call runs: its arguments checked, its answer limited, its course told on the log without values. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as McpSchema from "effect/ai/McpSchema"
import * as McpServer from "effect/ai/McpServer"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Database from "../../Database.ts"
import { documentLevels, isDeeperThan, type JsonObject } from "../../encoding/Json.ts"
import { ExpectedError } from "../../internal/expectedError.ts"
import { isRecord } from "../../internal/json.ts"
import { utf8Length } from "../../internal/text.ts"
import { type Access, isVisible } from "../Access.ts"

/** What a tool does to the database. */
export type Kind = "read" | "write" | "destructive"

/** How large an answer may be, and how long it may take. */
export interface Limits {
  readonly rows: number
  readonly bytes: number
  readonly millis: number
}

/** A call that cannot be answered as it stands. */
export class Refused extends ExpectedError<Refused>("effect-s3db/mcp/Refused")("Refused", {
  description: Schema.String
}) {}

/** What a failure has to be told by. */
export interface Failure {
  readonly _tag: string
  readonly message: string
}

export interface Tool<R> {
  readonly name: string
  readonly title: string
  readonly description: string
  readonly kind: Kind
  readonly overwrites: boolean
  readonly idempotent: boolean
  readonly input: Schema.Codec<unknown, unknown>
  readonly output: Schema.Codec<unknown, unknown>
  readonly run: (input: never) => Effect.Effect<JsonObject, Failure, R>
}

export interface Declared<I extends Schema.Struct.Fields, O extends Schema.Struct.Fields, R> {
  readonly name: string
  readonly title: string
  readonly description: string
  /** Default: `"read"`. */
  readonly kind?: Kind
  /** Whether a call may replace what is there. Default: only what is destructive. */
  readonly overwrites?: boolean
  /** Whether a second call changes nothing more. Default: only what reads. */
  readonly idempotent?: boolean
  readonly input: I
  readonly output: O
  readonly run: (input: Schema.Struct.Type<I>) => Effect.Effect<JsonObject, Failure, R>
}

/** Declares a tool by the fields of what it takes and gives. */
export const make = <
  const I extends Record<string, Schema.Codec<unknown, unknown>>,
  const O extends Record<string, Schema.Codec<unknown, unknown>>,
  R
>(
  declared: Declared<I, O, R>
): Tool<R> => {
  const kind = declared.kind ?? "read"
  return {
    ...declared,
    kind,
    overwrites: declared.overwrites ?? kind === "destructive",
    idempotent: declared.idempotent ?? kind === "read",
    input: Schema.Struct(declared.input) as Schema.Codec<unknown, unknown>,
    output: Schema.Struct(declared.output) as Schema.Codec<unknown, unknown>,
    run: declared.run
  }
}

/** JSON that no terminal and no reader is misled by, and that means the same: controls, direction marks and invisible letters are written out. */
export const harmlessJson = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\ufe00-\ufe0f]|[\u17b4-\u17b5]|[\u180b-\u180d\u180f]|\udb40[\udc00-\udfff]/g,
    (found) => Array.from(found.split(""), (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")
  )

const jsonSchema = (schema: Schema.Constraint, isClosed: boolean) => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema, {
    onExcessProperty: isClosed ? "error" : "ignore"
  })
  // A struct without fields takes any value that is not null, of which it has no more to say.
  if (root["type"] === undefined) return { type: "object", additionalProperties: false }
  return Object.keys(definitions).length === 0 ? root : { ...root, $defs: definitions }
}

const maxMessage = 2000

const clipped = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most)}...` : text)

/** What is told of a failure: its kind, and its message, which holds no values. */
export const told = (failure: Failure): JsonObject => {
  const reason =
    "reason" in failure && isRecord(failure.reason) && typeof failure.reason["_tag"] === "string"
      ? { reason: failure.reason["_tag"] }
      : {}
  return { error: { kind: failure._tag, ...reason, message: clipped(failure.message, maxMessage) } }
}

const failed = (error: JsonObject): McpSchema.CallToolResult =>
  new McpSchema.CallToolResult({ isError: true, content: [{ type: "text", text: harmlessJson(error) }] })

const tooLong = (millis: number): Failure => ({
  _tag: "TooLong",
  message: `it took longer than ${Duration.format(Duration.millis(millis))}, and was stopped: ask for less, such as one partition`
})

/** More than any answer holds, however it is limited. */
const bytesBeyondLimit = 4096

/** Whether a server with this access has a tool. */
export const isOffered = ({ destructive = false, write = false }: Access, kind: Kind): boolean =>
  kind === "read" || (write && (kind === "write" || destructive))

const argumentsOf = (payload: unknown): unknown => (isRecord(payload) ? payload : {})

const clientOf = Effect.map(Effect.serviceOption(McpSchema.McpRequestContext), (found) => {
  const info = Option.isSome(found) ? found.value.clientInfo : undefined
  return info === undefined ? {} : { client: clipped(`${info.name} ${info.version}`, 100) }
})

/** Registers a tool. Each call is told on the log: which tool, of which resource, by which client, how it ended, how long it took. */
export const register = Effect.fnUntraced(function* <R>(tool: Tool<R>, access: Access, limits: Limits) {
  const server = yield* McpServer.McpServer
  const database = yield* Database.Database
  const context = yield* Effect.context<R>()
  const decode = Schema.decodeUnknownEffect(tool.input, { errors: "all", onExcessProperty: "error" })
  const call = Effect.fnUntraced(function* (payload: unknown) {
    const given = argumentsOf(payload)
    if (isDeeperThan(given, documentLevels)) {
      return yield* new McpSchema.InvalidParams({ message: `Expected no more than ${documentLevels} levels` })
    }
    const input = yield* Effect.mapError(
      decode(given),
      (error) => new McpSchema.InvalidParams({ message: clipped(error.message, maxMessage) })
    )
    const result = yield* tool
      .run(input as never)
      .pipe(
        Effect.provideContext(context),
        Effect.timeoutOrElse({ duration: limits.millis, orElse: () => Effect.fail(tooLong(limits.millis)) }),
        Effect.result
      )
    if (Result.isFailure(result)) {
      return { answer: failed(told(result.failure)), outcome: result.failure._tag, bytes: 0 }
    }
    const text = harmlessJson(result.success)
    const bytes = utf8Length(text)
    if (bytes > limits.bytes + bytesBeyondLimit) {
      const message = `the answer has ${bytes} bytes, more than the ${limits.bytes} that one may have: ask for less`
      return { answer: failed(told({ _tag: "TooLarge", message })), outcome: "TooLarge", bytes: 0 }
    }
    const answer = new McpSchema.CallToolResult({
      structuredContent: result.success,
      content: [{ type: "text", text }]
    })
    return { answer, outcome: "ok", bytes }
  })
  const resourceOf = Effect.fnUntraced(function* (payload: unknown) {
    const name = isRecord(payload) && Object.hasOwn(payload, "resource") ? payload["resource"] : undefined
    if (typeof name !== "string") return {}
    // A name that is none may be anything.
    const isKnown = isVisible(access, name) && (yield* database.listResources).some((one) => one.name === name)
    return { resource: isKnown ? name : "(none of that name)" }
  })
  const audited = Effect.fnUntraced(function* (payload: unknown) {
    const start = yield* Clock.currentTimeMillis
    const about = { tool: tool.name, ...(yield* resourceOf(payload)), ...(yield* clientOf) }
    const tell = (end: { readonly outcome: string; readonly bytes?: number }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.annotateLogs(Effect.logInfo("mcp call"), { ...about, ...end, millis: now - start })
      )
    return yield* call(payload).pipe(
      Effect.onExit((exit) => {
        if (Exit.isSuccess(exit)) return tell({ outcome: exit.value.outcome, bytes: exit.value.bytes })
        if (Cause.hasInterrupts(exit.cause)) return tell({ outcome: "interrupted" })
        return tell({ outcome: Cause.hasDies(exit.cause) ? "defect" : "InvalidParams" })
      }),
      Effect.map(({ answer }) => answer),
      Effect.catchDefect((defect) =>
        Effect.as(
          Effect.logError("mcp call: a mistake of the program", Cause.die(defect)),
          failed(told({ _tag: "Defect", message: "this is a mistake of the program: see its log" }))
        )
      )
    )
  })
  yield* server.addTool({
    tool: new McpSchema.Tool({
      name: tool.name,
      title: tool.title,
      description: tool.description,
      inputSchema: yield* Effect.orDie(Schema.decodeUnknownEffect(McpSchema.ToolJson)(jsonSchema(tool.input, true))),
      outputSchema: jsonSchema(tool.output, false),
      annotations: {
        title: tool.title,
        readOnlyHint: tool.kind === "read",
        destructiveHint: tool.overwrites,
        idempotentHint: tool.idempotent,
        // It is about this database alone.
        openWorldHint: false
      }
    }),
    annotations: Context.empty(),
    handle: audited
  })
})
