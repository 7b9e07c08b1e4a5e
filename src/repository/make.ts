/**
 * Opens a resource on a database: puts the wings of the engine together behind the interface of a repository.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as AST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import * as Aggregation from "../Aggregation.ts"
import type * as Change from "../Change.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import type * as Document from "../Document.ts"
import type { DocumentCodec } from "../document/codec.ts"
import type * as KnownCompanions from "../document/companions.ts"
import { isInHand } from "../document/context.ts"
import * as Documents from "../document/documents.ts"
import * as inTurn from "../internal/inTurn.ts"
import { lazily } from "../internal/lazily.ts"
import * as merge from "../internal/merge.ts"
import type * as Pipeline from "../Pipeline.ts"
import * as Query from "../Query.ts"
import * as Companions from "../query/companions.ts"
import * as cursor from "../query/cursor.ts"
import * as Fields from "../query/fields.ts"
import * as Keys from "../query/keys.ts"
import * as Listing from "../query/listing.ts"
import * as OperandCodecs from "../query/operandCodecs.ts"
import * as Markers from "../query/markers.ts"
import * as Packed from "../query/packed.ts"
import * as Partitions from "../query/partitions.ts"
import * as Planner from "../query/planner.ts"
import * as Queries from "../query/run.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import type { Names, Selected } from "../Names.ts"
import type { ImageRecord, Insert, Operations, Patch, Repository, Update, UpdateOptions } from "../Repository.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Adding from "./addCompanion.ts"
import * as Admin from "./admin.ts"
import * as Bulk from "./bulk.ts"
import * as Changes from "./changes.ts"
import * as Contents from "./contents.ts"
import * as Counts from "./counts.ts"
import * as History from "./history.ts"
import * as Images from "./images.ts"
import * as JsonForm from "./jsonForm.ts"
import * as Operation from "./operation.ts"
import * as Reading from "./reading.ts"
import * as Source from "./source.ts"
import * as Uniques from "./unique.ts"
import * as Writing from "./writing.ts"

/**
 * A repository without what TypeScript knows of the names: any may be asked for.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyRepository<S extends DocumentSchema> = Repository<S, Names, S["Type"]>

/**
 * Its operations.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyOperations<S extends DocumentSchema> = Operations<S, Names, S["Type"]>

/**
 * What all that opens a resource of a database shares.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shared<S extends DocumentSchema> {
  readonly pipeline: Pipeline.Pipeline<AnyOperations<S>>
  readonly feed: Change.Feed<S["Type"]>
  /** Those that are declared, and those that have been added since. */
  readonly companions: KnownCompanions.Companions
}

const defaultConcurrency = 16

/**
 * Makes the repository of a resource whose definition is registered, or rather when somebody first uses it: a program may have hundreds, and
 * use a few. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  definition: Definition<S>,
  database: Database["Service"],
  codec: DocumentCodec<S["Type"]>,
  shared: Shared<S>
): AnyRepository<S> => lazily(() => makeNow(definition, database, codec, shared))

const makeNow = <S extends DocumentSchema>(
  definition: Definition<S>,
  database: Database["Service"],
  codec: DocumentCodec<S["Type"]>,
  { companions, feed, pipeline }: Shared<S>
): AnyRepository<S> => {
  const { name, onExcessProperty, schema } = definition
  const documents = Documents.make(definition, database, codec, companions)
  const { context, preparation } = documents
  const operation = Operation.make(name, database.store.location, database.resources.observers)
  const { about, draw, fn, named, run } = operation

  const operands = OperandCodecs.make(schema, Fields.systemSchemas)
  const fields = Fields.make(definition, documents, operands)
  const keys = Keys.make(documents, operands)
  const cursors = cursor.forPages(context)
  const packed = Packed.make(definition, documents, fields)
  const listing = Listing.make(documents, { cursors, keys, packed })
  const markers = Markers.make(definition, documents, { fields, keys, listing })
  const partitions = Partitions.make(documents, { keys, listing })
  const kept = Companions.make(documents, { keys, listing })
  const planner = Planner.make(definition, documents, { fields, keys, refuse: operation.refuse })
  const direct = Queries.make(definition, documents, { cursors, fields, listing, markers, packed, planner })
  const source = Source.make(definition, documents, { fields, keys, listing, planner, queries: direct })
  const { queries } = source
  const uniques = Uniques.make(documents, { operands, source })

  // What a newer version has counted is counted by programs that do not know it, too.
  const counts = Counts.make(documents, { keys, listing })
  const changes = Changes.make(documents, { all: database.changes, counts, feed })
  const reading = Reading.make<S["Type"], Insert<S>, Update<S["Type"]>, Patch<S["Type"]>>(documents, {
    counts,
    fields,
    operation,
    pipeline,
    source
  })
  const writing = Writing.make<S["Type"], Insert<S>, Update<S["Type"]>, Patch<S["Type"]>>(documents, {
    allowDeleteAll: definition.allowDeleteAll,
    changes,
    fields: merge.fieldTree(AST.toType(schema.ast), onExcessProperty) ?? { fields: new Map(), onExcessProperty },
    keys,
    listing,
    operation,
    pipeline,
    reading
  })
  const contents = Contents.make(documents, { changes, operation, pipeline, reading })
  const history = History.make(documents, { operation, pipeline, reading })
  const images = Images.make(documents, { keys, operation, reading })
  const bulk = Bulk.make(documents, { operation, queries, reading, writing })
  const jsonForm = JsonForm.make(definition)
  const inputOf = (document: JsonObject) =>
    Effect.mapError(jsonForm.inputOf(document), documents.context.withId(document))
  const adding = Adding.make(documents)
  const admin = Admin.make(documents, { changes, counts, fields, history, keys, listing, operation, packed })

  /** Keeps the fields that are asked for. They are what their paths say: that is what the type does. */
  const selection = <Path extends string>(select: ReadonlyArray<Path> | undefined) =>
    (select === undefined ? fields.shown : Query.project(select)) as (json: JsonObject) => Selected<S, Path>

  const valueOf = <E, R>(effect: Effect.Effect<Reading.Shown<S["Type"]>, E, R>) =>
    Effect.map(effect, ({ value }) => value)
  const documentOf = <E, R>(effect: Effect.Effect<Reading.Shown<S["Type"]>, E, R>) =>
    Effect.map(effect, reading.envelopeOf)
  const jsonOf = <E, R>(effect: Effect.Effect<Reading.Shown<S["Type"]>, E, R>) =>
    Effect.map(Effect.flatMap(effect, reading.jsonOf), fields.shown)
  const documentAlone = reading.documentAlone("Resource.getDocument")
  const valueAlone = reading.valueAlone("Resource.get")
  const existsAlone = reading.existsAlone("Resource.exists")
  const insertAlone = writing.insertAlone("Resource.insert")
  const replaceAlone = writing.replaceAlone("Resource.replace")
  const updateAlone = writing.updateAlone("Resource.update")
  const patchAlone = writing.patchAlone("Resource.patch")
  const envelopeOf = (value: S["Type"]): Effect.Effect<Document.Document<S["Type"]>, DbError.NotFound> => {
    const base = context.known(value as object)
    return base === undefined
      ? Effect.fail(new DbError.NotFound({ resource: name }))
      : Effect.succeed(reading.documentOf(base))
  }
  const get = (id: string) => reading.present(id, source.reader.loadNow)
  const idOf = (target: string | { readonly id: string }) => (isInHand(target) ? target.id : target)
  /** The ids that were given. A text is a sequence of letters, which nobody means by it. */
  const listed = (ids: Iterable<string>) =>
    typeof ids === "object" && ids !== null && Symbol.iterator in ids
      ? Effect.succeed([...ids])
      : named(Effect.fail(new StoreError.InvalidArgument({ argument: "ids", description: "Expected a list of ids" })))
  /** Tells the span of the id of what an operation gives, which it did not know before. */
  const telling = <X, E, R>(effect: Effect.Effect<X, E, R>) => Effect.tap(effect, (given) => about(writing.idIn(given)))

  return {
    insert: fn("Resource.insert", writing.insertValue, writing.idIn, writing.idIn, insertAlone),

    insertMany: fn(
      "Resource.insertMany",
      Effect.fnUntraced(function* (inputs, options) {
        return yield* bulk.each(inputs, options, writing.insertValue)
      })
    ),

    insertJson: fn(
      "Resource.insertJson",
      Effect.fnUntraced(function* (document) {
        return yield* telling(jsonOf(writing.insert(yield* inputOf(document))))
      }),
      writing.idIn
    ),

    get: fn(
      "Resource.get",
      (id) => reading.valueNow(id, source.reader.loadNow),
      (id: string) => id,
      undefined,
      (id: string) => valueAlone(id, source.reader.loadNow)
    ),

    getOption: fn(
      "Resource.getOption",
      (id) => orNone(reading.valueNow(id, source.reader.loadNow)),
      (id: string) => id
    ),

    getMany: fn(
      "Resource.getMany",
      Effect.fnUntraced(function* (ids, options) {
        const concurrency = options?.concurrency ?? defaultConcurrency
        const all = yield* listed(ids)
        yield* operation.batch(all.length)
        return yield* inTurn.forEach(all, (id) => orNone(reading.valueNow(id, source.reader.loadNow)), { concurrency })
      })
    ),

    getDocument: fn(
      "Resource.getDocument",
      (id) => reading.document(id, source.reader.loadNow),
      (id: string) => id,
      undefined,
      (id: string) => documentAlone(id, source.reader.loadNow)
    ),

    getJson: fn(
      "Resource.getJson",
      Effect.fnUntraced(function* (id) {
        return yield* jsonOf(get(id))
      }),
      (id: string) => id
    ),

    documentOf: fn("Resource.documentOf", envelopeOf, undefined, undefined, envelopeOf),

    fromImage: fn(
      "Resource.fromImage",
      Effect.fnUntraced(function* (record, side) {
        return yield* valueOf(images.read(record, side))
      }),
      (record: ImageRecord) => record?.id
    ),

    imageWithin: fn(
      "Resource.imageWithin",
      (record, side, within) => images.within(record, side, within),
      (record: ImageRecord) => record?.id
    ),

    getByUnique: fn(
      "Resource.getByUnique",
      Effect.fnUntraced(function* (label, values) {
        yield* pipeline.admit("get")
        const found = yield* named(uniques.find(label, values))
        const missing = new DbError.NotFound({ resource: name, unique: label })
        // Interceptors decide before it is told whether there is such a document.
        return yield* telling(
          valueOf(
            Option.match(found, {
              onNone: () => reading.get("", () => Effect.fail(missing)),
              onSome: (base) => reading.present(base.id, () => Effect.succeed(base), missing)
            })
          )
        )
      })
    ),

    getFromPartition: fn(
      "Resource.getFromPartition",
      Effect.fnUntraced(function* (id, within) {
        return yield* valueOf(reading.present(id, (id) => source.getFrom(id, within)))
      }),
      (id: string) => id
    ),

    distinct: (within) =>
      draw("Resource.distinct")(reading.whole(["listIds", "query"], within, (request) => partitions.distinct(request))),

    covered: (within) =>
      draw("Resource.covered")(reading.whole(["listIds", "query"], within, (request) => partitions.covered(request))),

    companion: (label, request = {}) =>
      draw("Resource.companion")(reading.keys(request, (filters) => kept.read(label, request, filters))),

    addCompanion: fn(
      "Resource.addCompanion",
      Effect.fnUntraced(function* (label, companion) {
        return yield* named(adding.add(label, companion))
      })
    ),

    update: fn(
      "Resource.update",
      <E = never, R = never>(
        target: string | Document.Document<S["Type"]>,
        changes:
          | Update<S["Type"]>
          | ((current: S["Type"]) => Update<S["Type"]> | Effect.Effect<Update<S["Type"]>, E, R>),
        options?: UpdateOptions
      ) => valueOf(writing.update(target, newValues<S["Type"], Update<S["Type"]>, E, R>(changes), options)),
      idOf,
      undefined,
      (target, changes, options) => (isFunction(changes) ? undefined : updateAlone(target, changes, options))
    ),

    updateJson: fn(
      "Resource.updateJson",
      Effect.fnUntraced(function* (id, changes, options) {
        return yield* jsonOf(writing.update(id, { by: jsonForm.changesOf("update", changes) }, options))
      }),
      (id: string) => id
    ),

    patch: fn(
      "Resource.patch",
      (target, changes, options) => valueOf(writing.patch(target, changes, options)),
      idOf,
      undefined,
      patchAlone
    ),

    patchJson: fn(
      "Resource.patchJson",
      Effect.fnUntraced(function* (id, changes, options) {
        return yield* jsonOf(writing.patchBy(id, jsonForm.changesOf("patch", changes), options))
      }),
      (id: string) => id
    ),

    replace: fn("Resource.replace", writing.replaceValue, writing.idIn, undefined, replaceAlone),

    replaceJson: fn(
      "Resource.replaceJson",
      Effect.fnUntraced(function* (document, options) {
        return yield* jsonOf(writing.replace(yield* inputOf(document), options))
      }),
      writing.idIn
    ),

    upsert: fn(
      "Resource.upsert",
      Effect.fnUntraced(function* (input, options) {
        return yield* telling(valueOf(writing.upsert(input, options)))
      }),
      writing.idIn
    ),

    upsertMany: fn(
      "Resource.upsertMany",
      Effect.fnUntraced(function* (inputs, options) {
        return yield* bulk.each(inputs, options, (input) => valueOf(writing.upsert(input, options)))
      })
    ),

    writeAll: (inputs, options) => draw("Resource.writeAll")(bulk.writeAll(inputs, options, Effect.succeed)),

    writeAllJson: (inputs, options) => draw("Resource.writeAllJson")(bulk.writeAll(inputs, options, inputOf)),

    updateMany: <E = never, R = never>(
      request: Query.Request<S["Type"]>,
      changes: Update<S["Type"]> | ((current: S["Type"]) => Update<S["Type"]> | Effect.Effect<Update<S["Type"]>, E, R>)
    ) => draw("Resource.updateMany")(bulk.updateAll(request, newValues<S["Type"], Update<S["Type"]>, E, R>(changes))),

    query: (request) => draw("Resource.query")(Stream.map(reading.query(request), ({ value }) => value)),

    queryJson: <Path extends string>({ select, ...request }: Query.Request<S["Type"]> & Query.Projection<Path>) => {
      const shown = select?.map(Query.segments)
      return draw("Resource.queryJson")(
        Stream.unwrap(
          Effect.map(fields.check(shown ?? []), () =>
            Stream.map(reading.queryJson(request, shown), selection<Path>(select))
          )
        )
      )
    },

    queryPageJson: fn(
      "Resource.queryPageJson",
      Effect.fnUntraced(function* <Path extends string>({
        select,
        ...request
      }: Query.Request<S["Type"]> & Query.PageRequest & Query.Total & Query.Projection<Path>) {
        const shown = select?.map(Query.segments)
        yield* fields.check(shown ?? [])
        const { cursor, items, total } = yield* reading.listJson(request, shown)
        const chosen = select === undefined ? (items as ReadonlyArray<Selected<S, Path>>) : items.map(selection(select))
        return { items: chosen, cursor, total }
      })
    ),

    queryPage: fn(
      "Resource.queryPage",
      Effect.fnUntraced(function* (request) {
        const page = yield* reading.list(request)
        return { ...page, total: page.total }
      })
    ),

    parseWhere: fn(
      "Resource.parseWhere",
      Effect.fnUntraced(function* (json) {
        return yield* fields.parseWhere(json)
      })
    ),

    parseOrder: fn(
      "Resource.parseOrder",
      Effect.fnUntraced(function* (text) {
        return yield* fields.parseOrder(text)
      })
    ),

    explainQuery: fn(
      "Resource.explainQuery",
      Effect.fnUntraced(function* ({ select, ...request }) {
        const plan = yield* queries.explain(request, select?.map(Query.segments))
        const names = plan.reads === "keys" ? pipeline.names("query").map((name) => JSON.stringify(name)) : []
        if (names.length === 0) return plan
        const fallback = `documents are read where an interceptor of query (${names.join(", ")}) narrows or changes what may be seen`
        return { ...plan, fallback }
      })
    ),

    aggregate: fn(
      "Resource.aggregate",
      Effect.fnUntraced(function* (aggregation, { maxGroups, ...request } = {}) {
        const made = Aggregation.make(aggregation)
        if (Result.isFailure(made)) return yield* context.invalid(made.failure.path, made.failure.message)
        yield* fields.check(Aggregation.paths(made.success))
        const options = { ...fields.options, maxGroups }
        // What interceptors make of the documents is known to them alone.
        if (pipeline.concerns("query")) {
          return yield* Aggregation.run(reading.queryJson(request), made.success, options)
        }
        const found = operation.namedStream(direct.batches(request, Aggregation.paths(made.success)))
        const what: Json = [made.success as unknown as Json, maxGroups ?? null]
        return yield* source.aggregate(
          request,
          what,
          Aggregation.paths(made.success),
          Aggregation.runBatches(found, made.success, options)
        )
      })
    ),

    delete: fn(
      "Resource.delete",
      Effect.fnUntraced(function* (target, { mustExist = false } = {}) {
        yield* writing.remove(target, mustExist)
      }),
      idOf
    ),

    deleteMany: fn(
      "Resource.deleteMany",
      Effect.fnUntraced(function* (ids, options) {
        const all = yield* listed(ids)
        yield* operation.batch(all.length)
        return yield* writing.removeMany(all, options?.onProgress)
      })
    ),

    deleteAll: writing.removeAll.pipe(run("Resource.deleteAll")),

    exists: fn(
      "Resource.exists",
      (id) => reading.exists(id),
      (id: string) => id,
      undefined,
      existsAlone
    ),

    count: fn(
      "Resource.count",
      Effect.fnUntraced(function* (request = {}) {
        return yield* reading.count(request)
      })
    ),

    estimatedCount: fn(
      "Resource.estimatedCount",
      Effect.fnUntraced(function* (within = {}) {
        return yield* reading.estimatedCount(within)
      })
    ),

    listIds: (request = {}) => draw("Resource.listIds")(reading.listIds(request)),

    list: fn(
      "Resource.list",
      Effect.fnUntraced(function* (request = {}) {
        return yield* reading.list(request)
      })
    ),

    setContent: fn(
      "Resource.setContent",
      Effect.fnUntraced(function* (id, bytes, options) {
        const stream = bytes instanceof Uint8Array ? Stream.succeed(bytes) : bytes
        return yield* contents.set(id, stream, options?.contentType ?? "application/octet-stream")
      }),
      (id: string) => id
    ),

    getContent: fn(
      "Resource.getContent",
      Effect.fnUntraced(function* (id, range) {
        return yield* contents.get(id, range)
      }),
      (id: string) => id
    ),

    hasContent: fn(
      "Resource.hasContent",
      Effect.fnUntraced(function* (id) {
        return Option.isSome(yield* contents.get(id, undefined))
      }),
      (id: string) => id
    ),

    deleteContent: fn(
      "Resource.deleteContent",
      Effect.fnUntraced(function* (id) {
        yield* contents.remove(id)
      }),
      (id: string) => id
    ),

    history: (id) =>
      draw("Resource.history", id)(Stream.mapEffect(history.versions(id), ({ result }) => Effect.fromResult(result))),

    historyResults: (id) => draw("Resource.historyResults", id)(history.versions(id)),

    getAt: fn(
      "Resource.getAt",
      Effect.fnUntraced(function* (id, moment) {
        return yield* documentOf(reading.get(id, (id) => history.at(id, moment)))
      }),
      (id: string) => id
    ),

    getAtJson: fn(
      "Resource.getAtJson",
      Effect.fnUntraced(function* (id, moment) {
        return yield* jsonOf(reading.get(id, (id) => history.at(id, moment)))
      }),
      (id: string) => id
    ),

    restore: fn(
      "Resource.restore",
      Effect.fnUntraced(function* (id, moment) {
        yield* pipeline.admit("get")
        yield* pipeline.admit("replace")
        const version = yield* history.at(id, moment)
        // Who may not see it may not have it back; what interceptors make of it for the eye is not what it was.
        yield* reading.get(id, () => Effect.succeed(version))
        // What was a document once can be one again.
        return yield* valueOf(writing.replace(version.value as Insert<S>, { from: version }))
      }),
      (id: string) => id
    ),

    explain: fn(
      "Resource.explain",
      Effect.fnUntraced(function* (input) {
        const base = context.known(input as object)
        if (base === undefined) return yield* named(Effect.flatMap(preparation.completed(input), codec.explain))
        return yield* named(codec.explain(base.value, { ...base, schemaVersion: base.stored.schemaVersion }))
      })
    ),

    scan: (options = {}) =>
      draw("Resource.scan")(Stream.map(reading.query({ ...options, scan: true }), ({ value }) => value)),

    scanDocuments: ({ after, ...options } = {}) =>
      draw("Resource.scanDocuments")(Stream.map(reading.query({ ...options, scan: true }, after), reading.envelopeOf)),

    scanResults: (options = {}) =>
      draw("Resource.scanResults")(
        reading
          .whole(["query"], options, (request) => listing.results(request))
          .pipe(
            Stream.zipWithIndex,
            Stream.mapEffect(([{ id, result }, index]) =>
              Effect.map(Effect.result(named(Effect.fromResult(result))), (result) => ({
                index,
                id,
                result: Result.map(result, (base) => base.value)
              }))
            )
          )
      ),

    admin: Effect.succeed(admin),

    intercept: pipeline.add,

    changes: feed.stream,

    subscribe: feed.subscribe,

    onChange: feed.on
  }
}

const orNone = <A, E, R>(effect: Effect.Effect<A, DbError.NotFound | E, R>) =>
  effect.pipe(
    Effect.map(Option.some),
    Effect.catchIf(
      (error): error is Extract<DbError.NotFound | E, DbError.NotFound> => error instanceof DbError.NotFound,
      () => Effect.succeedNone
    )
  )

const newValues = <A, U, E, R>(
  changes: U | ((current: A) => U | Effect.Effect<U, E, R>)
): Writing.NewValues<A, U, E, R> => (isFunction(changes) ? { by: changes } : { values: changes })

const isFunction = <A, U, X>(changes: U | ((current: A) => X)): changes is (current: A) => X =>
  typeof changes === "function"
