/** Indexes of words over a resource, and what they find. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Resource from "effect-s3db/Resource"
import { crashing, memory, openOn } from "../fixture.ts"
import { driven, type Store, type Subject } from "./indexers.ts"
import { randomOf } from "./places.ts"

export { driven, type Store } from "./indexers.ts"

export class Articles extends Resource.Service<Articles>()("effect-s3db/test/plugins/searches/Articles", {
  schema: Schema.Struct({
    id: Schema.String,
    title: Schema.String,
    body: Schema.optionalKey(Schema.String),
    tags: Schema.optionalKey(Schema.Array(Schema.String)),
    kind: Schema.optionalKey(Schema.String),
    year: Schema.optionalKey(Schema.Int)
  }),
  primaryKey: "id",
  name: "articles",
  partitions: { byKind: ["kind"] },
  journal: true
}) {}

export type Article = (typeof Articles)["definition"]["schema"]["Type"]

export type Settings = Omit<Partial<FullText.Options<typeof Articles>>, "fields" | "resource">

/** Opens the articles and their index, as a process of its own. */
export const openArticles = Effect.fnUntraced(function* (store: Store, settings: Settings = {}) {
  const { database } = yield* openOn(store)
  const articles = yield* Effect.provideService(Resource.make(Articles.definition), Database, database)
  const index = yield* FullText.make({
    resource: Articles,
    fields: { title: { weight: 3 }, body: {}, tags: {} },
    indexes: false,
    maxAge: 0,
    lease: "1 second",
    ...settings
  }).pipe(Effect.provideService(Articles, articles), Effect.provideService(Database, database))
  /** Brings what was committed into the journal, and all of that into the index. */
  const settle = Effect.andThen(database.journal.catchUp(database.journaled, { lease: "1 second" }), index.update)
  return { database, articles, index, settle }
})

export const idsOf = ({ items }: { readonly items: ReadonlyArray<{ readonly document: { readonly id: string } }> }) =>
  items.map(({ document }) => document.id)

const words = ["apple", "pear", "plum"]

/** What happens at random, by a seed, in two processes with indexers that crash, against documents in memory. */
export const history = Effect.fnUntraced(function* (seed: number) {
  const random = randomOf(seed)
  const pick = <A>(all: ReadonlyArray<A>) => all[Math.floor(random() * all.length)]!
  const store = yield* memory
  const processes = [yield* openArticles(store), yield* openArticles(store)]
  yield* processes[0]!.settle
  const all = new Map<string, string>()
  const done: Array<string> = []
  for (let i = 0; i < 40; i++) {
    const { articles, database, index } = pick(processes)
    const id = `d${Math.floor(random() * 12)}`
    const kind = random()
    const told = `seed ${seed}: ${done.slice(-8).join(", ")}`
    if (kind < 0.35) {
      const title = `${pick(words)} ${pick(words)}`
      yield* articles.replace({ id, title })
      all.set(id, title)
      done.push(`${id} = ${title}`)
    } else if (kind < 0.5) {
      yield* articles.delete(id)
      all.delete(id)
      done.push(`delete ${id}`)
    } else if (kind < 0.6) {
      yield* driven(database.journal.catchUp(database.journaled, { lease: "1 second" }))
      done.push("journal")
    } else if (kind < 0.7) {
      yield* driven(pick([index.update, index.compact, index.rebuild]))
      done.push("index")
    } else if (kind < 0.8) {
      // An indexer that is killed.
      const crash = crashing(store, 8 + Math.floor(random() * 20), pick(["before", "after"]))
      const work = Effect.flatMap(openArticles(crash.store), ({ index }) => pick([index.update, index.compact]))
      yield* Effect.exit(Effect.scoped(driven(Effect.scoped(work))))
      done.push("crash")
    } else {
      const word = pick(words)
      const expected = [...all].filter(([, title]) => title.includes(word)).map(([id]) => id)
      const now = idsOf(yield* index.search({ query: word, consistent: true, limit: 100 }))
      assert.deepStrictEqual(now.toSorted(), expected.toSorted(), told)
      const known = idsOf(yield* index.search({ query: word, limit: 100 }))
      for (const one of known) assert.include(expected, one, told)
      assert.strictEqual(new Set(known).size, known.length, told)
    }
  }
  const [{ index, settle } = processes[0]!] = processes
  yield* driven(settle)
  assert.deepStrictEqual(yield* driven(Stream.runCollect(index.verify)), [], `seed ${seed}`)
  assert.strictEqual((yield* index.status).documents, all.size)
})

export const subject: Subject = {
  name: "words",
  plugin: "fulltext",
  beside: 0,
  history,
  open: (store, settings) =>
    Effect.map(openArticles(store, settings), ({ articles, ...opened }) => ({
      ...opened,
      write: (id) => articles.replace({ id, title: `apple ${id}` }),
      remove: (id) => articles.delete(id),
      found: (options) => Effect.map(opened.index.search({ query: "apple", limit: 100, ...options }), idsOf)
    }))
}
