/** Parts of an index against texts that are all in memory, however they came, changed, went and were put together. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { analyser } from "../../../src/plugins/fulltext/internal/analysis.ts"
import * as blocksOf from "../../../src/plugins/journalindex/internal/blocks.ts"
import * as buildingOf from "../../../src/plugins/fulltext/internal/building.ts"
import * as lookup from "../../../src/plugins/fulltext/internal/lookup.ts"
import { emptyPart } from "../../../src/plugins/fulltext/internal/manifest.ts"
import { packNumbers, unpackNumbers } from "../../../src/plugins/journalindex/internal/manifest.ts"
import * as query from "../../../src/plugins/fulltext/internal/query.ts"
import * as terms from "../../../src/plugins/fulltext/internal/terms.ts"
import { memory } from "../../fixture.ts"

const weights = [2, 1]
const fields: ReadonlyArray<terms.Field> = weights.map((weight, i) => ({
  name: String(i),
  path: [String(i)],
  weight,
  analyse: analyser({}),
  group: 0,
  isStemmed: false
}))

type Texts = readonly [title: string, body: string]

const wordedOf = (texts: Texts) =>
  terms.worded(
    fields,
    texts.map((text) => terms.tokensOf(analyser({}), [text]))
  )

/** BM25 by its definition, of texts. */
const naive = (all: ReadonlyMap<string, Texts>, words: ReadonlyArray<string>) => {
  const split = (text: string) => (text === "" ? [] : text.split(" "))
  const scores = new Map<string, number>()
  for (const word of new Set(words)) {
    const having = [...all.values()].filter((texts) => texts.some((text) => split(text).includes(word))).length
    const idf = Math.log(1 + (all.size - having + 0.5) / (having + 0.5))
    for (const [id, texts] of all) {
      texts.forEach((text, field) => {
        const lengths = [...all.values()].map((one) => split(one[field] ?? "").length).filter((length) => length > 0)
        const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
        const tf = split(text).filter((one) => one === word).length
        if (tf === 0) return
        const norm = 1 - 0.75 + 0.75 * (split(text).length / mean)
        scores.set(id, (scores.get(id) ?? 0) + ((weights[field] ?? 0) * idf * tf * 2.2) / (tf + 1.2 * norm))
      })
    }
  }
  return scores
}

const word = fc.constantFrom("apple", "pear", "plum", "fig")
const text = fc.array(word, { maxLength: 6 }).map((all) => all.join(" "))
const id = fc.oneof(
  fc.constantFrom("a", "b", "../c", "%2F", "é", "😀", "__proto__"),
  fc.string({ unit: "grapheme", minLength: 1 })
)
const batch = fc.uniqueArray(fc.tuple(id, fc.option(fc.tuple(text, text), { nil: undefined })), {
  selector: ([one]) => one,
  maxLength: 8
})

describe("parts", () => {
  it.effect("find and score what texts in memory do, page by page", () =>
    Effect.gen(function* () {
      const histories = fc.tuple(
        fc.array(fc.tuple(batch, fc.constantFrom("no", "some", "all")), { maxLength: 8 }),
        fc.array(word, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 20, max: 300 }),
        fc.integer({ min: 1, max: 4 })
      )
      for (const [batches, words, blockBytes, size] of fc.sample(histories, { numRuns: 150, seed: 17 })) {
        const store = yield* memory
        const blocks = blocksOf.make(store, 2_000)
        const building = buildingOf.make(store, blocks, { prefix: "words", blockBytes, objectBytes: 1 << 20 })
        let part = emptyPart("b", 2, 0)
        const all = new Map<string, Texts>()
        for (const [changes, merging] of batches) {
          for (const [one, texts] of changes) {
            if (texts === undefined) all.delete(one)
            else all.set(one, texts)
          }
          const grown = yield* building.apply(
            part,
            changes.map(([id, texts]) => ({ id, item: texts && wordedOf(texts) }))
          )
          part = grown.part
          const merged = merging === "no" ? undefined : yield* building.merge(part, merging === "all")
          part = merged?.part ?? part
          if (merging === "all") {
            assert.isAtMost(part.segments.length, 1)
            assert.isTrue(part.segments.every(({ gone }) => gone === ""))
          }
        }
        assert.strictEqual(part.documents, all.size)
        const node = query.compile(words.join(" "), fields, "any")
        if (node instanceof query.Problem) return assert.fail(node.problem)
        const expected = [...naive(all, words)]
        const found: Array<lookup.Candidate> = []
        for (let after: lookup.Candidate | undefined, basis: lookup.Basis | undefined; ;) {
          const ranked = yield* lookup.rank(blocks, part, node, weights, { after, basis })
          if (ranked instanceof query.Problem) return assert.fail(ranked.problem)
          assert.strictEqual(ranked.total, expected.length)
          const some = (yield* ranked.next(size)).slice(0, size)
          if (some.length === 0) break
          found.push(...some)
          after = some.at(-1)
          basis = ranked.basis
        }
        assert.deepStrictEqual(found.map(({ id }) => id).sort(), expected.map(([id]) => id).sort())
        const scores = new Map(expected)
        for (const [i, one] of found.entries()) {
          assert.closeTo(one.score, scores.get(one.id) ?? Number.NaN, 1e-9)
          if (i > 0) assert.isAtLeast(found[i - 1]!.score, one.score)
        }
        assert.isAtMost(blocks.size(), 2_000)
      }
    })
  )

  it("pack ascending numbers", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(1e9)), (numbers) => {
        const sorted = numbers.sort((a, b) => a - b)
        assert.deepStrictEqual([...(unpackNumbers(packNumbers(sorted)) ?? [])], sorted)
      })
    )
  })
})
