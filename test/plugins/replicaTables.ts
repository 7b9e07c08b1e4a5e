/** What tables of a replica have to be like, whatever database they are in. */
import { assert, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Database } from "effect-s3db/Database"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import { memory, openOn } from "../fixture.ts"
import { samples } from "../schema/samples.ts"
import * as documents from "../../src/plugins/replicator/internal/documents.ts"

export interface Opened {
  readonly target: ReplicaTarget.Target
  /** Asks the database itself, past the replica. Values as its driver has them. */
  readonly ask: (sql: string) => Effect.Effect<ReadonlyArray<Readonly<Record<string, unknown>>>>
  readonly quote: (name: string) => string
}

type Row = Readonly<Record<string, unknown>>

/** A place that is asked by other means than SQL. */
export interface Place {
  readonly target: ReplicaTarget.Target
  /** The documents that are there, past the replica. */
  readonly rows: (name: string) => Effect.Effect<ReadonlyArray<Row>>
  readonly row: (name: string, id: string) => Effect.Effect<Row | undefined>
  /** What somebody else does: makes `n` of a document -1. */
  readonly spoil: (name: string, id: string) => Effect.Effect<unknown>
  /** Makes what is no replica; absent where nobody can tell. */
  readonly strange?: (name: string) => Effect.Effect<unknown>
}

export const placeOf = (opened: Opened | Place): Place => {
  if ("rows" in opened) return opened
  const { ask, quote, target } = opened
  return {
    target,
    rows: (name) => ask(`SELECT * FROM ${quote(name)}`),
    row: (name, id) => Effect.map(ask(`SELECT * FROM ${quote(name)} WHERE id = '${id}'`), ([first]) => first),
    spoil: (name, id) => ask(`UPDATE ${quote(name)} SET n = -1 WHERE id = '${id}'`),
    strange: (name) => ask(`CREATE TABLE ${quote(name)} (id INTEGER, n INTEGER)`)
  }
}

export interface Kind {
  readonly open: Effect.Effect<Opened | Place, unknown, Scope.Scope>
  /** Whether columns are made, and have a type. Default: `true`. */
  readonly hasColumns?: boolean
  /** How many steps the plan of one resource has at first. Default: 3. */
  readonly steps?: number
  /** Whether it can have a name: of a resource, and of a column. Default: all. */
  readonly takesName?: { readonly resource: (name: string) => boolean; readonly column: (name: string) => boolean }
  /** Whether it can have an id. Default: all. */
  readonly takesId?: (id: string) => boolean
  /** What cannot be there as it is, of what documents can hold: the database says so, and it becomes a dead letter. */
  readonly refuses: (json: unknown) => boolean
  /** What the database has in the place of a value, in the JSON form. */
  readonly readBack: (type: ReplicaTarget.Type, value: unknown) => unknown
  /** How many documents there are where there are many. Default: 700. */
  readonly many?: number
  /** One of so many values of a type is tried. Default: 1. */
  readonly every?: number
  /** What it has in the place of a value that it does not tell from another. */
  readonly instead?: (type: ReplicaTarget.Type, value: unknown) => unknown
}

const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })

const Wide = Schema.Struct({
  id: Schema.String,
  ...Object.fromEntries(samples.map((one, i) => [`f${i}`, Schema.optionalKey(one.schema)]))
}) as unknown as Attributes.DocumentSchema & Schema.Codec<Record<string, unknown>, Record<string, unknown>>

const shapeOf = (
  name: string,
  schema: Attributes.DocumentSchema,
  more: Partial<documents.Declared> = {}
): ReplicaTarget.Shape => {
  const definition = Resource.define(name, { name, schema: schema as never, primaryKey: "id" as never })
  return documents.make({
    name,
    as: name,
    primaryKey: "id",
    definition: definition as unknown as documents.Declared["definition"],
    filter: undefined,
    map: undefined,
    nested: "columns",
    columns: {},
    secrets: [],
    ...more
  }).shape
}

const Simple = Schema.Struct({ id: Schema.String, n: Schema.Int })

export const simpleShape = shapeOf("simple", Simple)
export const change = (id: string, version: number) => put(id, version, version)

const put = (id: string, version: number, n: number): ReplicaTarget.Change => ({
  id,
  version,
  operation: "update",
  document: { id, n },
  before: undefined,
  time: 0
})
const gone = (id: string, version: number): ReplicaTarget.Change => ({
  ...put(id, version, 0),
  operation: "delete",
  document: undefined
})

const hostileNames = [
  'a"; DROP TABLE x; --',
  "back`tick",
  "select",
  "naïve…",
  "with space",
  "$1",
  "?",
  "[]",
  "x".repeat(90),
  `${"x".repeat(89)}y`
]
const hostileIds = [
  "a",
  "a ",
  "A",
  "á",
  "a/b",
  "'; DROP TABLE simple; --",
  "\\",
  "\\'",
  '"',
  "\u{1F600}",
  "\u00e9",
  "e\u0301",
  "__proto__",
  "x".repeat(600)
]

const runPlan = (target: ReplicaTarget.Target, shapes: ReadonlyArray<ReplicaTarget.Shape>) =>
  Effect.gen(function* () {
    const plan = yield* target.plan(shapes)
    assert.deepStrictEqual(plan.problems, [])
    yield* target.run(plan)
    assert.deepStrictEqual(yield* target.plan(shapes), ReplicaTarget.nothingToDo)
    return plan
  })

/** Registers the tests. */
export const suite = ({
  every = 1,
  hasColumns = true,
  instead = (_, value) => value,
  many = 700,
  open: opening,
  readBack,
  refuses,
  steps = 3,
  takesId = () => true,
  takesName = { resource: () => true, column: () => true }
}: Kind): void => {
  const open = Effect.map(opening, placeOf)
  const sorted = (rows: ReadonlyArray<Row>, key: string) =>
    rows.toSorted((a, b) => (String(a[key]) < String(b[key]) ? -1 : 1))
  it.live("makes tables by a plan that is shown first, adds what is missing, and touches nothing else", () =>
    Effect.gen(function* () {
      const { rows, strange, target } = yield* open
      const shape = shapeOf("simple", Simple)
      const plan = yield* runPlan(target, [shape])
      assert.strictEqual(plan.steps.length, steps)
      yield* target.apply({ shape, changes: [put("a", 1, 1)], isRepair: false })
      const More = Schema.Struct({ ...Simple.fields, more: Schema.optionalKey(Schema.String) })
      const wider = shapeOf("simple", More)
      if (!hasColumns) return
      // Before somebody has run it, nothing is written, and that is no fault of the document.
      const early = yield* Effect.flip(target.apply({ shape: wider, changes: [put("b", 2, 2)], isRepair: false }))
      assert.strictEqual(early.problem, "Schema")
      const second = yield* runPlan(target, [wider])
      assert.deepStrictEqual(
        second.steps.map(({ description }) => description),
        ["add the column more to simple"]
      )
      yield* target.apply({ shape: wider, changes: [put("b", 2, 2)], isRepair: false })
      assert.strictEqual((yield* rows("simple")).length, 2)
      // What is of another type is not changed.
      const Other = Schema.Struct({ id: Schema.String, n: Schema.String })
      assert.match((yield* target.plan([shapeOf("simple", Other)])).problems[0]?.problem ?? "", /column n/)
      // Nor is a table that somebody else has made.
      if (strange === undefined) return
      yield* strange("strange")
      assert.match((yield* target.plan([shapeOf("strange", Simple)])).problems[0]?.problem ?? "", /no replica/)
    }).pipe(Effect.scoped)
  )

  it.live("ends as the newest version of each document, in whatever order versions come", () =>
    Effect.gen(function* () {
      const { rows, target } = yield* open
      const shape = shapeOf("simple", Simple)
      yield* runPlan(target, [shape])
      const changes = [put("a", 1, 1), gone("a", 2), put("a", 3, 3)]
      const orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0]
      ]
      for (const [round, order] of orders.entries()) {
        const id = `p${round}`
        for (const i of order) {
          yield* target.apply({
            shape,
            changes: [{ ...changes[i]!, id, document: changes[i]!.document && { id, n: i } }],
            isRepair: false
          })
        }
        const last = `q${round}`
        for (const i of order) {
          const change = i === 2 ? gone(last, 3) : put(last, i + 1, i)
          yield* target.apply({ shape, changes: [change], isRepair: false })
        }
      }
      assert.deepStrictEqual(
        sorted(yield* rows("simple"), "id").map(({ id, n }) => [id, Number(n)]),
        orders.map((_, round) => [`p${round}`, 2])
      )
      // Several at once: the same, and a deletion of what was never there.
      yield* target.apply({ shape, changes: [gone("never", 9), put("b", 5, 5), put("p0", 2, 0)], isRepair: false })
      yield* target.apply({ shape, changes: [put("never", 8, 8)], isRepair: false })
      assert.deepStrictEqual(
        sorted(yield* rows("simple"), "n").flatMap(({ id, n }) =>
          ["never", "p0", "b"].includes(String(id)) ? [Number(n)] : []
        ),
        [2, 5]
      )
    }).pipe(Effect.scoped)
  )

  it.live("repairs what somebody has changed, and sweeps what is older, for good", () =>
    Effect.gen(function* () {
      const { rows, spoil, target } = yield* open
      const shape = shapeOf("simple", Simple)
      yield* runPlan(target, [shape])
      const all = Array.from({ length: many }, (_, i) => put(`${i}`, 4, i))
      const kept = Math.floor(many * 0.7)
      const last = `${many - 1}`
      yield* target.apply({ shape, changes: all, isRepair: false })
      yield* spoil("simple", "5")
      yield* target.apply({ shape, changes: [put("5", 4, 5)], isRepair: false })
      const at5 = Effect.map(rows("simple"), (all) => Number(all.find(({ id }) => id === "5")?.["n"]))
      assert.strictEqual(yield* at5, -1)
      yield* target.apply({
        shape,
        changes: all.map((one) => ({ ...one, version: 10 })).slice(0, kept),
        isRepair: true
      })
      assert.strictEqual(yield* at5, 5)
      assert.strictEqual(yield* target.sweep!(shape, 10), many - kept)
      yield* target.apply({ shape, changes: [put(last, 9, 0)], isRepair: false })
      assert.strictEqual((yield* rows("simple")).length, kept)
      yield* target.apply({ shape, changes: [put(last, 11, 0)], isRepair: false })
      assert.strictEqual((yield* rows("simple")).length, kept + 1)
    }).pipe(Effect.scoped)
  )

  it.live("quotes names, tells ids apart to the last bit, and cuts no name into another", () =>
    Effect.gen(function* () {
      const { rows, target } = yield* open
      const names = hostileNames.filter(takesName.column)
      const schemaOf = (names: ReadonlyArray<string>) =>
        Schema.Struct({
          id: Schema.String,
          ...Object.fromEntries(names.map((name) => [name, Schema.optionalKey(Schema.String)]))
        })
      const schema = schemaOf(names)
      const resources = [...hostileNames.slice(0, 9).filter(takesName.resource), "x-1_2"]
      const shapes = resources.map((name) => shapeOf(name, schema))
      // What cannot be a name is said before anything is made.
      for (const [i, name] of hostileNames.entries()) {
        if (!takesName.resource(name)) {
          assert.isAbove((yield* target.plan([shapeOf(name, schema)])).problems.length, 0, name)
        }
        if (!takesName.column(name)) {
          assert.isAbove((yield* target.plan([shapeOf(`of${i}`, schemaOf([name]))])).problems.length, 0, name)
        }
      }
      yield* runPlan(target, [...shapes, shapeOf("simple", Simple)])
      for (const shape of shapes) {
        const document = { id: "a", ...Object.fromEntries(names.map((name) => [name, name])) }
        yield* target.apply({ shape, changes: [{ ...put("a", 1, 1), document }], isRepair: false })
        const [row] = yield* rows(shape.name)
        assert.deepStrictEqual(
          Object.values(row!)
            .filter((value) => names.includes(String(value)))
            .sort(),
          [...names].sort()
        )
        assert.deepStrictEqual(yield* target.plan([shape]), ReplicaTarget.nothingToDo)
      }
      const simple = shapeOf("simple", Simple)
      const ids = hostileIds.filter(takesId)
      const changes = ids.map((id, n) => put(id, 1, n))
      yield* target.apply({ shape: simple, changes, isRepair: false })
      assert.deepStrictEqual(
        (yield* rows("simple")).map(({ id, n }) => [id, Number(n)]).sort(([, a], [, b]) => Number(a) - Number(b)),
        ids.map((id, n) => [id, n])
      )
      for (const id of hostileIds) {
        if (takesId(id)) continue
        const error = yield* Effect.flip(target.apply({ shape: simple, changes: [put(id, 1, 1)], isRepair: false }))
        assert.strictEqual(error.problem, "Refused")
      }
      yield* target.apply({ shape: simple, changes: ids.slice(1).map((id) => gone(id, 2)), isRepair: false })
      assert.strictEqual((yield* rows("simple")).length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("has every value of every type exactly, or refuses the document", () =>
    Effect.gen(function* () {
      const { row, target } = yield* open
      const shape = shapeOf("wide", Wide)
      yield* runPlan(target, [shape])
      const encode = Schema.encodeUnknownSync(Attributes.toStorageCodec(Wide))
      let version = 0
      let compared = 0
      let turnedDown = 0
      for (const [i, sample] of samples.entries()) {
        for (const [j, value] of sample.values.entries()) {
          if ((i + j) % every !== 0) continue
          const id = `${i}-${j}`
          const document = encode({ id, [`f${i}`]: value }) as ReplicaTarget.Change["document"]
          const exit = yield* Effect.result(
            target.apply({ shape, changes: [{ ...put(id, ++version, 0), document }], isRepair: false })
          )
          const columns = shape.columns.filter(({ path }) => path[0] === `f${i}`)
          if (exit._tag === "Failure") {
            assert.strictEqual(exit.failure.problem, "Refused", `${sample.name}: ${exit.failure.message}`)
            assert.isTrue(
              refuses(document![`f${i}`]),
              `${sample.name} ${JSON.stringify(document)}: ${exit.failure.message}`
            )
            turnedDown += 1
            continue
          }
          const found = yield* row("wide", id)
          for (const { name, path, type } of columns) {
            const wanted = path.reduce<unknown>(
              (at, key) => (typeof at === "object" && at !== null ? Reflect.get(at, key) : undefined),
              document
            )
            const is = readBack(type, found![name])
            compared += 1
            assert.deepStrictEqual(
              is,
              instead(type, normal(type, wanted)),
              `${sample.name} ${type._tag} ${JSON.stringify(wanted)}`
            )
          }
        }
      }
      assert.isAbove(compared, 100 / every)
      assert.isBelow(turnedDown, 60)
    }).pipe(Effect.scoped)
  )

  it.live("follows a resource, with its money, days and nested fields", () =>
    Effect.gen(function* () {
      const { rows, target } = yield* open
      class Orders extends Resource.Service<Orders>()("effect-s3db/test/plugins/replicaTables/Orders", {
        name: "orders",
        schema: Schema.Struct({
          id: Schema.String,
          total: Attribute.Money("EUR"),
          day: Attribute.DateOnly,
          address: Schema.Struct({ city: Schema.String, geo: Schema.Struct({ lat: Schema.Finite }) }),
          lines: Schema.Array(Schema.Struct({ sku: Schema.String })),
          token: Attribute.Secret(Schema.String)
        }),
        primaryKey: "id",
        journal: { images: "after" }
      }) {}
      const store = yield* memory
      const { database } = yield* openOn(store)
      const orders = yield* Effect.provideService(Resource.make(Orders.definition), Database, database)
      const replicator = yield* Replicator.make({
        name: "sql",
        target: Effect.succeed(target),
        firstPause: "20 millis",
        resources: [Replicator.resource(Orders, { columns: { "address.geo.lat": "lat" } })]
      }).pipe(Effect.provideService(Database, database), Effect.provideService(Orders, orders))
      const order = (id: string, total: string) =>
        Schema.decodeUnknownSync(Attributes.toStorageCodec(Orders.definition.schema))({
          id,
          total,
          day: "2024-02-29",
          address: { city: "São Paulo", geo: { lat: -23.5 } },
          lines: [{ sku: "x" }],
          token: "hidden"
        })
      const asInput = (id: string, total: string) =>
        Effect.provideService(
          Effect.sync(() => order(id, total)),
          Attributes.SecretsOpen,
          true
        )
      yield* orders.insert({ ...(yield* asInput("1", "19.99")), token: Redacted.make("hidden") })
      yield* orders.insert({ ...(yield* asInput("2", "0.01")), token: Redacted.make("hidden") })
      yield* orders.delete("2")
      yield* database.journal.catchUp(database.journaled)
      yield* replicator.caughtUp
      const all = yield* rows("orders")
      assert.deepStrictEqual(Object.keys(all[0]!).sort(), [
        "address_city",
        "day",
        "id",
        "lat",
        "lines",
        "s3db_version",
        "total"
      ])
      assert.strictEqual(all.length, 1)
      assert.strictEqual(Number(all[0]!["total"]), 19.99)
    }).pipe(Effect.provide(ring), Effect.scoped)
  )
}

/** A value as it is compared: what is missing is null. */
const normal = (type: ReplicaTarget.Type, value: unknown): unknown => {
  if (value === undefined || value === null) return null
  switch (type._tag) {
    case "Integer":
      return Number(value) + 0
    case "Double":
      return typeof value === "string" ? Number(value) : value
    case "Text":
      return typeof value === "string" ? value : JSON.stringify(value)
    case "Decimal":
      return plain(String(value))
    default:
      return value
  }
}

/** An exact number, however it is written. */
export const plain = (text: string): string => {
  const { scale, value } = BigDecimal.normalize(BigDecimal.fromStringUnsafe(text))
  return `${value}e${-scale}`
}
