import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as DbError from "effect-s3db/DbError"
import * as Behavior from "effect-s3db/encoding/Behavior"
import * as Encoding from "effect-s3db/encoding/Encoding"
import { metadataSize } from "effect-s3db/Document"
import * as Attribute from "effect-s3db/schema/Attribute"
import { bodyOf, everything, memory, objectOf, openNew, openOn } from "./fixture.ts"
import { random, text } from "./encoding/random.ts"

const Note = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  tag: Schema.optionalKey(Schema.String),
  body: Schema.optionalKey(Schema.String),
  count: Schema.optionalKey(Schema.Int),
  meta: Schema.optionalKey(Schema.Struct({ a: Schema.String, b: Schema.optionalKey(Schema.String) }))
})

const options = { schema: Note, primaryKey: "id" } as const
const long = "x".repeat(3000)

for (const [layerName, layer] of [
  ["text", Encoding.layer],
  ["packed", Encoding.layerPacked]
] as const) {
  describe(`behaviors, ${layerName}`, () => {
    it.effect("T63: user-managed asks what to do with a document that is too large", () =>
      Effect.gen(function* () {
        const { store, open } = yield* openNew
        const asked: Array<Behavior.Overflow> = []
        const notes = yield* open("notes", {
          ...options,
          behavior: Behavior.userManaged((overflow) =>
            Effect.sync(() => {
              asked.push(overflow)
              return "body-only" as const
            })
          )
        })
        yield* notes.insert({ id: "small", title: "t" })
        assert.deepStrictEqual(asked, [])
        assert.notProperty(bodyOf(yield* objectOf(store, "notes", "small")), "f")
        const large = { id: "large", title: "t", body: long.replaceAll("x", "é") }
        yield* notes.insert(large)
        assert.strictEqual(asked.length, 1)
        const [overflow] = asked
        assert.deepInclude(overflow, { resource: "notes", id: "large" })
        assert.strictEqual(overflow!.totalBytes - overflow!.limitBytes, overflow!.excessBytes)
        assert.deepStrictEqual(
          overflow!.fields.map((field) => field.path),
          ["title", "body"]
        )
        assert.deepStrictEqual(yield* notes.get("large"), large)
        assert.strictEqual((yield* notes.getDocument("large")).storedIn, "body")
        // By default it goes to the body; a list names what goes there; what is not enough is refused.
        const plain = yield* open("plain", { ...options, behavior: Behavior.userManaged() })
        yield* plain.insert(large)
        assert.deepStrictEqual(yield* plain.get("large"), large)
        const chosen = Effect.fnUntraced(function* (paths: ReadonlyArray<string>) {
          const { open } = yield* openOn(store)
          return yield* open("chosen", {
            ...options,
            behavior: Behavior.userManaged(() => Effect.succeed({ body: paths }))
          })
        })
        const document = { ...large, meta: { a: long, b: "y" } }
        yield* (yield* chosen(["body", "meta"])).insert(document)
        const stored = yield* (yield* chosen([])).getDocument("large")
        assert.deepStrictEqual([stored.value, stored.storedIn], [document, "both"])
        const refused = yield* Effect.flip((yield* chosen(["meta"])).insert({ ...document, id: "2" }))
        assert.strictEqual(refused._tag, "MetadataLimit")
      }).pipe(Effect.provide(layer))
    )

    it.effect("T64: enforce-limits lets through what fits to the byte, and tells by how much the rest does not", () =>
      Effect.gen(function* () {
        const { store, open } = yield* openNew
        const notes = yield* open("notes", { ...options, behavior: "enforce-limits" })
        const r = random(1)
        // Letters whose codes are as long as they are, so that each one counts.
        const noise = Array.from({ length: 4000 }, () => String.fromCharCode(0x21 + r.int(94))).join("")
        let fits = 0
        let not = 4000
        let error: DbError.MetadataLimit | undefined
        while (not - fits > 1) {
          const middle = Math.floor((fits + not) / 2)
          const outcome = yield* Effect.result(notes.insert({ id: `n${middle}`, title: noise.slice(0, middle) }))
          if (outcome._tag === "Success") fits = middle
          else {
            not = middle
            assert.strictEqual(outcome.failure._tag, "MetadataLimit")
            error = outcome.failure as DbError.MetadataLimit
          }
        }
        const object = yield* objectOf(store, "notes", `n${fits}`)
        assert.isAtMost(metadataSize(object.metadata), 2048)
        assert.isAtLeast(metadataSize(object.metadata), layerName === "text" ? 2048 : 2046)
        assert.strictEqual(error!.totalBytes - error!.limitBytes, error!.excessBytes)
        assert.isAtMost(error!.excessBytes, 2)
        assert.strictEqual(error!.limitBytes, 2048 - 4)
        // Nothing was sent.
        assert.isFalse(yield* notes.exists(`n${not}`))
        const explained = yield* notes.explain({ id: "x", title: noise.slice(0, fits) })
        assert.strictEqual(explained.metadataBytes, metadataSize(object.metadata))
        assert.strictEqual((yield* Effect.flip(notes.explain({ id: "x", title: noise })))._tag, "MetadataLimit")
      }).pipe(Effect.provide(layer))
    )

    it.effect("T65: body-overflow keeps as many fields as possible in metadata, the smallest first", () =>
      Effect.gen(function* () {
        const { store, open } = yield* openNew
        const notes = yield* open("notes", { ...options, compression: false })
        const r = random(3)
        const noise = (length: number) => Array.from({ length }, () => String.fromCharCode(0x21 + r.int(94))).join("")
        const document = { id: "1", title: noise(1900), tag: noise(1200), body: noise(700), count: 5, meta: { a: "ä" } }
        yield* notes.insert(document)
        const stored = yield* notes.getDocument("1")
        assert.deepStrictEqual([stored.value, stored.storedIn], [document, "both"])
        assert.isAtMost(stored.metadataBytes, 2048)
        const explained = yield* notes.explain(stored)
        const placeOf = new Map(explained.fields.map((field) => [field.path, field.place]))
        assert.deepStrictEqual(Object.fromEntries(placeOf), {
          count: "metadata",
          "meta.a": "metadata",
          body: "metadata",
          tag: layerName === "text" ? "metadata" : "body",
          title: "body"
        })
        assert.strictEqual(explained.metadataBytes, stored.metadataBytes)
        const body = bodyOf(yield* objectOf(store, "notes", "1"))
        assert.isTrue(Object.values(body["f"] as object).includes(document.title))
        // It comes back into metadata when it fits again.
        yield* notes.update("1", { title: "short", tag: "short" })
        assert.strictEqual((yield* notes.getDocument("1")).storedIn, "metadata")
      }).pipe(Effect.provide(layer))
    )

    it.effect("T66: truncate-data cuts whole characters, says so, and never what the schema needs", () =>
      Effect.gen(function* () {
        const { store, open } = yield* openNew
        const notes = yield* open("notes", { ...options, behavior: "truncate-data" })
        const document = { id: "1", title: "small", count: 5, tag: "😀é".repeat(200), body: "李".repeat(2000) }
        const inserted = yield* notes.insert(document)
        const stored = yield* notes.getDocument("1")
        assert.deepStrictEqual(stored.value, inserted)
        assert.deepInclude(stored.value, { id: "1", title: "small", count: 5 })
        assert.isTrue(stored.truncated.length > 0)
        for (const name of ["tag", "body"] as const) {
          const left = stored.value[name]
          if (left === undefined) continue
          assert.isTrue(left.isWellFormed() && document[name].startsWith(left))
        }
        assert.isAtMost(stored.metadataBytes, 2048)
        assert.isAtLeast(stored.metadataBytes, 2020)
        assert.notProperty(bodyOf(yield* objectOf(store, "notes", "1")), "f")
        // Again and again, with room for nothing else.
        const updated = yield* notes.update("1", { body: long, title: "t".repeat(1000) })
        assert.strictEqual(updated.title, "t".repeat(1000))
        const short = yield* notes.update("1", { body: "b", tag: "c", title: "t" })
        assert.deepInclude(short, { body: "b", tag: "c", title: "t" })
        assert.deepStrictEqual((yield* notes.getDocument("1")).truncated, [])
        // A text that has to be of some length cannot be cut, nor can a required field that is no text be left out.
        const strict = yield* open("strict", {
          schema: Schema.Struct({
            id: Schema.String,
            title: Schema.String.check(Schema.isMinLength(2500)),
            list: Schema.optionalKey(Schema.Array(Schema.Finite))
          }),
          primaryKey: "id",
          behavior: "truncate-data"
        })
        const noise = Array.from({ length: 3000 }, (_, i) => String.fromCharCode(0x21 + ((i * 7919) % 93))).join("")
        const refused = yield* Effect.flip(strict.insert({ id: "1", title: noise }))
        assert.strictEqual(refused._tag, "MetadataLimit")
        const listed = yield* open("listed", {
          schema: Schema.Struct({ id: Schema.String, list: Schema.Array(Schema.Finite) }),
          primaryKey: "id",
          behavior: "truncate-data"
        })
        const numbers = Array.from({ length: 1500 }, (_, i) => i * 1e9 + 0.5)
        assert.strictEqual((yield* Effect.flip(listed.insert({ id: "1", list: numbers })))._tag, "MetadataLimit")
      }).pipe(Effect.provide(layer))
    )

    it.effect("T67: body-only; no document of any script exceeds the limit", () =>
      Effect.gen(function* () {
        const { open } = yield* openNew
        const whole = yield* open("whole", { ...options, behavior: "body-only" })
        const document = { id: "1", title: "t", body: "é".repeat(2_500_000) }
        yield* whole.insert(document)
        const stored = yield* whole.getDocument("1")
        assert.deepStrictEqual(stored.value, document)
        assert.deepStrictEqual([stored.metadataBytes, stored.storedIn], [4, "body"])
        // MemoryStore counts as AWS does, and refuses more.
        const notes = yield* open("notes", options)
        const r = random(9)
        for (let i = 0; i < 60; i++) {
          const some = { id: `${i}`, title: text(r).repeat(1 + r.int(60)), tag: text(r).repeat(30), body: text(r) }
          assert.deepStrictEqual(yield* notes.insert(some), some)
          assert.deepStrictEqual(yield* notes.get(some.id), some)
        }
      }).pipe(Effect.provide(layer))
    )

    it.effect("T68: another behavior, or another encoding, reads what the one before has written", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const documents = [
          { id: "1", title: "t", count: 1, meta: { a: "x" } },
          { id: "2", title: "t", body: "é".repeat(1500) }
        ]
        const behaviors = ["body-overflow", "body-only", Behavior.userManaged(), "truncate-data"] as const
        for (const behavior of behaviors) {
          for (const encoding of [Encoding.layer, Encoding.layerPacked]) {
            const notes = yield* Effect.flatMap(openOn(store), ({ open }) =>
              open("notes", { ...options, behavior })
            ).pipe(Effect.provide(encoding))
            for (const document of documents) {
              if (behavior === "body-overflow" && encoding === Encoding.layer) yield* notes.insert(document)
              assert.deepStrictEqual(yield* notes.get(document.id), document)
              if (behavior !== "truncate-data") yield* notes.replace(document)
            }
          }
        }
      }).pipe(Effect.provide(layer))
    )

    it.effect("fields can be pinned to metadata or to the body", () =>
      Effect.gen(function* () {
        const { store, open } = yield* openNew
        const notes = yield* open("notes", {
          ...options,
          compression: false,
          pin: { metadata: ["body"], body: ["title"] }
        })
        const r = random(5)
        const noise = Array.from({ length: 1500 }, () => String.fromCharCode(0x21 + r.int(94))).join("")
        const document = { id: "1", title: "t", tag: noise, body: noise }
        yield* notes.insert(document)
        const explained = yield* notes.explain(yield* notes.getDocument("1"))
        const places = Object.fromEntries(explained.fields.map((field) => [field.path, field.place]))
        assert.deepStrictEqual(places, { body: "metadata", title: "body", tag: "body" })
        assert.deepStrictEqual(yield* notes.get("1"), document)
        assert.isTrue(everything(yield* objectOf(store, "notes", "1")).includes('"t"'))
        assert.strictEqual(
          (yield* Effect.flip(notes.insert({ id: "2", title: "t", body: noise + noise })))._tag,
          "MetadataLimit"
        )
        const wholly = yield* open("wholly", { ...options, behavior: "body-only", pin: { metadata: ["count"] } })
        yield* wholly.insert({ id: "1", title: "t", count: 3 })
        assert.strictEqual((yield* wholly.getDocument("1")).storedIn, "both")
      }).pipe(Effect.provide(layer))
    )

    it.effect("T58: a vector of 1,536 numbers is rounded once and comes back the same", () =>
      Effect.gen(function* () {
        const { open } = yield* openNew
        const r = random(11)
        const vector = Array.from({ length: 1536 }, () => r.unit() * 2 - 1)
        const schema = Schema.Struct({
          id: Schema.String,
          fixed: Schema.optionalKey(Attribute.Embedding(1536)),
          small: Schema.optionalKey(Attribute.Embedding(1536, { format: "int8" })),
          half: Schema.optionalKey(Attribute.Embedding(1536, { format: "float16" })),
          single: Schema.optionalKey(Attribute.Embedding(1536, { format: "float32" })),
          at: Schema.optionalKey(Attribute.Point()),
          places: Schema.optionalKey(Schema.Array(Attribute.Latitude(2)))
        })
        const vectors = yield* open("vectors", { schema, primaryKey: "id" })
        for (const [name, error, bytes] of [
          ["fixed", 0.5e-6, 8200],
          ["small", 0.5 / 127, 2080],
          ["half", 2 ** -11, 4130],
          ["single", 2 ** -24, 8230]
        ] as const) {
          const inserted = yield* vectors.insert({ id: name, [name]: vector })
          const stored = yield* vectors.getDocument(name)
          assert.deepStrictEqual(stored.value, inserted)
          const back = stored.value[name]!
          assert.isTrue(
            back.every((value, index) => Math.abs(value - vector[index]!) <= error * 1.01),
            name
          )
          assert.isAtMost(stored.bodyBytes + stored.metadataBytes, bytes + 100, name)
          // What was rounded is not rounded again.
          assert.deepStrictEqual(yield* vectors.replace(inserted), inserted)
        }
        const wrong = yield* Effect.flip(vectors.insert({ id: "x", fixed: vector.slice(1) }))
        assert.include(wrong.message, "1536 finite numbers")
        const placed = yield* vectors.insert({
          id: "p",
          at: { latitude: -23.5505191234, longitude: 1e-9 },
          places: [1.006, 2.499]
        })
        assert.deepStrictEqual(placed, { id: "p", at: { latitude: -23.550519, longitude: 0 }, places: [1.01, 2.5] })
        assert.deepStrictEqual(yield* vectors.get("p"), placed)
      }).pipe(Effect.provide(layer))
    )
  })
}
