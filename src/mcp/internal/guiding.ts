/** The tools that search and read the documentation. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { JsonObject } from "../../encoding/Json.ts"
import { nearest } from "../../internal/nearest.ts"
import { Documentation } from "../Documentation.ts"
import * as answer from "./answer.ts"
import * as tool from "./tool.ts"

export const uriOf = (page: { readonly kind: string; readonly name: string }): string =>
  `s3db://${page.kind}/${page.name}`

const kind = Schema.Literals(["guide", "example"])

export const tools = (limits: tool.Limits) => {
  const part = { rows: limits.rows, bytes: limits.bytes - 1024 }
  return [
    tool.make({
      name: "search_documentation",
      title: "Search the documentation",
      description: "Finds the sections of the guide of effect-s3db, and the examples, that say most about some words.",
      input: {
        query: Schema.String.check(Schema.isBetweenLength(1, 1000)),
        limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 })))
      },
      output: {
        results: Schema.Array(
          Schema.Struct({
            page: Schema.String,
            kind,
            uri: Schema.String,
            title: Schema.String,
            heading: Schema.String,
            text: Schema.String,
            score: Schema.Finite
          })
        )
      },
      run: Effect.fnUntraced(function* ({ limit = 5, query }) {
        const { search } = yield* Documentation
        const found = search(query, limit).map((one): JsonObject => ({
          ...one,
          uri: uriOf({ kind: one.kind, name: one.page })
        }))
        return { results: found.slice(0, answer.fitting(found, part.bytes)) }
      })
    }),

    tool.make({
      name: "list_documentation",
      title: "List the documentation",
      description: "Lists the pages of the guide of effect-s3db, and the examples.",
      input: { cursor: answer.cursorIn },
      output: {
        pages: Schema.Array(Schema.Struct({ page: Schema.String, kind, uri: Schema.String, title: Schema.String })),
        ...answer.cursorOut
      },
      run: Effect.fnUntraced(function* (given) {
        const { pages } = yield* Documentation
        const rows = pages.map(({ kind, name, title }): JsonObject => ({
          page: name,
          kind,
          uri: uriOf({ kind, name }),
          title
        }))
        const found = yield* answer.part(Stream.fromIterable(rows), given.cursor, part, (row) => row)
        return { pages: found.items, cursor: found.cursor }
      })
    }),

    tool.make({
      name: "read_documentation",
      title: "Read the documentation",
      description: "Reads a page of the guide, or an example, in parts that fit into an answer.",
      input: {
        page: Schema.String.check(Schema.isBetweenLength(1, 200)),
        kind: Schema.optionalKey(kind),
        cursor: answer.cursorIn
      },
      output: { title: Schema.String, text: Schema.String, ...answer.cursorOut },
      run: Effect.fnUntraced(function* ({ cursor, kind = "guide", page }) {
        const documentation = yield* Documentation
        const found = documentation.page(kind, page)
        if (found === undefined) {
          const near = nearest(
            page,
            documentation.pages.filter((one) => one.kind === kind).map(({ name }) => name)
          )
          return yield* new tool.Refused({
            description: `page: there is none of that name: see list_documentation${near === undefined ? "" : `; did you mean ${near}?`}`
          })
        }
        const lines = found.text.split("\n").map((line) => `${line}\n`)
        const shown = yield* answer.part(
          Stream.fromIterable(lines),
          cursor,
          { rows: lines.length, bytes: part.bytes },
          () => "(a line that is too long)\n"
        )
        return { title: found.title, text: shown.items.join(""), cursor: shown.cursor }
      })
    })
  ]
}
