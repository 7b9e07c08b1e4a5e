/** Objects that are no documents, or none that can be read, where documents lie: bulk work tells of them and goes on. */
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Document from "effect-s3db/Document"
import type * as Query from "effect-s3db/Query"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore, StoredObject } from "effect-s3db/storage/ObjectStore"
import { keysOf, memory, objectOf, openOn, tellingOf } from "./fixture.ts"

type Store = ObjectStore["Service"]

const ring = KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(1)) } })
const otherRing = KeyRing.layerKeys({ current: "b", keys: { b: Redacted.make(new Uint8Array(32).fill(2)) } })

const Member = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  n: Schema.Int,
  team: Schema.String,
  mail: Schema.optionalKey(Schema.String),
  token: Attribute.SecretText
})

const plain = { schema: Member, primaryKey: "id" } as const

const owning = {
  ...plain,
  partitions: { byTeam: { fields: ["team"], covering: ["name"] } },
  unique: { mail: ["mail"] },
  history: true,
  content: true,
  counters: { partitions: ["byTeam"] }
} as const

const definitions = { plain, owning }

const member = (id: string) => ({
  id,
  name: `name ${id}`,
  n: Number(id),
  team: "red",
  mail: `${id}@example.org`,
  token: Redacted.make(`hunter2-${id}`)
})

/** A resource with other fields, whose documents are none of `members`. */
const visits = {
  schema: Schema.Struct({
    id: Schema.String,
    at: Schema.Int,
    a: Schema.Int,
    b: Schema.Int,
    c: Schema.Int,
    d: Schema.Int,
    e: Schema.Int,
    f: Schema.Int
  }),
  primaryKey: "id"
} as const

type Damage = (
  object: StoredObject,
  visit: StoredObject
) => Pick<StoredObject, "metadata"> & { readonly body: Uint8Array }

const bytes = (text: string) => new TextEncoder().encode(text)

interface Damaged {
  readonly make: Damage
  /** What the object still tells of what the document owned. */
  readonly tells: "what it owns" | "of others" | "nothing"
}

const damages: Readonly<Record<string, Damaged>> = {
  "an empty object": { make: () => ({ metadata: {}, body: bytes("") }), tells: "nothing" },
  HTML: { make: () => ({ metadata: {}, body: bytes("<html>moved</html>") }), tells: "nothing" },
  "JSON of another shape": {
    make: ({ metadata }) => ({ metadata, body: bytes('{"hello":["hunter2"]}') }),
    tells: "nothing"
  },
  "metadata that is gone": { make: ({ body }) => ({ metadata: {}, body }), tells: "nothing" },
  "an unknown encoding": {
    make: ({ body, metadata }) => ({ metadata: { ...metadata, "s-": "z1" }, body }),
    tells: "what it owns"
  },
  "an unknown attribute": {
    make: ({ body, metadata }) => ({ metadata: { ...metadata, zz: "1" }, body }),
    tells: "what it owns"
  },
  "a body that is cut off": {
    make: ({ body, metadata }) => ({ metadata, body: body.slice(0, body.length / 2) }),
    tells: "nothing"
  },
  "a document of another resource": { make: (_, { body, metadata }) => ({ metadata, body }), tells: "of others" },
  "a damaged secret": {
    make: ({ body, metadata }) => {
      const [name, value] = Object.entries(metadata).toSorted((a, b) => b[1].length - a[1].length)[0]!
      const at = value.length - 6
      return {
        metadata: { ...metadata, [name]: value.slice(0, at) + (value[at] === "A" ? "B" : "A") + value.slice(at + 1) },
        body
      }
    },
    tells: "what it owns"
  }
}

const html: Damaged = damages["HTML"]!
const cut: Damaged = damages["a body that is cut off"]!
const sealed: Damaged = damages["a damaged secret"]!

const damage = Effect.fnUntraced(function* (store: Store, id: string, { make }: Damaged) {
  const object = yield* objectOf(store, "members", id)
  const visit = yield* objectOf(store, "visits", "1")
  yield* Effect.orDie(store.put({ key: object.key, ...make(object, visit), contentType: "application/json" }))
})

/** Puts HTML in the place of a document. */
const replaceByHtml = (store: Store, id: string) =>
  Effect.orDie(store.put({ key: `resource=members/data/id=${id}`, body: bytes("<html>moved</html>") }))

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "effect-s3db-damaged-"))),
  (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
)

const stores = {
  memory,
  folder: Effect.flatMap(folder, (path) => Effect.orDie(FileStore.make({ path, durability: "none" })))
}

const ids = ["1", "2", "3", "4", "5"]

/** Five members, of which the third is damaged. */
const given = Effect.fnUntraced(function* (store: Store, kind: keyof typeof definitions, damaged: Damaged) {
  const opened = yield* openOn(store)
  yield* (yield* opened.open("visits", visits)).insert({ id: "1", at: 1, a: 1, b: 1, c: 1, d: 1, e: 1, f: 1 })
  const members = yield* opened.open("members", definitions[kind])
  for (const id of ids) yield* members.insert({ ...member(id), name: "before" })
  for (const id of ids) yield* members.update(id, { name: `name ${id}` })
  if (kind === "owning") yield* members.setContent("3", bytes("content"))
  yield* damage(store, "3", damaged)
  return { ...opened, members, admin: yield* members.admin }
})

const reasons = ["Corrupt", "SecretUnreadable"]

/** Whether an error says that the third member cannot be read, without what is in it. */
const isAbout3 = (error: unknown) => {
  const failure = error as {
    readonly _tag: string
    readonly reason?: { readonly _tag: string }
    readonly message: string
  }
  assert.strictEqual(failure._tag, "DbError")
  assert.include(reasons, failure.reason?._tag)
  assert.include(failure.message, '"3"')
  assert.notInclude(JSON.stringify(error) + failure.message, "hunter2")
}

const outcomes = (all: ReadonlyArray<{ readonly id?: string | undefined; readonly error?: unknown }>) =>
  all.map(({ error, id }) => {
    if (error !== undefined) isAbout3(error)
    return `${id}${error === undefined ? "" : " unread"}`
  })

const told = ["1", "2", "3 unread", "4", "5"]
const others = ["1", "2", "4", "5"]

const listener = () => {
  const seen: Array<string> = []
  const onCorrupt = (found: Query.Corrupt) =>
    Effect.sync(() => {
      assert.strictEqual(found.key, `resource=members/data/id=${found.id}`)
      assert.include(reasons, found.reason._tag)
      assert.notInclude(JSON.stringify(found), "hunter2")
      seen.push(`${found.id} unread`)
    })
  return { onCorrupt, seen }
}

for (const [storeName, makeStore] of Object.entries(stores)) {
  for (const kind of ["plain", "owning"] as const) {
    describe(`${storeName}, ${kind}`, () => {
      for (const [what, damaged] of Object.entries(damages)) {
        // Files differ in how they are read, not in what is in them.
        if (storeName === "folder" && damaged !== html) continue
        const open = Effect.flatMap(makeStore, (store) => given(store, kind, damaged))
        const isKept = kind === "owning" && damaged.tells === "nothing"

        it.effect(`${what}: reads end at it, leave it out or tell of it in its place, as they are asked`, () =>
          Effect.gen(function* () {
            const { members } = yield* open
            const idOf = ({ id }: { readonly id: string }) => id
            const where = { name: { startsWith: "name" } } as const
            const streams: Record<string, (options: Query.OnCorrupt) => Stream.Stream<string, unknown>> = {
              scan: (options) => Stream.map(members.scan(options), idOf),
              scanDocuments: (options) => Stream.map(members.scanDocuments(options), idOf),
              query: (options) => Stream.map(members.query({ where, scan: true, ...options }), idOf),
              queryJson: (options) =>
                Stream.map(members.queryJson({ select: ["id"], scan: true, ...options }), ({ id }) => String(id)),
              "query by ids": (options) => Stream.map(members.query({ where: { id: { in: ids } }, ...options }), idOf),
              "listIds with conditions": (options) => members.listIds({ where, scan: true, ...options })
            }
            if (kind === "owning") {
              const within = { partition: "byTeam", values: { team: "red" } }
              streams["scan of a partition"] = (options) => Stream.map(members.scan({ ...within, ...options }), idOf)
              streams["listIds of a partition"] = (options) => members.listIds({ ...within, ...options })
              streams["covered"] = (options) =>
                Stream.map(members.covered({ ...within, verify: true, ...options }), idOf)
            }
            for (const [name, stream] of Object.entries(streams)) {
              // A marker by itself tells the id of a document that owns it, and nothing of one that does not.
              const byMarkers = ["listIds of a partition", "covered"].includes(name)
              const isUnseen = byMarkers && damaged.tells === "what it owns"
              const isOther = (byMarkers || name === "scan of a partition") && damaged.tells === "of others"
              const { onCorrupt, seen } = listener()
              const inPlace = yield* Stream.runForEach(stream({ onCorrupt }), (id) =>
                Effect.sync(() => seen.push(id))
              ).pipe(Effect.as(seen))
              if (isUnseen) assert.deepStrictEqual(inPlace, ids, name)
              else if (isOther) assert.deepStrictEqual(inPlace, others, name)
              else {
                assert.deepStrictEqual(inPlace, told, name)
                isAbout3(yield* Effect.flip(Stream.runDrain(stream({}))))
                isAbout3(yield* Effect.flip(Stream.runDrain(stream({ onCorrupt: "fail" }))))
                assert.deepStrictEqual(yield* Stream.runCollect(stream({ onCorrupt: "skip" })), others, name)
              }
            }
            const results = yield* Stream.runCollect(members.scanResults())
            assert.deepStrictEqual(
              outcomes(
                results.map(({ id, result }) => ({ id, error: Result.isFailure(result) ? result.failure : undefined }))
              ),
              told
            )
          }).pipe(Effect.scoped, Effect.provide(ring))
        )

        it.effect(`${what}: pages, counts and aggregates`, () =>
          Effect.gen(function* () {
            const { members } = yield* open
            const { onCorrupt, seen } = listener()
            isAbout3(yield* Effect.flip(members.list()))
            for (const request of [{}, { where: { name: { startsWith: "name" } }, scan: true }]) {
              seen.length = 0
              let cursor: string | undefined
              do {
                const page: Query.Page<{ readonly id: string }> = yield* members.queryPage({
                  ...request,
                  limit: 2,
                  cursor,
                  onCorrupt
                })
                seen.push(...page.items.map(({ id }) => id))
                cursor = page.cursor
              } while (cursor !== undefined)
              assert.deepStrictEqual(seen.toSorted(), told)
            }
            const spec = { values: { n: { count: true }, sum: { sum: "n" } } } as const
            isAbout3(yield* Effect.flip(members.aggregate(spec, { scan: true })))
            const [group] = yield* members.aggregate(spec, { scan: true, onCorrupt: "skip" })
            assert.deepStrictEqual(group?.values, { n: 4, sum: 12 })
            assert.strictEqual(yield* members.count(), 5)
            if (kind === "plain") return
            const within = { partition: "byTeam", values: { team: "red" } }
            const counted = damaged.tells === "what it owns" ? 5 : 4
            assert.strictEqual(yield* members.count({ ...within, onCorrupt: "skip" }), counted)
            assert.deepStrictEqual(
              yield* Stream.runCollect(members.distinct({ partition: "byTeam", onCorrupt: "skip" })),
              ["red"]
            )
          }).pipe(Effect.scoped, Effect.provide(ring))
        )

        it.effect(`${what}: work on all documents tells of it in its place`, () =>
          Effect.gen(function* () {
            const { admin, members, store } = yield* open
            yield* TestClock.adjust("1 hour")
            const before = yield* objectOf(store, "members", "3")
            const updated = yield* Stream.runCollect(members.updateMany({ scan: true }, ({ n }) => ({ n: n + 10 })))
            assert.deepStrictEqual(
              outcomes(
                updated.map(({ id, result }) => ({ id, error: Result.isFailure(result) ? result.failure : undefined }))
              ),
              told
            )
            assert.deepStrictEqual(
              updated.map(({ index }) => index),
              [0, 1, 2, 3, 4]
            )
            assert.deepStrictEqual(outcomes((yield* tellingOf(admin.migrate())).told), told)
            assert.deepStrictEqual(outcomes((yield* tellingOf(admin.backfill())).told), told)
            const { told: rotated, unfinished } = yield* tellingOf(admin.rotate())
            assert.deepStrictEqual(
              unfinished?.left.map(({ id }) => id),
              ["3"]
            )
            assert.deepStrictEqual(outcomes(rotated.filter((one) => one.of === "document")), told)
            for (const dryRun of [true, false, true]) {
              const findings = yield* Stream.runCollect(admin.repair({ dryRun }))
              const corrupt = findings.filter((one) => one.kind === "Corrupt")
              assert.deepStrictEqual(
                corrupt.map(({ id, key, repaired }) => ({ id, key, repaired })),
                [{ id: "3", key: "resource=members/data/id=3", repaired: false }]
              )
              assert.isNotEmpty(corrupt[0]?.description)
              assert.notInclude(JSON.stringify(findings), "hunter2")
              if (!isKept && damaged.tells !== "of others") assert.strictEqual(findings.length, 1)
            }
            if (kind === "owning") {
              const recounted = yield* admin.recount()
              assert.deepStrictEqual(recounted, { before: 5, after: 5, unread: damaged.tells === "nothing" ? 1 : 0 })
            }
            assert.deepStrictEqual(yield* objectOf(store, "members", "3"), before)
          }).pipe(Effect.scoped, Effect.provide(ring))
        )

        it.effect(`${what}: many are deleted around it`, () =>
          Effect.gen(function* () {
            const { members } = yield* open
            const { deleted, failed } = yield* members.deleteMany(["1", "3", "5"])
            assert.deepStrictEqual(deleted, isKept ? ["1", "5"] : ["1", "3", "5"])
            assert.deepStrictEqual(outcomes(failed), isKept ? ["3 unread"] : [])
            assert.strictEqual(yield* members.count(), isKept ? 3 : 2)
          }).pipe(Effect.scoped, Effect.provide(ring))
        )

        it.effect(`${what}: it is discarded with all that it owned`, () =>
          Effect.gen(function* () {
            const { admin, members, store } = yield* open
            yield* TestClock.adjust("1 hour")
            const past = (yield* keysOf(store, "resource=members/historical/id=3/")).length
            const { id, removed } = yield* admin.discard("3")
            assert.strictEqual(id, "3")
            assert.include(removed, "resource=members/data/id=3")
            const left = (yield* keysOf(store, "resource=members/")).filter((key) => key.includes("id=3"))
            const isRest = (key: string) => damaged.tells === "of others" && key.includes("/partition=")
            // What was before stays, and when it ended.
            assert.strictEqual(left.filter((key) => !isRest(key)).length, kind === "owning" ? past + 1 : 0)
            assert.strictEqual((yield* Effect.flip(admin.discard("3")))._tag, "NotFound")
            assert.strictEqual((yield* Effect.flip(members.get("3")))._tag, "NotFound")
            assert.deepStrictEqual(yield* Stream.runCollect(members.listIds()), others)
            if (kind === "owning") {
              assert.strictEqual(yield* members.estimatedCount(), 4)
              assert.isTrue((yield* Stream.runCollect(members.history("3"))).length > 0)
              assert.strictEqual((yield* Effect.flip(members.getAt("3", { version: 9 })))._tag, "NotFound")
            }
            // What a body says that tells of others is left for repair.
            const findings = yield* Stream.runCollect(admin.repair({ dryRun: false }))
            if (damaged.tells !== "of others") assert.deepStrictEqual(findings, [])
            assert.isTrue(findings.every(({ kind }) => kind.startsWith("Leftover")))
            yield* members.insert({ ...member("6"), mail: "3@example.org" })
            yield* members.insert({ ...member("3"), mail: "new@example.org" })
            assert.deepStrictEqual(yield* Stream.runCollect(admin.repair()), [])
          }).pipe(Effect.scoped, Effect.provide(ring))
        )

        it.effect(`${what}: it is replaced, and what it owned is gone after a repair`, () =>
          Effect.gen(function* () {
            const { admin, members } = yield* open
            yield* TestClock.adjust("1 hour")
            const next = { ...member("3"), name: "next" }
            yield* members.replace(next)
            assert.strictEqual((yield* members.get("3")).name, "next")
            assert.deepStrictEqual(
              (yield* Stream.runCollect(members.scan())).map(({ id }) => id),
              ids
            )
            if (kind === "plain") return
            assert.strictEqual((yield* members.getByUnique("mail", { mail: "3@example.org" })).id, "3")
            const within = { partition: "byTeam", values: { team: "red" } }
            const names = (yield* Stream.runCollect(members.scan(within))).map(({ name }) => name)
            assert.deepStrictEqual(names, ["name 1", "name 2", "next", "name 4", "name 5"])
            assert.strictEqual(yield* members.estimatedCount(), 5)
            yield* TestClock.adjust("1 hour")
            const leftovers = yield* Stream.runCollect(admin.repair({ dryRun: false }))
            assert.isTrue(leftovers.every(({ kind, repaired }) => kind.startsWith("Leftover") && repaired))
            assert.deepStrictEqual(yield* Stream.runCollect(admin.repair()), [])
            assert.strictEqual((yield* members.getByUnique("mail", { mail: "3@example.org" })).id, "3")
          }).pipe(Effect.scoped, Effect.provide(ring))
        )
      }
    })
  }
}

describe("many documents with three damaged ones", () => {
  for (const [kind, length] of [
    ["plain", 1200],
    // More than a page.
    ["owning", 1100]
  ] as const) {
    const many = Array.from({ length }, (_, i) => String(i + 1).padStart(4, "0"))
    const bad = ["0003", "1000", String(length)]
    it.effect(`${kind}: all others are read, changed, checked and deleted`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        const opened = yield* openOn(store)
        yield* (yield* opened.open("visits", visits)).insert({ id: "1", at: 1, a: 1, b: 1, c: 1, d: 1, e: 1, f: 1 })
        const { content: _, counters: __, history: ___, ...indexed } = owning
        const definition = kind === "plain" ? plain : indexed
        const schema = Schema.Struct(Struct.omit(Member.fields, ["token"]))
        const members = yield* opened.open("members", { ...definition, schema })
        const admin = yield* members.admin
        yield* members.insertMany(many.map((id) => Struct.omit(member(id), ["token"])))
        for (const [i, id] of bad.entries()) yield* damage(store, id, [html, cut, damages["an empty object"]!][i]!)
        yield* TestClock.adjust("1 hour")
        const seen: Array<string> = []
        const onCorrupt = ({ id }: Query.Corrupt) => Effect.sync(() => void seen.push(id))
        yield* Stream.runForEach(members.scan({ onCorrupt }), ({ id }) => Effect.sync(() => seen.push(id)))
        assert.deepStrictEqual(seen, many)
        const updated = yield* Stream.runCollect(members.updateMany({ scan: true }, { n: 1 }))
        assert.deepStrictEqual(
          updated.map(({ id }) => id),
          many
        )
        const failed = updated.filter(({ result }) => Result.isFailure(result))
        assert.deepStrictEqual(
          failed.map(({ id }) => id),
          bad
        )
        const findings = yield* Stream.runCollect(admin.repair({ dryRun: false }))
        assert.deepStrictEqual(
          findings.map((found) => `${found.kind} ${found.id}`),
          bad.map((id) => `Corrupt ${id}`)
        )
        const { told: migrated, unfinished } = yield* tellingOf(admin.migrate())
        assert.deepStrictEqual(
          unfinished?.left.map(({ id }) => id),
          bad
        )
        assert.deepStrictEqual(
          migrated.flatMap(({ error, id }) => (error === undefined ? [] : [id])),
          bad
        )
        const [sum] = yield* members.aggregate({ values: { n: { sum: "n" } } }, { scan: true, onCorrupt: "skip" })
        assert.strictEqual(sum?.values["n"], length - 3)
        const gone = yield* members.deleteMany(many)
        assert.strictEqual(gone.deleted.length, kind === "plain" ? length : length - 3)
        assert.deepStrictEqual(
          gone.failed.map(({ id }) => id),
          kind === "plain" ? [] : bad
        )
      })
    )
  }
})

describe("foreign keys", () => {
  const foreign = [
    "resource=members/data/",
    "resource=members/data/id=%61",
    "resource=members/data/id=%zz",
    "resource=members/data/id=a/b",
    "resource=members/data/id=a b",
    "resource=members/data/readme.txt",
    "resource=members/partition=%zz/team=red/id=1/r=x",
    "resource=members/partition=byTeam/",
    "resource=members/partition=byTeam/team=%zz/id=%zz/r=x",
    "resource=members/unique=%zz/x",
    "resource=members/unique=mail/",
    "resource=members/unique=mail/a/b",
    "resource=members/content/readme.txt"
  ]

  for (const profile of ["aws", "express"] as const) {
    it.effect(`${profile}: are told by repair, and touched by nothing`, () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make({ profile })
        const { open } = yield* openOn(store)
        const members = yield* open("members", { ...owning, allowDeleteAll: true })
        const admin = yield* members.admin
        yield* members.insertMany(["a", "b"].map((id) => ({ ...member("1"), id, mail: `${id}@example.org` })))
        for (const key of foreign) yield* store.put({ key, body: bytes("somebody else's") })
        for (const id of ["a", "%zz"]) yield* store.put({ key: `resource=members/historical/id=${id}/v=zz` })
        yield* store.put({ key: "resource=members/historical/id=%zz/v=000000001-000001/t=000000001/w=x" })
        // What looks like a marker and points to no document.
        const odd = "resource=members/partition=byTeam/team=!zz%zz/id=none/r=x/c=e30"
        yield* store.put({ key: odd })
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual((yield* Stream.runCollect(members.listIds())).toSorted(), ["a", "b"])
        assert.strictEqual(yield* members.count(), 2)
        assert.deepStrictEqual((yield* Stream.runCollect(members.scan())).map(({ id }) => id).toSorted(), ["a", "b"])
        assert.deepStrictEqual(yield* Stream.runCollect(members.distinct({ partition: "byTeam" })), ["red"])
        const covered = yield* Stream.runCollect(members.covered({ partition: "byTeam" }))
        assert.deepStrictEqual(covered.map(({ id }) => id).toSorted(), ["a", "b", "none"])
        for (const dryRun of [true, false]) {
          const findings = yield* Stream.runCollect(admin.repair({ dryRun }))
          const told = findings.filter(({ kind }) => kind === "Foreign")
          assert.deepStrictEqual(told.map(({ key }) => key).toSorted(), foreign.toSorted())
          assert.isTrue(told.every(({ id, repaired }) => id === "" && !repaired))
          assert.deepStrictEqual(
            findings.filter(({ kind }) => kind !== "Foreign").map(({ key, kind }) => ({ key, kind })),
            [{ key: odd, kind: "LeftoverMarker" }]
          )
        }
        yield* Stream.runDrain(admin.backfill())
        yield* Stream.runDrain(admin.rotate())
        yield* Stream.runDrain(admin.pruneHistory({ keep: 0 }))
        assert.deepStrictEqual(yield* admin.recount(), { before: 2, after: 2, unread: 0 })
        assert.strictEqual(yield* admin.removePartition("byTeam"), 2)
        assert.strictEqual(yield* admin.removeUnique("mail"), 2)
        assert.strictEqual(yield* members.deleteAll, 2)
        const left = new Set(yield* keysOf(store, "resource=members/"))
        for (const key of foreign) assert.isTrue(left.has(key), key)
      }).pipe(Effect.provide(ring))
    )
  }

  it.effect("among the records of transactions are told, and passed over", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const members = yield* open("members", plain)
      yield* members.insertMany(ids.map(member))
      yield* replaceByHtml(store, "5")
      const put = (key: string, body: string) => store.put({ key, body: bytes(body) })
      yield* put("transaction=%zz", "")
      yield* put("transaction=", "")
      yield* put("transaction=a", "<html>")
      yield* put(
        "transaction=b",
        JSON.stringify({ s: "committed", k: ["resource=members/data/id=1", "x", "resource=%zz/data/id=1"] })
      )
      yield* put("transaction=c", JSON.stringify({ s: "committed", k: ["resource=members/data/id=5"] }))
      yield* put("transaction=d", JSON.stringify({ s: "committed", k: [] }))
      yield* TestClock.adjust("2 days")
      const swept = yield* Stream.runCollect(database.repairTransactions({ dryRun: false }))
      assert.deepStrictEqual(
        swept.map(({ description, key, repaired }) => ({ key, repaired, isTold: description !== undefined })),
        [
          { key: "transaction=", repaired: false, isTold: true },
          { key: "transaction=%zz", repaired: false, isTold: true },
          { key: "transaction=a", repaired: false, isTold: true },
          { key: "transaction=b", repaired: true, isTold: false },
          { key: "transaction=c", repaired: false, isTold: true },
          { key: "transaction=d", repaired: true, isTold: false }
        ]
      )
      assert.deepStrictEqual(yield* keysOf(store, "transaction="), [
        "transaction=",
        "transaction=%zz",
        "transaction=a",
        "transaction=c"
      ])
    }).pipe(Effect.provide(ring))
  )
})

describe("discard", () => {
  const opened = Effect.fnUntraced(function* (store: Store, id = "3") {
    const { database, open } = yield* openOn(store)
    const members = yield* open("members", owning)
    yield* members.insertMany(ids.map(member))
    yield* replaceByHtml(store, id)
    return { database, members, admin: yield* members.admin }
  })

  it.effect("leaves a document that can be read, or could with another key", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { admin } = yield* Effect.provide(opened(store), ring)
      const refused = yield* Effect.flip(Effect.provide(admin.discard("1"), ring))
      assert.strictEqual(refused._tag, "NotAllowed")
      assert.include(refused.message, 'document "1" can be read: delete removes it')
      assert.strictEqual((yield* Effect.flip(admin.discard("none")))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(admin.discard("")))._tag, "InvalidInput")
      const locked = Effect.gen(function* () {
        const { open } = yield* openOn(store)
        const members = yield* open("members", owning)
        const error = yield* Effect.flip((yield* members.admin).discard("1"))
        assert.strictEqual(error._tag === "DbError" && error.reason._tag, "SecretUnreadable")
        // It is no more readable than a damaged one, and is told as such.
        assert.strictEqual((yield* Stream.runCollect(members.scan({ onCorrupt: "skip" }))).length, 0)
      })
      yield* Effect.provide(locked, otherRing)
      assert.strictEqual((yield* keysOf(store, "resource=members/data/")).length, 5)
    })
  )

  it.effect("never removes a version that was written in between", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const healer: { heal: Effect.Effect<void> | undefined } = { heal: undefined }
      const store: Store = {
        ...inner,
        delete: (key, options) =>
          Effect.suspend(() => {
            const { heal = Effect.void } = key.includes("/data/") ? healer : {}
            if (key.includes("/data/")) healer.heal = undefined
            return Effect.andThen(heal, inner.delete(key, options))
          })
      }
      const { admin, members } = yield* opened(store)
      healer.heal = Effect.asVoid(Effect.orDie(members.replace({ ...member("3"), name: "healed" })))
      assert.strictEqual((yield* Effect.flip(admin.discard("3")))._tag, "NotAllowed")
      assert.strictEqual((yield* members.get("3")).name, "healed")
      assert.strictEqual((yield* members.getByUnique("mail", { mail: "3@example.org" })).id, "3")
    }).pipe(Effect.provide(ring))
  )

  it.effect("on a store that ignores conditions on DELETE an empty object by compare-and-set takes its place", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "rgw" })
      const { admin, members } = yield* opened(store)
      yield* TestClock.adjust("1 hour")
      yield* admin.discard("3")
      assert.isFalse(yield* members.exists("3"))
      assert.strictEqual((yield* Effect.flip(members.get("3")))._tag, "NotFound")
      yield* members.insert({ ...member("3"), name: "new" })
      assert.strictEqual((yield* members.get("3")).name, "new")
    }).pipe(Effect.provide(ring))
  )

  it.effect("what is younger than a write may take is left to repair", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { admin, members } = yield* opened(store)
      assert.deepStrictEqual((yield* admin.discard("3")).removed, ["resource=members/data/id=3"])
      yield* TestClock.adjust("1 hour")
      const findings = yield* Stream.runCollect(admin.repair({ dryRun: false }))
      assert.deepStrictEqual(
        findings.map(({ id, kind }) => `${kind} ${id}`),
        ["LeftoverMarker 3", "LeftoverReservation 3"]
      )
      yield* members.insert(member("3"))
    }).pipe(Effect.provide(ring))
  )

  it.effect("costs what it says, and does not free what another document has reserved", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { admin, members } = yield* opened(store)
      // A copy of another document says that it owns what that one owns.
      const { body, metadata } = yield* objectOf(store, "members", "1")
      yield* store.put({ key: "resource=members/data/id=3", body, metadata })
      yield* counter.reset
      yield* admin.discard("3")
      const { delete: deletes, deleteMany, get, list, put } = yield* counter.counts
      assert.deepStrictEqual(
        { deletes, deleteMany, get, list, put },
        { deletes: 2, deleteMany: 1, get: 3, list: 1, put: 4 }
      )
      assert.strictEqual((yield* members.getByUnique("mail", { mail: "1@example.org" })).id, "1")
      assert.strictEqual(
        (yield* Effect.flip(members.insert({ ...member("7"), mail: "1@example.org" })))._tag,
        "UniqueViolation"
      )
    }).pipe(Effect.provide(ring))
  )

  it.effect("is told as a deletion, and what is put in its place as a change", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { admin, members } = yield* opened(store)
      yield* replaceByHtml(store, "4")
      const changes = yield* members.subscribe()
      yield* admin.discard("3")
      yield* members.replace(member("4"))
      const seen = yield* Stream.runCollect(Stream.take(changes, 2))
      assert.deepStrictEqual(
        seen.map((change) => (change._tag === "Lagged" ? "" : `${change._tag} ${change.id} ${change.before._tag}`)),
        ["Deleted 3 None", "Updated 4 None"]
      )
      assert.strictEqual(yield* members.estimatedCount(), 4)
    }).pipe(Effect.scoped, Effect.provide(ring))
  )

  it.effect("removes a file that the store itself cannot read", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const store = yield* FileStore.make({ path, durability: "none" })
      const { open } = yield* openOn(store)
      const members = yield* open("members", owning)
      const admin = yield* members.admin
      yield* members.insertMany(ids.map(member))
      const file = (id: string) => join(path, "objects", "resource=members", "data", `id=${id}~`)
      const whole = fs.readFileSync(file("3"))
      // The body is cut off in one, the header in the other.
      fs.writeFileSync(file("3"), whole.subarray(0, whole.length - 5))
      fs.writeFileSync(file("4"), whole.subarray(0, 20))
      yield* TestClock.adjust("1 hour")
      const unread = yield* Stream.runCollect(admin.repair({ dryRun: false }))
      assert.deepStrictEqual(
        unread.map(({ id, kind }) => `${kind} ${id}`),
        ["Corrupt 3", "Corrupt 4"]
      )
      assert.include(unread[0]?.description, "admin.discard")
      assert.strictEqual((yield* Effect.flip(members.replace(member("4"))))._tag, "DbError")
      yield* members.replace(member("3"))
      assert.strictEqual((yield* members.get("3")).id, "3")
      yield* admin.discard("4")
      assert.strictEqual((yield* Effect.flip(members.get("4")))._tag, "NotFound")
      yield* members.insert(member("4"))
    }).pipe(Effect.scoped, Effect.provide(ring))
  )
})

describe("beside a damaged document", () => {
  it.effect("its history is there, and restores it", () =>
    Effect.gen(function* () {
      const { admin, members } = yield* given(yield* memory, "owning", html)
      const versions = (yield* Stream.runCollect(members.history("3"))).map(
        ({ version, value }) => `${version} ${value.name}`
      )
      assert.deepStrictEqual(versions, ["2 name 3", "1 before"])
      // Nobody knows the number and the time of the one that is damaged.
      const now = yield* Effect.flip(members.getAt("3", { version: 4 }))
      isAbout3(now)
      assert.strictEqual((yield* members.getAt("3", { version: 1 })).value.name, "before")
      yield* Stream.runDrain(admin.pruneHistory({ keep: 1 }))
      yield* members.restore("3", { version: 2 })
      assert.strictEqual((yield* members.get("3")).name, "name 3")
    }).pipe(Effect.provide(ring))
  )

  it.effect("a damaged earlier version is told by rotate, and ends nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { admin } = yield* given(store, "owning", html)
      const [past = ""] = yield* keysOf(store, "resource=members/historical/id=2/")
      yield* store.put({ key: past, body: bytes("<html>") })
      const { told: rotated, unfinished } = yield* tellingOf(admin.rotate())
      assert.deepStrictEqual(
        unfinished?.left.map(({ id }) => id),
        ["3", "2"]
      )
      const failed = rotated.filter(({ error }) => error !== undefined)
      assert.deepStrictEqual(
        failed.map(({ id, of }) => `${of} ${id}`),
        ["document 3", "history 2"]
      )
      assert.strictEqual(rotated.length, 10)
    }).pipe(Effect.provide(ring))
  )

  it.effect("what has the size of a deletion, and is none, is told by repair", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { admin } = yield* given(store, "owning", html)
      yield* store.put({ key: "resource=members/data/id=3", body: bytes("x".repeat(Document.deletionBytes)) })
      const findings = yield* Stream.runCollect(admin.repair())
      assert.deepStrictEqual(
        findings.map(({ id, kind }) => `${kind} ${id}`),
        ["Corrupt 3"]
      )
      yield* admin.discard("3")
    }).pipe(Effect.provide(ring))
  )

  it.effect("a partition is not complete until it is gone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { members: _ } = yield* given(store, "plain", html)
      const members = yield* (yield* openOn(store)).open("members", owning)
      const admin = yield* members.admin
      assert.deepStrictEqual(outcomes((yield* tellingOf(admin.backfill())).told), told)
      const refused = yield* Effect.flip(members.count({ partition: "byTeam" }))
      assert.strictEqual(refused._tag === "DbError" && refused.reason._tag, "Incomplete")
      yield* admin.discard("3")
      yield* Stream.runDrain(admin.backfill())
      assert.strictEqual(yield* members.count({ partition: "byTeam" }), 4)
    }).pipe(Effect.provide(ring))
  )

  it.effect("all others are deleted by deleteAll, which then says so, and by a transaction", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const members = yield* open("members", { ...owning, allowDeleteAll: true })
      yield* members.insertMany(ids.map(member))
      yield* replaceByHtml(store, "3")
      const { deleted, failed } = yield* database.transaction(members.deleteMany(["1", "3"]))
      assert.deepStrictEqual(deleted, ["1"])
      assert.deepStrictEqual(outcomes(failed), ["3 unread"])
      isAbout3(yield* Effect.flip(members.deleteAll))
      assert.deepStrictEqual(yield* Stream.runCollect(members.listIds()), ["3"])
    }).pipe(Effect.provide(ring))
  )

  it.effect("a condition on the document is not met by one that cannot be read", () =>
    Effect.gen(function* () {
      const { members } = yield* given(yield* memory, "owning", html)
      yield* members.intercept({
        operations: "replace",
        before: ({ input }) => Effect.succeed({ ...input, checks: [...(input.checks ?? []), () => Effect.void] })
      })
      isAbout3(yield* Effect.flip(members.replace(member("3"))))
      assert.strictEqual((yield* members.replace(member("2"))).name, "name 2")
    }).pipe(Effect.scoped, Effect.provide(ring))
  )

  it.effect("without partitions and unique keys deletion and replacement need not read it", () =>
    Effect.gen(function* () {
      const { members } = yield* given(yield* memory, "plain", sealed)
      yield* members.delete("3")
      assert.strictEqual(yield* members.count(), 4)
    }).pipe(Effect.provide(ring))
  )

  it.effect("where it has to be read the deletion says what removes it", () =>
    Effect.gen(function* () {
      const { members } = yield* given(yield* memory, "owning", html)
      const error = yield* Effect.flip(members.delete("3"))
      isAbout3(error)
      assert.include(error.message, "admin.discard")
    }).pipe(Effect.provide(ring))
  )
})
