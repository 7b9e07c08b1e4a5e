/**
 * The conformance suite of the `ObjectStore` port: what a store must do to be one. Run it on a store of your own.
 *
 * ```ts no-check
 * import * as ObjectStoreSuite from "effect-s3db/testing/ObjectStoreSuite"
 *
 * ObjectStoreSuite.suite("my store", MyStore.layer)
 * ```
 *
 * It needs `vitest` and `@effect/vitest`. Every test works below a random prefix, so that it can run on a shared bucket.
 *
 * @since 0.1.0
 */
import { assert, describe, layer as itLayer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Id from "../crypto/Id.ts"
import { compareUtf8 } from "../internal/text.ts"
import * as Stream from "effect/Stream"
import * as ObjectStores from "../storage/ObjectStore.ts"
import { maxKeyBytes, maxMetadataBytes, ObjectStore } from "../storage/ObjectStore.ts"
import * as PrefixedStore from "../storage/PrefixedStore.ts"
import type { Reason, StoreError } from "../storage/StoreError.ts"

/**
 * The respects in which a store falls short of AWS. The default for each is AWS.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Conditions on PUT. Default `true`. */
  readonly conditionalPut?: boolean | undefined
  /**
   * Whether a request that loses a race is refused cleanly. A bare client of Ceph's gateway gets an internal error now
   * and then, which the retrying store settles. Default `true`.
   */
  readonly races?: boolean | undefined
  /** `If-Match` on DELETE. Default `true`. */
  readonly conditionalDelete?: boolean | undefined
  /** A condition on the source of a copy. Default `true`. */
  readonly conditionalCopy?: boolean | undefined
  /** `startAfter`, and listing in the order of UTF-8 bytes. Default `true`. */
  readonly ordered?: boolean | undefined
  /** Keys that path handling or escaping could spoil. Default `true`. */
  readonly hostileKeys?: boolean | undefined
  /** The longest key, below 1,024 bytes where the store itself adds a prefix. Default 1,024. */
  readonly keyBytes?: number | undefined
  /** Whether delimiters are understood as on S3. Default `true`. */
  readonly delimiters?: boolean | undefined
  /** Default: 60 seconds. */
  readonly timeoutMillis?: number | undefined
}

const encoder = new TextEncoder()
const text = (value: string): Uint8Array => encoder.encode(value)
const read = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const reasonOf = <A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<Reason["_tag"]> =>
  Effect.match(effect, { onFailure: (error) => error.reason._tag, onSuccess: () => assert.fail("expected a failure") })

const oneOf = (tag: string, allowed: ReadonlyArray<string>): void => {
  assert.include(allowed, tag)
}

/** A store of its own for one test, and its removal afterwards. */
const scratch = Effect.gen(function* () {
  const shared = yield* ObjectStore
  const store = PrefixedStore.make(shared, `suite-${yield* Id.randomOf(8)}`)
  yield* Effect.addFinalizer(() => Effect.orDie(clear(store)))
  return store
})

const clear = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  let page = yield* store.list({ keysOnly: true })
  for (;;) {
    const keys = page.entries.map((entry) => entry.key)
    if (keys.length > 0) yield* store.deleteMany(keys, { repeatable: true })
    if (page.nextToken === undefined) return
    page = yield* store.list({ keysOnly: true })
  }
})

const listAll = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  request: {
    readonly prefix?: string
    readonly delimiter?: string
    readonly maxKeys?: number
    readonly startAfter?: string
  }
) {
  const keys: Array<string> = []
  const prefixes: Array<string> = []
  let pages = 0
  let token: string | undefined
  do {
    const page = yield* store.list({ ...request, token })
    keys.push(...page.entries.map((entry) => entry.key))
    prefixes.push(...page.commonPrefixes)
    token = page.nextToken
    pages += 1
  } while (token !== undefined)
  return { keys, prefixes, pages }
})

const sorted = (keys: ReadonlyArray<string>): ReadonlyArray<string> => keys.toSorted(compareUtf8)

/** Keys that path handling, escaping, case folding or normalisation could spoil. */
const hostileKeys: ReadonlyArray<string> = [
  "..",
  "../x",
  "a/../b",
  "./a",
  ".",
  "a",
  "a/b",
  "a//b",
  "a/b/",
  "/lead",
  "//",
  "a.",
  "a..",
  "a~",
  "a+",
  "a%",
  "x.meta.json",
  ".meta.json",
  "x.tmp",
  "con",
  "COM1.txt",
  "with space",
  " lead",
  "trail ",
  "a+b",
  "a%2Fb",
  "a%20b",
  "quote\"'`",
  "<&>;",
  "?query#hash",
  "back\\slash",
  "star*",
  "col:on|pipe",
  "Case",
  "case",
  "CASE",
  "\u00e9",
  "e\u0301",
  "\u674e\u660e",
  "\uff5e",
  "\ufffd",
  "\u{1f600}",
  "\u{10fffd}",
  "\u202e",
  "constructor",
  "__proto__"
]

const hostileValues: ReadonlyArray<string> = [
  "plain",
  Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))
    .join("")
    .trim(),
  "=?UTF-8?Q?x?=",
  '"quoted"',
  "a,b;c=d",
  "a:b",
  "100%",
  "%41%zz",
  "a\\b",
  "null",
  "x".repeat(1900)
]

/**
 * Registers the tests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const suite = <E>(name: string, layer: Layer.Layer<ObjectStore, E>, options: Options = {}): void => {
  const {
    conditionalCopy = true,
    conditionalDelete = true,
    conditionalPut = true,
    delimiters = true,
    hostileKeys: allKeys = true,
    keyBytes = maxKeyBytes,
    ordered = true,
    races = true,
    timeoutMillis: timeout = 60_000
  } = options

  describe(`ObjectStore: ${name}`, () => {
    itLayer(layer, { excludeTestServices: true, timeout })((it) => {
      it.effect(
        "put, get, head and delete one object",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            const body = Uint8Array.from({ length: 256 }, (_, i) => i)
            const metadata = { a: "1", "two-words": "x y" }
            const put = yield* store.put({ key: "k", body, metadata, contentType: "image/png" })
            assert.notInclude(put.etag, '"')
            const object = yield* store.get("k")
            assert.deepStrictEqual([...object.body], [...body])
            assert.deepStrictEqual<Record<string, string>>({ ...object.metadata }, metadata)
            assert.strictEqual(object.contentType, "image/png")
            assert.strictEqual(object.size, 256)
            assert.strictEqual(object.etag, put.etag)
            assert.strictEqual(object.key, "k")
            assert.isAbove(object.lastModified, -1)
            const { body: _, ...expected } = object
            assert.deepStrictEqual(yield* store.head("k"), expected)
            const page = yield* store.list()
            assert.deepStrictEqual(
              page.entries.map(({ key, etag, size }) => ({ key, etag, size })),
              [{ key: "k", etag: put.etag, size: 256 }]
            )
            yield* store.delete("k")
            assert.strictEqual(yield* reasonOf(store.get("k")), "NoSuchKey")
            assert.strictEqual(yield* reasonOf(store.head("k")), "NoSuchKey")
            yield* store.delete("k")
          }),
        timeout
      )

      it.effect(
        "content types come back as they are, and have no outer spaces",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            for (const contentType of ["text/plain; charset=utf-8", "application/x", 'a/b; c="d e"', "Text/HTML"]) {
              yield* store.put({ key: "k", contentType })
              assert.strictEqual((yield* store.get("k")).contentType, contentType)
            }
            for (const contentType of [
              "",
              " ",
              " text/plain",
              "text/plain ",
              "\ttext/plain",
              "text/plain\r\n",
              "text/é"
            ]) {
              assert.strictEqual(yield* reasonOf(store.put({ key: "k", contentType })), "InvalidArgument")
              const copy = { from: "k", to: "c", metadata: {}, contentType }
              assert.strictEqual(yield* reasonOf(store.copy(copy)), "InvalidArgument")
            }
            for (const contentEncoding of ["", " gzip", "gzip "]) {
              assert.strictEqual(yield* reasonOf(store.put({ key: "k", contentEncoding })), "InvalidArgument")
            }
            assert.strictEqual((yield* store.get("k")).contentType, "Text/HTML")
          }),
        timeout
      )

      it.effect(
        "an empty body, an overwrite, and bodies that do not change with their buffer",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            yield* store.put({ key: "k" })
            assert.strictEqual((yield* store.get("k")).body.length, 0)
            assert.strictEqual((yield* store.head("k")).size, 0)
            const buffer = text("one")
            const first = yield* store.put({ key: "k", body: buffer, metadata: { v: "1" } })
            buffer.fill(0)
            assert.strictEqual(read((yield* store.get("k")).body), "one")
            const second = yield* store.put({ key: "k", body: text("two") })
            assert.notStrictEqual(first.etag, second.etag)
            const object = yield* store.get("k")
            assert.strictEqual(read(object.body), "two")
            assert.deepStrictEqual({ ...object.metadata }, {})
          }),
        timeout
      )

      it.effect(
        "ranges",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            yield* store.put({ key: "k", body: text("0123456789") })
            const part = (start: number, end?: number) =>
              Effect.map(store.get("k", { range: { start, end } }), (o) => o)
            const middle = yield* part(2, 4)
            assert.strictEqual(read(middle.body), "234")
            assert.strictEqual(middle.size, 10)
            assert.strictEqual(read((yield* part(7)).body), "789")
            assert.strictEqual(read((yield* part(0, 0)).body), "0")
            assert.strictEqual(read((yield* part(8, 100)).body), "89")
            assert.strictEqual(yield* reasonOf(part(10, 12)), "InvalidRange")
            assert.strictEqual(yield* reasonOf(part(3, 2)), "InvalidArgument")
            assert.strictEqual(yield* reasonOf(part(-1, 2)), "InvalidArgument")
          }),
        timeout
      )

      if (conditionalPut) {
        it.effect(
          "conditions on put and get",
          () =>
            Effect.gen(function* () {
              const store = yield* scratch
              const create = (body: string) => store.put({ key: "k", body: text(body), ifNoneMatch: "*" })
              const replace = (body: string, ifMatch: string) => store.put({ key: "k", body: text(body), ifMatch })
              oneOf(yield* reasonOf(replace("0", "0123456789abcdef0123456789abcdef")), [
                "NoSuchKey",
                "PreconditionFailed"
              ])
              const first = yield* create("1")
              assert.strictEqual(yield* reasonOf(create("other")), "PreconditionFailed")
              const second = yield* replace("2", first.etag)
              assert.strictEqual(yield* reasonOf(replace("stale", first.etag)), "PreconditionFailed")
              assert.strictEqual(read((yield* store.get("k")).body), "2")
              assert.strictEqual(read((yield* store.get("k", { ifMatch: second.etag })).body), "2")
              assert.strictEqual(yield* reasonOf(store.get("k", { ifMatch: first.etag })), "PreconditionFailed")
              yield* store.delete("k")
              oneOf(yield* reasonOf(replace("3", second.etag)), ["NoSuchKey", "PreconditionFailed"])
              yield* create("4")
              assert.strictEqual(
                yield* reasonOf(store.put({ key: "k", ifMatch: first.etag, ifNoneMatch: "*" })),
                "InvalidArgument"
              )
              assert.strictEqual(read((yield* store.get("k")).body), "4")
            }),
          timeout
        )

        if (races) {
          it.effect(
            "of 20 concurrent creators and 20 concurrent replacers one wins",
            () =>
              Effect.gen(function* () {
                const store = yield* scratch
                const race = Effect.fnUntraced(function* (
                  round: string,
                  put: (body: string) => Effect.Effect<unknown, StoreError>
                ) {
                  const bodies = Array.from({ length: 20 }, (_, i) => `${round} ${i}`)
                  const outcomes = yield* Effect.forEach(bodies, (body) => Effect.result(put(body)), {
                    concurrency: "unbounded"
                  })
                  const winners = bodies.filter((_, i) => outcomes[i]!._tag === "Success")
                  for (const outcome of outcomes) {
                    if (outcome._tag === "Failure") {
                      oneOf(outcome.failure.reason._tag, ["PreconditionFailed", "ConditionalRequestConflict"])
                    }
                  }
                  assert.strictEqual(winners.length, 1)
                  const object = yield* store.get("k")
                  assert.strictEqual(read(object.body), winners[0])
                  return object.etag
                })
                const created = yield* race("creator", (body) =>
                  store.put({ key: "k", body: text(body), ifNoneMatch: "*" })
                )
                yield* race("replacer", (body) => store.put({ key: "k", body: text(body), ifMatch: created }))
              }),
            timeout
          )

          it.effect(
            "a counter that 8 fibers increment by compare-and-set ends exact",
            () =>
              Effect.gen(function* () {
                const store = yield* scratch
                const body = (n: number, writer: number) => text(JSON.stringify({ n, writer }))
                yield* store.put({ key: "counter", body: body(0, -1) })
                const increment = (writer: number): Effect.Effect<void, StoreError> =>
                  Effect.gen(function* () {
                    const object = yield* store.get("counter")
                    const { n } = JSON.parse(read(object.body)) as { n: number }
                    yield* store.put({ key: "counter", body: body(n + 1, writer), ifMatch: object.etag })
                  }).pipe(
                    Effect.retry({
                      while: (error) =>
                        error.reason._tag === "PreconditionFailed" || error.reason._tag === "ConditionalRequestConflict"
                    })
                  )
                yield* Effect.forEach(
                  Array.from({ length: 8 }, (_, i) => i),
                  (writer) => Effect.repeat(increment(writer), { times: 4 }),
                  { concurrency: "unbounded", discard: true }
                )
                const { n } = JSON.parse(read((yield* store.get("counter")).body)) as { n: number }
                assert.strictEqual(n, 40)
              }),
            timeout
          )
        }
      }

      if (conditionalDelete) {
        it.effect(
          "conditions on delete",
          () =>
            Effect.gen(function* () {
              const store = yield* scratch
              const first = yield* store.put({ key: "k", body: text("1") })
              const second = yield* store.put({ key: "k", body: text("2") })
              assert.strictEqual(yield* reasonOf(store.delete("k", { ifMatch: first.etag })), "PreconditionFailed")
              assert.strictEqual(read((yield* store.get("k")).body), "2")
              yield* store.delete("k", { ifMatch: second.etag })
              assert.strictEqual(yield* reasonOf(store.head("k")), "NoSuchKey")
            }),
          timeout
        )
      }

      it.effect(
        "lists 2,500 keys in order, each once, by pages of at most 1,000",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            const keys = Array.from(
              { length: 2500 },
              (_, i) => `p/${i.toString(36)}${i % 7 === 0 ? "\uff5e" : i % 5 === 0 ? "\u{1f600}" : ""}`
            )
            yield* Effect.forEach(keys, (key) => store.put({ key, repeatable: true }), {
              concurrency: 32,
              discard: true
            })
            yield* store.put({ key: "p", body: text("not below p/") })
            yield* store.put({ key: "p0", body: text("not below p/") })
            const all = yield* listAll(store, { prefix: "p/" })
            assert.strictEqual(all.pages, 3)
            assert.deepStrictEqual(ordered ? all.keys : sorted(all.keys), sorted(keys))
            const some = yield* store.list({ prefix: "p/", maxKeys: 7 })
            assert.strictEqual(some.entries.length, 7)
            if (ordered) {
              const after = sorted(keys)[1200]!
              const rest = yield* listAll(store, { prefix: "p/", startAfter: after })
              assert.deepStrictEqual(rest.keys, sorted(keys).slice(1201))
              const beyond = yield* store.list({ prefix: "p/", startAfter: "q" })
              assert.deepStrictEqual(beyond.entries, [])
              const before = yield* store.list({ prefix: "p/", startAfter: "a", maxKeys: 1 })
              assert.strictEqual(before.entries[0]?.key, sorted(keys)[0])
            }
            const page = yield* store.list({ prefix: "p/", maxKeys: 1000 })
            assert.strictEqual(yield* reasonOf(store.list({ prefix: "q/", token: page.nextToken })), "InvalidArgument")
            assert.strictEqual(yield* reasonOf(store.list({ token: "garbage" })), "InvalidArgument")
            assert.strictEqual(yield* reasonOf(store.list({ maxKeys: 0 })), "InvalidArgument")
            assert.strictEqual(yield* reasonOf(store.list({ maxKeys: 1001 })), "InvalidArgument")
            const gone = yield* store.deleteMany([...keys, "missing"])
            assert.strictEqual(gone.deleted.length, 2501)
            assert.deepStrictEqual(gone.failed, [])
            assert.deepStrictEqual(sorted((yield* listAll(store, {})).keys), ["p", "p0"])
          }),
        timeout
      )

      if (allKeys) {
        it.effect(
          "lists what a prefix asks for and nothing else, under the keys that were written",
          () =>
            Effect.gen(function* () {
              const store = yield* scratch
              const prefix = "team+x y=z%2F/"
              const keys = ["a+b", "a b", "a%2Fb", "a%252Fb", "a/b", "a=b&c", "\u00fc"].map((name) => prefix + name)
              const others = [
                "team x y=z%2F/a",
                "team+x y=z//a",
                "team+x y=z%252F/a",
                "team%2Bx%20y%3Dz%252F/a",
                "team"
              ]
              yield* Effect.forEach([...keys, ...others], (key) => store.put({ key }), {
                concurrency: 8,
                discard: true
              })
              for (const maxKeys of [1, 3, 1000]) {
                const below = yield* listAll(store, { prefix, maxKeys })
                assert.deepStrictEqual(sorted(below.keys), sorted(keys))
              }
              const streamed = yield* Stream.runCollect(ObjectStores.listAll(store, { prefix }))
              assert.deepStrictEqual(sorted(streamed.map(({ key }) => key)), sorted(keys))
              const { deleted } = yield* store.deleteMany([...keys, "team+x"])
              assert.deepStrictEqual(deleted, [...keys, "team+x"])
              assert.deepStrictEqual(sorted((yield* listAll(store, {})).keys), sorted(others))
            }),
          timeout
        )
      }

      it.effect(
        "a page follows the one before, whatever was written and deleted in between",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            const keys = Array.from({ length: 20 }, (_, i) => `k${String(i).padStart(2, "0")}`)
            yield* Effect.forEach(keys, (key) => store.put({ key }), { concurrency: 8, discard: true })
            const first = yield* store.list({ maxKeys: 5 })
            const seen = first.entries.map((entry) => entry.key)
            const unseen = keys.filter((key) => !seen.includes(key))
            yield* store.delete(seen.at(-1)!)
            yield* store.delete(unseen[3]!)
            yield* store.put({ key: `${seen[0]}-new` })
            const rest: Array<string> = []
            let token = first.nextToken
            while (token !== undefined) {
              const page = yield* store.list({ maxKeys: 4, token })
              rest.push(...page.entries.map((entry) => entry.key))
              token = page.nextToken
            }
            assert.deepStrictEqual(
              sorted(rest.filter((key) => !key.endsWith("-new"))),
              unseen.filter((key) => key !== unseen[3])
            )
          }),
        timeout
      )

      if (delimiters) {
        it.effect(
          "groups keys by a delimiter, also across pages",
          () =>
            Effect.gen(function* () {
              const store = yield* scratch
              const keys = ["a", "a/1", "a/2", "a/2/3", "a-b", "b/1", "c", "d/e/f", "d/e/g", "d/h", "\u00e9/x"]
              yield* Effect.forEach(keys, (key) => store.put({ key }), { concurrency: 8, discard: true })
              for (const maxKeys of [1, 2, 1000]) {
                const top = yield* listAll(store, { delimiter: "/", maxKeys })
                assert.deepStrictEqual(sorted(top.keys), ["a", "a-b", "c"])
                assert.deepStrictEqual(sorted(top.prefixes), ["a/", "b/", "d/", "\u00e9/"])
                const below = yield* listAll(store, { prefix: "d/", delimiter: "/", maxKeys })
                assert.deepStrictEqual(below.keys, ["d/h"])
                assert.deepStrictEqual(below.prefixes, ["d/e/"])
                const partial = yield* listAll(store, { prefix: "a/2", delimiter: "/", maxKeys })
                assert.deepStrictEqual([partial.keys, partial.prefixes], [["a/2"], ["a/2/"]])
              }
              yield* store.deleteMany(["d/e/f", "d/e/g"])
              const left = yield* store.list({ prefix: "d/", delimiter: "/" })
              assert.deepStrictEqual(left.commonPrefixes, [])
            }),
          timeout
        )
      }

      if (allKeys) {
        it.effect(
          "hostile keys are keys like any other",
          () =>
            Effect.gen(function* () {
              const store = yield* scratch
              const long = [
                "l".repeat(200),
                "\u674e".repeat(60),
                "s/".repeat(100),
                `${"A".repeat(79)}/b`,
                "A".repeat(80)
              ]
              const keys = [...hostileKeys, ...long]
              yield* Effect.forEach(keys, (key) => store.put({ key, body: text(key), metadata: { n: "1" } }), {
                concurrency: 8,
                discard: true
              })
              for (const key of keys) {
                assert.strictEqual(read((yield* store.get(key)).body), key)
                const listed = yield* store.list({ prefix: key, maxKeys: 1000 })
                assert.include(
                  listed.entries.map((entry) => entry.key),
                  key
                )
              }
              const all = yield* listAll(store, { maxKeys: 7 })
              assert.deepStrictEqual(ordered ? all.keys : sorted(all.keys), sorted(keys))
              yield* store.copy({ from: keys[0]!, to: "copy" })
              for (const key of keys.slice(0, 10)) {
                yield* store.copy({ from: key, to: `copies/${key}` })
                assert.strictEqual(read((yield* store.get(`copies/${key}`)).body), key)
              }
              const [odd, even] = [keys.filter((_, i) => i % 2 === 1), keys.filter((_, i) => i % 2 === 0)]
              const gone = yield* store.deleteMany(odd)
              assert.deepStrictEqual(gone.deleted, odd)
              for (const key of even) assert.strictEqual(read((yield* store.get(key)).body), key)
              for (const key of odd) assert.strictEqual(yield* reasonOf(store.head(key)), "NoSuchKey")
            }),
          timeout
        )
      }

      it.effect(
        "the length of keys",
        () =>
          Effect.gen(function* () {
            const shared = yield* ObjectStore
            const store = yield* scratch
            const prefix = store.location.slice(shared.location.length)
            const room = keyBytes - prefix.length
            const longest = [
              "k".repeat(room),
              `${"\u00e9".repeat((room - 1) >> 1)}${room % 2 === 1 ? "" : "x"}x`.slice(0, room)
            ]
            const segments = "0123456/".repeat(128).slice(0, room - 1) + "x"
            for (const key of [...longest, segments]) {
              yield* store.put({ key, body: text("long") })
              assert.strictEqual(read((yield* store.get(key)).body), "long")
              assert.include(
                (yield* store.list({ prefix: key.slice(0, 20) })).entries.map((entry) => entry.key),
                key
              )
              yield* store.delete(key)
            }
            const tooLong = "k".repeat(maxKeyBytes + 1)
            assert.strictEqual(yield* reasonOf(store.put({ key: tooLong })), "KeyTooLong")
            assert.strictEqual(yield* reasonOf(store.get(tooLong)), "KeyTooLong")
            assert.strictEqual(yield* reasonOf(store.put({ key: "\u00e9".repeat(513) })), "KeyTooLong")
            assert.strictEqual(yield* reasonOf(store.put({ key: "" })), "InvalidArgument")
            assert.strictEqual(yield* reasonOf(store.put({ key: "a\ud800b" })), "InvalidArgument")
          }),
        timeout
      )

      it.effect(
        "metadata: every printable character, its limit, and what is no metadata",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            for (const [i, value] of hostileValues.entries()) {
              yield* store.put({ key: `v${i}`, metadata: { value } })
              assert.strictEqual((yield* store.get(`v${i}`)).metadata["value"], value)
            }
            yield* store.put({ key: "case", metadata: { MiXed: "1" } })
            assert.deepStrictEqual({ ...(yield* store.head("case")).metadata }, { mixed: "1" })
            const full: Record<string, string> = {}
            for (let i = 0; i < 8; i++) full[`n${i}`] = "x".repeat(254)
            assert.strictEqual(
              Object.entries(full).reduce((sum, [key, value]) => sum + key.length + value.length, 0),
              maxMetadataBytes
            )
            yield* store.put({ key: "full", metadata: full })
            assert.deepStrictEqual({ ...(yield* store.head("full")).metadata }, full)
            assert.strictEqual(
              yield* reasonOf(store.put({ key: "over", metadata: { ...full, n0: "x".repeat(255) } })),
              "MetadataTooLarge"
            )
            for (const value of ["\u00e9", "a\nb", "\u0000", " lead", "trail ", "\u{1f600}"]) {
              assert.strictEqual(yield* reasonOf(store.put({ key: "bad", metadata: { value } })), "InvalidArgument")
            }
            for (const name of ["", "a b", "a:b", "\u00e9", "a\r\nx"]) {
              assert.strictEqual(
                yield* reasonOf(store.put({ key: "bad", metadata: { [name]: "v" } })),
                "InvalidArgument"
              )
            }
            assert.strictEqual(yield* reasonOf(store.head("over")), "NoSuchKey")
            assert.strictEqual(yield* reasonOf(store.head("bad")), "NoSuchKey")
          }),
        timeout
      )

      it.effect(
        "copies with the source's metadata or with new ones",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            yield* store.put({ key: "a", body: text("body"), metadata: { m: "1" }, contentType: "text/plain" })
            yield* store.copy({ from: "a", to: "b" })
            const same = yield* store.get("b")
            assert.deepStrictEqual(
              [read(same.body), { ...same.metadata }, same.contentType],
              ["body", { m: "1" }, "text/plain"]
            )
            yield* store.copy({ from: "a", to: "c", metadata: { n: "2" }, contentType: "text/html" })
            const other = yield* store.get("c")
            assert.deepStrictEqual(
              [read(other.body), { ...other.metadata }, other.contentType],
              ["body", { n: "2" }, "text/html"]
            )
            yield* store.copy({ from: "c", to: "c", metadata: { n: "3" }, contentType: "text/html" })
            assert.deepStrictEqual({ ...(yield* store.head("c")).metadata }, { n: "3" })
            assert.strictEqual(yield* reasonOf(store.copy({ from: "a", to: "a" })), "InvalidArgument")
            assert.strictEqual(yield* reasonOf(store.copy({ from: "missing", to: "d" })), "NoSuchKey")
            if (conditionalCopy) {
              const { etag } = yield* store.head("a")
              yield* store.copy({ from: "a", to: "e", ifSourceMatch: etag })
              yield* store.put({ key: "a", body: text("changed") })
              assert.strictEqual(
                yield* reasonOf(store.copy({ from: "a", to: "e", ifSourceMatch: etag })),
                "PreconditionFailed"
              )
              assert.strictEqual(read((yield* store.get("e")).body), "body")
            }
          }),
        timeout
      )

      it.effect(
        "an interrupted request leaves the old object or the new one, and a store that works",
        () =>
          Effect.gen(function* () {
            const store = yield* scratch
            const large = new Uint8Array(400_000).fill(1)
            yield* store.put({ key: "k", body: new Uint8Array(400_000).fill(0) })
            for (let i = 0; i < 20; i++) {
              const fiber = yield* Effect.forkChild(store.put({ key: "k", body: large }), { startImmediately: true })
              yield* Effect.sleep(i % 5)
              yield* Fiber.interrupt(fiber)
              const { body } = yield* store.get("k")
              assert.strictEqual(body.length, 400_000)
              assert.isTrue(body.every((byte) => byte === body[0]))
            }
            const reading = yield* Effect.forkChild(store.get("k"), { startImmediately: true })
            yield* Fiber.interrupt(reading)
            assert.strictEqual((yield* store.list()).entries.length, 1)
          }),
        timeout
      )
    })
  })
}
