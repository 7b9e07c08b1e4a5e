import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as Document from "effect-s3db/Document"
import * as Behavior from "effect-s3db/encoding/Behavior"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import {
  type Capabilities,
  localCapabilities,
  maxMetadataHeaderBytes,
  type Metadata,
  metadataHeaderOverhead,
  ObjectStore
} from "effect-s3db/storage/ObjectStore"
import { MetadataTooLarge, StoreError } from "effect-s3db/storage/StoreError"
import { bodyOf, memory, objectOf, openNew, openOn } from "./fixture.ts"
import { random } from "./encoding/random.ts"

const flags = Array.from({ length: 240 }, (_, i) => `flag${i}`)
const Flags = Schema.Struct({
  id: Schema.String,
  ...Object.fromEntries(flags.map((name) => [name, Schema.optionalKey(Schema.Boolean)]))
})
const allFlags = { id: "1", ...Object.fromEntries(flags.map((name, i) => [name, i % 3 === 0])) }

/** Some of them, changed. */
const changed = (values: Readonly<Record<string, boolean>>) => values

const headerBytesOf = (metadata: Metadata): number =>
  Object.entries(metadata).reduce(
    (sum, [name, value]) => sum + name.length + value.length + metadataHeaderOverhead(name.length),
    0
  )

/** A store that takes no more metadata than it says it does. */
const limited = (store: ObjectStore["Service"], limits: Partial<Capabilities>): ObjectStore["Service"] => {
  const capabilities = { ...localCapabilities, ...limits }
  const { metadataBytes, metadataEntries = Infinity, metadataEntryBytes = metadataBytes } = capabilities
  const { metadataHeaderBytes = maxMetadataHeaderBytes } = capabilities
  return {
    ...store,
    capabilities,
    put(request) {
      const metadata = request.metadata ?? {}
      const sizes = Object.entries(metadata).map(([name, value]) => name.length + value.length)
      const isTooMuch =
        Document.metadataSize(metadata) > metadataBytes ||
        sizes.length > metadataEntries ||
        Math.max(0, ...sizes) > metadataEntryBytes ||
        headerBytesOf(metadata) > metadataHeaderBytes
      if (!isTooMuch) return store.put(request)
      const reason = new MetadataTooLarge({ description: "too much", size: Document.metadataSize(metadata), limit: 0 })
      return Effect.fail(new StoreError({ operation: "put", key: request.key, reason }))
    }
  }
}

for (const [layerName, layer] of [
  ["text", Encoding.layer],
  ["packed", Encoding.layerPacked]
] as const) {
  describe(`limits of metadata, ${layerName}`, () => {
    it.effect("many small fields exceed the headers of a request long before the bytes of metadata", () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        const resource = yield* open("flags", { schema: Flags, primaryKey: "id", compression: false })
        yield* resource.insert(allFlags)
        assert.deepStrictEqual(yield* resource.get("1"), allFlags)
        const { metadata } = yield* objectOf(store, "flags", "1")
        const headerBytes = headerBytesOf(metadata)
        const explained = yield* resource.explain(allFlags)
        assert.strictEqual(explained.headerBytes, headerBytes)
        assert.strictEqual(explained.headerLimitBytes, 4096)
        assert.strictEqual(explained.metadataBytes, Document.metadataSize(metadata))
        assert.isAtMost(headerBytes, 4096)
        // As much as there is room for is there all the same.
        if (layerName === "text") {
          assert.isAtLeast(headerBytes, 4096 - 32)
          assert.isBelow(explained.metadataBytes, 688)
        } else assert.strictEqual((yield* resource.getDocument("1")).storedIn, "metadata")
        yield* resource.update("1", changed({ flag3: false, flag239: true }))
        assert.deepStrictEqual<unknown>(yield* resource.get("1"), { ...allFlags, flag3: false, flag239: true })
      }).pipe(Effect.provide(layer))
    )

    it.effect("every behavior is told which limit it is", () =>
      Effect.gen(function* () {
        const { open } = yield* openNew
        const strict = yield* open("strict", { schema: Flags, primaryKey: "id", behavior: "enforce-limits" })
        if (layerName === "packed") return void (yield* strict.insert(allFlags))
        const error = yield* Effect.flip(strict.insert(allFlags))
        assert.instanceOf(error, DbError.MetadataLimit)
        assert.strictEqual(error.measure, "headers")
        assert.strictEqual(error.totalBytes - error.limitBytes, error.excessBytes)
        assert.match(
          error.message,
          /takes \d+ bytes of request headers for its metadata, \d+ more than the \d+ there are$/
        )

        const asked: Array<Behavior.Overflow> = []
        const managed = yield* open("managed", {
          schema: Flags,
          primaryKey: "id",
          behavior: Behavior.userManaged((overflow) =>
            Effect.sync(() => {
              asked.push(overflow)
              return { body: flags.slice(0, 150) }
            })
          )
        })
        yield* managed.insert(allFlags)
        assert.deepStrictEqual(yield* managed.get("1"), allFlags)
        assert.strictEqual(asked[0]!.measure, "headers")
        assert.strictEqual(asked[0]!.totalBytes, error.totalBytes)

        const cut = yield* open("cut", { schema: Flags, primaryKey: "id", behavior: "truncate-data" })
        const kept = yield* cut.insert(allFlags)
        assert.isBelow(Object.keys(kept).length, 241)
        assert.deepStrictEqual(yield* cut.get("1"), kept)
      }).pipe(Effect.provide(layer))
    )

    it.effect("any limits: whatever fits nowhere else goes to the body, history and deletions included", () =>
      Effect.gen(function* () {
        const r = random(7)
        for (let round = 0; round < 25; round++) {
          const within = (least: number, most: number) => least + r.int(most - least + 1)
          const metadataBytes = within(256, 2048)
          const limits: Partial<Capabilities> = {
            metadataBytes,
            ...(round % 2 === 0 ? { metadataEntryBytes: within(256, metadataBytes) } : {}),
            ...(round % 3 === 0 ? { metadataEntries: within(2, 60) } : {}),
            ...(round % 5 === 0 ? { metadataHeaderBytes: within(320, 3000) } : {})
          }
          const { open } = yield* openOn(limited(yield* memory, limits))
          const Wide = Schema.Struct({
            id: Schema.String,
            group: Schema.String,
            ...Object.fromEntries(flags.slice(0, 100).map((name) => [name, Schema.optionalKey(Schema.String)]))
          })
          const wide = yield* open("wide", {
            schema: Wide,
            primaryKey: "id",
            history: true,
            partitions: { byGroup: ["group"] },
            unique: { flag: ["flag0"] }
          })
          const make = (id: string) => ({
            id,
            group: `g${r.int(3)}`,
            flag0: id,
            ...Object.fromEntries(
              flags.slice(1, within(2, 100)).map((name) => [name, "x".repeat(r.int(r.int(8) === 0 ? 400 : 12))])
            )
          })
          for (const id of ["a", "b"]) {
            yield* wide.insert(make(id))
            const replaced = make(id)
            for (let times = 0; times < 10; times++) yield* wide.replace(replaced)
            assert.deepStrictEqual(yield* wide.get(id), replaced, JSON.stringify(limits))
          }
          yield* wide.delete("a")
          yield* wide.insert(make("a"))
        }
      }).pipe(Effect.provide(layer))
    )
  })
}

describe("limits of metadata", () => {
  it.effect(
    "what was written when more was put into metadata can be read, and is put into the body when it changes",
    () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        const resource = yield* open("flags", { schema: Flags, primaryKey: "id", history: true, compression: false })
        yield* resource.insert(allFlags)
        const object = yield* objectOf(store, "flags", "1")
        const { f, ...body } = bodyOf(object) as { readonly f: Readonly<Record<string, boolean>> }
        const spilled = Object.entries(f).slice(0, 90)
        const rest = Object.fromEntries(Object.entries(f).slice(90))
        const metadata = {
          ...object.metadata,
          ...Object.fromEntries(spilled.map(([id, value]) => [id, value ? "1" : "0"]))
        }
        assert.isAbove(headerBytesOf(metadata), 4096)
        yield* store.put({
          key: "resource=flags/data/id=1",
          body: new TextEncoder().encode(JSON.stringify({ ...body, f: rest })),
          metadata
        })
        assert.deepStrictEqual(yield* resource.get("1"), allFlags)
        // The version before is kept as it was.
        yield* resource.update("1", changed({ flag1: true }))
        assert.deepStrictEqual<unknown>(yield* resource.get("1"), { ...allFlags, flag1: true })
        assert.isAtMost(headerBytesOf((yield* objectOf(store, "flags", "1")).metadata), 4096)
      })
  )

  it("the object of a deletion is never larger than a store must take", () => {
    const id = "\u{7e}".repeat(16)
    const most = Number.MAX_SAFE_INTEGER
    const { metadata } = Document.toTombstone(
      { writeId: id, ancestors: Array.from({ length: 20 }, () => id) },
      { deletedAt: 8.64e15, last: { createdAt: 8.64e15, version: most, writeId: id } }
    )
    assert.isAtMost(Document.metadataSize(metadata), 256)
    assert.isAtMost(headerBytesOf(metadata), 320)
  })

  it.effect("a store that keeps no metadata is refused when the database is opened", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const forgetful: ObjectStore["Service"] = {
        ...store,
        capabilities: undefined,
        put: (request) => store.put({ ...request, metadata: {} })
      }
      const error = yield* Effect.flip(Effect.provideService(Database.make(), ObjectStore, forgetful))
      assert.strictEqual(error.reason._tag, "Unsupported")
      assert.include(error.message, "does not give user metadata back")
      // Nothing is left there.
      assert.deepStrictEqual((yield* store.list()).entries, [])
    })
  )

  it.effect("swift, whose entries have 256 bytes, takes long texts in the body", () =>
    Effect.gen(function* () {
      const url = Redacted.make("memory://b?profile=swift")
      yield* Effect.gen(function* () {
        const notes = Resource.define("notes", {
          schema: Schema.Struct({ id: Schema.String, text: Schema.String, tag: Schema.String }),
          primaryKey: "id",
          compression: false
        })
        const note = { id: "1", text: "x".repeat(300), tag: "y".repeat(200) }
        for (const layer of [Encoding.layer, Encoding.layerPacked]) {
          const database = yield* Database.make({ singleWriter: true })
          assert.strictEqual(database.capabilities.metadataEntryBytes, 257)
          const make = Effect.provide(Resource.make(notes), layer)
          const repository = yield* Effect.provideService(make, Database.Database, database)
          const random = note.text.replace(/x/g, (_, i: number) => String.fromCharCode(0x3d + ((i * 7919) % 61)))
          yield* repository.replace({ ...note, text: random })
          assert.deepStrictEqual(yield* repository.get("1"), { ...note, text: random })
          assert.strictEqual((yield* repository.getDocument("1")).storedIn, "both")
        }
      }).pipe(Effect.provide(ConnectionString.layer(url)), Effect.scoped)
    })
  )
})
