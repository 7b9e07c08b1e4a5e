/** The tools that change documents and resources. A store that refuses writes is below them, too. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as declaring from "../../cli/internal/declaring.ts"
import type * as Document from "../../Document.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import * as Resource from "../../Resource.ts"
import { type Access, isVisible } from "../Access.ts"
import * as answer from "./answer.ts"
import { open, resources } from "./opening.ts"
import { id, momentOf, resource } from "./reading.ts"
import * as tool from "./tool.ts"

const object = Schema.Record(Schema.String, Schema.Unknown)

const revision = Schema.optionalKey(
  Schema.String.annotate({
    description: "$revision, as get_documents shows it with system: the change fails where somebody else was first"
  })
)

/** What came in as JSON is JSON. */
const asJson = (value: Readonly<Record<string, unknown>>): JsonObject => value as JsonObject

const ifRevision = (revision: string | undefined) =>
  // Opaque: one that is none finds no document.
  ({ ifRevision: revision as Document.Revision | undefined })

const outcomes = {
  written: Schema.Int,
  failed: Schema.Int,
  results: Schema.Array(
    Schema.Struct({ index: Schema.Int, id: Schema.NullOr(Schema.String), error: Schema.NullOr(Schema.String) })
  )
}

const clipped = (text: string): string => (text.length > 500 ? `${text.slice(0, 500)}...` : text)

export const tools = (access: Access, limits: tool.Limits) => {
  const bytes = limits.bytes - 1024
  const documents = Schema.Array(object)
    .check(Schema.isBetweenLength(1, limits.rows))
    .annotate({ description: "the documents, in the form of insert_schema" })
  const idOf = (value: unknown, primaryKey: string): string | null => {
    const found =
      typeof value === "object" && value !== null ? (value as Record<string, unknown>)[primaryKey] : undefined
    return typeof found === "string" ? found : null
  }
  const writing = Effect.fnUntraced(function* (
    given: { readonly resource: string; readonly documents: ReadonlyArray<Readonly<Record<string, unknown>>> },
    mode: "insert" | "upsert"
  ) {
    const { definition, repository } = yield* open(access, given.resource)
    const written = yield* Stream.runCollect(
      repository.writeAllJson(Stream.fromIterable(given.documents.map(asJson)), { mode })
    )
    const results = written
      .map(
        ({
          id,
          index,
          result
        }): { readonly index: number; readonly id: string | null; readonly error: string | null } => ({
          index,
          id: id ?? (Result.isSuccess(result) ? idOf(result.success, definition.primaryKey) : null),
          error: Result.isFailure(result) ? clipped(result.failure.message) : null
        })
      )
      .toSorted((a, b) => a.index - b.index)
    const failed = results.filter(({ error }) => error !== null).length
    return { written: results.length - failed, failed, results }
  })
  const shown = Effect.fnUntraced(function* (opened: Effect.Success<ReturnType<typeof open>>, document: JsonObject) {
    const fits = answer.bytesOf(document) <= bytes
    return {
      notice: answer.notice,
      document: fits ? document : answer.tooLarge(document, opened.definition.primaryKey)
    }
  })
  const one = { ...answer.untrusted, document: answer.document }
  return [
    tool.make({
      name: "insert_documents",
      title: "Insert documents",
      description:
        "Creates documents. One that is there already, or does not fit, is told of in its place, and does not stop the others.",
      kind: "write",
      input: { resource, documents },
      output: outcomes,
      run: (given) => writing(given, "insert")
    }),

    tool.make({
      name: "upsert_documents",
      title: "Create or change documents",
      description: "Creates documents, or changes the fields given of those that are there.",
      kind: "write",
      overwrites: true,
      idempotent: true,
      input: { resource, documents },
      output: outcomes,
      run: (given) => writing(given, "upsert")
    }),

    tool.make({
      name: "update_document",
      title: "Change a document",
      description:
        "Changes fields of a document: with set those named by their paths, null removing an optional one; with merge nested objects field by field.",
      kind: "write",
      overwrites: true,
      idempotent: true,
      input: { resource, id, set: Schema.optionalKey(object), merge: Schema.optionalKey(object), revision },
      output: one,
      run: Effect.fnUntraced(function* ({ id, merge, resource, revision, set }) {
        if ((set === undefined) === (merge === undefined)) {
          return yield* new tool.Refused({ description: "give set or merge" })
        }
        const opened = yield* open(access, resource)
        const options = ifRevision(revision)
        const written =
          set === undefined
            ? yield* opened.repository.patchJson(id, asJson(merge ?? {}), options)
            : yield* opened.repository.updateJson(id, asJson(set), options)
        return yield* shown(opened, written)
      })
    }),

    tool.make({
      name: "replace_document",
      title: "Replace a document",
      description: "Puts a document in the place of the one with its id, whole.",
      kind: "write",
      overwrites: true,
      idempotent: true,
      input: { resource, document: object, revision },
      output: one,
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        const written = yield* opened.repository.replaceJson(asJson(given.document), ifRevision(given.revision))
        return yield* shown(opened, written)
      })
    }),

    tool.make({
      name: "restore_version",
      title: "Restore an earlier version",
      description: "Makes an earlier version of a document the present one, also of one that is deleted.",
      kind: "write",
      overwrites: true,
      input: {
        resource,
        id,
        version: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
        time: Schema.optionalKey(Schema.String)
      },
      output: one,
      run: Effect.fnUntraced(function* (given) {
        const opened = yield* open(access, given.resource)
        yield* opened.repository.restore(given.id, yield* momentOf(given))
        return yield* shown(opened, yield* opened.repository.getJson(given.id))
      })
    }),

    tool.make({
      name: "create_resource",
      title: "Create a resource",
      description:
        'Creates a resource. attributes are rules by field: {"name": "string|min:2", "age": "number|optional"}; the guide page what-a-document-can-hold has them all.',
      kind: "write",
      input: {
        resource,
        attributes: object,
        options: Schema.optionalKey(
          object.annotate({ description: `beside attributes: ${declaring.optionNames.join(", ")}` })
        )
      },
      output: { created: Schema.String },
      run: Effect.fnUntraced(function* (given) {
        if (!isVisible(access, given.resource)) {
          return yield* new tool.Refused({ description: "resource: this server may not make one of that name" })
        }
        if ((yield* resources(access)).some(({ name }) => name === given.resource)) {
          return yield* new tool.Refused({ description: "resource: there is one of that name already" })
        }
        const { attributes: _, ...options } = given.options ?? {}
        const declared: JsonObject = { ...asJson(options), attributes: asJson(given.attributes) }
        yield* Resource.make(yield* declaring.parse(given.resource, declared))
        return { created: given.resource }
      })
    }),

    tool.make({
      name: "backfill_resource",
      title: "Build indexes",
      description:
        "Builds partitions and unique keys of a resource that are not usable yet, from its documents. Reads every document.",
      kind: "write",
      idempotent: true,
      input: { resource },
      output: { seen: Schema.Int, written: Schema.Int, problems: Schema.Array(Schema.String) },
      run: Effect.fnUntraced(function* (given) {
        const { repository } = yield* open(access, given.resource)
        const admin = yield* repository.admin
        let [seen, written] = [0, 0]
        const problems: Array<string> = []
        yield* Stream.runForEach(admin.backfill(), (done) =>
          Effect.sync(() => {
            seen += 1
            if (done.rewritten) written += 1
            const messages = [...(done.error === undefined ? [] : [done.error]), ...done.violations]
            for (const { message } of messages) if (problems.length < limits.rows) problems.push(clipped(message))
          })
        )
        return { seen, written, problems: problems.slice(0, answer.fitting(problems, bytes)) }
      })
    }),

    tool.make({
      name: "delete_documents",
      title: "Delete documents",
      description: "Deletes documents by their ids. What is deleted is gone, unless its resource keeps a history.",
      kind: "destructive",
      idempotent: true,
      input: { resource, ids: Schema.Array(id).check(Schema.isBetweenLength(1, limits.rows)) },
      output: { deleted: Schema.Int, failed: Schema.Array(Schema.Struct({ id: Schema.String, error: Schema.String })) },
      run: Effect.fnUntraced(function* (given) {
        const { repository } = yield* open(access, given.resource)
        const { deleted, failed } = yield* repository.deleteMany(given.ids)
        const told = failed.map(({ error, id }): Json => ({ id, error: clipped(error.message) }))
        return { deleted: deleted.length, failed: told.slice(0, answer.fitting(told, bytes)) }
      })
    }),

    tool.make({
      name: "delete_all_documents",
      title: "Delete all documents",
      description:
        "Deletes every document of a resource that is declared with allowDeleteAll. confirm has to be its name.",
      kind: "destructive",
      idempotent: true,
      input: { resource, confirm: Schema.String },
      output: { deleted: Schema.Int },
      run: Effect.fnUntraced(function* (given) {
        if (given.confirm !== given.resource) {
          return yield* new tool.Refused({ description: "confirm: Expected the name of the resource" })
        }
        const { repository } = yield* open(access, given.resource)
        return { deleted: yield* repository.deleteAll }
      })
    }),

    tool.make({
      name: "repair_resource",
      title: "Mend a resource",
      description:
        "Removes what crashes have left, and adds what indexes lack. Without fix it changes nothing. See check_resource.",
      kind: "destructive",
      idempotent: true,
      input: { resource, fix: Schema.optionalKey(Schema.Boolean) },
      output: { findings: Schema.Int, repaired: Schema.Int, left: Schema.Int },
      run: Effect.fnUntraced(function* (given) {
        const { repository } = yield* open(access, given.resource)
        const admin = yield* repository.admin
        let [findings, repaired] = [0, 0]
        yield* Stream.runForEach(admin.repair({ dryRun: given.fix !== true }), (finding) =>
          Effect.sync(() => {
            findings += 1
            if (finding.repaired) repaired += 1
          })
        )
        return { findings, repaired, left: findings - repaired }
      })
    })
  ]
}
