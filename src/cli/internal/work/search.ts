/** Finding documents by their words, by the index that lies in the bucket. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Export from "../../../Export.ts"
import * as FullText from "../../../plugins/FullText.ts"
import { counted, Usage } from "../failure.ts"
import { Output } from "../output.ts"
import { resource, withDatabase } from "./opening.ts"
import * as requests from "./requests.ts"

export interface SearchInput extends Pick<requests.Asked, "partition" | "value" | "where"> {
  readonly resource: string
  readonly query: string
  readonly all: boolean
  readonly prefix: boolean
  readonly fuzzy: boolean
  readonly in: Option.Option<string>
  readonly limit: number
  readonly cursor: Option.Option<string>
  readonly consistent: boolean
  readonly highlight: boolean
}

export const search = (given: SearchInput) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      if (given.prefix && given.fuzzy) return yield* new Usage({ description: "--prefix does not go with --fuzzy" })
      const opened = yield* resource(given.resource)
      const none = Option.none<string>()
      const { partition, values } = yield* requests.within(opened, { ...given, from: none, to: none, startsWith: none })
      const predicate = yield* requests.predicate(opened, given.where)
      const index = yield* FullText.fromCatalog(opened)
      const page = yield* index.search({
        query: given.prefix ? { prefix: given.query } : given.fuzzy ? { fuzzy: given.query } : given.query,
        match: given.all ? "all" : "any",
        fields: requests.listed(given.in),
        predicate,
        within: partition === undefined ? undefined : { partition, values: values ?? {} },
        limit: given.limit,
        cursor: Option.getOrUndefined(given.cursor),
        consistent: given.consistent,
        highlight: given.highlight
      })
      const { primaryKey } = opened.definition
      const rows = page.items.flatMap(({ document, highlights }) =>
        given.highlight
          ? Object.entries(highlights).flatMap(([field, found]) =>
              found === undefined ? [] : [{ [primaryKey]: document[primaryKey] ?? null, field, text: found.text }]
            )
          : [document]
      )
      const columns = given.highlight
        ? [primaryKey, "field", "text"]
        : Export.columnsOf(opened.definition).map((path) => path.join("."))
      yield* output.rows(Stream.fromIterable(rows), { columns, footer: () => counted(page.items.length, "document") })
      if (page.cursor !== undefined) yield* output.note(`there may be more: --cursor ${page.cursor}`)
    }).pipe(Effect.scoped)
  )
