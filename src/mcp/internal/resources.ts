/** What a client may read without a tool: the overview, resources as they are defined, pages of the guide, examples. */
import * as Effect from "effect/Effect"
import * as McpSchema from "effect/ai/McpSchema"
import * as McpServer from "effect/ai/McpServer"
import * as Schema from "effect/Schema"
import type { JsonObject } from "../../encoding/Json.ts"
import type { Access } from "../Access.ts"
import { Documentation, type Page } from "../Documentation.ts"
import { type About, described, rows, status } from "./describing.ts"
import { uriOf } from "./guiding.ts"
import { resources } from "./opening.ts"
import { harmlessJson, type Limits, told } from "./tool.ts"

const mimes = { guide: "text/markdown", example: "text/x-typescript" } as const

const contents = (uri: string, mimeType: string, text: string) => ({ contents: [{ uri, mimeType, text }] })

const pageContents = (page: Page, uri = uriOf(page)) => contents(uri, mimes[page.kind], page.text)

/** What cannot be read is told of as of a parameter that does not fit. */
const failing = <A, E extends { readonly _tag: string; readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.mapError(effect, (error) => new McpSchema.InvalidParams({ message: harmlessJson(told(error)) }))

const beginning = (names: ReadonlyArray<string>, input: string): Array<string> => {
  const wanted = input.toLowerCase()
  return names.filter((name) => name.toLowerCase().startsWith(wanted)).slice(0, 100)
}

/** Registers resources and templates. */
export const register = Effect.fnUntraced(function* (access: Access, limits: Limits, about: About) {
  const documentation = yield* Documentation
  const context = yield* Effect.context<Effect.Services<ReturnType<typeof described>>>()

  yield* McpServer.registerResource({
    uri: "s3db://overview",
    name: "overview",
    description: "What this database is, what this server may do, and the resources there are",
    mimeType: "application/json",
    content: Effect.gen(function* () {
      const all = yield* rows(access)
      const shown = all.slice(0, limits.rows)
      const whole: JsonObject = {
        ...(yield* status(access, limits, about)),
        list: shown,
        more: all.length > shown.length ? "see the tool list_resources" : null
      }
      return contents("s3db://overview", "application/json", harmlessJson(whole))
    }).pipe(failing, Effect.provideContext(context))
  })

  for (const page of documentation.pages) {
    yield* McpServer.registerResource({
      uri: uriOf(page),
      name: `${page.kind}-${page.name}`,
      description: page.title,
      mimeType: mimes[page.kind],
      content: Effect.succeed(pageContents(page))
    })
  }

  yield* McpServer.registerResource`s3db://resource/${McpSchema.param("name", Schema.String)}`({
    name: "resource",
    description: "What a resource of this database is: fields, partitions, unique keys, options",
    mimeType: "application/json",
    completion: {
      name: (input: string) =>
        Effect.map(resources(access), (all) =>
          beginning(
            all.map(({ name }) => encodeURIComponent(name)),
            input
          )
        ).pipe(
          Effect.orElseSucceed((): Array<string> => []),
          Effect.provideContext(context)
        )
    },
    content: (uri, name) =>
      described(access, name).pipe(
        Effect.map((found) => contents(uri, "application/json", harmlessJson(found))),
        failing,
        Effect.provideContext(context)
      )
  })

  for (const kind of ["guide", "example"] as const) {
    const names = documentation.pages.filter((page) => page.kind === kind).map(({ name }) => name)
    const template =
      kind === "guide"
        ? McpServer.registerResource`s3db://guide/${McpSchema.param("page", Schema.String)}`
        : McpServer.registerResource`s3db://example/${McpSchema.param("page", Schema.String)}`
    yield* template({
      name: kind,
      description: kind === "guide" ? "A page of the guide of effect-s3db" : "An example program",
      mimeType: mimes[kind],
      completion: { page: (input: string) => Effect.succeed(beginning(names, input)) },
      content: (uri, name) => {
        const page = documentation.page(kind, name)
        return page === undefined
          ? Effect.fail(new McpSchema.InvalidParams({ message: "there is no page of that name" }))
          : Effect.succeed(pageContents(page, uri))
      }
    })
  }
})
