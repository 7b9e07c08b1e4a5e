/** Documents whose fields are compressed: what is stored, and that everything that reads it finds what was written. */
import { deflateSync, inflateSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Document from "effect-s3db/Document"
import * as Behavior from "effect-s3db/encoding/Behavior"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { mostBytes } from "../src/document/compressed.ts"
import { random } from "./encoding/random.ts"
import { bodyOf, drive, everything, keysOf, memory, objectOf, openNew, openOn } from "./fixture.ts"

type Store = ObjectStore["Service"]

const ring = KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(1)) } })

const Note = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  team: Schema.String,
  n: Schema.Finite,
  text: Schema.String,
  vector: Schema.optionalKey(Attribute.Embedding(64, { format: "int8" }))
})
const Secretive = Schema.Struct({ ...Note.fields, token: Attribute.SecretText })
type Note = typeof Note.Type

const plain = { schema: Note, primaryKey: "id" } as const
const owning = {
  ...plain,
  partitions: { byTeam: { fields: ["team"], covering: ["title"] } },
  unique: { title: ["title"] },
  history: true,
  journal: { images: "both" }
} as const

const prose = "What goes in comes out: “ünicode”, 漢字. ".repeat(70)
const vector = Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? -127 : i - 63))
const large = (id: string, text = prose): Note => ({ id, title: `title ${id}`, team: "réd", n: -0, text, vector })
const small = (id: string): Note => ({ id, title: `title ${id}`, team: "red", n: 1, text: "short" })

/** A number as it is written in a body. */
const groups = (size: number): ReadonlyArray<number> =>
  size < 128 ? [size] : [(size % 128) | 128, ...groups(Math.floor(size / 128))]

const put = (store: Store, id: string, object: { readonly metadata: object; readonly body: Uint8Array }) =>
  Effect.orDie(
    store.put({
      key: `resource=notes/data/id=${id}`,
      metadata: object.metadata as Record<string, string>,
      body: object.body
    })
  )

const catalogOf = (store: Store) =>
  Effect.map(
    Effect.orDie(store.get("s3db.json")),
    ({ body }) =>
      JSON.parse(new TextDecoder().decode(body)) as {
        readonly resources: Readonly<Record<string, { readonly bodies?: number }>>
      }
  )

const changeCatalog = Effect.fnUntraced(function* (store: Store, change: (resource: Record<string, unknown>) => void) {
  const catalog = yield* catalogOf(store)
  change(catalog.resources["notes"] as Record<string, unknown>)
  yield* Effect.orDie(store.put({ key: "s3db.json", body: new TextEncoder().encode(JSON.stringify(catalog)) }))
})

/** As a resource is that an earlier release has begun. */
const asOfBefore = (store: Store) => changeCatalog(store, (resource) => void delete resource["bodies"])

for (const [layerName, layer] of [
  ["text", Encoding.layer],
  ["packed", Encoding.layerPacked]
] as const) {
  describe(`compression, ${layerName}`, () => {
    it.effect("a document that does not fit into metadata goes to the body, compressed; one that fits stays", () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        const notes = yield* open("notes", plain)
        yield* notes.insert(large("1"))
        const object = yield* objectOf(store, "notes", "1")
        assert.deepStrictEqual(Object.keys(object.metadata), ["s-"])
        assert.isBelow(object.body.length, prose.length / 8)
        assert.isAbove(object.body.length, Document.deletionBytes)
        const read = yield* notes.getDocument("1")
        assert.deepStrictEqual(read.value, large("1"))
        assert.isTrue(Object.is(read.value.n, -0))
        assert.deepStrictEqual([read.storedIn, read.bodyBytes], ["body", object.body.length])
        const explained = yield* notes.explain(read)
        assert.strictEqual(explained.metadataBytes, Document.metadataSize(object.metadata))
        // The system parts, which are 20 bytes, and the length of what is compressed.
        assert.strictEqual(object.body.length, explained.bodyBytes + 22)
        assert.isTrue(explained.fields.every(({ isCompressed, place }) => isCompressed && place === "body"))

        yield* notes.insert(small("2"))
        assert.strictEqual((yield* notes.getDocument("2")).storedIn, "metadata")
        // It grows, and shrinks again.
        yield* notes.update("2", { text: prose })
        assert.strictEqual((yield* notes.getDocument("2")).storedIn, "body")
        yield* notes.update("2", { text: "short" })
        assert.deepStrictEqual(yield* notes.get("2"), small("2"))
        assert.strictEqual((yield* notes.getDocument("2")).storedIn, "metadata")
      }).pipe(Effect.provide(layer))
    )

    it.effect("what takes 1,536 bytes of metadata stays there, and one more goes", () =>
      Effect.gen(function* () {
        const { open } = yield* openNew
        const notes = yield* open("notes", { ...plain, pin: { metadata: ["team"] } })
        const off = yield* open("off", { ...plain, compression: false })
        const repeated = (size: number) => ({ ...small("1"), text: "Spam, egg, spam. ".repeat(200).slice(0, size) })
        const bytesOf = (size: number) =>
          Effect.map(notes.explain(repeated(size)), ({ metadataBytes, systemBytes }) => metadataBytes - systemBytes)
        // Packed text has no character of one byte each.
        let size = 1400
        while ((yield* bytesOf(size)) > 1000 && (yield* bytesOf(size)) < Behavior.comfortableBytes) size += 1
        while ((yield* bytesOf(size)) > 1000) size += 1
        const [below, above] = [repeated(size - 1), repeated(size)]
        for (const [document, storedIn] of [
          [below, "metadata"],
          [above, "both"]
        ] as const) {
          for (const resource of [notes, off]) yield* resource.replace(document)
          assert.strictEqual((yield* notes.getDocument("1")).storedIn, storedIn)
          assert.strictEqual((yield* off.getDocument("1")).storedIn, "metadata")
          assert.deepStrictEqual(yield* notes.get("1"), document)
        }
        assert.isAtMost(yield* bytesOf(size - 1), Behavior.comfortableBytes)
        assert.isAbove(yield* bytesOf(size - 1), Behavior.comfortableBytes - 4)
      }).pipe(Effect.provide(layer))
    )

    it.effect("digits, base 64 and the like stay as they are", () =>
      Effect.gen(function* () {
        const { open } = yield* openNew
        const notes = yield* open("notes", plain)
        const r = random(7)
        const text = Array.from({ length: 3000 }, () => String.fromCharCode(0x21 + r.int(94))).join("")
        yield* notes.insert({ ...small("1"), text })
        assert.strictEqual((yield* notes.getDocument("1")).storedIn, "both")
        const explained = yield* notes.explain(yield* notes.getDocument("1"))
        assert.isFalse(explained.fields.some(({ isCompressed }) => isCompressed))
      }).pipe(Effect.provide(layer))
    )

    it.effect("what is small in the body is stored as it was", () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        const Blob = Schema.Struct({ id: Schema.String, blob: Schema.String })
        const off = yield* open("off", { schema: Blob, primaryKey: "id", behavior: "body-only", compression: false })
        const on = yield* open("on", { schema: Blob, primaryKey: "id", behavior: "body-only" })
        const blob = "x".repeat(490)
        for (const resource of [on, off]) yield* resource.insert({ id: "1", blob })
        const [a, b] = [yield* objectOf(store, "on", "1"), yield* objectOf(store, "off", "1")]
        assert.strictEqual(a.body.length, b.body.length)
        assert.strictEqual(a.body[0], "{".charCodeAt(0))
        yield* on.insert({ id: "enough", blob: "x".repeat(600) })
        assert.isBelow((yield* objectOf(store, "on", "enough")).body.length, 100)
      }).pipe(Effect.provide(layer))
    )

    it.effect("every behavior puts what it did where it did, and what goes to the body is compressed", () =>
      Effect.gen(function* () {
        const { open } = yield* openNew
        const placesOf = Effect.fnUntraced(function* (name: string, options: Partial<Resource.Options<typeof Note>>) {
          const { vector: _, ...document } = large("1")
          const resource = yield* open(name, { ...plain, ...options })
          yield* resource.insert(document)
          const explained = yield* resource.explain(yield* resource.getDocument("1"))
          const read = yield* resource.get("1")
          const compressed = explained.fields.filter(({ isCompressed }) => isCompressed).map(({ path }) => path)
          const inBody = explained.fields.filter(({ place }) => place === "body").map(({ path }) => path)
          return { isWhole: read.text === prose, compressed: compressed.toSorted(), inBody: inBody.toSorted() }
        })
        const all = ["n", "team", "text", "title"]
        const same = (names: ReadonlyArray<string>) => ({ isWhole: true, compressed: names, inBody: names })
        assert.deepStrictEqual(yield* placesOf("a", {}), same(all))
        assert.deepStrictEqual(yield* placesOf("b", { behavior: "body-only" }), same(all))
        assert.deepStrictEqual(yield* placesOf("c", { pin: { metadata: ["team"] } }), same(["n", "text", "title"]))
        assert.deepStrictEqual(yield* placesOf("d", { pin: { body: ["text"] } }), same(["text"]))
        const strict = { behavior: "enforce-limits", pin: { body: ["text"] } } as const
        assert.deepStrictEqual(yield* placesOf("e", strict), same(["text"]))
        const chosen = (decision: Behavior.Decision) => ({
          behavior: Behavior.userManaged(() => Effect.succeed(decision))
        })
        assert.deepStrictEqual(yield* placesOf("f", chosen({ body: ["text", "n"] })), same(["n", "text"]))
        assert.deepStrictEqual(yield* placesOf("g", chosen("body-overflow")), same(all))
        assert.deepStrictEqual(yield* placesOf("h", { behavior: Behavior.userManaged() }), same(all))
        assert.deepStrictEqual(yield* placesOf("i", { behavior: "truncate-data" }), {
          isWhole: false,
          compressed: [],
          inBody: []
        })
      }).pipe(Effect.provide(layer))
    )

    it.effect("what is secret is not compressed with what others may choose", () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        for (const behavior of ["body-overflow", "body-only"] as const) {
          const notes = yield* open(behavior, { ...plain, schema: Secretive, behavior })
          yield* notes.insert({ ...large("1"), token: Redacted.make("hunter2".repeat(10)) })
          const object = yield* objectOf(store, behavior, "1")
          const { compressed } = Document.membersIn(object.body)!
          const inflated = inflateSync(compressed!.bytes).toString()
          const { token } = yield* notes.get("1")
          assert.strictEqual(Redacted.value(token), "hunter2".repeat(10))
          assert.notInclude(everything(object), "hunter2")
          const explained = yield* notes.explain(yield* notes.getDocument("1"))
          const { attribute, isCompressed, place } = explained.fields.find(({ path }) => path === "token")!
          assert.deepStrictEqual([isCompressed, place], [false, behavior === "body-only" ? "body" : "metadata"])
          assert.notProperty((JSON.parse(inflated) as { readonly f: object }).f, attribute)
          // Its length is what the secret has, whatever is beside it.
          yield* notes.update("1", { title: "hunter2".repeat(10) })
          const { compressed: after } = Document.membersIn((yield* objectOf(store, behavior, "1")).body)!
          const { compressed: other } = Document.membersIn(
            (yield* Effect.andThen(notes.update("1", { title: "hunter3".repeat(10) }), objectOf(store, behavior, "1")))
              .body
          )!
          assert.strictEqual(after?.bytes.length, other?.bytes.length)
        }
      }).pipe(Effect.provide(Layer.merge(layer, ring)))
    )
  })
}

describe("compressed documents", () => {
  it.effect("cost the requests of others", () =>
    Effect.gen(function* () {
      const { counter, store: counted } = InstrumentedStore.make(yield* memory)
      const requests = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
        yield* counter.reset
        yield* effect
        const made = Object.entries(yield* counter.counts).filter(([, count]) => count > 0)
        return made.map(([name, count]) => `${count} ${name}`).join(", ")
      })
      for (const compression of [true, false]) {
        const { open } = yield* openOn(counted)
        const notes = yield* open(`notes${compression}`, { ...plain, compression })
        assert.strictEqual(yield* requests(notes.insert(large("1"))), "1 put")
        assert.strictEqual(yield* requests(notes.get("1")), "1 get")
        const document = yield* notes.getDocument("1")
        assert.strictEqual(yield* requests(notes.update(document, { n: 2 })), "1 put")
        assert.strictEqual(yield* requests(notes.update("1", { n: 3 })), "1 put, 1 get")
        assert.strictEqual(yield* requests(notes.replace(large("1"))), "1 put")
        assert.strictEqual(yield* requests(notes.exists("1")), "1 head")
        assert.strictEqual(yield* requests(notes.count()), "1 list")
        assert.strictEqual(yield* requests(notes.delete("1")), "1 delete")
        assert.strictEqual(yield* requests(openOn(counted)), "1 get")
        const again = yield* openOn(counted)
        assert.strictEqual(yield* requests(again.open(`notes${compression}`, { ...plain, compression })), "")
      }
    })
  )

  it.effect("have history, are found, take part in transactions, and leave the images of others", () =>
    Effect.gen(function* () {
      const stories = yield* Effect.forEach([true, false], (compression) =>
        Effect.gen(function* () {
          const store = yield* memory
          const { database, open } = yield* openOn(store)
          // So that the fields are in the same place either way.
          const notes = yield* open("notes", { ...owning, behavior: "body-only", compression })
          for (const id of ["1", "2", "3"]) yield* notes.insert(large(id))
          yield* notes.update("1", { n: 2 })
          yield* database.transaction(
            Effect.gen(function* () {
              yield* notes.update("1", { text: `${prose}!` })
              yield* notes.update("2", ({ n }) => ({ n: n + 1, team: "blue" }))
              yield* notes.insert(large("4"))
              yield* notes.delete("3")
            })
          )
          const failed = database.transaction(
            Effect.andThen(
              Effect.andThen(notes.update("1", { n: 9 }), notes.update("2", { n: 9 })),
              Effect.fail("no" as const)
            )
          )
          assert.strictEqual(yield* Effect.flip(failed), "no")
          assert.strictEqual((yield* notes.get("1")).text, `${prose}!`)
          assert.strictEqual((yield* notes.getByUnique("title", { title: "title 4" })).id, "4")
          const reds = yield* Stream.runCollect(notes.scan({ partition: "byTeam", values: { team: "réd" } }))
          assert.deepStrictEqual(reds.map(({ id }) => id).toSorted(), ["1", "4"])
          const matching = notes.query({ where: { text: { contains: "!" } }, scan: true })
          assert.strictEqual((yield* Stream.runCollect(matching)).length, 1)
          const versions = yield* Stream.runCollect(notes.history("1"))
          assert.strictEqual(versions.at(-1)?.value.text, prose)
          yield* notes.restore("1", { version: 1 })
          assert.deepStrictEqual(yield* notes.get("1"), large("1"))
          assert.deepStrictEqual(yield* Stream.runCollect((yield* notes.admin).repair()), [])
          const size = (yield* Effect.forEach(yield* keysOf(store, "resource=notes/data/"), (key) =>
            Effect.orDie(store.get(key))
          )).reduce((sum, { body, metadata }) => sum + body.length + Document.metadataSize(metadata), 0)
          const { journal, journaled } = database
          yield* drive(yield* Effect.forkChild(journal.catchUp(journaled, { nobodyWrites: true })))
          const records = (yield* Stream.runCollect(journal.read({ from: 0 }))).map(({ value }) => value)
          const shown = yield* Effect.forEach(records, (record) =>
            record.after === undefined ? Effect.succeed(undefined) : notes.fromImage(record, "after")
          )
          // Write ids are those of chance, and keeping the journal takes time.
          const told = records.map(({ after, before, id, kind }) =>
            JSON.stringify([id, kind, before, after]).replaceAll(/"[wt]":("[^"]*"|\d+),?/g, "")
          )
          return { told, shown, size }
        })
      )
      const [on, off] = stories
      assert.deepStrictEqual(on?.told, off?.told)
      assert.deepStrictEqual(on?.shown, off?.shown)
      assert.isBelow(on!.size * 3, off!.size)
    })
  )

  it.effect("what does not overflow has system parts of at most 24 bytes, binary, whoever writes it", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const gate = { isShut: false }
      const store: Store = {
        ...inner,
        put: (request) =>
          gate.isShut && request.key.startsWith("transaction=") ? Effect.die("gone") : inner.put(request)
      }
      const { database, open } = yield* openOn(store)
      const notes = yield* open("notes", { ...plain, history: true })
      const sizeOf = Effect.fnUntraced(function* (id: string) {
        const { body, contentType } = yield* objectOf(inner, "notes", id)
        assert.deepStrictEqual([body[0], contentType], [1, "application/octet-stream"], id)
        assert.notStrictEqual(body.length, Document.deletionBytes)
        assert.strictEqual((yield* notes.getDocument(id)).bodyBytes, body.length)
        return body.length
      })
      yield* notes.insert(small("1"))
      yield* notes.insertMany([small("2"), small("3")])
      yield* notes.upsert(small("4"))
      yield* notes.replace(small("5"))
      for (const id of ["1", "2", "3", "4", "5"]) assert.isAtMost(yield* sizeOf(id), 24)
      // A transaction of two: 13 bytes more for each of the two writes that it is built upon.
      yield* database.transaction(Effect.andThen(notes.insert(small("6")), notes.insert(small("7"))))
      assert.isAtMost(yield* sizeOf("6"), 24 + 13)
      // One that has ended suddenly, taken back by who finds it.
      gate.isShut = true
      yield* Effect.exit(database.transaction(Effect.andThen(notes.update("1", { n: 5 }), notes.insert(small("8")))))
      gate.isShut = false
      yield* notes.update("1", { n: 6 })
      yield* sizeOf("1")
      yield* database.transaction(Effect.andThen(notes.update("1", { n: 7 }), notes.update("2", { n: 7 })))
      yield* sizeOf("1")
      // Copies for the history have the bytes that the versions had.
      const copies = yield* keysOf(inner, "resource=notes/historical/")
      assert.isNotEmpty(copies)
      for (const key of copies) assert.strictEqual((yield* inner.get(key)).body[0], 1, key)
      yield* notes.update("3", { text: prose.slice(0, 300) })
      assert.deepStrictEqual(yield* notes.get("3"), { ...small("3"), text: prose.slice(0, 300) })
      assert.deepStrictEqual(yield* Stream.runCollect((yield* notes.admin).repair()), [])
      // Who does not compress writes JSON, and reads both.
      const off = yield* (yield* openOn(inner)).open("notes", { ...plain, history: true, compression: false })
      yield* off.update("4", { n: 2 })
      assert.strictEqual((yield* objectOf(inner, "notes", "4")).body[0], "{".charCodeAt(0))
      yield* notes.update("4", { n: 3 })
      yield* sizeOf("4")
      assert.strictEqual((yield* off.get("4")).n, 3)
    })
  )

  it.effect("a binary body within other JSON says that it is one, and an image does not", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      yield* (yield* open("notes", plain)).insert(small("1"))
      const before = yield* objectOf(store, "notes", "1")
      const read = Document.fromObject({ ...before, size: before.body.length })
      const version = read._tag === "Success" ? read.success.stored! : assert.fail("it cannot be read")
      assert.deepStrictEqual(Document.toObject(version).body, before.body)
      const text = Document.toText(version)
      assert.strictEqual((JSON.parse(text.body) as { readonly y?: number }).y, 1)
      const held = Document.fromObject({ ...before, ...text, body: new TextEncoder().encode(text.body), size: 0 })
      const isBinary = (slot: typeof held) => slot._tag === "Success" && slot.success.stored?.fields.isBinary
      assert.isTrue(isBinary(held))
      const writes = { writeId: "abcdefghijklmnop", writtenAt: 1, ancestors: [] }
      const announced = Document.toIntentObject(version, writes, "t", { ...version, writeId: "ponmlkjihgfedcba" })
      const slot = Document.fromObject({ key: "k", etag: "e", ...announced, size: announced.body.length })
      assert.isTrue(isBinary(slot))
      const next = slot._tag === "Success" ? Document.fromIntent("k", "e", slot.success.intent!) : undefined
      assert.isTrue(next?._tag === "Success" && next.success?.fields.isBinary)
      assert.deepStrictEqual(Object.keys(Document.imageOf(version)["body"] as object), ["w", "t"])
    })
  )

  it.effect("are finished, or taken back, by who finds the intent of a transaction that has ended suddenly", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const gate = { isShut: false }
      const store: Store = {
        ...inner,
        put: (request) =>
          gate.isShut && request.key.startsWith("transaction=") ? Effect.die("gone") : inner.put(request)
      }
      const { database, open } = yield* openOn(store)
      const notes = yield* open("notes", owning)
      yield* notes.insertMany([large("1"), large("2")])
      const before = yield* objectOf(inner, "notes", "1")
      const change = Effect.andThen(notes.update("1", { n: 5 }), notes.update("2", { n: 5 }))
      gate.isShut = true
      yield* Effect.exit(database.transaction(change))
      gate.isShut = false
      assert.deepStrictEqual((yield* notes.get("1")).n, -0)
      yield* database.transaction(change)
      assert.strictEqual((yield* notes.get("1")).n, 5)
      // An object that has the intent in it holds both versions, compressed, and is read as either.
      const stored = Document.fromObject({ ...before, size: before.body.length })
      assert.strictEqual(stored._tag, "Success")
      const version = stored._tag === "Success" ? stored.success.stored! : undefined
      const writes = { writeId: "abcdefghijklmnop", writtenAt: 1, ancestors: [] }
      const announced = Document.toIntentObject(version, writes, "t", { ...version!, writeId: "ponmlkjihgfedcba" })
      const slot = Document.fromObject({ key: "k", etag: "e", ...announced, size: announced.body.length })
      assert.strictEqual(slot._tag, "Success")
      if (slot._tag !== "Success") return
      assert.deepStrictEqual([...slot.success.stored!.fields.compressed!.bytes], [...version!.fields.compressed!.bytes])
      const next = Document.fromIntent("k", "e", slot.success.intent!)
      assert.strictEqual(next._tag, "Success")
      if (next._tag === "Success") assert.strictEqual(next.success?.writeId, "ponmlkjihgfedcba")
    })
  )

  it.effect(
    "are nothing to earlier releases, in intents and caches as well, and not documents without these fields",
    () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        yield* (yield* open("notes", { ...plain, pin: { metadata: ["team"] } })).insert(large("1"))
        const object = yield* objectOf(store, "notes", "1")
        const read = ({ body, metadata }: { readonly body: string; readonly metadata: object }) => {
          const bytes = new TextEncoder().encode(body)
          const found = {
            key: "k",
            etag: "e",
            metadata: metadata as Record<string, string>,
            body: bytes,
            size: bytes.length
          }
          const slot = Document.fromObject(found)
          return slot._tag === "Success" ? slot.success : undefined
        }
        const slot = Document.fromObject({ ...object, size: object.body.length })
        const version = slot._tag === "Success" ? slot.success.stored! : undefined
        const text = Document.toText(version!)
        assert.deepStrictEqual(read(text)?.stored?.fields, version!.fields)
        // They take `true` alone, and do not look at `z`.
        const body = JSON.parse(text.body) as Record<string, unknown>
        assert.strictEqual(body["a"], false)
        for (const name of ["a", "z"]) {
          const { [name]: _, ...others } = body
          assert.isUndefined(read({ ...text, body: JSON.stringify(others) }), name)
        }
        const write = { writeId: "abcdefghijklmnop", writtenAt: 1, ancestors: [] }
        const announced = Document.toIntentObject(version, write, "t", version!)
        const intent = JSON.parse(new TextDecoder().decode(announced.body)) as {
          readonly a: unknown
          readonly i: unknown
        }
        assert.strictEqual(intent.a, false)
        assert.deepInclude((intent.i as { readonly b: object }).b, { a: false })
      })
  )

  it.effect("are held by a cache, which gives them as they were", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { database, open } = yield* openOn(counted)
      const notes = yield* open("notes", plain)
      yield* Effect.provideService(Cache.make({ staleness: "1 hour" }), Database.Database, database)
      yield* notes.insert(large("1"))
      yield* notes.get("1")
      yield* counter.reset
      assert.deepStrictEqual(yield* notes.get("1"), large("1"))
      assert.strictEqual((yield* counter.counts).get, 0)
    }).pipe(Effect.scoped)
  )
})

describe("a packed document", () => {
  // The only entry of a packed document is `p`, which is the id of the 26th attribute, too.
  it.effect("is read whatever the ids of its compressed fields are", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const names = Array.from({ length: 40 }, (_, i) => `f${i}`)
      const schema = Schema.Struct({
        id: Schema.String,
        ...Object.fromEntries(names.map((name) => [name, Schema.String]))
      })
      const wide = yield* open("wide", { schema, primaryKey: "id", pin: { metadata: ["f0"] } })
      const document = {
        id: "1",
        ...Object.fromEntries(names.map((name) => [name, `${name}: ${"Spam. ".repeat(20)}`]))
      }
      yield* wide.insert(document as never)
      const { fields } = yield* wide.explain(document as never)
      const p = fields.find(({ attribute }) => attribute === "p")
      assert.deepInclude(p, { place: "body", isCompressed: true })
      assert.deepStrictEqual(yield* wide.get("1"), document as never)
    }).pipe(Effect.provide(Encoding.layerPacked))
  )
})

describe("damage of what is compressed", () => {
  const opened = Effect.gen(function* () {
    const store = yield* memory
    const { open } = yield* openOn(store)
    const notes = yield* open("notes", { ...owning, journal: false })
    for (const id of ["1", "2", "3"]) yield* notes.insert(large(id))
    return { store, notes, admin: yield* notes.admin }
  })

  const isCorrupt = (error: { readonly _tag: string; readonly message: string; readonly reason?: unknown }) => {
    assert.strictEqual(error._tag, "DbError")
    assert.strictEqual((error.reason as { readonly _tag: string })._tag, "Corrupt")
    assert.include(error.message, '"2"')
    assert.notInclude(error.message, "What goes in")
  }

  it.effect("each byte of it that has changed, and each that is missing, is told", () =>
    Effect.gen(function* () {
      const { notes, store } = yield* opened
      const object = yield* objectOf(store, "notes", "2")
      const { compressed } = Document.membersIn(object.body)!
      const start = object.body.length - compressed!.bytes.length
      for (let at = start; at < object.body.length; at += 7) {
        const body = object.body.slice()
        body[at]! ^= 1 << (at % 8)
        yield* put(store, "2", { ...object, body })
        isCorrupt(yield* Effect.flip(notes.get("2")))
        yield* put(store, "2", { ...object, body: object.body.slice(0, at) })
        isCorrupt(yield* Effect.flip(notes.get("2")))
      }
      yield* put(store, "2", object)
      assert.deepStrictEqual(yield* notes.get("2"), large("2"))
    })
  )

  it.effect("repair tells of it, and discard removes it with all that it owned", () =>
    Effect.gen(function* () {
      const { admin, notes, store } = yield* opened
      const object = yield* objectOf(store, "notes", "2")
      yield* put(store, "2", { ...object, body: object.body.slice(0, -9) })
      yield* TestClock.adjust("1 hour")
      for (const dryRun of [true, false]) {
        const findings = yield* Stream.runCollect(admin.repair({ dryRun }))
        assert.deepStrictEqual(
          findings.map(({ id, key, kind }) => [kind, id, key]),
          [["Corrupt", "2", "resource=notes/data/id=2"]]
        )
      }
      const rest = yield* Stream.runCollect(notes.scan({ onCorrupt: "skip" }))
      assert.deepStrictEqual(
        rest.map(({ id }) => id),
        ["1", "3"]
      )
      const { removed } = yield* admin.discard("2")
      assert.isTrue(removed.some((key) => key.includes("/partition=byTeam/")))
      assert.isTrue(removed.some((key) => key.includes("/unique=title/")))
      yield* notes.insert(large("2"))
      assert.deepStrictEqual(yield* notes.get("2"), large("2"))
      // Also where the system parts are gone.
      yield* put(store, "3", { ...object, body: object.body.slice(0, 12) })
      yield* admin.discard("3")
      yield* Stream.runDrain(admin.repair({ dryRun: false }))
      yield* TestClock.adjust("1 hour")
      yield* Stream.runDrain(admin.repair({ dryRun: false }))
      assert.deepStrictEqual(yield* Stream.runCollect(admin.repair()), [])
    })
  )

  it.effect("no more is brought back than the object says, and that has a bound", () =>
    Effect.gen(function* () {
      const { notes, store } = yield* opened
      const object = yield* objectOf(store, "notes", "2")
      const { compressed } = Document.membersIn(object.body)!
      const head = object.body.slice(0, object.body.length - compressed!.bytes.length - 2)
      const withFields = (size: number, bytes: Uint8Array) => ({
        ...object,
        body: Uint8Array.of(...head, ...groups(size), ...bytes)
      })
      const bomb = deflateSync(new Uint8Array(20_000_000))
      assert.isBelow(bomb.length, 20_000)
      for (const size of [100, 20_000_000, mostBytes, mostBytes + 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
        yield* put(store, "2", withFields(size, bomb))
        isCorrupt(yield* Effect.flip(notes.get("2")))
      }
      for (const text of ["", "[]", "{}x", '{"g":{}}', '{"f":[]}', '{"e":{"0":1}}', '{"f":{"zz":1}}', "\u{7b}"]) {
        yield* put(store, "2", withFields(Buffer.byteLength(text), deflateSync(text)))
        isCorrupt(yield* Effect.flip(notes.get("2")))
      }
      // Fields in two places.
      const { f } = bodyOf(object) as { readonly f: Readonly<Record<string, unknown>> }
      const [attribute = ""] = Object.keys(f)
      const twice = { ...object, metadata: { ...object.metadata, [attribute]: "x" } }
      yield* put(store, "2", twice)
      isCorrupt(yield* Effect.flip(notes.get("2")))
    })
  )
})

describe("levels", () => {
  it.effect("more than a document may have are damage, however small they are", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const schema = Schema.Struct({ id: Schema.String, any: Schema.Json, text: Schema.String })
      const things = yield* open("notes", { schema, primaryKey: "id" })
      const nested = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`
      const document = { id: "2", any: JSON.parse(nested(500)) as Schema.Json, text: prose }
      yield* things.insert(document)
      assert.deepStrictEqual(yield* things.get("2"), document)
      const object = yield* objectOf(store, "notes", "2")
      const { compressed } = Document.membersIn(object.body)!
      const text = inflateSync(compressed!.bytes).toString()
      const head = object.body.slice(0, object.body.length - compressed!.bytes.length - 2)
      const of = (levels: number) => {
        const deep = text.replace(nested(500), nested(levels))
        const written = deflateSync(deep)
        assert.isBelow(written.length, 4000)
        return { ...object, body: Uint8Array.of(...head, ...groups(Buffer.byteLength(deep)), ...written) }
      }
      yield* put(store, "2", of(500))
      assert.deepStrictEqual(yield* things.get("2"), document)
      yield* put(store, "2", of(50_000))
      const error = yield* Effect.flip(things.get("2"))
      assert.strictEqual(error._tag === "DbError" ? error.reason._tag : "", "Corrupt")
      assert.include(error.message, "cannot be brought back")
    })
  )
})

describe("compression in a deploy", () => {
  it.effect("what a definition says of it is said by the catalog, to programs that do not declare the resource", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      for (const compression of [true, false, undefined]) {
        const name = `notes${compression}`
        yield* open(name, { ...plain, ...(compression === undefined ? {} : { compression }) })
        const definition = yield* Effect.provideService(Resource.fromCatalog(name), Database.Database, database)
        assert.strictEqual(definition.compression, compression)
        const found = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
        yield* found.replaceJson({ ...large("1"), vector: [...large("1").vector!] })
        assert.strictEqual((yield* objectOf(store, name, "1")).body.length < 1000, compression !== false, name)
      }
    })
  )

  it.effect("is on in a resource that is new, and off for who says so, who reads it all the same", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const on = yield* (yield* openOn(store)).open("notes", plain)
      assert.strictEqual((yield* catalogOf(store)).resources["notes"]?.bodies, 1)
      yield* on.insert(large("1"))
      const off = yield* (yield* openOn(store)).open("notes", { ...plain, compression: false })
      assert.deepStrictEqual(yield* off.get("1"), large("1"))
      yield* off.update("1", { n: 2 })
      assert.isAbove((yield* objectOf(store, "notes", "1")).body.length, 2000)
      yield* on.update("1", { n: 3 })
      assert.isBelow((yield* objectOf(store, "notes", "1")).body.length, 1000)
      assert.deepStrictEqual(yield* off.get("1"), { ...large("1"), n: 3 })
      const other = yield* memory
      yield* (yield* openOn(other)).open("notes", { ...plain, compression: false })
      assert.notProperty((yield* catalogOf(other)).resources["notes"], "bodies")
      // A program that knows the resource by the catalog alone does as the definition says that came last.
      const { database } = yield* openOn(store)
      const known = yield* Effect.provideService(Resource.fromCatalog("notes"), Database.Database, database)
      const dynamic = yield* Effect.provideService(Resource.make(known), Database.Database, database)
      yield* dynamic.update("1", { n: 4 })
      assert.isAbove((yield* objectOf(store, "notes", "1")).body.length, 2000)
    })
  )

  it.effect("the database says what holds where a resource does not", () =>
    Effect.gen(function* () {
      for (const compression of [true, false]) {
        const store = yield* memory
        yield* (yield* openOn(store)).open("notes", plain)
        yield* asOfBefore(store)
        const database = yield* Effect.provideService(
          Database.make({ catalogLease: 0, compression }),
          ObjectStore,
          store
        )
        const open = (name: string, options: Resource.Options<typeof Note>) =>
          Effect.provideService(Resource.make(Resource.define(name, options)), Database.Database, database)
        const [notes, others] = [yield* open("notes", plain), yield* open("others", plain)]
        const opposite = yield* open("opposite", { ...plain, compression: !compression })
        for (const resource of [notes, others, opposite]) yield* resource.insert(large("1"))
        for (const name of ["notes", "others"]) {
          assert.strictEqual((yield* objectOf(store, name, "1")).body.length < 1000, compression, name)
        }
        assert.strictEqual((yield* objectOf(store, "opposite", "1")).body.length < 1000, !compression)
      }
    })
  )

  it.effect("a resource of an earlier release stays as it is until a program asks for it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* (yield* openOn(store)).open("notes", plain)
      yield* asOfBefore(store)
      const notes = yield* (yield* openOn(store)).open("notes", plain)
      yield* notes.insert(large("1"))
      assert.isAbove((yield* objectOf(store, "notes", "1")).body.length, 2000)
      assert.notProperty((yield* catalogOf(store)).resources["notes"], "bodies")
      const asking = yield* (yield* openOn(store)).open("notes", { ...plain, compression: true })
      assert.strictEqual((yield* catalogOf(store)).resources["notes"]?.bodies, 1)
      yield* asking.insert(large("2"))
      assert.isBelow((yield* objectOf(store, "notes", "2")).body.length, 1000)
      // Who has been open meanwhile reads both, and writes what it knows.
      for (const resource of [before, notes, asking]) {
        assert.deepStrictEqual(yield* resource.get("1"), large("1"))
        assert.deepStrictEqual(yield* resource.get("2"), large("2"))
        yield* resource.update("2", { n: 1 })
        yield* resource.update("2", { n: -0 })
      }
      assert.deepStrictEqual(yield* Stream.runCollect((yield* asking.admin).repair()), [])
      // A version of the definition, as of any change of what it says.
      const { database } = yield* openOn(store)
      assert.strictEqual((yield* database.listResources)[0]?.versions, 2)
    })
  )

  it.effect("what a later release makes of bodies keeps this one from writing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* (yield* (yield* openOn(store)).open("notes", plain)).insert(large("1"))
      yield* changeCatalog(store, (resource) => void (resource["bodies"] = 2))
      const notes = yield* (yield* openOn(store)).open("notes", plain)
      assert.deepStrictEqual(yield* notes.get("1"), large("1"))
      const { discard } = yield* notes.admin
      const writes: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string; readonly reason?: unknown }>> = [
        notes.insert(small("2")),
        notes.update("1", { n: 1 }),
        notes.delete("1"),
        discard("1")
      ]
      for (const write of writes) {
        const error = yield* Effect.flip(write)
        assert.strictEqual(error._tag === "DbError" && (error.reason as { readonly _tag: string })._tag, "Unsupported")
      }
      // A damaged catalog does not lose it.
      yield* changeCatalog(store, (resource) => void (resource["bodies"] = "x"))
      yield* openOn(store)
      assert.strictEqual((yield* catalogOf(store)).resources["notes"]?.bodies, 1)
    })
  )
})
