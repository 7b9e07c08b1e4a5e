/** Commands about the documents of a resource. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as Document from "../../../Document.ts"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import * as Export from "../../../Export.ts"
import type * as Query from "../../../Query.ts"
import { NotFound } from "../../../DbError.ts"
import { systemFields } from "../../../mcp/internal/telling.ts"
import { counted, kindOf, Partial, Usage } from "../failure.ts"
import { IsExpression } from "../globals.ts"
import * as input from "../input.ts"
import * as notation from "../notation.ts"
import { Output } from "../output.ts"
import { resource, withDatabase } from "./opening.ts"
import * as requests from "./requests.ts"

const columnsOf = ({ definition }: requests.Opened): ReadonlyArray<string> =>
  Export.columnsOf(definition).map((path) => path.join("."))

/** How many writes of one command are under way at once. */
const concurrency = 16

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

export const get = (given: {
  readonly resource: string
  readonly ids: ReadonlyArray<string>
  readonly system: boolean
}) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { repository } = yield* resource(given.resource)
      const read = Effect.fnUntraced(function* (id: string) {
        // First, so that who changes it by this revision never overwrites what is newer.
        const document = given.system ? yield* repository.getDocument(id) : undefined
        const json = yield* repository.getJson(id)
        return document === undefined ? json : { ...json, ...systemFields(document) }
      })
      const [only] = given.ids
      if (given.ids.length === 1 && only !== undefined) return yield* output.value(yield* read(only))
      const missing: Array<string> = []
      const found = Stream.fromIterable(given.ids).pipe(
        Stream.mapEffect((id) => Effect.result(read(id)), { concurrency }),
        Stream.zipWithIndex,
        Stream.mapEffect(([result, index]) => {
          if (Result.isSuccess(result)) return Effect.succeed([result.success])
          if (result.failure._tag !== "NotFound") return Effect.fail(result.failure)
          missing.push(given.ids[index]!)
          return Effect.succeed([])
        }),
        Stream.flatMap(Stream.fromIterable)
      )
      yield* output.rows(found)
      const [id] = missing
      if (id !== undefined) return yield* new NotFound({ resource: given.resource, id })
    })
  )

export interface QueryInput extends requests.Asked {
  readonly resource: string
  readonly order: Option.Option<string>
  readonly limit: number
  readonly all: boolean
  readonly cursor: Option.Option<string>
  readonly select: Option.Option<string>
  readonly page: boolean
  readonly explain: boolean
}

/** The most that one page has. */
const mostPerPage = 1000

export const query = (given: QueryInput) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const { repository } = opened
      const asked = yield* requests.request(opened, given)
      const order = Option.isSome(given.order) ? { order: yield* repository.parseOrder(given.order.value) } : {}
      const selected = requests.listed(given.select)
      const select = selected === undefined ? {} : { select: selected }
      const request = { ...asked, ...order }
      const columns = selected ?? columnsOf(opened)
      if (given.explain) return yield* explained(yield* repository.explainQuery({ ...request, ...select }))
      if (given.all || given.limit > mostPerPage) {
        if (given.page) {
          return yield* new Usage({
            description: `--page goes with a --limit of at most ${mostPerPage}, not with --all`
          })
        }
        if (Option.isSome(given.cursor)) {
          return yield* new Usage({ description: `--cursor goes with a --limit of at most ${mostPerPage}` })
        }
        const limit = given.all ? {} : { limit: given.limit }
        const rows = repository.queryJson({ ...request, ...select, ...limit })
        yield* output.rows(rows, { columns, footer })
        return
      }
      const cursor = Option.match(given.cursor, { onNone: () => ({}), onSome: (cursor) => ({ cursor }) })
      const page = yield* repository.queryPageJson({ ...request, ...select, ...cursor, limit: given.limit })
      if (given.page) return yield* output.value({ documents: page.items, cursor: page.cursor ?? null })
      yield* output.rows(Stream.fromIterable(page.items), { columns, footer })
      if (page.cursor === undefined) return
      const more = (yield* IsExpression) ? ".limit(more), or .all()" : `--cursor ${page.cursor}, or --all`
      yield* output.note(`there may be more: ${more}`)
    })
  )

const footer = (count: number): string => counted(count, "document")

/** A plan as rows of one table. */
const explained = Effect.fnUntraced(function* (plan: Query.Plan) {
  const output = yield* Output
  const { fixed, perDocument, perThousand } = plan.requests
  yield* output.value({
    access: plan.access,
    index: plan.index ?? null,
    using: plan.using,
    filter: plan.filter ?? null,
    order: plan.order,
    isScan: plan.isScan,
    reads: plan.reads,
    fallback: plan.fallback ?? null,
    requests: `${fixed} + ${perThousand} for each further 1,000 + ${perDocument} for each document`
  })
})

export const count = (
  given: requests.Asked & { readonly resource: string; readonly by: Option.Option<string>; readonly explain: boolean }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const request = yield* requests.request(opened, given)
      const by = requests.listed(given.by)
      if (given.explain) {
        // What a count reads of documents: what it groups them by, or nothing.
        return yield* explained(yield* opened.repository.explainQuery({ ...request, select: by ?? [] }))
      }
      if (by === undefined) {
        const count = yield* opened.repository.count(request)
        return yield* output.value({ count }, String(count))
      }
      const groups = yield* opened.repository.aggregate({ groupBy: by, values: { count: { count: true } } }, request)
      yield* output.rows(
        Stream.fromIterable(groups).pipe(
          Stream.map(({ key, values }) => ({ ...commonOf(by, key), count: values["count"] ?? 0 }))
        )
      )
    })
  )

/** What a group has in common, by the names of its fields. */
const commonOf = (by: ReadonlyArray<string>, key: ReadonlyArray<Json>): JsonObject =>
  Object.fromEntries(by.map((name, index) => [name, key[index] ?? null]))

const measures = ["count", "sum", "min", "max", "avg"]

/** `sum:total`, or `name=sum:total`, or `count`. */
const measureOf = (text: string): readonly [string, Record<string, unknown>] | undefined => {
  const [, name, measure = "", path] = /^(?:([^=:]+)=)?([a-z]+)(?::(.+))?$/.exec(text) ?? []
  if (!measures.includes(measure) || (measure === "count") !== (path === undefined)) return undefined
  return [name ?? (path === undefined ? measure : `${measure}(${path})`), { [measure]: path ?? true }]
}

export const aggregate = (
  given: requests.Asked & {
    readonly resource: string
    readonly measures: ReadonlyArray<string>
    readonly by: Option.Option<string>
  }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const request = yield* requests.request(opened, given)
      const values: Record<string, Record<string, unknown>> = {}
      for (const text of given.measures) {
        const parsed = measureOf(text)
        if (parsed === undefined) {
          return yield* new Usage({
            description: `${JSON.stringify(text)} is nothing to work out: write count, sum:field, min:field, max:field or avg:field, with a name before it if you like (total=sum:price)`
          })
        }
        const [name, measure] = parsed
        if (notation.isForbidden(name)) {
          return yield* new Usage({ description: `${JSON.stringify(text)}: no measure can have this name` })
        }
        if (Object.hasOwn(values, name)) {
          return yield* new Usage({
            description: `two measures are called ${name}: name one otherwise (other=sum:price)`
          })
        }
        values[name] = measure
      }
      const by = requests.listed(given.by) ?? []
      const groups = yield* opened.repository.aggregate({ groupBy: by, values: values as never }, request)
      const skipped = new Map<string, number>()
      yield* output.rows(
        Stream.fromIterable(groups).pipe(
          Stream.map((group) => {
            for (const [name, count] of Object.entries(group.skipped)) {
              skipped.set(name, (skipped.get(name) ?? 0) + count)
            }
            return { ...commonOf(by, group.key), ...group.values }
          })
        )
      )
      for (const [name, count] of skipped) {
        if (count > 0) yield* output.note(`${name}: ${counted(count, "document")} had nothing there that it could take`)
      }
    })
  )

// -----------------------------------------------------------------------------
// Writing
// -----------------------------------------------------------------------------

const revisionOf = (text: Option.Option<string>) =>
  // Opaque: one that is none finds no document.
  Option.getOrUndefined(text) as Document.Revision | undefined

interface WriteInput {
  readonly resource: string
  readonly document: Option.Option<string>
  readonly file: Option.Option<string>
}

/** Writes one document, whose failure is that of the command, or several, each of which is told of. */
const writing = (
  given: WriteInput,
  write: (
    repository: requests.Opened["repository"],
    primaryKey: string
  ) => (document: JsonObject) => Effect.Effect<JsonObject, { readonly _tag: string; readonly message: string }>
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const documents = yield* input.objects(given.document, given.file, "the document")
      const { definition, repository } = yield* resource(given.resource)
      const one = write(repository, definition.primaryKey)
      const [only] = documents
      if (documents.length === 1 && only !== undefined) return yield* output.value(yield* one(only))
      let failed = 0
      const written = Stream.fromIterable(documents).pipe(
        Stream.mapEffect((document) => Effect.result(one(document)), { concurrency }),
        Stream.zipWithIndex,
        Stream.mapEffect(
          Effect.fnUntraced(function* ([result, index]) {
            if (Result.isSuccess(result)) return [result.success]
            failed += 1
            yield* output.warn(`document ${index + 1}: ${result.failure.message}`)
            return []
          })
        ),
        Stream.flatMap(Stream.fromIterable)
      )
      yield* output.rows(written)
      if (failed > 0) {
        return yield* new Partial({ description: `not written: ${failed} of ${counted(documents.length, "document")}` })
      }
    })
  )

export const insert = (given: WriteInput) => writing(given, (repository) => repository.insertJson)

export const replace = (given: WriteInput & { readonly ifRevision: Option.Option<string> }) =>
  writing(
    given,
    (repository) => (document) => repository.replaceJson(document, { ifRevision: revisionOf(given.ifRevision) })
  )

export const upsert = (given: WriteInput) =>
  writing(given, (repository, primaryKey) =>
    Effect.fnUntraced(function* (document) {
      const outcome = yield* Stream.runHead(repository.writeAllJson(Stream.succeed(document), { mode: "upsert" }))
      const { id, result } = yield* Effect.fromOption(outcome).pipe(Effect.orDie)
      const value: unknown = yield* Effect.fromResult(result)
      // A generated id is in the value alone.
      const written = id ?? String((value as Readonly<Record<string, unknown>>)[primaryKey])
      return yield* repository.getJson(written)
    })
  )

export const update = (given: {
  readonly resource: string
  readonly id: string
  readonly changes: Option.Option<string>
  readonly file: Option.Option<string>
  readonly set: ReadonlyArray<string>
  readonly unset: ReadonlyArray<string>
  readonly merge: boolean
  readonly ifRevision: Option.Option<string>
}) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const { repository } = opened
      const hasFlags = given.set.length > 0 || given.unset.length > 0
      if (hasFlags && given.merge) {
        return yield* new Usage({ description: "--merge goes with JSON: --set names each field by its path" })
      }
      const isJson = !hasFlags || Option.isSome(given.changes) || Option.isSome(given.file)
      const changes: JsonObject = {
        ...(isJson ? yield* input.object(given.changes, given.file, "the changes", "--set, --unset, ") : {}),
        ...(yield* requests.assignments(opened, given.set, "--set")),
        ...Object.fromEntries(given.unset.map((path) => [path, null]))
      }
      const options = { ifRevision: revisionOf(given.ifRevision) }
      const write = given.merge
        ? repository.patchJson(given.id, changes, options)
        : repository.updateJson(given.id, changes, options)
      yield* output.value(yield* write)
    })
  )

export const remove = (
  given: requests.Asked & {
    readonly resource: string
    readonly ids: ReadonlyArray<string>
    readonly force: boolean
    readonly mustExist: boolean
  }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const { repository } = opened
      const byConditions = given.where.length > 0 || Option.isSome(given.partition)
      if (byConditions === given.ids.length > 0) {
        return yield* new Usage({
          description: "name the documents by their ids, or by --where or --partition; `s3db truncate` removes all"
        })
      }
      const ids = byConditions
        ? yield* Stream.runCollect(repository.listIds(yield* requests.request(opened, given)))
        : given.ids
      if (ids.length === 0) return yield* output.value({ deleted: 0 }, "no document meets the conditions")
      const what = ids.length === 1 ? `document ${JSON.stringify(ids[0])}` : counted(ids.length, "document")
      yield* output.confirm(`Delete ${what} of ${given.resource}?`, given.force)
      if (given.mustExist) {
        yield* Effect.forEach(ids, (id) => repository.delete(id, { mustExist: true }), { concurrency, discard: true })
        return yield* output.value({ deleted: ids.length }, `deleted ${what}`)
      }
      // Deleting says nothing of what was not there; one that cannot be looked for counts as there, and is deleted, or told, below.
      const isMissing = Effect.fnUntraced(function* (id: string) {
        return !(yield* Effect.orElseSucceed(repository.exists(id), () => true))
      })
      const missing = new Set(byConditions ? [] : yield* Effect.filter(ids, isMissing, { concurrency }))
      const { deleted, failed } = yield* repository.deleteMany(ids)
      for (const { error, id } of failed) yield* output.warn(`${id}: ${error.message}`)
      const gone = deleted.filter((id) => !missing.has(id)).length
      yield* output.value({ deleted: gone }, `deleted ${counted(gone, "document")}`)
      if (missing.size > 0) {
        yield* output.note(
          `not there: ${ids
            .filter((id) => missing.has(id))
            .map((id) => JSON.stringify(id))
            .join(", ")}`
        )
      }
      const [first] = failed
      if (first !== undefined) {
        return yield* failed.length === ids.length && kindOf(first.error) !== "Defect"
          ? first.error
          : new Partial({ description: `not deleted: ${failed.length} of ${counted(ids.length, "document")}` })
      }
    })
  )
