/** What full-text indexes are made of: words, segments, edits and scores. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { analyser, fold } from "../../../src/plugins/fulltext/internal/analysis.ts"
import { payloadOf } from "../../../src/plugins/journalindex/internal/blocks.ts"
import { near } from "../../../src/plugins/fulltext/internal/edits.ts"
import * as ranking from "../../../src/plugins/fulltext/internal/ranking.ts"
import * as segmentFile from "../../../src/plugins/fulltext/internal/segmentFile.ts"
import { compareUtf8 } from "../../../src/internal/text.ts"
import * as query from "../../../src/plugins/fulltext/internal/query.ts"
import * as terms from "../../../src/plugins/fulltext/internal/terms.ts"

const wordsOf = (language: string, text: string) => analyser({ language })(text).tokens.map(({ word }) => word)

describe("words", () => {
  it("are folded, and kept in scripts where marks are letters", () => {
    assert.deepStrictEqual(wordsOf("pt", "Ação, CORAÇÃO ﬁm"), ["acao", "coracao", "fim"])
    assert.deepStrictEqual(wordsOf("de", "Straße ÜBER"), ["strasse", "uber"])
    assert.deepStrictEqual(wordsOf("ru", "Ёлка Москва"), ["елка", "москва"])
    assert.strictEqual(fold("ที่"), "ที่".normalize("NFKC"))
    assert.strictEqual(fold("が"), "が")
    assert.strictEqual(fold("ΟΔΟΣ"), fold("οδος"))
  })

  it("are found where nothing stands between them", () => {
    assert.include(wordsOf("ja", "東京都に住んでいます"), "東京")
    assert.isAbove(wordsOf("zh", "我喜欢学习中文").length, 2)
    assert.isAbove(wordsOf("th", "ฉันรักภาษาไทย").length, 2)
  })

  it("stop words leave their positions; places are those of the text", () => {
    const text = "The end of THE road"
    const { stops, tokens } = analyser({ stopWords: ["the", "OF"], synonyms: [["street", "Road"]] })(text)
    assert.deepStrictEqual(
      tokens.map(({ end, position, start, terms, word }) => [...terms, word, position, text.slice(start, end)]),
      [
        ["end", "end", 1, "end"],
        ["street", "road", 4, "road"]
      ]
    )
    assert.deepStrictEqual(stops, [0, 8, 11])
  })
})

const occurrences = fc
  .record({
    field: fc.nat(3),
    length: fc.nat(100_000),
    positions: fc.uniqueArray(fc.nat(100_000), { maxLength: 5 }).map((all) => all.sort((a, b) => a - b))
  })
  .map((one) => ({ ...one, count: one.positions.length || 7 }))
const posting = fc.record({ document: fc.nat(1e9), fields: fc.array(occurrences, { maxLength: 3 }) })
const postings = fc
  .uniqueArray(posting, { selector: ({ document }) => document, maxLength: 6 })
  .map((all) => all.sort((a, b) => a.document - b.document))
const unicode = fc.string({ unit: "grapheme" })
const dictionary = fc
  .uniqueArray(fc.record({ term: unicode, postings }), { selector: ({ term }) => term, minLength: 1, maxLength: 60 })
  .map((all) => all.sort((a, b) => compareUtf8(a.term, b.term)))
const documents = fc
  .uniqueArray(
    fc.record({
      id: unicode,
      fingerprint: fc.uint8Array({ minLength: 8, maxLength: 8 }),
      lengths: fc.array(fc.nat(), { maxLength: 3 })
    }),
    {
      selector: ({ id }) => id,
      minLength: 1,
      maxLength: 60
    }
  )
  .map((all) => all.sort((a, b) => compareUtf8(a.id, b.id)))

const encode = (all: ReadonlyArray<segmentFile.Term>, docs: ReadonlyArray<segmentFile.Indexed>, blockBytes: number) => {
  const encoder = new segmentFile.Encoder(blockBytes)
  for (const one of all) encoder.term(one)
  for (const one of docs) encoder.document(one)
  return encoder.end()
}

const cut = (body: Uint8Array, { size, start }: { readonly size: number; readonly start: number }) =>
  body.slice(start, start + size)

const payload = (body: Uint8Array, block: { readonly size: number; readonly start: number }) =>
  Result.getOrThrow(payloadOf(cut(body, block)))

describe("segments", () => {
  it("give back what was put in, each term and document by one block", () => {
    fc.assert(
      fc.property(dictionary, documents, fc.integer({ min: 1, max: 3_000 }), (all, docs, blockBytes) => {
        const { body, directory } = encode(all, docs, blockBytes)
        for (const one of all) {
          const block = segmentFile.blockOfTerm(directory.terms, one.term)!
          const found = segmentFile.termsOf(block, payload(body, block), {
            from: one.term,
            isWanted: (term) => term === one.term
          })
          assert.deepStrictEqual(Result.getOrThrow(found), [one])
          const place = segmentFile.blockOfTerm(directory.list, one.term)!
          const listed = Result.getOrThrow(segmentFile.listOf(place, payload(body, place)))
          assert.deepInclude(listed, { term: one.term, documents: one.postings.length })
        }
        docs.forEach((one, i) => {
          const block = segmentFile.blockOfDocument(directory, i)!
          const found = Result.getOrThrow(segmentFile.documentsOf(block, payload(body, block)))
          assert.deepStrictEqual(found[i - block.first.number], one)
          const numbers = found.flatMap((_, j) => (j === i - block.first.number || j % 5 === i % 5 ? [j] : []))
          const some = Result.getOrThrow(segmentFile.someDocumentsOf(block, payload(body, block), [...numbers, 1_000]))
          assert.deepStrictEqual(some, [...numbers.map((j) => found[j]), undefined])
          assert.strictEqual(segmentFile.blockOfId(directory, one.id), block)
        })
        assert.strictEqual(directory.last, docs.at(-1)?.id)
      })
    )
  })

  it("find all terms of a prefix", () => {
    fc.assert(
      fc.property(dictionary, fc.nat(), fc.nat(4), fc.integer({ min: 1, max: 3_000 }), (all, which, length, size) => {
        const prefix = Array.from(all[which % all.length]!.term)
          .slice(0, length)
          .join("")
        const { body, directory } = encode(all, [], size)
        const found = segmentFile.blocksOfPrefix(directory.terms, prefix).flatMap((block) =>
          Result.getOrThrow(
            segmentFile.termsOf(block, payload(body, block), {
              from: prefix,
              isWanted: (term) => term.startsWith(prefix)
            })
          )
        )
        assert.deepStrictEqual(
          found,
          all.filter(({ term }) => term.startsWith(prefix))
        )
      })
    )
  })

  it("damaged at any byte are Corrupt, and so is a block in the place of another", () => {
    const all = ["a", "b"].map((term) => ({
      term,
      postings: [{ document: 3, fields: [{ field: 0, length: 9, count: 2, positions: [1, 4] }] }]
    }))
    const { body, directory } = encode(all, [], 1)
    const [a, b] = directory.terms
    for (let i = 0; i < a!.size; i++) {
      const damaged = cut(body, a!)
      damaged[i]! ^= 1
      assert.isTrue(Result.isFailure(payloadOf(damaged)), `byte ${i}`)
      assert.isTrue(Result.isFailure(payloadOf(cut(body, a!).subarray(0, i))), `cut at ${i}`)
    }
    assert.isTrue(Result.isFailure(segmentFile.termsOf(a!, payload(body, b!))))
  })
})

const distance = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): number =>
  a.length === 0 || b.length === 0
    ? a.length + b.length
    : a[0] === b[0]
      ? distance(a.slice(1), b.slice(1))
      : 1 + Math.min(distance(a.slice(1), b), distance(a, b.slice(1)), distance(a.slice(1), b.slice(1)))

describe("edits", () => {
  it("are those of the definition", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "😀", "é"), maxLength: 5 })
    fc.assert(
      fc.property(
        letters,
        fc.integer({ min: 0, max: 2 }),
        fc.uniqueArray(letters, { maxLength: 20 }),
        (word, most, all) => {
          const sorted = all.sort(compareUtf8)
          const expected = sorted
            .map((term) => ({ term, edits: distance(Array.from(word), Array.from(term)) }))
            .filter(({ edits }) => edits <= most)
          assert.deepStrictEqual(near(word, most, sorted), expected)
        }
      )
    )
  })
})

describe("scores", () => {
  it("are those of BM25", () => {
    // By hand: ln(1 + 8.5 / 2.5) * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 10 / 20))
    const idf = ranking.rarity(10, 2)
    const twice = [{ field: 0, length: 10, count: 2, positions: [1, 2] }]
    assert.closeTo(ranking.score(twice, [{ weight: 1, meanLength: 20 }], idf), (Math.log(4.4) * 4.4) / 2.75, 1e-12)
    assert.isAtLeast(ranking.rarity(1, 1), 0)
    assert.isAtLeast(ranking.rarity(0, 5), 0)
  })
})

const fields: ReadonlyArray<terms.Field> = ["title", "body"].map((name) => ({
  name,
  path: [name],
  weight: 1,
  analyse: analyser({ stopWords: ["the"], synonyms: [["car", "automobile"]] }),
  group: 0,
  isStemmed: true
}))

/** Whether a query finds a document with a title and a body. */
const finds = (
  asked: unknown,
  title: string,
  body: string | ReadonlyArray<string> = "",
  match: "all" | "any" = "any"
) => {
  const node = query.compile(asked, fields, match)
  if (node instanceof query.Problem) return node.problem
  const tokens = [title, body].map((value, i) => terms.tokensOf(fields[i]!.analyse, terms.textsOf(value)))
  const found = query.lookupIn(query.leavesOf(node), terms.worded(fields, tokens))
  const statistics = {
    documents: 10,
    fields: fields.map(({ weight }) => ({ weight, meanLength: 5 })),
    having: () => 1
  }
  return query.evaluate(node, found, statistics, () => true).has(0)
}

describe("queries", () => {
  it("are all, any and not", () => {
    assert.isTrue(finds("apple pear", "an apple"))
    assert.isFalse(finds("apple pear", "an apple", "", "all"))
    assert.isTrue(finds("the apple pear", "an apple", "a pear", "all"))
    assert.isTrue(finds({ all: ["apple", "pear"] }, "apple", "pear"))
    assert.isFalse(finds({ all: ["apple", "pear"] }, "apple", "plum"))
    assert.isFalse(finds({ all: ["apple", { not: "pear" }] }, "apple", "pear"))
    assert.isTrue(finds({ all: ["apple", { not: "pear" }] }, "apple", "plum"))
    assert.isTrue(finds({ any: [{ all: ["fig", "plum"] }, "pear"] }, "pear"))
    assert.isFalse(finds("", "pear"))
  })

  it("are phrases, also around stop words, and not across the texts of a list or fields", () => {
    assert.isTrue(finds({ phrase: "quick brown fox" }, "a Quick, brown fox!"))
    assert.isFalse(finds({ phrase: "quick fox" }, "quick brown fox"))
    assert.isFalse(finds({ phrase: "fox quick" }, "quick fox"))
    assert.isTrue(finds({ phrase: "man of the sea" }, "", "old man of the sea"))
    assert.isFalse(finds({ phrase: "man of sea" }, "", "old man of the sea"))
    assert.isTrue(finds({ phrase: "brown fox" }, "", ["red", "brown fox"]))
    assert.isFalse(finds({ phrase: "brown fox" }, "", ["brown", "fox"]))
    assert.isFalse(finds({ phrase: "brown fox" }, "brown", "fox"))
    assert.isTrue(finds({ phrase: "red automobile" }, "a red car"))
  })

  it("are beginnings of words as they stand there, in every script", () => {
    assert.isTrue(finds({ prefix: "autom" }, "an automobile"))
    assert.isFalse(finds({ prefix: "autom" }, "a car"))
    assert.isTrue(finds({ prefix: "разраб" }, "Разработчик"))
    assert.isTrue(finds({ prefix: "مكت" }, "مَكْتَبَة"))
    assert.isTrue(finds({ prefix: "red auto" }, "a red automobile"))
    assert.isFalse(finds({ prefix: "red auto" }, "a blue automobile"))
  })

  it("are words with mistakes", () => {
    assert.isTrue(finds({ fuzzy: "storrage" }, "storage"))
    assert.isFalse(finds({ fuzzy: "storrrage" }, "storage"))
    assert.isTrue(finds({ fuzzy: "storrrage", edits: 2 }, "storage"))
  })

  it("are in some fields only", () => {
    assert.isTrue(finds({ in: ["title"], query: "apple" }, "apple"))
    assert.isFalse(finds({ in: ["title"], query: "apple" }, "", "apple"))
    assert.isTrue(
      finds(
        {
          all: [
            { in: ["title"], query: "apple" },
            { in: ["body"], query: "pear" }
          ]
        },
        "apple",
        "pear"
      )
    )
  })

  it("that cannot be say where", () => {
    const problems = [
      null,
      5,
      {},
      { all: [] },
      { all: [{ not: "a" }] },
      { not: "a" },
      { any: [{ not: "a" }] },
      { prefix: "a", phrase: "b" },
      { fuzzy: "a", edits: 3 },
      { in: ["other"], query: "a" },
      { phrase: 5 },
      "a".repeat(20_000),
      JSON.parse('{"__proto__": "a"}'),
      Array.from({ length: 50 }).reduce<unknown>((inner) => ({ any: [inner] }), "a")
    ]
    for (const asked of problems) {
      const problem = finds(asked, "a")
      assert.match(String(problem), /^Expected /, JSON.stringify(asked)?.slice(0, 100))
    }
  })

  it("find no word in hostile texts that is not there, and every one that is", () => {
    for (const word of [
      "__proto__",
      "constructor",
      "toString",
      "😀",
      "ab\uD800cd",
      "שלום",
      "مرحبا",
      "a".repeat(1_000_000)
    ]) {
      assert.isTrue(finds(word.slice(0, 9_000), `x ${word} y`), word.slice(0, 20))
      assert.isFalse(finds(word.slice(0, 9_000), "x y"), word.slice(0, 20))
    }
  })
})
