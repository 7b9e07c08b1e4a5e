/** The tools that read documents. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as DbError from "../../DbError.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import * as Export from "../../Export.ts"
import { valueAt } from "../../internal/json.ts"
import * as FullText from "../../plugins/FullText.ts"
import * as Wire from "../../Wire.ts"
import type { Access } from "../Access.ts"
import * as answer from "./answer.ts"
import { open } from "./opening.ts"
import { systemFields } from "./telling.ts"
import * as tool from "./tool.ts"

type Opened = Effect.Success<ReturnType<typeof open>>

const name = Schema.String.check(Schema.isBetweenLength(1, 1024))

export const resource = name.annotate({ description: "the name of a resource: see list_resources" })

export const id = name.annotate({ description: "the id of a document" })

const conditions = {
  where: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Unknown).annotate({
      description:
        'the conditions, by field: {"age": {"gte": 18}, "country": "BR"}, {"$or": [...]}, {"name": {"contains": "an"}}; operators: eq ne gt gte lt lte between in nin exists startsWith contains'
    })
  ),
  partition: Schema.optionalKey(name.annotate({ description: "only the documents of this partition" })),
  values: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Unknown).annotate({
      description: "with partition: the values of its fields, from the first on"
    })
  ),
  from: Schema.optionalKey(
    Schema.Unknown.annotate({ description: "with partition: the least value of the field that follows" })
  ),
  to: Schema.optionalKey(
    Schema.Unknown.annotate({ description: "with partition: the greatest value of the field that follows" })
  ),
  startsWith: Schema.optionalKey(
    Schema.String.annotate({ description: "with partition: what the text of the field that follows begins with" })
  ),
  scan: Schema.optionalKey(
    Schema.Boolean.annotate({ description: "true allows reading every document, which costs one request each" })
  )
}

interface Asked {
  readonly where?: Readonly<Record<string, unknown>>
  readonly partition?: string
  readonly values?: Readonly<Record<string, unknown>>
  readonly from?: unknown
  readonly to?: unknown
  readonly startsWith?: string
  readonly scan?: boolean
}

const order = Schema.optionalKey(
  Schema.String.check(Schema.isMaxLength(1024)).annotate({
    description: "fields with commas between them, descending with a - before: -age,name"
  })
)

const select = Schema.optionalKey(
  Schema.Array(name)
    .check(Schema.isMaxLength(200))
    .annotate({ description: "only these fields, by their paths: name, address.city" })
)

const limitUpTo = (rows: number) =>
  Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: rows })).annotate({
      description: `how many at most: 1 to ${rows}, which is the default`
    })
  )

const requestOf = Effect.fnUntraced(function* (
  { repository }: Opened,
  { from, partition, scan, startsWith, to, values, where }: Asked
) {
  const isPart = [values, from, to, startsWith].some((one) => one !== undefined)
  if (partition === undefined && isPart) {
    return yield* new tool.Refused({ description: "values, from, to and startsWith go with partition" })
  }
  return {
    predicate: where === undefined ? undefined : yield* repository.parseWhere(where),
    ...(partition === undefined ? {} : { partition, values: values ?? {} }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(startsWith === undefined ? {} : { startsWith }),
    ...(scan === true ? { scan } : {})
  }
})

interface AskedPage extends Asked {
  readonly order?: string
  readonly limit?: number
  readonly cursor?: string
  readonly select?: ReadonlyArray<string>
}

/**
 * One page of documents that fits. Where more were read than fit, the page is read again with fewer, so that its cursor is that of the last
 * one shown.
 */
const pageOf = Effect.fnUntraced(function* (opened: Opened, asked: AskedPage, limits: tool.Limits, bytes: number) {
  const { definition, repository } = opened
  const request = {
    ...(yield* requestOf(opened, asked)),
    ...(asked.order === undefined ? {} : { order: yield* repository.parseOrder(asked.order) }),
    ...(asked.select === undefined ? {} : { select: asked.select }),
    ...(asked.cursor === undefined ? {} : { cursor: asked.cursor })
  }
  let limit = Math.min(asked.limit ?? limits.rows, limits.rows)
  for (;;) {
    const page = yield* repository.queryPageJson({ ...request, limit })
    const items: ReadonlyArray<JsonObject> = page.items
    const count = answer.fitting(items, bytes)
    const cursor = page.cursor ?? null
    if (count === items.length) return { items, cursor }
    const [first] = items
    if (limit === 1 && first !== undefined) return { items: [answer.tooLarge(first, definition.primaryKey)], cursor }
    limit = Math.max(1, Math.min(count, limit - 1))
  }
})

/** The fields of a document by their paths. */
const picked = (document: JsonObject, paths: ReadonlyArray<string>, primaryKey: string): JsonObject => {
  const made: Record<string, Json> = {}
  for (const path of [primaryKey, ...paths]) {
    const found = valueAt(document, path.split("."))
    if (found !== undefined) Object.defineProperty(made, path, { value: found, enumerable: true, configurable: true })
  }
  return made
}

const plan = {
  access: Schema.String,
  index: Schema.NullOr(Schema.String),
  using: Schema.Unknown,
  isScan: Schema.Boolean,
  reads: Schema.Unknown,
  requests: Schema.String
}

const versionOf = (
  version: Pick<
    Effect.Success<ReturnType<Opened["repository"]["getDocument"]>>,
    "version" | "writtenAt" | "schemaVersion" | "storedIn"
  >
): JsonObject => ({
  version: version.version,
  writtenAt: DateTime.formatIso(version.writtenAt),
  schemaVersion: version.schemaVersion,
  storedIn: version.storedIn
})

/** How many documents one call reads at once. */
const concurrency = 16

/** The most bytes that an answer has beside its documents. */
const frame = 1024

const formats = ["ndjson", "json", "csv"] as const

const textOf = (
  opened: Opened,
  format: (typeof formats)[number],
  items: ReadonlyArray<JsonObject>,
  only?: ReadonlyArray<string>
) => {
  const rows = Stream.fromIterable(items)
  if (format === "json") return Effect.succeed(JSON.stringify(items, undefined, 1))
  if (format === "ndjson") return Stream.mkString(Export.ndjsonText(rows))
  const columns = only ?? Export.columnsOf(opened.definition).map((path) => path.join("."))
  return Stream.mkString(Export.csvText(rows, { columns, escapeFormulas: true, onExcessProperty: "ignore" }))
}

export const tools = (access: Access, limits: tool.Limits) => {
  const bytes = limits.bytes - frame
  return [
    tool.make({
      name: "get_documents",
      title: "Get documents",
      description:
        "Reads documents by their ids. Those of `left` did not fit into the answer: ask for them again. Secrets and passwords are never shown.",
      input: {
        resource,
        ids: Schema.Array(id).check(Schema.isBetweenLength(1, limits.rows)),
        select,
        system: Schema.optionalKey(
          Schema.Boolean.annotate({
            description: "true adds what the database knows of each: $revision, $version, ..."
          })
        )
      },
      output: {
        ...answer.untrusted,
        documents: Schema.Array(answer.document),
        missing: Schema.Array(Schema.String),
        left: Schema.Array(Schema.String)
      },
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        const { definition, repository } = opened
        const read = Effect.fnUntraced(function* (id: string) {
          // First, so that who changes it by this revision never overwrites what is newer.
          const document = given.system === true ? yield* repository.getDocument(id) : undefined
          const json = yield* repository.getJson(id)
          const shown = given.select === undefined ? json : picked(json, given.select, definition.primaryKey)
          return document === undefined ? shown : { ...shown, ...systemFields(document) }
        })
        const [documents, missing, left]: [Array<JsonObject>, Array<string>, Array<string>] = [[], [], []]
        let room = bytes
        let at = 0
        while (at < given.ids.length && left.length === 0) {
          const some = given.ids.slice(at, at + concurrency)
          const results = yield* Effect.forEach(some, (id) => Effect.result(read(id)), { concurrency })
          for (const [index, result] of results.entries()) {
            const asked = some[index]!
            if (Result.isFailure(result)) {
              if (result.failure._tag !== "NotFound") return yield* Effect.fail(result.failure)
              missing.push(asked)
              continue
            }
            const size = answer.bytesOf(result.success)
            const isTooLarge = size > bytes
            const shown = isTooLarge ? answer.tooLarge(result.success, definition.primaryKey) : result.success
            room -= isTooLarge ? answer.bytesOf(shown) : size
            if (room < 0 || left.length > 0) left.push(asked)
            else documents.push(shown)
          }
          at += some.length
        }
        return { notice: answer.notice, documents, missing, left: [...left, ...given.ids.slice(at)] }
      })
    }),

    tool.make({
      name: "query_documents",
      title: "Find documents",
      description:
        "Finds documents by conditions, in a partition or everywhere, in an order. What no partition or unique key answers reads every document, which has to be allowed with scan. `explain_query` says beforehand which way it goes, and what it costs.",
      input: { resource, ...conditions, order, select, limit: limitUpTo(limits.rows), cursor: answer.cursorIn },
      output: { ...answer.untrusted, documents: Schema.Array(answer.document), ...answer.cursorOut },
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        const { cursor, items } = yield* pageOf(opened, given, limits, bytes)
        return { notice: answer.notice, documents: items, cursor }
      })
    }),

    tool.make({
      name: "explain_query",
      title: "Explain a query",
      description: "Says which way a query would go and what it would cost, and reads no document.",
      input: { resource, ...conditions, order, select },
      output: plan,
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        const found = yield* opened.repository.explainQuery({
          ...(yield* requestOf(opened, given)),
          ...(given.order === undefined ? {} : { order: yield* opened.repository.parseOrder(given.order) }),
          ...(given.select === undefined ? {} : { select: given.select })
        })
        const { fixed, perDocument, perThousand } = found.requests
        return {
          access: found.access,
          index: found.index ?? null,
          using: found.using,
          isScan: found.isScan,
          reads: found.reads,
          requests: `${fixed} + ${perThousand} for each further 1,000 + ${perDocument} for each document`
        }
      })
    }),

    tool.make({
      name: "count_documents",
      title: "Count documents",
      description: "Counts documents: all of a resource, those of a partition, or those that meet conditions.",
      input: { resource, ...conditions },
      output: { count: Schema.Int },
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        return { count: yield* opened.repository.count(yield* requestOf(opened, given)) }
      })
    }),

    tool.make({
      name: "aggregate_documents",
      title: "Work out sums and extremes",
      description: "Counts, sums, least and greatest values and averages, also one for each value of some fields.",
      input: {
        resource,
        ...conditions,
        measures: Schema.Record(
          Schema.String,
          Schema.Struct({
            measure: Schema.Literals(["count", "sum", "min", "max", "avg"]),
            field: Schema.optionalKey(name)
          })
        ).annotate({
          description: 'what is worked out, by a name for each: {"total": {"measure": "sum", "field": "price"}}'
        }),
        by: Schema.optionalKey(Schema.Array(name).check(Schema.isMaxLength(32))),
        cursor: answer.cursorIn
      },
      output: {
        ...answer.untrusted,
        groups: Schema.Array(
          Schema.Struct({
            key: Schema.Array(Schema.Unknown),
            values: Schema.Record(Schema.String, Schema.Unknown),
            skipped: Schema.Record(Schema.String, Schema.Int),
            $tooLarge: Schema.optionalKey(
              Schema.String.annotate({ description: "why the group has no key and no values here" })
            )
          })
        ),
        ...answer.cursorOut
      },
      run: Effect.fnUntraced(function* (given) {
        const measures: Array<readonly [string, Json]> = []
        for (const [name, { field, measure }] of Object.entries(given.measures)) {
          if ((measure === "count") !== (field === undefined)) {
            return yield* new tool.Refused({
              description: "measures: count takes no field, and every other measure takes one"
            })
          }
          measures.push([name, { [measure]: field ?? true }])
        }
        const opened = yield* open(access, given.resource)
        const groups = yield* opened.repository.aggregate(
          // The measures are checked by the resource: the type asks for the fields of one that is declared.
          { groupBy: given.by ?? [], values: Object.fromEntries(measures) as never },
          yield* requestOf(opened, given)
        )
        const { cursor, items } = yield* answer.part(
          Stream.fromIterable(groups.map((group): JsonObject => ({ ...group }))),
          given.cursor,
          { rows: limits.rows, bytes },
          (group) => ({
            key: [],
            values: {},
            skipped: {},
            $tooLarge: `this group takes ${answer.bytesOf(group)} bytes, more than an answer may have: it is left out; group by shorter fields`
          })
        )
        return { notice: answer.notice, groups: items, cursor }
      })
    }),

    tool.make({
      name: "search_documents",
      title: "Find documents by words",
      description:
        "Finds documents by their words, the best first, where a program keeps an index of the words of the resource. What was written a moment ago may not be found yet.",
      input: {
        resource,
        query: Schema.String.check(Schema.isBetweenLength(1, 10_000)).annotate({ description: "the words" }),
        match: Schema.optionalKey(
          Schema.Literals(["any", "all"]).annotate({
            description: "any, the default: documents with any of the words; all: with all of them"
          })
        ),
        fields: Schema.optionalKey(
          Schema.Array(name)
            .check(Schema.isBetweenLength(1, 100))
            .annotate({ description: "only in these fields of the index" })
        ),
        where: conditions.where,
        partition: conditions.partition,
        values: conditions.values,
        highlight: Schema.optionalKey(
          Schema.Boolean.annotate({ description: "true adds the parts of the texts that have the words" })
        ),
        limit: Schema.optionalKey(
          Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: limits.rows })).annotate({
            description: `how many at most: 1 to ${limits.rows}, by default 10`
          })
        ),
        cursor: answer.cursorIn
      },
      output: {
        ...answer.untrusted,
        documents: Schema.Array(answer.document),
        highlights: Schema.Array(Schema.Record(Schema.String, Schema.Array(Schema.String))).annotate({
          description: "for each document, by field, a part of its text"
        }),
        ...answer.cursorOut
      },
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        const { predicate } = yield* requestOf(opened, given)
        const index = yield* FullText.fromCatalog(opened)
        let limit = Math.min(given.limit ?? 10, limits.rows)
        for (;;) {
          const page = yield* index.search({
            query: given.query,
            match: given.match,
            fields: given.fields,
            predicate,
            within:
              given.partition === undefined ? undefined : { partition: given.partition, values: given.values ?? {} },
            highlight: given.highlight,
            limit,
            cursor: given.cursor
          })
          const rows = page.items.map(({ document, highlights }) => ({
            document,
            highlights: Object.fromEntries(
              Object.entries(highlights).map(([field, one]) => [field, one === undefined ? [] : [one.text]])
            )
          }))
          const count = answer.fitting(rows, bytes)
          const [first] = rows
          const isTooLarge = count < rows.length && limit === 1 && first !== undefined
          if (count === rows.length || isTooLarge) {
            return {
              notice: answer.notice,
              documents: isTooLarge
                ? [answer.tooLarge(first.document, opened.definition.primaryKey)]
                : rows.map(({ document }) => document),
              highlights: isTooLarge ? [{}] : rows.map(({ highlights }) => highlights),
              cursor: page.cursor ?? null
            }
          }
          limit = Math.max(1, Math.min(count, limit - 1))
        }
      }, Effect.scoped)
    }),

    tool.make({
      name: "list_partition_values",
      title: "List the values of a partition",
      description:
        "Lists the different values of the first field of a partition, or of the one that follows those given, each with at least one document.",
      input: {
        resource,
        partition: name,
        values: conditions.values,
        cursor: answer.cursorIn
      },
      output: { ...answer.untrusted, values: Schema.Array(Schema.Unknown), ...answer.cursorOut },
      run: Effect.fnUntraced(function* ({ cursor, partition, resource, values = {} }) {
        const { repository } = yield* open(access, resource)
        const found = yield* answer.part(
          repository.distinct({ partition, values }),
          cursor,
          { rows: limits.rows, bytes },
          () => null
        )
        return { notice: answer.notice, values: found.items, cursor: found.cursor }
      })
    }),

    tool.make({
      name: "list_versions",
      title: "List earlier versions",
      description: "Lists the earlier versions of a document, the newest first, where its resource keeps a history.",
      input: { resource, id, cursor: answer.cursorIn },
      output: { versions: Schema.Array(answer.document), ...answer.cursorOut },
      run: Effect.fnUntraced(function* (given) {
        const { repository } = yield* open(access, given.resource)
        const rows = repository
          .historyResults(given.id)
          .pipe(
            Stream.map(({ result, version }): JsonObject =>
              Result.isSuccess(result) ? versionOf(result.success) : { version, error: result.failure.message }
            )
          )
        const found = yield* answer.part(rows, given.cursor, { rows: limits.rows, bytes }, (row) => row)
        return { versions: found.items, cursor: found.cursor }
      })
    }),

    tool.make({
      name: "get_version",
      title: "Get an earlier version",
      description: "Reads a document as it was: the version with a number, or the one there was at a time.",
      input: {
        resource,
        id,
        version: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
        time: Schema.optionalKey(Schema.String.annotate({ description: "such as 2026-01-31T12:00:00Z" })),
        select
      },
      output: { ...answer.untrusted, document: answer.document },
      run: Effect.fnUntraced(function* (given) {
        const { definition, repository } = yield* open(access, given.resource)
        const found = yield* repository.getAtJson(given.id, yield* momentOf(given))
        const shown = given.select === undefined ? found : picked(found, given.select, definition.primaryKey)
        const fits = answer.bytesOf(shown) <= bytes
        return { notice: answer.notice, document: fits ? shown : answer.tooLarge(shown, definition.primaryKey) }
      })
    }),

    tool.make({
      name: "export_documents",
      title: "Export documents",
      description: "Writes documents as text, page by page: NDJSON, JSON or CSV.",
      input: {
        resource,
        format: Schema.Literals(formats),
        ...conditions,
        order,
        select,
        limit: limitUpTo(limits.rows),
        cursor: answer.cursorIn
      },
      output: { ...answer.untrusted, count: Schema.Int, text: Schema.String, ...answer.cursorOut },
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        // Text within JSON is escaped once more: in the worst case each of its signs takes two.
        let room = Math.floor(bytes / 2)
        let limit = given.limit ?? limits.rows
        for (;;) {
          const page = yield* pageOf(opened, { ...given, limit }, limits, room)
          const text = yield* textOf(opened, given.format, page.items, given.select)
          if (answer.bytesOf(text) <= bytes || page.items.length <= 1) {
            const fits = answer.bytesOf(text) <= bytes
            const [only] = page.items
            const short =
              fits || only === undefined ? text : JSON.stringify(answer.tooLarge(only, opened.definition.primaryKey))
            return { notice: answer.notice, count: page.items.length, text: short, cursor: page.cursor }
          }
          room = Math.floor(room / 2)
          limit = Math.max(1, Math.floor(page.items.length / 2))
        }
      })
    }),

    tool.make({
      name: "validate_document",
      title: "Validate a document",
      description: "Says whether a document could be inserted as it is, and what is wrong with it. Writes nothing.",
      input: { resource, document: Schema.Record(Schema.String, Schema.Unknown) },
      output: {
        valid: Schema.Boolean,
        issues: Schema.Array(Schema.Struct({ path: Schema.Array(Schema.Unknown), message: Schema.String }))
      },
      run: Effect.fnUntraced(function* (given) {
        const { definition, repository } = yield* open(access, given.resource)
        const decode = Schema.decodeUnknownEffect(Wire.create(definition), { errors: "all" })
        const checking = Effect.gen(function* () {
          const input = yield* decode(given.document).pipe(
            Effect.mapError((error) => DbError.invalidInput(definition.name, error.issue))
          )
          // What the schema of the wire leaves to the resource: checks of the whole, rules for passwords, sizes.
          yield* repository.explain(input)
        })
        return yield* checking.pipe(
          Effect.as<JsonObject>({ valid: true, issues: [] }),
          Effect.catchTags({
            InvalidInput: ({ issues }) =>
              Effect.succeed<JsonObject>({
                valid: false,
                issues: issues.map(({ message, path }) => ({ path: [...path], message }))
              }),
            MetadataLimit: ({ message }) =>
              Effect.succeed<JsonObject>({ valid: false, issues: [{ path: [], message }] })
          })
        )
      })
    })
  ]
}

/** Which version is meant. */
export const momentOf = Effect.fnUntraced(function* (given: { readonly version?: number; readonly time?: string }) {
  if ((given.version === undefined) === (given.time === undefined)) {
    return yield* new tool.Refused({ description: "give version or time: see list_versions" })
  }
  if (given.version !== undefined) return { version: given.version }
  const time = DateTime.make(given.time!)
  if (Option.isNone(time)) {
    return yield* new tool.Refused({ description: "time: Expected a time, such as 2026-01-31T12:00:00Z" })
  }
  return { time: time.value }
})
