import { assert, describe, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { Database } from "effect-s3db/Database"
import * as Embedding from "effect-s3db/plugins/Embedding"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import { crashing, memory, moments, openOn } from "../fixture.ts"
import { driven } from "./nearby.ts"

class Notes extends Resource.Service<Notes>()("effect-s3db/test/plugins/Embedding.test/Notes", {
  schema: Schema.Struct({
    id: Schema.String,
    title: Schema.String,
    tags: Schema.optionalKey(Schema.Array(Schema.String)),
    vector: Schema.optionalKey(Attribute.Embedding(3)),
    of: Schema.optionalKey(Schema.String)
  }),
  primaryKey: "id",
  name: "notes",
  journal: true
}) {}

type Store = Effect.Success<typeof memory>

/** A model whose vector of a text tells the text; what it was asked, and what it says instead. */
const modelOf = (says: (inputs: ReadonlyArray<string>) => AiError.AiError["reason"] | undefined = () => undefined) => {
  const asked: Array<ReadonlyArray<string>> = []
  const model = EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.suspend(() => {
        asked.push(inputs)
        const reason = says(inputs)
        return reason === undefined
          ? Effect.succeed({ results: inputs.map(vectorOf), usage: { inputTokens: undefined } })
          : Effect.fail(new AiError.AiError({ module: "Test", method: "embedMany", reason }))
      })
  })
  return { asked, model }
}

const vectorOf = (text: string): Array<number> => [text.length, text.charCodeAt(0), text.charCodeAt(text.length - 1)]

const open = Effect.fnUntraced(function* (
  store: Store,
  { model }: Pick<ReturnType<typeof modelOf>, "model">,
  options: Partial<Embedding.Options<typeof Notes>> = {}
) {
  const { database } = yield* openOn(store)
  const notes = yield* Effect.provideService(Resource.make(Notes.definition), Database, database)
  const embeddings = yield* Embedding.make({
    resource: Notes,
    from: ["title", "tags"],
    to: "vector",
    stamp: "of",
    lease: "1 second",
    firstPause: "100 millis",
    longestPause: "1 second",
    ...options
  }).pipe(
    Effect.provideService(Notes, notes),
    Effect.provideService(Database, database),
    Effect.provideServiceEffect(EmbeddingModel.EmbeddingModel, model)
  )
  const settle = driven(
    Effect.andThen(database.journal.catchUp(database.journaled, { lease: "1 second" }), embeddings.caughtUp)
  )
  return { database, notes, embeddings, settle }
})

describe("Embedding", () => {
  it.effect("makes a vector of what is there and of what is written, once, in batches", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOn(store)
      const old = yield* Effect.provideService(Resource.make(Notes.definition), Database, before.database)
      yield* old.insertMany([
        { id: "a", title: "apple" },
        { id: "b", title: " " }
      ])
      const { asked, model } = modelOf()
      const { embeddings, notes, settle } = yield* open(store, { model })
      yield* settle
      assert.deepStrictEqual(asked, [["apple"]])
      yield* notes.insertMany([
        { id: "c", title: "cherry", tags: ["red", "sweet"] },
        { id: "d", title: "date" }
      ])
      yield* settle
      assert.deepStrictEqual(asked.slice(1), [["cherry\nred\nsweet", "date"]])
      assert.deepStrictEqual((yield* notes.get("a")).vector, vectorOf("apple"))
      assert.deepStrictEqual((yield* notes.get("c")).vector, vectorOf("cherry\nred\nsweet"))
      assert.isUndefined((yield* notes.get("b")).vector)
      // Other fields make no other vector, nor does its own write.
      yield* notes.patch("d", { tags: [" "] })
      yield* settle
      yield* settle
      assert.strictEqual(asked.length, 2)
      yield* notes.patch("d", { title: "durian" })
      yield* notes.delete("a")
      yield* settle
      assert.deepStrictEqual(asked.slice(2), [["durian"]])
      assert.deepStrictEqual((yield* notes.get("d")).vector, vectorOf("durian"))
      assert.deepStrictEqual(yield* embeddings.vectorOf("question"), vectorOf("question"))
      assert.deepStrictEqual(yield* embeddings.embedAll, { embedded: 0, refused: 0, left: 3 })
      // Another model.
      const next = yield* open(store, { model }, { model: "v2", embeds: false })
      assert.deepStrictEqual(yield* next.embeddings.embedAll, { embedded: 2, refused: 0, left: 1 })
      assert.deepStrictEqual(yield* next.embeddings.embedAll, { embedded: 0, refused: 0, left: 3 })
    })
  )

  it.effect("waits for a model that cannot answer, and gives up a text that it refuses, alone", () =>
    Effect.gen(function* () {
      let isDown = true
      const { model } = modelOf((inputs) => {
        if (isDown) return new AiError.AuthenticationError({ kind: "ExpiredKey" })
        return inputs.some((text) => text.includes("bad"))
          ? new AiError.ContentPolicyError({ description: "no such words" })
          : undefined
      })
      const store = yield* memory
      const { database, embeddings, notes } = yield* open(store, { model }, { attempts: 2 })
      // The first time it looks at what is there.
      yield* driven(Effect.sleep("1 minute"))
      yield* notes.insertMany([
        { id: "a", title: "apple" },
        { id: "b", title: "bad apple" },
        { id: "c", title: "cherry" }
      ])
      yield* driven(database.journal.catchUp(database.journaled, { lease: "1 second" }))
      const { next } = yield* database.journal.status
      yield* driven(Effect.sleep("1 minute"))
      // Nothing is given up for a key that has expired.
      assert.deepStrictEqual(yield* Stream.runCollect(embeddings.failed), [])
      assert.isUndefined((yield* notes.get("a")).vector)
      isDown = false
      yield* driven(embeddings.caughtUp)
      const letters = yield* Stream.runCollect(embeddings.failed)
      assert.deepStrictEqual(
        letters.map(({ value }) => value.id),
        ["b"]
      )
      assert.isBelow(letters[0]!.position, next)
      assert.include(letters[0]!.message, "no such words")
      for (const id of ["a", "c"]) assert.isDefined((yield* notes.get(id)).vector, id)
      yield* notes.patch("b", { title: "good apple" })
      assert.deepStrictEqual(yield* embeddings.retryFailed, { handled: 1, failed: 0 })
      assert.deepStrictEqual((yield* notes.get("b")).vector, vectorOf("good apple"))
      yield* notes.insert({ id: "e", title: "bad egg" })
      const other = yield* open(store, { model }, { model: "v2", embeds: false })
      assert.deepStrictEqual(yield* other.embeddings.embedAll, { embedded: 3, refused: 1, left: 0 })
      isDown = true
      const error = yield* Effect.flip(other.embeddings.embedAll)
      assert.strictEqual(error._tag, "AiError")
    })
  )

  it.effect("a document that takes no vector keeps none of the others from theirs", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOn(store)
      const old = yield* Effect.provideService(Resource.make(Notes.definition), Database, before.database)
      yield* old.insertMany([
        { id: "a", title: "apple" },
        { id: "b", title: "bad apple" },
        { id: "c", title: "cherry" }
      ])
      // Of what has no length some models make no numbers, and others have other lengths.
      const model = EmbeddingModel.make({
        embedMany: ({ inputs }) =>
          Effect.succeed({
            results: inputs.map((text) =>
              text === "bad apple" ? [Number.NaN, 0, 0] : text === "bad date" ? [1, 2] : vectorOf(text)
            ),
            usage: { inputTokens: undefined }
          })
      })
      const { embeddings, notes, settle } = yield* open(store, { model }, { attempts: 2 })
      yield* settle
      for (const id of ["a", "c"]) assert.isDefined((yield* notes.get(id)).vector, id)
      yield* notes.insertMany([
        { id: "d", title: "bad date" },
        { id: "e", title: "elder" }
      ])
      yield* settle
      assert.isDefined((yield* notes.get("e")).vector)
      assert.deepStrictEqual(
        (yield* Stream.runCollect(embeddings.failed)).map(({ value }) => value.id),
        ["b", "d"]
      )
      assert.deepStrictEqual(yield* embeddings.embedAll, { embedded: 0, refused: 2, left: 3 })
    })
  )

  it.effect("loses nothing when it crashes at any request, and writes over nothing that is newer", () =>
    Effect.gen(function* () {
      for (let at = 1; ; at++) {
        let isOver = false
        for (const when of moments) {
          const store = yield* memory
          const crash = crashing(store, at, when)
          const exit = yield* Effect.exit(
            Effect.scoped(
              Effect.gen(function* () {
                const { notes, settle } = yield* open(crash.store, modelOf())
                yield* settle
                yield* notes.insert({ id: "a", title: "apple" })
                yield* notes.insert({ id: "b", title: "banana" })
                yield* settle
              })
            )
          )
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { notes, settle } = yield* open(store, modelOf())
              yield* notes.replace({ id: "b", title: "blueberry" })
              yield* settle
              for (const { title, vector } of yield* Stream.runCollect(notes.scan())) {
                assert.deepStrictEqual(vector, vectorOf(title), `${when} ${at}`)
              }
            })
          )
          isOver = exit._tag === "Success"
        }
        if (isOver) return assert.isAbove(at, 15)
      }
    })
  )

  it.effect("a document that changes while the model works has the vector of its last text", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let change: Effect.Effect<unknown> = Effect.void
      const model = EmbeddingModel.make({
        embedMany: ({ inputs }) => {
          const now = change
          change = Effect.void
          return Effect.as(now, { results: inputs.map(vectorOf), usage: { inputTokens: undefined } })
        }
      })
      const { notes, settle } = yield* open(store, { model })
      yield* settle
      yield* notes.insert({ id: "a", title: "apple" })
      change = Effect.orDie(notes.patch("a", { title: "apricot" }))
      yield* settle
      yield* settle
      const { title, vector } = yield* notes.get("a")
      assert.deepStrictEqual([title, vector], ["apricot", vectorOf("apricot")])
    })
  )

  it.effect("refuses secrets, fields that are not there, and resources without a journal", () =>
    Effect.gen(function* () {
      class People extends Resource.Service<People>()("effect-s3db/test/plugins/Embedding.test/People", {
        schema: Schema.Struct({
          id: Schema.String,
          name: Schema.String,
          pin: Attribute.SecretText,
          vector: Schema.optionalKey(Attribute.Embedding(3)),
          of: Schema.optionalKey(Schema.String)
        }),
        primaryKey: "id",
        name: "people"
      }) {}
      const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })
      const { database } = yield* openOn(yield* memory)
      const people = yield* Resource.make(People.definition).pipe(
        Effect.provideService(Database, database),
        Effect.provide(ring)
      )
      const told = (options: object) =>
        Embedding.make({ resource: People, from: ["name"], to: "vector", stamp: "of", ...options }).pipe(
          Effect.provideService(People, people),
          Effect.provideService(Database, database),
          Effect.provideServiceEffect(EmbeddingModel.EmbeddingModel, modelOf().model),
          Effect.flip,
          Effect.map((error) => ("field" in error ? error.field : error._tag))
        )
      assert.strictEqual(yield* told({ from: ["pin"] }), "from")
      assert.strictEqual(yield* told({ from: [] }), "from")
      assert.strictEqual(yield* told({ from: ["other"] }), "from")
      assert.strictEqual(yield* told({ to: "pin" }), "to")
      assert.strictEqual(yield* told({ stamp: "pin" }), "stamp")
      assert.strictEqual(yield* told({ batchSize: 0 }), "batchSize")
      assert.strictEqual(yield* told({ attempts: 0.5 }), "attempts")
      assert.strictEqual(yield* told({ lease: 0 }), "lease")
      assert.strictEqual(yield* told({}), "resource")
      // @ts-expect-error a secret is no text
      const wrong: Embedding.Options<typeof People>["from"] = ["pin"]
      assert.strictEqual(wrong.length, 1)
    })
  )
})
