import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CurrentUser from "effect-s3db/CurrentUser"
import { Database } from "effect-s3db/Database"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Guard from "effect-s3db/Guard"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as TestClock from "effect/testing/TestClock"
import * as Plugin from "effect-s3db/Plugin"
import { keysOf, memory, openOn } from "../fixture.ts"
import { Articles, driven, idsOf, openArticles } from "./searches.ts"

describe("FullText", () => {
  it.effect("finds documents by their words, the best first", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      yield* articles.insert({ id: "a", title: "Object storage", body: "Buckets and keys" })
      yield* articles.insert({ id: "b", title: "Tape", body: "Older than object storage, and storage of objects" })
      yield* articles.insert({ id: "c", title: "Gardening", tags: ["Plants", "object lessons"] })
      yield* settle
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "object storage" })), ["a", "b", "c"])
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "object storage", match: "all" })), ["a", "b"])
      assert.deepStrictEqual(idsOf(yield* index.search({ query: { phrase: "OBJECT lessons" } })), ["c"])
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "object", fields: ["body"] })), ["b"])
      assert.deepStrictEqual(idsOf(yield* index.search({ query: { all: ["storage", { not: "tape" }] } })), ["a"])
      assert.deepStrictEqual(idsOf(yield* index.search({ query: { prefix: "gard" } })), ["c"])
      assert.deepStrictEqual(idsOf(yield* index.search({ query: { fuzzy: "gardning" } })), ["c"])
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "nothing" })), [])
      const { items } = yield* index.search({ query: "lessons", highlight: true })
      const { ranges = [], text = "" } = items[0]?.highlights.tags ?? {}
      assert.deepStrictEqual(
        ranges.map(({ end, start }) => text.slice(start, end)),
        ["lessons"]
      )
    })
  )

  it.effect("one word costs 3 requests and the documents that are given, and only those when it is known", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const writer = yield* openArticles(store)
      // So that all of them come by the journal.
      yield* writer.settle
      yield* Effect.forEach(
        Array.from({ length: 2_500 }, (_, i) => i),
        (i) => writer.articles.insert({ id: `d${i}`, title: `word${i}`, body: "common words of many documents" }),
        { concurrency: 16, discard: true }
      )
      yield* writer.settle
      yield* writer.index.compact
      const { index } = yield* openArticles(store, { maxAge: "1 minute" })
      const requests = Effect.map(counter.counts, (counts) => Object.values(counts).reduce((sum, one) => sum + one, 0))
      yield* counter.reset
      assert.deepStrictEqual(
        (yield* index.lookup({ query: "word77" })).items.map(({ id }) => id),
        ["d77"]
      )
      assert.strictEqual(yield* requests, 3)
      yield* counter.reset
      assert.strictEqual((yield* index.lookup({ query: "word77" })).total, 1)
      assert.strictEqual(yield* requests, 0)
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "word77" })), ["d77"])
      assert.strictEqual(yield* requests, 1)
      // Where the list of words is needed, that is one more.
      for (const [query, expected] of [
        [{ prefix: "word77" }, 3],
        [{ phrase: "words of many" }, 3],
        [{ fuzzy: "word1234x" }, 4],
        [{ all: ["word77", { not: "word78" }] }, 3]
      ] as const) {
        const reader = yield* openArticles(store, { maxAge: "1 minute" })
        yield* counter.reset
        yield* reader.index.lookup({ query })
        assert.strictEqual(yield* requests, expected, JSON.stringify(query))
      }
      // What waits for the journal, how long that is, and the document.
      yield* counter.reset
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "word77", consistent: true })), ["d77"])
      assert.strictEqual(yield* requests, 3)
      // Each document that was written since is read, and for the one that is given nothing more.
      yield* writer.articles.insert({ id: "newer", title: "word77" })
      yield* writer.articles.insert({ id: "other", title: "something" })
      yield* counter.reset
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "word77", consistent: true })), ["d77", "newer"])
      assert.strictEqual(yield* requests, 5)
      // All have the same score: they come by their ids, each once.
      yield* counter.reset
      const all: Array<string> = []
      let cursor: string | undefined
      do {
        const page = yield* index.lookup({ query: "common", limit: 1_000, cursor })
        assert.strictEqual(page.total, 2_500)
        all.push(...page.items.map(({ id }) => id))
        cursor = page.cursor
      } while (cursor !== undefined)
      assert.deepStrictEqual(all, Array.from({ length: 2_500 }, (_, i) => `d${i}`).sort())
      assert.isAtMost(yield* requests, 3)
      yield* writer.settle
      assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
    })
  )

  it.effect("takes every text that a document has", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      const long = "x".repeat(1_000_000)
      const texts = {
        long,
        proto: "__proto__ constructor toString hasOwnProperty",
        hebrew: "שָׁלוֹם עולם",
        arabic: "مَكْتَبَةُ الجامعة",
        thai: "ฉันรักภาษาไทย",
        chinese: "我喜欢学习中文",
        japanese: "東京都に住んでいます",
        russian: "Ёлка и Разработчик",
        emoji: "I ❤️ \u{1F468}\u200D\u{1F469}\u200D\u{1F467} pizza \u{1F355}",
        marks: "Zo\u0308e\u0301 ﬁne",
        control: "a\u0000b \u202Egnitirw",
        spaces: " \n\t ",
        many: Array.from({ length: 20_000 }, (_, i) => `w${i}`).join(" ")
      }
      for (const [id, body] of Object.entries(texts)) yield* articles.insert({ id, title: "t", body })
      yield* settle
      const queries: ReadonlyArray<readonly [string, FullText.TextQuery<"body">]> = [
        ["long", "x".repeat(5_000)],
        ["long", { prefix: "xxxx" }],
        ["proto", "__proto__"],
        ["proto", "CONSTRUCTOR"],
        ["hebrew", "שלום"],
        ["arabic", "مكتبة"],
        ["arabic", { prefix: "مكت" }],
        ["thai", "ภาษา"],
        ["chinese", "学习"],
        ["japanese", "東京"],
        ["russian", "елка"],
        ["russian", { prefix: "разраб" }],
        ["emoji", "❤"],
        ["emoji", "\u{1F355}"],
        ["marks", "zoe"],
        ["marks", "fine"],
        ["many", "w19999"],
        ["many", { phrase: "w77 w78 w79" }]
      ]
      for (const consistent of [false, true]) {
        for (const [id, query] of queries) {
          const found = yield* index.search({ query, consistent, highlight: true })
          assert.deepStrictEqual(idsOf(found), [id], JSON.stringify(query).slice(0, 80))
          const { ranges = [], text = "" } = found.items[0]?.highlights.body ?? {}
          assert.isAbove(ranges.length, 0, id)
          assert.isTrue(text.isWellFormed())
          assert.isAtMost(text.length, 221)
          for (const { end, start } of ranges) assert.isTrue(0 <= start && start < end && end <= text.length)
        }
      }
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "\uD800 \u0000" })), [])
      assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
    })
  )

  it.effect("makes nothing new of words that stay, and few segments of many writes", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      yield* articles.insert({ id: "a", title: "apple", year: 2000 })
      yield* settle
      const before = yield* index.status
      yield* articles.update("a", { year: 2001 })
      yield* settle
      const after = yield* index.status
      assert.isAbove(after.position, before.position)
      assert.deepStrictEqual({ ...after, journal: 0, position: 0 }, { ...before, journal: 0, position: 0 })
      for (let i = 0; i < 40; i++) {
        yield* articles.replace({ id: `b${i % 5}`, title: `pear ${i}` })
        yield* settle
        assert.isAtMost((yield* index.status).segments, 4)
      }
      assert.strictEqual((yield* index.status).documents, 6)
      assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
    })
  )

  it.effect("says up to where it knows, shows nothing that is gone, and what is newer where that is asked for", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { articles, database, index, settle } = yield* openArticles(store)
      yield* articles.insert({ id: "a", title: "apple" })
      yield* articles.insert({ id: "b", title: "apple" })
      yield* articles.insert({ id: "c", title: "apple" })
      yield* settle
      const before = yield* index.status
      assert.strictEqual(before.position, before.journal)
      yield* articles.delete("a")
      yield* articles.update("b", { title: "pear" })
      yield* articles.insert({ id: "d", title: "apple" })
      // In another process, whose writes wait for the journal as well.
      const other = yield* openArticles(store)
      yield* other.articles.insert({ id: "e".repeat(600), title: "apple" })
      const old = yield* index.search({ query: "apple" })
      assert.deepStrictEqual(idsOf(old), ["c"])
      assert.strictEqual(old.position, before.position)
      const now = yield* index.search({ query: "apple", consistent: true })
      assert.deepStrictEqual(idsOf(now).sort(), ["c", "d", "e".repeat(600)])
      assert.deepStrictEqual(idsOf(yield* other.index.search({ query: "pear", consistent: true })), ["b"])
      yield* database.journal.catchUp(database.journaled, { lease: "1 second" })
      // In the journal, and not in the index.
      const journaled = yield* index.search({ query: "apple", consistent: true })
      assert.deepStrictEqual(idsOf(journaled).sort(), ["c", "d", "e".repeat(600)])
      assert.isAbove(journaled.position, before.position)
      yield* index.update
      assert.deepStrictEqual(idsOf(yield* index.search({ query: "apple" })).sort(), ["c", "d", "e".repeat(600)])
      assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
    })
  )

  it.effect("pages hold their place while documents come, go and are put together", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      const numbers = Array.from({ length: 60 }, (_, i) => i)
      const insert = (i: number) =>
        articles.insert({ id: `d${String(i).padStart(3, "0")}`, title: `common ${"word ".repeat(i % 7)}` })
      for (const i of numbers) {
        yield* insert(i)
        if (i % 10 === 9) yield* settle
      }
      const whole = idsOf(yield* index.search({ query: "common", limit: 100 }))
      assert.strictEqual(whole.length, 60)
      const given: Array<string> = []
      for (let cursor: string | undefined, page = 0; ; page++) {
        const found = yield* index.search({ query: "common", limit: 7, cursor, consistent: page % 2 === 0 && false })
        given.push(...idsOf(found))
        cursor = found.cursor
        if (cursor === undefined) break
        yield* articles.insert({ id: `new${page}`, title: "something else" })
        if (page === 2) yield* index.compact
        yield* settle
      }
      assert.deepStrictEqual(given, whole)
    })
  )

  it.effect("filters by conditions and by partition, and counts values", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      for (let i = 0; i < 30; i++) {
        yield* articles.insert({ id: `d${i}`, title: "common", kind: ["x", "y", "z"][i % 3]!, year: 2000 + (i % 2) })
      }
      yield* settle
      yield* articles.insert({ id: "new", title: "common", kind: "x", year: 2000 })
      const even = yield* index.search({ query: "common", where: { kind: "x", year: 2000 }, limit: 100 })
      assert.deepStrictEqual(idsOf(even).sort(), ["d0", "d12", "d18", "d24", "d6"])
      const within = { partition: "byKind", values: { kind: "y" } } as const
      assert.strictEqual(idsOf(yield* index.search({ query: "common", within, limit: 100 })).length, 10)
      const facets = yield* index.facets({
        query: "common",
        facets: ["kind", "year"],
        where: { kind: { in: ["x", "y"] } }
      })
      assert.deepStrictEqual(facets.fields, {
        kind: [
          { value: "x", count: 10 },
          { value: "y", count: 10 }
        ],
        year: [
          { value: 2000, count: 10 },
          { value: 2001, count: 10 }
        ]
      })
      assert.isTrue(facets.isComplete)
      assert.strictEqual((yield* index.facets({ query: "common", consistent: true })).count, 31)
      const best = yield* index.facets({ query: "common", most: 10 })
      assert.deepStrictEqual([best.count, best.isComplete], [10, false])
    })
  )

  it.effect("finds a phrase of the same word over and over in a text that has nothing else", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      yield* articles.insert({ id: "long", title: "w ".repeat(30_000) })
      yield* articles.insert({ id: "short", title: "w ".repeat(4_999) })
      yield* articles.insert({ id: "gap", title: `${"w ".repeat(4_000)}x ${"w ".repeat(4_000)}` })
      yield* settle
      const { items } = yield* index.search({ query: { phrase: "w ".repeat(5_000) }, highlight: true })
      assert.deepStrictEqual(
        items.map(({ document, highlights }) => [document.id, highlights.title?.ranges.length]),
        [["long", 101]]
      )
      assert.deepStrictEqual(idsOf(yield* index.search({ query: { phrase: "w w x w" } })), ["gap"])
    })
  )

  it.effect("suggests words as they stand there", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      yield* articles.insert({ id: "a", title: "Informação e informática" })
      yield* articles.insert({ id: "b", title: "Informação", body: "INFORMAL" })
      yield* settle
      assert.deepStrictEqual(yield* index.suggest("inf"), ["informação", "informal", "informática"])
      assert.deepStrictEqual(yield* index.suggest("some inf", { fields: ["body"] }), ["informal"])
      assert.deepStrictEqual(yield* index.suggest("infromal", { edits: 2 }), ["informal"])
      assert.deepStrictEqual(yield* index.suggest("!"), [])
      yield* articles.delete("b")
      assert.deepStrictEqual(yield* index.suggest("inf"), ["informação", "informática"])
    })
  )

  it.effect("shows nobody what a guard hides, by whatever way", () =>
    Effect.gen(function* () {
      class Notes extends Resource.Service<Notes>()("effect-s3db/test/plugins/FullText.test/Notes", {
        schema: Schema.Struct({ id: Schema.String, owner: Schema.String, text: Schema.String }),
        primaryKey: "id",
        name: "notes",
        journal: true
      }) {}
      class Search extends FullText.Service<Search>()("effect-s3db/test/plugins/FullText.test/Search", {
        resource: Notes,
        fields: { text: {} },
        indexes: false,
        maxAge: 0
      }) {}
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { database } = yield* openOn(store)
      const owner = Guard.owner<{ readonly owner: string }>("owner")
      const layer = Search.layer.pipe(
        Layer.provideMerge(
          Resource.guard(Notes, {
            insert: Guard.allow,
            query: Guard.all(
              Guard.user((user) => user?.id !== "mallory"),
              owner
            )
          })
        ),
        Layer.provide(Layer.succeed(Database, database))
      )
      yield* Effect.gen(function* () {
        const index = yield* Search
        const notes = yield* Notes
        yield* notes.insert({ id: "a", owner: "ada", text: "secret plans of ada" })
        yield* notes.insert({ id: "b", owner: "bob", text: "secret plans of bobby" })
        yield* database.journal.catchUp(database.journaled)
        yield* index.update
        yield* notes.insert({ id: "c", owner: "bob", text: "newer plans of robert" })
        const as = <A, E>(id: string, effect: Effect.Effect<A, E>) =>
          Effect.provideService(effect, CurrentUser.CurrentUser, CurrentUser.make(id))
        for (const consistent of [false, true]) {
          const plans = index.search({ query: "plans", consistent })
          assert.deepStrictEqual(idsOf(yield* as("ada", plans)), ["a"])
          assert.deepStrictEqual(idsOf(yield* as("bob", plans)).sort(), consistent ? ["b", "c"] : ["b"])
          assert.deepStrictEqual(yield* as("eve", plans).pipe(Effect.map(idsOf)), [])
          const facets = index.facets({ query: "plans", facets: ["owner"], consistent })
          assert.deepStrictEqual((yield* as("ada", facets)).fields, { owner: [{ value: "ada", count: 1 }] })
          assert.strictEqual((yield* as("eve", facets)).count, 0)
        }
        // He who may not ask learns nothing of which words there are.
        for (const query of ["plans", "nothing"]) {
          assert.strictEqual((yield* Effect.flip(as("mallory", index.search({ query }))))._tag, "Rejected")
          assert.strictEqual((yield* Effect.flip(as("mallory", index.facets({ query }))))._tag, "Rejected")
          assert.strictEqual((yield* Effect.flip(as("mallory", index.suggest(query))))._tag, "Rejected")
        }
        assert.deepStrictEqual(yield* as("ada", index.suggest("bob")), [])
        assert.deepStrictEqual(yield* as("bob", index.suggest("bob")), ["bobby"])
        assert.deepStrictEqual(yield* as("eve", index.suggest("s")), [])
        assert.deepStrictEqual(idsOf(yield* index.search({ query: "plans", consistent: true })), [])
        // However many words there are that he may not see.
        const text = Array.from({ length: 40 }, (_, i) => `hidden${i}`).join(" ")
        const hidden = Array.from({ length: 30 }, (_, i) => ({ id: `h${i}`, owner: "ada", text }))
        yield* notes.insertMany([...hidden, { id: "own", owner: "eve", text: "hidden39" }])
        yield* database.journal.catchUp(database.journaled)
        yield* index.update
        yield* counter.reset
        assert.deepStrictEqual(yield* as("eve", index.suggest("hidden")), ["hidden39"])
        assert.isAtMost((yield* counter.counts).get, 1_010)
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("refuses secrets, fields that are not there, and resources without a journal", () =>
    Effect.gen(function* () {
      const { database } = yield* openOn(yield* memory)
      class People extends Resource.Service<People>()("effect-s3db/test/plugins/FullText.test/People", {
        schema: Schema.Struct({ id: Schema.String, name: Schema.String, pin: Attribute.SecretText }),
        primaryKey: "id",
        name: "people",
        journal: true
      }) {}
      class Silent extends Resource.Service<Silent>()("effect-s3db/test/plugins/FullText.test/Silent", {
        schema: Schema.Struct({ id: Schema.String, name: Schema.String }),
        primaryKey: "id",
        name: "silent"
      }) {}
      const people = yield* Effect.provideService(Resource.make(People.definition), Database, database).pipe(
        Effect.provide(KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make("A".repeat(43) + "=") } }))
      )
      const silent = yield* Effect.provideService(Resource.make(Silent.definition), Database, database)
      const problemOf = (fields: Record<string, FullText.FieldOptions>, more: object = {}) =>
        FullText.make({ resource: People, fields: fields as { name: {} }, indexes: false, ...more }).pipe(
          Effect.provideService(People, people),
          Effect.provideService(Database, database),
          Effect.flip,
          Effect.map((error) => ("field" in error ? error.field : error._tag))
        )
      assert.strictEqual(yield* problemOf({ pin: {} }), "fields.pin")
      assert.strictEqual(yield* problemOf({ other: {} }), "fields.other")
      assert.strictEqual(yield* problemOf({}), "fields")
      assert.strictEqual(yield* problemOf({ name: { weight: 0 } }), "fields.name.weight")
      assert.strictEqual(yield* problemOf({ name: { analyser: { language: "!" } } }), "fields.name.analyser.language")
      assert.strictEqual(yield* problemOf({ name: {} }, { lease: 1 }), "lease")
      assert.strictEqual(yield* problemOf({ name: {} }, { cacheBytes: -1 }), "cacheBytes")
      assert.strictEqual(yield* problemOf({ name: {} }, { objectBytes: 1 }), "objectBytes")
      const error = yield* FullText.make({ resource: Silent, fields: { name: {} } }).pipe(
        Effect.provideService(Silent, silent),
        Effect.provideService(Database, database),
        Effect.flip
      )
      assert.strictEqual("field" in error && error.field, "resource")
      // @ts-expect-error a secret is no text
      const wrong: FullText.TextField<(typeof People)["definition"]["schema"]["Type"]> = "pin"
      assert.strictEqual(wrong, "pin")
    })
  )

  it.effect("says which part of a request is wrong, and that it is not built yet", () =>
    Effect.gen(function* () {
      const { articles, index, settle } = yield* openArticles(yield* memory)
      assert.strictEqual((yield* Effect.flip(index.search({ query: "a" })))._tag, "IndexIncomplete")
      for (let i = 0; i < 5; i++) yield* articles.insert({ id: `a${i}`, title: "apple" })
      yield* settle
      const fieldOf = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
        Effect.map(Effect.flip(effect), (error) => ("field" in error ? error.field : error._tag))
      const asked = (request: object) => fieldOf(index.search({ query: "apple", ...request }))
      assert.strictEqual(yield* asked({ limit: 0 }), "limit")
      assert.strictEqual(yield* asked({ match: "some" }), "match")
      assert.strictEqual(yield* asked({ fields: ["year"] }), "fields")
      assert.strictEqual(yield* asked({ query: { all: [] } }), "query.all")
      assert.strictEqual(yield* asked({ cursor: "x" }), "cursor")
      assert.strictEqual(yield* asked({ where: { other: 1 } }), "InvalidInput")
      const { cursor } = yield* index.search({ query: "apple", limit: 2 })
      assert.isString(cursor)
      assert.strictEqual(yield* asked({ cursor, query: "pear" }), "cursor")
      assert.strictEqual(yield* asked({ cursor, where: { year: 1 } }), "cursor")
      assert.strictEqual(yield* fieldOf(index.facets({ query: "apple", most: 0 })), "most")
      for (const facets of ["kind", null, [1]] as unknown as ReadonlyArray<never>) {
        assert.strictEqual(yield* fieldOf(index.facets({ query: "apple", facets })), "facets")
      }
      assert.strictEqual(yield* fieldOf(index.suggest("a", { limit: 0 })), "limit")
    })
  )

  it.effect("an object that is damaged or gone is told with its key, and mended by rebuild", () =>
    Effect.gen(function* () {
      const folder = "resource=articles/plugin=fulltext/"
      const damages: ReadonlyArray<readonly [file: string, change: (body: Uint8Array) => Uint8Array | undefined]> = [
        ["/segment/", (body) => body.map((byte) => byte ^ 1)],
        ["/segment/", (body) => body.slice(0, 10)],
        ["/segment/", () => new Uint8Array()],
        ["/segment/", () => undefined],
        ["/manifest", () => new TextEncoder().encode("{")],
        ["/manifest", () => undefined]
      ]
      for (const [i, [file, change]] of damages.entries()) {
        const store = yield* memory
        const { articles, index, settle } = yield* openArticles(store)
        yield* articles.insert({ id: "a", title: "apple" })
        yield* settle
        const key = (yield* keysOf(store, folder)).find((one) => one.includes(file)) ?? ""
        const body = change((yield* store.get(key)).body)
        yield* body === undefined ? store.delete(key) : store.put({ key, body })
        const other = yield* openArticles(store)
        const error = yield* Effect.flip(other.index.search({ query: "apple" }))
        // Without a manifest there is no index.
        assert.strictEqual(error._tag, i === 5 ? "IndexIncomplete" : "IndexDamaged", String(i))
        if (error._tag === "IndexDamaged") {
          assert.strictEqual(error.key, key)
          assert.include(error.message, "rebuild")
        }
        yield* articles.insert({ id: "b", title: "apple" })
        yield* driven(index.rebuild)
        assert.deepStrictEqual(idsOf(yield* other.index.search({ query: "apple" })), ["a", "b"])
        assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
      }
    })
  )

  it.effect("goes on by itself where the journal has lost what comes next", () =>
    Effect.gen(function* () {
      const { articles, database, index, settle } = yield* openArticles(yield* memory)
      yield* articles.insert({ id: "a", title: "apple" })
      yield* settle
      yield* articles.insert({ id: "b", title: "apple" })
      yield* articles.delete("a")
      yield* database.journal.catchUp(database.journaled)
      for (let i = 0; i < 3; i++) {
        yield* articles.insert({ id: `c${i}`, title: "apple" })
        yield* database.journal.catchUp(database.journaled)
      }
      const kept = yield* database.journal.retain({ entries: 1 })
      assert.isAbove(kept, 1)
      assert.strictEqual(
        (yield* Effect.flip(index.search({ query: "apple", consistent: true })))._tag,
        "IndexIncomplete"
      )
      yield* index.update
      const found = yield* index.search({ query: "apple", consistent: true })
      assert.deepStrictEqual(idsOf(found).sort(), ["b", "c0", "c1", "c2"])
      assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
    })
  )

  it.effect("keeps itself as long as its layer lives, in one of several processes", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const one = yield* openArticles(store, { indexes: true })
      const other = yield* openArticles(store, { indexes: true })
      yield* other.articles.insert({ id: "a", title: "apple" })
      yield* driven(one.database.journal.catchUp(one.database.journaled))
      yield* driven(one.index.caughtUp)
      assert.deepStrictEqual(idsOf(yield* other.index.search({ query: "apple" })), ["a"])
      yield* one.articles.insert({ id: "b", title: "apple" })
      yield* driven(one.database.journal.catchUp(one.database.journaled))
      yield* driven(other.index.caughtUp)
      assert.deepStrictEqual(idsOf(yield* one.index.search({ query: "apple" })).sort(), ["a", "b"])
      // Whoever has the lease does it at once.
      yield* one.articles.delete("a")
      yield* driven(one.database.journal.catchUp(one.database.journaled))
      for (const { index } of [one, other]) {
        yield* driven(index.update)
        yield* driven(index.compact)
        assert.deepStrictEqual(idsOf(yield* index.search({ query: "apple" })), ["b"])
        assert.strictEqual((yield* index.status).segments, 1)
        yield* driven(index.rebuild)
        assert.deepStrictEqual(yield* driven(Stream.runCollect(index.verify)), [])
      }
    })
  )

  it.effect("a reader that knows an old manifest finds what was put together since", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { articles, index, settle } = yield* openArticles(store)
      const reader = yield* openArticles(store, { maxAge: "1 day" })
      for (const id of ["a", "b", "c"]) {
        yield* articles.insert({ id, title: `apple ${id}` })
        yield* settle
      }
      assert.strictEqual((yield* reader.index.lookup({ query: "a" })).total, 1)
      yield* index.compact
      yield* TestClock.adjust("2 minutes")
      yield* index.update
      const segments = (yield* keysOf(store, "resource=articles/plugin=fulltext/")).filter((key) =>
        key.includes("/segment/")
      )
      assert.strictEqual(segments.length, 1)
      assert.deepStrictEqual(idsOf(yield* reader.index.search({ query: "apple" })), ["a", "b", "c"])
      assert.strictEqual((yield* reader.index.lookup({ query: "c" })).total, 1)
    })
  )

  it.effect("says in its health what is in the way of the index", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { articles, database, settle } = yield* openArticles(store)
      yield* articles.insert({ id: "a", title: "apple" })
      yield* settle
      const manifest = (yield* keysOf(store, "resource=articles/plugin=fulltext/")).find((key) =>
        key.endsWith("/manifest")
      )
      yield* store.put({ key: manifest ?? "", body: new Uint8Array() })
      const keeper = yield* openArticles(store, { indexes: true })
      const health = Plugin.statuses.pipe(
        Effect.provideService(Database, keeper.database),
        Effect.map(([status]) => status?.health)
      )
      yield* driven(
        Effect.repeat(Effect.andThen(Effect.sleep("1 second"), health), { until: (one) => one?.level === "down" })
      )
      assert.include(JSON.stringify(yield* health), "rebuild")
      yield* driven(keeper.index.rebuild)
      yield* driven(
        Effect.repeat(Effect.andThen(Effect.sleep("1 second"), health), { until: (one) => one?.level === "up" })
      )
      assert.deepStrictEqual(idsOf(yield* keeper.index.search({ query: "apple" })), ["a"])
      assert.strictEqual(database.journal.prefix, "journal")
    })
  )

  it("knows the names of fields", () => {
    class Search extends FullText.Service<Search>()("effect-s3db/test/plugins/FullText.test/Typed", {
      resource: Articles,
      fields: { title: {}, tags: { weight: 2 } }
    }) {}
    class Wrong extends FullText.Service<Wrong>()("effect-s3db/test/plugins/FullText.test/Wrong", {
      resource: Articles,
      // @ts-expect-error a number is no text
      fields: { year: {} }
    }) {}
    assert.isDefined(Wrong.layer)
    const asked = (index: (typeof Search)["Service"]) => [
      index.search({ query: { in: ["title"], query: "a" }, fields: ["tags"], where: { year: { gt: 2000 } } }),
      // @ts-expect-error no field of the index
      index.search({ query: { in: ["body"], query: "a" } }),
      // @ts-expect-error no field of the index
      index.search({ query: "a", fields: ["body"] }),
      // @ts-expect-error no field of the resource
      index.search({ query: "a", where: { other: 1 } }),
      // @ts-expect-error no partition of the resource
      index.search({ query: "a", within: { partition: "byYear", values: {} } }),
      Effect.map(index.search({ query: "a" }), ({ items }) =>
        items.map(({ document, highlights }) => [document.year, highlights.tags])
      ),
      // @ts-expect-error no field of the index
      Effect.map(index.search({ query: "a" }), ({ items }) => items.map(({ highlights }) => highlights.body)),
      Effect.map(index.facets({ query: "a", facets: ["kind"] }), ({ fields }) => fields.kind),
      // @ts-expect-error not asked for
      Effect.map(index.facets({ query: "a", facets: ["kind"] }), ({ fields }) => fields.year)
    ]
    assert.isFunction(asked)
  })

  it.effect("can be opened by what lies in the bucket, as JSON without secrets", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { articles, database, settle } = yield* openArticles(store)
      const alone = Effect.provideService(Database, database)
      const open = (name: string) =>
        Effect.gen(function* () {
          const definition = yield* Resource.fromCatalog(name)
          return yield* FullText.fromCatalog({ definition, repository: yield* Resource.make(definition) })
        }).pipe(alone)
      assert.deepStrictEqual(yield* FullText.declared("articles").pipe(alone), [])
      const none = yield* Effect.flip(Effect.scoped(open("articles")))
      assert.strictEqual(none._tag === "InvalidFullText" ? none.field : none._tag, "resource")
      yield* articles.insert({ id: "a", title: "apple", year: 2026 })
      yield* articles.insert({ id: "b", title: "pear", body: "no apple" })
      yield* settle
      const options = { title: { weight: 7 }, body: { analyser: FullText.languages.english } } as const
      const english = yield* FullText.make({ resource: Articles, fields: options, indexes: false }).pipe(
        Effect.provideService(Articles, articles),
        alone
      )
      yield* articles.insert({ id: "c", title: "plums" })
      yield* database.journal.catchUp(database.journaled, { lease: "1 second" })
      yield* english.update
      const [first, second, ...others] = yield* FullText.declared("articles").pipe(alone)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(first?.fields, {
        title: { weight: 7, analyser: {} },
        body: { weight: 1, analyser: FullText.languages.english }
      })
      assert.deepStrictEqual([first?.documents, second?.documents], [3, 2])
      assert.deepStrictEqual(Object.keys(second?.fields ?? {}), ["title", "body", "tags"])
      const index = yield* open("articles")
      assert.deepStrictEqual(index.fields, ["title", "body"])
      const { items } = yield* index.search({ query: "apples", highlight: true })
      assert.deepStrictEqual(
        items.map(({ document, highlights }) => [document, highlights]),
        [[{ id: "b", title: "pear", body: "no apple" }, { body: { text: "no apple", ranges: [{ start: 3, end: 8 }] } }]]
      )
      assert.deepStrictEqual(yield* index.suggest("plu"), ["plums"])
    })
  )

  it.effect("removes what was declared otherwise, and nothing else", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { articles, database, index, settle } = yield* openArticles(store)
      yield* articles.insert({ id: "a", title: "apple" })
      yield* settle
      const other = yield* FullText.make({ resource: Articles, fields: { title: {} }, indexes: false }).pipe(
        Effect.provideService(Articles, articles),
        Effect.provideService(Database, database)
      )
      yield* other.update
      assert.deepStrictEqual(idsOf(yield* other.search({ query: "apple" })), ["a"])
      assert.isAbove(yield* other.removeOthers, 1)
      assert.strictEqual(yield* other.removeOthers, 0)
      assert.deepStrictEqual(idsOf(yield* other.search({ query: "apple" })), ["a"])
      assert.strictEqual((yield* Effect.flip(index.search({ query: "apple" })))._tag, "IndexIncomplete")
    })
  )
})
