/** Words with endings, in the languages that have them. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import { Database } from "effect-s3db/Database"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Resource from "effect-s3db/Resource"
import { analyser, stemmers } from "../../src/plugins/fulltext/internal/analysis.ts"
import { load } from "../../src/plugins/fulltext/internal/stemmers.ts"
import { memory, openOn } from "../fixture.ts"
import { idsOf } from "./searches.ts"

class Pages extends Resource.Service<Pages>()("effect-s3db/test/plugins/FullText.languages.test/Pages", {
  schema: Schema.Struct({
    id: Schema.String,
    text: Schema.String,
    more: Schema.optionalKey(Schema.Struct({ note: Schema.String }))
  }),
  primaryKey: "id",
  name: "pages",
  journal: true
}) {}

const opened = Effect.fnUntraced(function* (analyser: FullText.Analyser) {
  const { database } = yield* openOn(yield* memory)
  const pages = yield* Effect.provideService(Resource.make(Pages.definition), Database, database)
  const index = yield* FullText.make({
    resource: Pages,
    fields: { text: { analyser }, "more.note": {} },
    indexes: false,
    maxAge: 0
  }).pipe(Effect.provideService(Pages, pages), Effect.provideService(Database, database))
  const settle = Effect.andThen(database.journal.catchUp(database.journaled), index.update)
  return { index, pages, settle }
})

describe("languages", () => {
  const cases = [
    ["english", "The developers were running databases", ["developer", "run", "database", "Running"], ["the"]],
    ["portuguese", "As informações dos usuários", ["informação", "informacoes", "usuario", "USUÁRIO"], ["as"]],
    ["spanish", "Los niños corriendo en las ciudades", ["niño", "correr", "nino"], ["los"]],
    ["german", "Die Häuser der großen Städte", ["Haus", "hausern", "groß", "grosse", "Stadt"], ["der"]],
    ["french", "Les nationalités de l’homme", ["national", "nationalite", "nationalités", "hommes", "d'homme"], ["les"]]
  ] as const
  for (const [language, text, found, missed] of cases) {
    it.effect(`${language}: endings, marks and words that tell nothing make no difference`, () =>
      Effect.gen(function* () {
        const { index, pages, settle } = yield* opened(FullText.languages[language])
        yield* pages.insert({ id: "a", text })
        yield* pages.insert({ id: "b", text: "xyz" })
        yield* settle
        for (const query of found) assert.deepStrictEqual(idsOf(yield* index.search({ query })), ["a"], query)
        for (const query of missed) assert.deepStrictEqual(idsOf(yield* index.search({ query })), [], query)
        // Beginnings are those of the words themselves.
        for (const word of text.split(/[ ’]/).filter((one) => one.length > 4)) {
          const { items } = yield* index.search({ query: { prefix: word.slice(0, -1) }, highlight: true })
          assert.deepStrictEqual(idsOf({ items }), ["a"], word)
          const { ranges = [], text: shown = "" } = items[0]?.highlights.text ?? {}
          assert.include(
            ranges.map(({ end, start }) => shown.slice(start, end)),
            word
          )
        }
        assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
      })
    )
  }

  it.effect("an apostrophe as it is set is the one that is typed", () =>
    Effect.gen(function* () {
      for (const analyser of [{}, FullText.languages.english]) {
        const { index, pages, settle } = yield* opened({ ...analyser, stopWords: ["don't"] })
        yield* pages.insert({ id: "a", text: "O’Brien, ‘rock ’n’ roll’, we weren’t" })
        yield* pages.insert({ id: "b", text: "O'Brien, rock 'n' roll, we weren't" })
        yield* pages.insert({ id: "c", text: "don’t" })
        yield* settle
        for (const query of ["o'brien", "O’BRIEN", "weren't", "weren’t", { prefix: "o’b" }, { prefix: "o'b" }]) {
          assert.deepStrictEqual(idsOf(yield* index.search({ query })), ["a", "b"], JSON.stringify(query))
        }
        assert.deepStrictEqual(idsOf(yield* index.search({ query: "don't" })), [])
        assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
      }
    })
  )

  it.effect("synonyms have endings, too, and fields have analysers of their own", () =>
    Effect.gen(function* () {
      const { index, pages, settle } = yield* opened({
        ...FullText.languages.english,
        synonyms: [["car", "automobile"]]
      })
      yield* pages.insert({ id: "a", text: "an automobile", more: { note: "the runner" } })
      yield* settle
      for (const query of [
        "cars",
        "automobile",
        { phrase: "an automobile" },
        "runner",
        { in: ["more.note"], query: "the" }
      ] as const) {
        assert.deepStrictEqual(idsOf(yield* index.search({ query })), ["a"], JSON.stringify(query))
      }
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "running", fields: ["more.note"] })), [])
      assert.deepStrictEqual(yield* index.suggest("auto"), ["automobile"])
    })
  )

  it.effect("every stemmer takes every word, and gives the same for it", () =>
    Effect.gen(function* () {
      const all = fc.sample(
        fc.oneof(
          fc.string({ unit: "binary", maxLength: 20 }),
          fc.constantFrom("__proto__", "constructor", "toString", "y", "'s")
        ),
        { numRuns: 300, seed: 5 }
      )
      for (const stemmer of stemmers) {
        const { stemmer: stem } = yield* load({ name: "test" }, stemmer)
        const analyse = analyser({ stemmer }, stem)
        for (const text of all) {
          for (const { terms, word } of analyse(text).tokens) {
            assert.isAtLeast(terms.length, 1)
            assert.notInclude(terms, "")
            assert.deepStrictEqual(analyse(word).tokens[0]?.word, word, JSON.stringify([stemmer, text]))
          }
        }
      }
      assert.strictEqual(analyser({}, () => undefined as never)("Word").tokens[0]?.terms[0], "word")
      const throwing = () => {
        throw new Error("no")
      }
      assert.strictEqual(analyser({}, throwing)("Word").tokens[0]?.terms[0], "word")
    })
  )

  it.effect("refuses a stemmer that there is not", () =>
    Effect.gen(function* () {
      const stemmer = JSON.parse('"__proto__"') as FullText.Stemmer
      const error = yield* Effect.flip(opened({ stemmer }))
      assert.strictEqual("field" in error && error.field, "fields.text.analyser.stemmer")
    })
  )
})
