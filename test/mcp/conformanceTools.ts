/** What the official conformance runner asks a server for, beside what this library offers. */
import * as McpSchema from "effect/ai/McpSchema"
import * as McpServer from "effect/ai/McpServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"))

const png = bytes("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==")
const wav = bytes("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=")

type Content = McpSchema.CallToolResult["content"]

const text = (text: string): Content[number] => ({ type: "text", text })

const embedded = (uri: string, mimeType: string, text: string): Content[number] => ({
  type: "resource",
  resource: { uri, mimeType, text }
})

type Handle = (
  given: Readonly<Record<string, unknown>>
) => Effect.Effect<Content, McpSchema.InternalError, McpSchema.McpRequestContext>

const addTool = Effect.fnUntraced(function* (
  name: string,
  inputSchema: Readonly<Record<string, unknown>>,
  handle: Handle
) {
  const server = yield* McpServer.McpServer
  yield* server.addTool({
    tool: new McpSchema.Tool({
      name,
      description: `asked for by the conformance runner: ${name}`,
      inputSchema: { type: "object", ...inputSchema }
    }),
    annotations: Context.empty(),
    handle: (payload) =>
      handle(payload as Readonly<Record<string, unknown>>).pipe(
        Effect.map((content) => new McpSchema.CallToolResult({ content })),
        Effect.catch((error) =>
          Effect.succeed(new McpSchema.CallToolResult({ isError: true, content: [text(error.message)] }))
        )
      )
  })
})

const client = Effect.flatMap(Effect.serviceOption(McpSchema.McpServerClient), (found) =>
  Effect.flatMap(Effect.fromOption(found), ({ getClient }) => getClient)
).pipe(Effect.mapError((error) => new McpSchema.InternalError({ message: error.message })))

/** Asks the client for something; what it answers is text. */
const asking = <A, E extends { readonly message: string }>(
  ask: (one: Effect.Success<typeof client>) => Effect.Effect<A, E>,
  said: (answer: A) => string
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const one = yield* client
      const answer = yield* Effect.mapError(ask(one), ({ message }) => new McpSchema.InternalError({ message }))
      return [text(said(answer))]
    })
  )

const eliciting = (message: string, properties: Readonly<Record<string, unknown>>, required: ReadonlyArray<string>) =>
  asking(
    (one) =>
      Schema.decodeUnknownEffect(McpSchema.ElicitRequestFormParams)({
        mode: "form",
        message,
        requestedSchema: { type: "object", properties, required }
      }).pipe(
        Effect.flatMap((request) => one.elicit(request)),
        Effect.mapError((error) => ({ message: `${error._tag}: ${error.message}` }))
      ),
    (answer) =>
      `Elicitation completed: action=${answer.action}, content=${JSON.stringify("content" in answer ? answer.content : {})}`
  )

const noArguments = { properties: {} }
const pause = Effect.sleep("50 millis")

const tools = Effect.gen(function* () {
  const { notifications } = yield* McpServer.McpServer
  const say = (data: string) =>
    notifications["notifications/message"]({ level: "info", logger: "test", data }).pipe(Effect.orDie)
  yield* addTool("test_simple_text", noArguments, () =>
    Effect.succeed([text("This is a simple text response for testing.")])
  )
  yield* addTool("test_image_content", noArguments, () =>
    Effect.succeed([{ type: "image", data: png, mimeType: "image/png" }])
  )
  yield* addTool("test_audio_content", noArguments, () =>
    Effect.succeed([{ type: "audio", data: wav, mimeType: "audio/wav" }])
  )
  yield* addTool("test_embedded_resource", noArguments, () =>
    Effect.succeed([embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")])
  )
  yield* addTool("test_multiple_content_types", noArguments, () =>
    Effect.succeed([
      text("Multiple content types test:"),
      { type: "image", data: png, mimeType: "image/png" },
      embedded("test://mixed-content-resource", "application/json", JSON.stringify({ test: "data", value: 123 }))
    ])
  )
  yield* addTool("test_tool_with_logging", noArguments, () =>
    Effect.gen(function* () {
      yield* say("Tool execution started")
      yield* pause
      yield* say("Tool processing data")
      yield* pause
      yield* say("Tool execution completed")
      return [text("Tool with logging executed successfully")]
    })
  )
  yield* addTool("test_error_handling", noArguments, () =>
    Effect.fail(new McpSchema.InternalError({ message: "This tool intentionally returns an error for testing" }))
  )
  yield* addTool("test_tool_with_progress", noArguments, () =>
    Effect.gen(function* () {
      const { requestMetadata } = yield* McpSchema.McpRequestContext
      const token = (requestMetadata as Readonly<Record<string, unknown>> | undefined)?.["progressToken"]
      for (const progress of [0, 50, 100]) {
        if (typeof token === "string" || typeof token === "number") {
          yield* notifications["notifications/progress"]({ progressToken: token, progress, total: 100 }).pipe(
            Effect.orDie
          )
        }
        if (progress < 100) yield* pause
      }
      return [text(String(token ?? "no token"))]
    })
  )
  yield* addTool("test_sampling", { properties: { prompt: { type: "string" } }, required: ["prompt"] }, ({ prompt }) =>
    asking(
      (one) =>
        one.createMessage({
          messages: [{ role: "user", content: { type: "text", text: String(prompt) } }],
          maxTokens: 100
        } as never),
      (answer) => `LLM response: ${JSON.stringify(answer.content)}`
    )
  )
  yield* addTool(
    "test_elicitation",
    { properties: { message: { type: "string" } }, required: ["message"] },
    ({ message }) =>
      eliciting(
        String(message),
        {
          username: { type: "string", description: "User's response" },
          email: { type: "string", description: "User's email address" }
        },
        ["username", "email"]
      )
  )
  yield* addTool("test_elicitation_sep1034_defaults", noArguments, () =>
    eliciting(
      "Please review",
      {
        name: { type: "string", default: "John Doe" },
        age: { type: "integer", default: 30 },
        score: { type: "number", default: 95.5 },
        status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
        verified: { type: "boolean", default: true }
      },
      []
    )
  )
  const titled = (value: string, names: ReadonlyArray<string>) =>
    names.map((title, index) => ({ const: `${value}${index + 1}`, title }))
  const choices = ["option1", "option2", "option3"]
  yield* addTool("test_elicitation_sep1330_enums", noArguments, () =>
    eliciting(
      "Please choose",
      {
        untitledSingle: { type: "string", enum: choices },
        titledSingle: { type: "string", oneOf: titled("value", ["First Option", "Second Option", "Third Option"]) },
        legacyEnum: {
          type: "string",
          enum: ["opt1", "opt2", "opt3"],
          enumNames: ["Option One", "Option Two", "Option Three"]
        },
        untitledMulti: { type: "array", items: { type: "string", enum: choices } },
        titledMulti: {
          type: "array",
          items: { anyOf: titled("value", ["First Choice", "Second Choice", "Third Choice"]) }
        }
      },
      []
    )
  )
  yield* addTool("test_reconnection", noArguments, () =>
    Effect.gen(function* () {
      yield* say("in the middle of a call")
      yield* pause
      return [text("Reconnection test completed")]
    })
  )
  yield* addTool(
    "json_schema_2020_12_tool",
    {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      $defs: {
        address: { type: "object", properties: { street: { type: "string" }, city: { type: "string" } } }
      },
      properties: { name: { type: "string" }, address: { $ref: "#/$defs/address" } },
      additionalProperties: false
    },
    (given) => Effect.succeed([text(JSON.stringify(given))])
  )
})

const resources = Effect.gen(function* () {
  const one = (uri: string, mimeType: string, content: { readonly text: string } | { readonly blob: Uint8Array }) =>
    McpServer.registerResource({
      uri,
      name: uri,
      description: "asked for by the conformance runner",
      mimeType,
      content: Effect.succeed({ contents: [{ uri, mimeType, ...content }] })
    })
  yield* one("test://static-text", "text/plain", { text: "This is the content of the static text resource." })
  yield* one("test://static-binary", "image/png", { blob: png })
  yield* one("test://watched-resource", "text/plain", { text: "It changes now and then." })
  yield* McpServer.registerResource`test://template/${McpSchema.param("id", Schema.String)}/data`({
    name: "template",
    mimeType: "application/json",
    content: (uri, id) =>
      Effect.succeed({
        contents: [
          {
            uri,
            mimeType: "application/json",
            text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` })
          }
        ]
      })
  })
})

const prompts = Effect.gen(function* () {
  const user = (content: Content[number]) => ({ role: "user" as const, content })
  yield* McpServer.registerPrompt({
    name: "test_simple_prompt",
    description: "simple",
    content: () => Effect.succeed("This is a simple prompt for testing.")
  })
  yield* McpServer.registerPrompt({
    name: "test_prompt_with_arguments",
    description: "with arguments",
    parameters: { arg1: Schema.String, arg2: Schema.String },
    completion: { arg1: (input) => Effect.succeed(["paris", "park", "party"].filter((one) => one.startsWith(input))) },
    content: ({ arg1, arg2 }) => Effect.succeed(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)
  })
  yield* McpServer.registerPrompt({
    name: "test_prompt_with_embedded_resource",
    description: "with a resource",
    parameters: { resourceUri: Schema.String },
    content: ({ resourceUri }) =>
      Effect.succeed([
        user(embedded(resourceUri, "text/plain", "Embedded resource content for testing.")),
        user(text("Please process the embedded resource above."))
      ])
  })
  yield* McpServer.registerPrompt({
    name: "test_prompt_with_image",
    description: "with an image",
    content: () =>
      Effect.succeed([
        user({ type: "image", data: png, mimeType: "image/png" }),
        user(text("Please analyze the image above."))
      ])
  })
})

/** The tools, resources and prompts of the runner's scenarios. */
export const registrations = Layer.effectDiscard(Effect.andThen(tools, Effect.andThen(resources, prompts)))
