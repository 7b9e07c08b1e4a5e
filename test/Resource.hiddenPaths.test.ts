/** Every place that takes the path of a field, with every kind of secret at every depth. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Catalog from "effect-s3db/Catalog"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Encoding from "effect-s3db/encoding/Encoding"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Export from "effect-s3db/Export"
import * as Query from "effect-s3db/Query"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import type * as StoreError from "effect-s3db/storage/StoreError"
import * as Wire from "effect-s3db/Wire"
import { bodyOf, everything, keysOf, memory, objectOf, openNew, openOn } from "./fixture.ts"

type AnySchema = Schema.Codec<unknown, unknown>

const clear = "hunter2-correct-horse-battery"

// -----------------------------------------------------------------------------
// Kinds and depths
// -----------------------------------------------------------------------------

interface Kind {
  readonly name: string
  readonly schema: AnySchema
  readonly value: unknown
}

const kinds: ReadonlyArray<Kind> = [
  { name: "secret text", schema: Attribute.SecretText, value: Redacted.make(clear) },
  { name: "secret json", schema: Attribute.SecretJson, value: Redacted.make({ deep: [clear] }) },
  { name: "redacted", schema: Schema.Redacted(Schema.String), value: Redacted.make(clear) },
  {
    name: "redacted struct",
    schema: Schema.Redacted(Schema.Struct({ a: Schema.String })),
    value: Redacted.make({ a: clear })
  },
  { name: "password", schema: Attribute.Password, value: Redacted.make(clear) }
] as unknown as ReadonlyArray<Kind>

interface Depth {
  readonly name: string
  readonly schema: (inner: AnySchema) => Schema.Top
  readonly value: (inner: unknown) => unknown
  /** Paths that have to do with the secret. */
  readonly paths: ReadonlyArray<string>
  /** Paths that have not. */
  readonly others?: ReadonlyArray<string>
}

interface Tree {
  readonly token: unknown
  readonly kids: ReadonlyArray<Tree>
}

const depths: ReadonlyArray<Depth> = [
  { name: "field", schema: (s) => s, value: (v) => v, paths: ["s", "s.a"] },
  { name: "optional", schema: (s) => Schema.optionalKey(s), value: (v) => v, paths: ["s"] },
  { name: "NullOr", schema: (s) => Schema.NullOr(s), value: (v) => v, paths: ["s"] },
  {
    name: "struct",
    schema: (s) => Schema.Struct({ token: s, other: Schema.String }),
    value: (token) => ({ token, other: "o" }),
    paths: ["s", "s.token", "s.token.a"],
    others: ["s.other"]
  },
  {
    name: "optional struct of an optional one",
    schema: (s) => Schema.optionalKey(Schema.Struct({ token: Schema.optionalKey(s), other: Schema.String })),
    value: (token) => ({ token, other: "o" }),
    paths: ["s", "s.token"],
    others: ["s.other"]
  },
  {
    name: "NullOr of a struct in a struct",
    schema: (s) =>
      Schema.Struct({
        a: Schema.NullOr(Schema.Struct({ token: Schema.NullOr(s), other: Schema.String })),
        b: Schema.String
      }),
    value: (token) => ({ a: { token, other: "o" }, b: "b" }),
    paths: ["s", "s.a", "s.a.token"],
    others: ["s.a.other", "s.b"]
  },
  {
    name: "renamed in a struct",
    schema: (s) =>
      Schema.Struct({ t: s, other: Schema.String }).pipe(Schema.encodeKeys({ t: "token" })) as unknown as AnySchema,
    value: (t) => ({ t, other: "o" }),
    paths: ["s", "s.token", "s.t"],
    others: ["s.other"]
  },
  {
    name: "class",
    schema: (s) => classOf(s),
    value: (token) => ({ token, other: "o" }),
    paths: ["s", "s.token"],
    others: ["s.other"]
  },
  { name: "array", schema: (s) => Schema.Array(s), value: (v) => [v], paths: ["s", "s.0"] },
  {
    name: "array of structs",
    schema: (s) => Schema.Array(Schema.Struct({ token: s, other: Schema.String })),
    value: (token) => [{ token, other: "o" }],
    paths: ["s", "s.token", "s.other", "s.0.token"]
  },
  { name: "record", schema: (s) => Schema.Record(Schema.String, s), value: (v) => ({ a: v }), paths: ["s", "s.a"] },
  {
    name: "record of structs",
    schema: (s) => Schema.Record(Schema.String, Schema.Struct({ token: s })),
    value: (token) => ({ a: { token } }),
    paths: ["s", "s.a", "s.a.token"]
  },
  {
    name: "union",
    schema: (s) => Schema.Union([Schema.Struct({ token: s }), Schema.Struct({ b: Schema.Int })]),
    value: (token) => ({ token }),
    paths: ["s", "s.token", "s.b"]
  },
  { name: "union with a number", schema: (s) => Schema.Union([Schema.Int, s]), value: (v) => v, paths: ["s"] },
  { name: "tuple", schema: (s) => Schema.Tuple([Schema.String, s]), value: (v) => ["t", v], paths: ["s", "s.1"] },
  { name: "option", schema: (s) => Schema.Option(s), value: (v) => Option.some(v), paths: ["s", "s.value"] },
  {
    name: "option of a struct",
    schema: (s) => Schema.Option(Schema.Struct({ token: s })),
    value: (token) => Option.some({ token }),
    paths: ["s", "s.value.token"]
  },
  {
    name: "suspended",
    schema: (s) => Schema.suspend(() => Schema.Struct({ token: s })) as unknown as AnySchema,
    value: (token) => ({ token }),
    paths: ["s", "s.token"]
  },
  {
    name: "recursive",
    schema: (s) => treeOf(s),
    value: (token): Tree => ({ token, kids: [{ token, kids: [] }] }),
    paths: ["s", "s.token", "s.kids", "s.kids.token"]
  },
  {
    name: "struct in an array in a struct",
    schema: (s) => Schema.Struct({ list: Schema.Array(Schema.Struct({ token: s })), other: Schema.String }),
    value: (token) => ({ list: [{ token }], other: "o" }),
    paths: ["s", "s.list", "s.list.token"],
    others: ["s.other"]
  }
]

const classOf = (s: AnySchema) => {
  class Account extends Schema.Class<Account>("Account")({ token: s, other: Schema.String }) {}
  return Account as unknown as AnySchema
}

const treeOf = (s: AnySchema): AnySchema => {
  const tree = Schema.Struct({
    token: s,
    kids: Schema.Array(Schema.suspend((): AnySchema => tree as unknown as AnySchema))
  })
  return tree as unknown as AnySchema
}

/** The schemas that there can be: a password has to be a field of a struct. */
const cases = kinds.flatMap((kind) =>
  depths.flatMap((depth) => {
    const schema = Schema.Struct({ id: Schema.String, team: Schema.String, s: depth.schema(kind.schema) })
    const made = schema as unknown as Schema.Codec<{ readonly id: string; readonly team: string; readonly s: unknown }>
    const attributes = Result.try(() => Attributes.fromSchema(made, "id"))
    return Result.isFailure(attributes)
      ? []
      : [{ name: `${kind.name}, ${depth.name}`, kind, depth, schema: made, attributes: attributes.success }]
  })
)

type Case = (typeof cases)[number]

/** What a blind unique key can be by. */
const secretsOf = ({ attributes }: Case): ReadonlyArray<string> =>
  attributes.filter(({ codec }) => codec === "secret").map(({ path }) => path.join("."))

// -----------------------------------------------------------------------------
// Places
// -----------------------------------------------------------------------------

/** What a declaration that names a path looks like. */
const declarations: Readonly<Record<string, (path: string) => Partial<Resource.Options<Case["schema"]>>>> = {
  "a partition": (path) => ({ partitions: { p: [path] } }),
  "a later field of a partition": (path) => ({ partitions: { p: ["team", path] } }),
  "a partition with transforms": (path) => ({ partitions: { p: { fields: { [path]: "maxlength:3" } } } }),
  "a partition in portable form": (path) => ({
    partitions: { p: { fields: [{ path: path.split("."), transforms: [] }] } }
  }),
  "covered fields": (path) => ({ partitions: { p: { fields: ["team"], covering: [path] } } }),
  "covered fields in portable form": (path) => ({
    partitions: { p: { fields: [{ path: ["team"], transforms: [] }], covering: [path.split(".")] } }
  }),
  "a unique key": (path) => ({ unique: { u: [path] } }),
  "a unique key in portable form": (path) => ({ unique: { u: { fields: [path.split(".")], ignoreCase: true } } }),
  "a counted partition": (path) => ({ partitions: { p: [path] }, counters: { partitions: ["p"] } })
}

type Repository = Resource.Repository<Case["schema"]>

const drained = <E>(stream: Stream.Stream<unknown, E>): Effect.Effect<unknown, E> => Stream.runCollect(stream)

/** What asks for a field by its path at run time. */
const requests: Readonly<Record<string, (repository: Repository, path: string) => Effect.Effect<unknown, unknown>>> = {
  ...Object.fromEntries(
    (["eq", "ne", "gt", "gte", "lt", "lte", "contains", "startsWith"] as const).map((op) => [
      `where, ${op}`,
      (repository: Repository, path: string) =>
        drained(repository.query({ where: { [path]: { [op]: clear } }, scan: true }))
    ])
  ),
  "where, in": (repository, path) => drained(repository.query({ where: { [path]: { in: [clear] } }, scan: true })),
  "where, exists": (repository, path) => drained(repository.query({ where: { [path]: { exists: true } }, scan: true })),
  "where, within $or and $not": (repository, path) =>
    drained(repository.query({ where: { $or: [{ $not: { [path]: clear } }] }, scan: true })),
  predicate: (repository, path) => drained(repository.query({ predicate: Query.eq(path, clear), scan: true })),
  parseWhere: (repository, path) => repository.parseWhere({ [path]: clear }),
  order: (repository, path) => drained(repository.query({ order: path as "team", limit: 5, scan: true })),
  "order, descending": (repository, path) =>
    drained(repository.query({ order: [`-${path}` as "-team"], limit: 5, scan: true })),
  parseOrder: (repository, path) => repository.parseOrder(path),
  "a page in an order": (repository, path) => repository.queryPage({ order: path as "team", limit: 1, scan: true }),
  count: (repository, path) => repository.count({ where: { [path]: clear }, scan: true }),
  listIds: (repository, path) => drained(repository.listIds({ where: { [path]: clear }, scan: true })),
  explainQuery: (repository, path) => repository.explainQuery({ where: { [path]: clear } }),
  updateMany: (repository, path) =>
    drained(repository.updateMany({ where: { [path]: clear }, scan: true }, { team: "x" })),
  select: (repository, path) => drained(repository.queryJson({ select: [path as "team"], scan: true })),
  "select in a page": (repository, path) =>
    repository.queryPageJson({ select: [path as "team"], limit: 1, scan: true }),
  "select among others": (repository, path) =>
    drained(repository.queryJson({ select: ["team", path as "team"], scan: true })),
  "group by": (repository, path) => repository.aggregate({ groupBy: [path as "team"], values: { n: { count: true } } }),
  ...Object.fromEntries(
    (["sum", "min", "max", "avg"] as const).map((measure) => [
      measure,
      (repository: Repository, path: string) => repository.aggregate({ values: { v: { [measure]: path } } } as never)
    ])
  )
}

// -----------------------------------------------------------------------------
// Clear text
// -----------------------------------------------------------------------------

/** The clear text in the forms in which it may lie somewhere: as it is, and in base 64 after 0, 1 or 2 other bytes. */
const forms: ReadonlyArray<string> = [
  clear,
  ...[0, 1, 2].map((shift) => {
    const text = Buffer.from(`${"x".repeat(shift)}${clear}`).toString("base64url")
    // Without the characters that other bytes have a part in.
    return text.slice(shift === 0 ? 0 : 4, -3)
  })
]

const assertClean = (text: string, what: string) => {
  for (const form of forms) assert.notInclude(text.replaceAll("+", "-").replaceAll("/", "_"), form, what)
}

const hunt = Effect.fnUntraced(function* (store: ObjectStore["Service"], what: string) {
  for (const key of yield* keysOf(store)) {
    assertClean(key, `${what}: ${key}`)
    assertClean(decodeURIComponent(key), `${what}: ${key}`)
    assertClean(everything(yield* Effect.orDie(store.get(key))), `${what}: ${key}`)
  }
})

const textOf = (u: unknown): string =>
  u instanceof Error ? `${u.message} ${JSON.stringify(u)} ${textOf(u.cause)}` : (JSON.stringify(u) ?? "")

const services = Layer.mergeAll(
  KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } }),
  PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
)

describe("paths that have to do with secrets", () => {
  it("there are cases of every kind and depth", () => {
    assert.isAbove(cases.length, 70)
    assert.strictEqual(new Set(cases.map(({ depth }) => depth.name)).size, depths.length)
  })

  for (const one of cases) {
    it(`no declaration takes them: ${one.name}`, () => {
      for (const [place, options] of Object.entries(declarations)) {
        for (const path of one.depth.paths) {
          assert.throws(
            () => Resource.define("accounts", { schema: one.schema, primaryKey: "id", ...options(path) }),
            Attributes.UnsupportedSchema,
            undefined,
            `${place}: ${path}`
          )
        }
        for (const path of one.depth.others ?? []) {
          Resource.define("accounts", { schema: one.schema, primaryKey: "id", ...options(path) })
        }
      }
      // A unique key that is blind takes what is a secret as a whole, and nothing else of it.
      for (const path of one.depth.paths) {
        const blind = () =>
          Resource.define("accounts", {
            schema: one.schema,
            primaryKey: "id",
            unique: { u: { fields: ["team", path], blind: true } } as {}
          })
        if (secretsOf(one).includes(path)) blind()
        else assert.throws(blind, Attributes.UnsupportedSchema, undefined, path)
      }
    })
  }

  for (const [name, encoding] of [
    ["text", Encoding.layer],
    ["packed", Encoding.layerPacked]
  ] as const) {
    it.effect(
      `${name}: no request takes them, and nothing is in clear anywhere`,
      () =>
        Effect.gen(function* () {
          // What is refused is refused before anything is written: of the packed form some.
          for (const one of name === "text" ? cases : cases.filter((_, i) => i % 3 === 0)) {
            const { store, open } = yield* openNew
            const pins = one.attributes
              .filter(({ codec }) => Attributes.isHidden(codec))
              .map(({ path }) => path.join("."))
            const accounts = yield* open("accounts", {
              schema: one.schema,
              primaryKey: "id",
              history: true,
              content: true,
              scan: true,
              counters: { partitions: ["byTeam"] },
              unique: {
                team: ["team"],
                ...Object.fromEntries(
                  secretsOf(one).map((path) => [`blind ${path}`, { fields: ["team", path], blind: true }])
                )
              },
              partitions: { byTeam: { fields: ["team"], covering: ["team", ...(one.depth.others ?? [])] } },
              // Where the sealed bytes go says nothing of what is in them.
              pin: name === "text" ? { body: pins } : { metadata: pins }
            })
            const document = (id: string) => ({ id, team: `team ${id}`, s: one.depth.value(one.kind.value) })
            for (const id of ["1", "2", "3"]) yield* accounts.insert(document(id))
            yield* accounts.update("1", { team: "other" })
            yield* accounts.replace(document("1"))
            yield* accounts.delete("3")
            const seen: Array<string> = []
            const told = (what: string, u: unknown) => seen.push(`${what}: ${textOf(u)}`)
            for (const [place, request] of Object.entries(requests)) {
              for (const path of one.depth.paths) {
                const refused = yield* Effect.flip(request(accounts, path)).pipe(
                  Effect.catch(() => Effect.succeed({ _tag: "taken" }))
                )
                assert.strictEqual(
                  (refused as { readonly _tag: string })._tag,
                  "InvalidInput",
                  `${one.name}, ${place}: ${path}`
                )
                // What was asked is the caller's own.
                if (place === "select") told(place, refused)
              }
            }
            for (const path of one.depth.others ?? []) {
              yield* drained(accounts.query({ where: { [path]: "o" }, scan: true }))
              told(path, yield* drained(accounts.queryJson({ select: [path as "team"], scan: true })))
            }
            const whole = accounts.queryJson({ scan: true })
            told("queryJson", yield* Stream.runCollect(whole))
            told("getJson", yield* accounts.getJson("1"))
            told("covered", yield* Stream.runCollect(accounts.covered({ partition: "byTeam" })))
            told("verified", yield* Stream.runCollect(accounts.covered({ partition: "byTeam", verify: true })))
            told("distinct", yield* Stream.runCollect(accounts.distinct({ partition: "byTeam" })))
            told("page", yield* accounts.queryPage({ order: "-team", limit: 1, scan: true }))
            told("page in JSON", yield* accounts.queryPageJson({ order: "-team", limit: 1, scan: true }))
            told("list", yield* accounts.list({ limit: 1 }))
            told("documents", yield* Stream.runCollect(accounts.scanDocuments()))
            told("documents after an id", yield* Stream.runCollect(accounts.scanDocuments({ after: "0" })))
            told("history", yield* Stream.runCollect(accounts.history("1")))
            told("explain", yield* accounts.explain(yield* accounts.getDocument("1")))
            told("ndjson", yield* Stream.mkString(Export.ndjsonText(whole)))
            const columns = ["id", ...one.depth.paths]
            told("csv", yield* Stream.mkString(Export.csvText(whole, { columns, onExcessProperty: "ignore" })))
            told("invalid", yield* Effect.flip(accounts.insert({ ...document("9"), team: 5 as unknown as string })))
            const inside = accounts.replaceJson({ id: "9", team: "t", s: { x: clear, token: [clear] } })
            told("inside", yield* Effect.result(inside))
            for (const text of seen) assertClean(text, `${one.name}, ${text.slice(0, 40)}`)
            const asJson = seen.filter((text) =>
              /^(?:select|queryJson|getJson|covered|verified|distinct|ndjson|csv):/.test(text)
            )
            assert.strictEqual(asJson.length, 7 + one.depth.paths.length)
            for (const text of seen) assert.notInclude(text, "argon2id", one.name)
            yield* hunt(store, one.name)
          }
        }).pipe(Effect.provide([services, encoding])),
      { timeout: 120_000 }
    )
  }
})

// -----------------------------------------------------------------------------
// What the catalog says
// -----------------------------------------------------------------------------

const Plain = Schema.Struct({ id: Schema.String, team: Schema.String, token: Schema.String })
const Sealed = Schema.Struct({ id: Schema.String, team: Schema.String, token: Attribute.SecretText })
const Nested = Schema.Struct({
  id: Schema.String,
  team: Schema.String,
  s: Schema.Struct({ token: Attribute.SecretText, other: Schema.String })
})

const sealed = { id: "1", team: "a", token: Redacted.make(clear) }
const nested = { id: "1", team: "a", s: { token: Redacted.make(clear), other: "o" } }

const reasonOf = (error: { readonly _tag: string }): StoreError.Unsupported | undefined =>
  error._tag === "DbError" ? ((error as DbError.DbError).reason as StoreError.Unsupported) : undefined

interface CatalogJson {
  readonly resources: Record<string, Record<string, Record<string, unknown>>>
}

/** Changes the catalog by hand. */
const edit = Effect.fnUntraced(function* (store: ObjectStore["Service"], change: (catalog: CatalogJson) => void) {
  const catalog = JSON.parse(new TextDecoder().decode((yield* store.get(Catalog.key)).body)) as CatalogJson
  change(catalog)
  yield* store.put({ key: Catalog.key, body: new TextEncoder().encode(JSON.stringify(catalog)) })
})

describe("secrets and what the catalog says", () => {
  const indexes: Readonly<Record<string, Pick<Resource.Options<typeof Plain>, "partitions" | "unique">>> = {
    "a partition": { partitions: { byToken: ["token"] } },
    "a covered field": { partitions: { byToken: { fields: ["team"], covering: ["token"] } } },
    "a unique key": { unique: { byToken: ["token"] } }
  }

  for (const [what, index] of Object.entries(indexes)) {
    it.effect(`a field that becomes a secret while ${what} names it: refused until that is removed`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        const plain = { schema: Plain, primaryKey: "id", ...index } as const
        const old = yield* (yield* openOn(store)).open("accounts", plain)
        yield* old.insert({ id: "0", team: "a", token: "was plain" })
        const options = {
          schema: Sealed,
          primaryKey: "id",
          migrations: { 1: (document: JsonObject) => document }
        } as const
        const { open } = yield* openOn(store)
        const refused = reasonOf(yield* Effect.flip(open("accounts", options)))
        assert.deepInclude(refused, { _tag: "Unsupported", feature: "an index by a secret" })
        assert.include(refused?.description, "byToken of accounts names token, which is secret")
        assert.include(refused?.description, "remove")
        // A program that has it open still, or one that declares nothing, removes it.
        const fromCatalog = Effect.gen(function* () {
          const definition = yield* Resource.fromCatalog("accounts")
          return yield* Resource.make(definition)
        })
        const { database } = yield* openOn(store)
        const { admin } = yield* Effect.provideService(fromCatalog, Database.Database, database)
        const { removePartition, removeUnique } = yield* admin
        yield* what === "a unique key" ? removeUnique("byToken") : removePartition("byToken")
        const reopened = yield* (yield* openOn(store)).open("accounts", options)
        yield* reopened.insert(sealed)
        yield* hunt(store, what)
        // The former program cannot bring it back any more.
        const again = reasonOf(yield* Effect.flip((yield* openOn(store)).open("accounts", plain)))
        assert.include(again?.description, "which is secret since version 2")
      }).pipe(Effect.provide(services))
    )

    it.effect(`a program that knows the secret writes nothing while another one adds ${what}`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { database, open } = yield* openOn(store)
        const accounts = yield* open("accounts", { schema: Sealed, primaryKey: "id" })
        yield* accounts.insert(sealed)
        // As an earlier release did it.
        yield* edit(store, ({ resources }) => {
          const { partitions, uniques } = Resource.define("accounts", { schema: Plain, primaryKey: "id", ...index })
          for (const [kind, declared] of Object.entries({ partitions, uniques })) {
            resources["accounts"]![kind] = Object.fromEntries(
              Object.entries(declared).map(([name, definition]) => [name, { definition, state: "ready" }])
            )
          }
        })
        yield* database.refresh
        const writes: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
          accounts.insert({ ...sealed, id: "2" }),
          accounts.update("1", { team: "b" }),
          accounts.replace(sealed),
          drained((yield* accounts.admin).backfill())
        ]
        for (const write of writes) {
          assert.deepInclude(reasonOf(yield* Effect.flip(write)), { _tag: "Unsupported" })
        }
        yield* hunt(store, what)
        if (what === "a covered field") {
          const covered = accounts.covered({ partition: "byToken" })
          assert.deepInclude(reasonOf(yield* Effect.flip(Stream.runDrain(covered))), { _tag: "Unsupported" })
        }
        const reopening = Effect.flip((yield* openOn(store)).open("accounts", { schema: Sealed, primaryKey: "id" }))
        assert.deepInclude(reasonOf(yield* reopening), { _tag: "Unsupported" })
      }).pipe(Effect.provide(services))
    )
  }

  it.effect(
    "a partition of an earlier release that covers a secret: declared without it, backfilled and repaired, it is clean",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const covering = (paths: ReadonlyArray<"s" | "s.other">) =>
          ({
            schema: Nested,
            primaryKey: "id",
            partitions: { byTeam: { fields: ["team"], covering: paths as ["s.other"] } }
          }) as const
        const accounts = yield* (yield* openOn(store)).open("accounts", covering(["s.other"]))
        yield* accounts.insert(nested)
        // What such a release has left: the definition in the catalog, the marker, and what the document says of it.
        const object = yield* objectOf(store, "accounts", "1")
        const body = bodyOf(object) as { m: { byTeam: [string, string, string] } }
        const secret = Buffer.from(JSON.stringify({ s: { token: clear, other: "o" } })).toString("base64url")
        const [marker] = yield* keysOf(store, "resource=accounts/partition=byTeam/")
        yield* store.put({ key: marker!.replace(/c=.*$/, `c=${secret}`) })
        body.m.byTeam[2] = secret
        yield* store.put({ ...object, body: new TextEncoder().encode(JSON.stringify(body)) })
        yield* edit(store, ({ resources }) => {
          const text = JSON.stringify(resources).replaceAll('"covering":[["s","other"]]', '"covering":[["s"]]')
          Object.assign(resources, JSON.parse(text))
        })
        // Who opens it from the catalog gets no repository that would go on like that.
        const { database, open } = yield* openOn(store)
        const fromCatalog = Effect.flatMap(Resource.fromCatalog("accounts"), Resource.make)
        const refused = yield* Effect.flip(Effect.provideService(fromCatalog, Database.Database, database))
        assert.include(refused.message, "names s, which holds the secret s.token")
        const mended = yield* open("accounts", covering(["s.other"]))
        const { backfill, repair } = yield* mended.admin
        yield* Stream.runDrain(backfill())
        yield* Stream.runDrain(repair({ dryRun: false, markerGraceMillis: -1 }))
        yield* hunt(store, "mended")
        assert.deepStrictEqual(yield* Stream.runCollect(mended.covered({ partition: "byTeam" })), [
          { id: "1", values: { team: "a" }, fields: { "s.other": "o" } }
        ])
      }).pipe(Effect.provide(services))
  )

  it.effect("defaults that are secret, or hold a secret, are not in the catalog", () =>
    Effect.gen(function* () {
      const token = Schema.Redacted(Schema.String)
      const inner = Schema.Struct({ token, other: Schema.String })
      const schema = Schema.Struct({
        id: Schema.String,
        key: token.pipe(Schema.withConstructorDefault(Effect.succeed(Redacted.make(clear)))),
        list: Schema.Array(token).pipe(Schema.withConstructorDefault(Effect.succeed([Redacted.make(clear)]))),
        s: inner.pipe(Schema.withConstructorDefault(Effect.succeed({ token: Redacted.make(clear), other: "o" }))),
        plain: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("known")))
      })
      const { store, open } = yield* openNew
      const accounts = yield* open("accounts", { schema, primaryKey: "id" })
      assert.strictEqual(Redacted.value((yield* accounts.insert({ id: "1" })).key), clear)
      yield* hunt(store, "defaults")
      assert.include(everything(yield* store.get(Catalog.key)), "known")
      const shown = JSON.stringify(
        Schema.toJsonSchemaDocument(Wire.create(Resource.define("accounts", { schema, primaryKey: "id" })))
      )
      assertClean(shown, "JSON schema")
    }).pipe(Effect.provide(services))
  )

  it("what is wrong inside a value that holds a secret under another name is told without it", () => {
    const schema = Schema.Struct({ id: Schema.String, pair: Schema.Tuple([Schema.String, Attribute.SecretText]) }).pipe(
      Schema.encodeKeys({ pair: "stored" })
    )
    assert.deepStrictEqual(Attributes.hiddenOf(schema as unknown as Attributes.DocumentSchema), [["pair"]])
  })
})
