/** The whole database on servers that answer oddly: it works, or says what is wrong; it never takes "wrong" for "nothing". */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import { listAll, listSome, ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StandardStore from "effect-s3db/storage/StandardStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { openOn } from "../fixture.ts"
import { asForm, html, noContent, nothing, type Oddities, serveOddly } from "./oddServer.ts"
import type { S3Tested } from "./s3Stores.ts"

/** Registers the tests of a store on servers that answer oddly. */
export const oddSuite = (S3: S3Tested): void => {
  const User = Schema.Struct({ id: Schema.String, team: Schema.String })
  const options = {
    schema: User,
    primaryKey: "id",
    allowDeleteAll: true,
    partitions: { byTeam: { fields: { team: "string" } } }
  } as const

  /** A prefix with what is written differently in a form and in a URL. */
  const prefix = "team+x y=z"

  const ids = ["a", "a+b", "a b", "a%2Fb", "a/b", "ünï=1"]

  const standard = Effect.fnUntraced(function* (raw: ObjectStore["Service"], below = prefix) {
    return Context.get(yield* StandardStore.make(raw, { prefix: below, baseDelay: "1 millis" }), ObjectStore)
  })

  /** A server whose oddities can be changed while it runs, and a client of it. */
  const started = Effect.fnUntraced(function* (initial: Oddities, below = prefix) {
    let oddities = initial
    const server = yield* serveOddly(() => oddities)
    const raw = yield* S3.make(server.options)
    const store = yield* standard(raw, below)
    const become = (next: Oddities) =>
      Effect.sync(() => {
        oddities = next
      })
    return { ...server, raw, store, become }
  })

  /** Inserts, finds, counts and deletes documents. */
  const roundTrip = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
    const { open } = yield* openOn(store)
    const users = yield* open("users", options)
    for (const id of ids) yield* users.insert({ id, team: "red" })
    const listed = yield* Stream.runCollect(users.listIds())
    assert.deepStrictEqual(listed.toSorted(), ids.toSorted())
    assert.strictEqual(yield* users.count(), ids.length)
    const red = yield* Stream.runCollect(users.listIds({ partition: "byTeam", values: { team: "red" } }))
    assert.deepStrictEqual(red.toSorted(), ids.toSorted())
    yield* users.upsert({ id: "a", team: "blue" })
    yield* users.delete("a b")
    assert.strictEqual(yield* users.deleteAll, ids.length - 1)
    assert.strictEqual(yield* users.count(), 0)
  })

  const works = (oddities: Oddities) =>
    Effect.gen(function* () {
      const { objects, store } = yield* started(oddities)
      yield* roundTrip(store)
      // Neither scratch objects of the probe nor anything of a document stays.
      const left = [...objects.keys()].filter((key) => /s3db-probe|\/(data|partition=)/.test(key))
      assert.deepStrictEqual(left, [])
    })

  const reasonOf = (effect: Effect.Effect<unknown, StoreError>) =>
    Effect.map(Effect.flip(effect), ({ reason }) => reason)

  /** Every way of reading a listing fails, and tells the same reason; `deleteAll` deletes nothing. */
  const failsToList = Effect.fnUntraced(function* (oddities: Oddities, message: RegExp) {
    const { become, objects, store } = yield* started({})
    const { open } = yield* openOn(store)
    const users = yield* open("users", options)
    for (const id of ids) yield* users.insert({ id, team: "red" })
    yield* become(oddities)
    const before = objects.size
    for (const request of [
      Stream.runCollect(users.listIds()),
      users.count(),
      Stream.runCollect(users.listIds({ partition: "byTeam", values: { team: "red" } })),
      users.deleteAll
    ]) {
      const error = yield* Effect.flip(Effect.asVoid(request as Effect.Effect<unknown, unknown>))
      assert.match(String((error as Error).message), message)
    }
    assert.strictEqual(objects.size, before)
  })

  describe(`${S3.name}: listed keys that are written otherwise than the answer says`, () => {
    const percent = encodeURIComponent
    const twice = (key: string) => percent(percent(key))
    const served: ReadonlyArray<readonly [string, Oddities]> = [
      ["as AWS writes them", {}],
      ["raw, and said to be", { written: (key) => key, says: false }],
      ["raw, although url is said", { written: (key) => key }],
      ["percent-encoded, = as %3D, without a word", { written: percent, says: false }],
      ["as a form, without a word", { written: asForm, says: false }],
      ["percent-encoded with + left raw", { written: (key) => percent(key).replaceAll("%2B", "+") }],
      ["encoded twice", { written: twice }],
      ["encoded twice, without a word", { written: twice, says: false }],
      ["as a form, twice", { written: (key) => asForm(asForm(key)) }]
    ]
    for (const [name, oddities] of served) {
      it.live(`${name}: the probe learns it, and all is found`, () => works(oddities))
    }

    it.live("in no way that can be read: opening is refused, and says what to do", () =>
      Effect.gen(function* () {
        const cases: ReadonlyArray<readonly [Oddities, RegExp]> = [
          [{ written: (key) => key.toUpperCase() }, /which was never written|others, such as/],
          [{ written: (key) => key.replaceAll(/[+ ]/g, "_") }, /others, such as/],
          [{ list: () => html }, /not one of S3 to a listing/],
          [{ ignoresPrefix: true }, /others, such as/]
        ]
        for (const [oddities, message] of cases) {
          const { objects, store } = yield* started(oddities)
          objects.set("another program's", {
            body: Buffer.from(""),
            etag: '"x"',
            meta: {},
            type: "",
            modified: new Date(0)
          })
          const reason = yield* reasonOf(CapabilityProbe.probe(store))
          assert.strictEqual(reason._tag, "Unsupported")
          assert.strictEqual("feature" in reason && reason.feature, "listing")
          assert.match(reason.description, message)
          assert.match(reason.description, /use the endpoint of the store itself, .* or another store/)
          assert.deepStrictEqual([...objects.keys()], ["another program's"], "the scratch objects are gone")
        }
      })
    )

    it.live("a wrong listing is told from one without order", () =>
      Effect.gen(function* () {
        const { store } = yield* started({ ignoresStartAfter: true })
        const capabilities = yield* CapabilityProbe.probe(store)
        assert.isFalse(capabilities.orderedList)
        assert.isUndefined(capabilities.listedKeys)
        yield* roundTrip(store)
      })
    )

    it.live("what the probe has learned is remembered: it makes no request the next time", () =>
      Effect.gen(function* () {
        const { options: other, seen, store } = yield* started({ written: percent, says: false })
        yield* roundTrip(store)
        const before = seen.length
        const again = yield* standard(yield* S3.make(other))
        yield* openOn(again)
        assert.isBelow(seen.length - before, 5)
        yield* roundTrip(again)
      })
    )

    it.live("a server that changes later: an error, never an empty list", () =>
      Effect.gen(function* () {
        yield* failsToList({ written: percent, says: false }, /others, such as/)
        yield* failsToList({ written: (key) => percent(key).replaceAll("%2B", "+") }, /others, such as/)
        yield* failsToList({ written: twice }, /others, such as/)
        yield* failsToList({ ignoresPrefix: true, written: (key) => `x${key}` }, /others, such as/)
      })
    )
  })

  describe(`${S3.name}: answers that are none of S3`, () => {
    for (const [name, instead] of Object.entries({
      "a page of HTML": html,
      "an empty body": nothing,
      "no content": noContent,
      "another document": { status: 200, type: "application/xml", body: "<Other/>" },
      "half a document": { status: 200, body: "<ListBucketResult><IsTruncated>false</IsTruncated>" }
    })) {
      it.live(`${name}, to a listing, is no empty listing`, () =>
        failsToList({ list: instead }, /not one of S3 to a listing/)
      )

      it.live(`${name}, to DeleteObjects, deletes nothing`, () =>
        Effect.gen(function* () {
          const { become, objects, store } = yield* started({})
          const { open } = yield* openOn(store)
          const users = yield* open("users", options)
          for (const id of ids) yield* users.insert({ id, team: "red" })
          yield* become({ deleteMany: instead })
          const reason = yield* reasonOf(store.deleteMany(["x", "y"]))
          assert.strictEqual(reason._tag, "Unexpected")
          assert.match(reason.description, /not one of S3 to the deletion of many objects/)
          assert.match(reason.description, /check that the endpoint is that of the S3 API/)
          yield* Effect.flip(users.deleteAll)
          yield* become({})
          assert.strictEqual(yield* users.count(), ids.length)
          assert.isAbove(objects.size, ids.length)
        })
      )
    }

    it.live("an answer that begins like many documents is looked at in no time to speak of", () =>
      failsToList({ list: { status: 200, body: `${"<?a?><!--b-->".repeat(1000)}!` } }, /not one of S3 to a listing/)
    )

    it.live("an error with status 200, to a listing, is an error", () =>
      failsToList(
        { list: { status: 200, type: "application/xml", body: "<Error><Code>AccessDenied</Code></Error>" } },
        /AccessDenied/
      )
    )
  })

  describe(`${S3.name}: listings that do not get on`, () => {
    for (const tokens of ["the same", "others for the same", "a circle"] as const) {
      it.live(`continuation tokens: ${tokens}`, () =>
        Effect.gen(function* () {
          const { become, raw, seen, store } = yield* started({ page: 2 })
          const { open } = yield* openOn(store)
          const users = yield* open("users", options)
          for (const id of ids) yield* users.insert({ id, team: "red" })
          yield* become({ page: 2, tokens })
          const before = seen.length
          const loops = [
            Stream.runCollect(listAll(raw, {})),
            Stream.runCollect(listAll(store, { keysOnly: true })),
            // Token by token, as somebody does who holds no state.
            Effect.gen(function* () {
              for (let token: string | undefined; ;) {
                token = (yield* raw.list({ token })).nextToken
                if (token === undefined) return
              }
            })
          ]
          for (const loop of loops) {
            const reason = yield* reasonOf(Effect.asVoid(loop as Effect.Effect<unknown, StoreError>))
            assert.strictEqual(reason._tag, "Unexpected")
            assert.match(reason.description, /does not get on/)
          }
          assert.isBelow(seen.length - before, 60)
        })
      )

      it.live(`continuation tokens, on a store without order: ${tokens}`, () =>
        Effect.gen(function* () {
          const { become, seen, store } = yield* started({ ignoresStartAfter: true, page: 20 })
          const { open } = yield* openOn(store)
          const users = yield* open("users", options)
          for (const id of ids) yield* users.insert({ id, team: "red" })
          yield* become({ ignoresStartAfter: true, page: 2, tokens })
          const before = seen.length
          for (const request of [users.count(), Stream.runCollect(users.listIds())]) {
            const error = yield* Effect.flip(Effect.asVoid(request as Effect.Effect<unknown, unknown>))
            assert.match(String((error as Error).message), /does not get on/)
          }
          assert.isBelow(seen.length - before, 60)
          // All is deleted, and still there is said to be more.
          const error = yield* Effect.flip(users.deleteAll)
          assert.match(error.message, /does not get on/)
          assert.isBelow(seen.length - before, 1200)
        })
      )
    }

    it.live("a store that begins before the key that it is told to begin after", () =>
      Effect.gen(function* () {
        const { become, seen, store } = yield* started({ page: 20 })
        const { open } = yield* openOn(store)
        const users = yield* open("users", options)
        for (const id of ids) yield* users.insert({ id, team: "red" })
        yield* become({ page: 2, ignoresStartAfter: true })
        const before = seen.length
        for (const request of [users.count(), Stream.runCollect(users.listIds())]) {
          const error = yield* Effect.flip(Effect.asVoid(request as Effect.Effect<unknown, unknown>))
          assert.match(String((error as Error).message), /listed some before it/)
        }
        assert.isBelow(seen.length - before, 20)
        // What it has deleted is not there to be listed again.
        assert.strictEqual(yield* users.deleteAll, ids.length)
      })
    )

    const pages: Readonly<Record<string, (keys: ReadonlyArray<string>) => ReadonlyArray<ReadonlyArray<string>>>> = {
      "a key twice in a page": (keys) => [[...keys.slice(0, 1), ...keys]],
      "a page that begins with the end of the one before": (keys) => [keys.slice(0, 3), keys.slice(2)],
      "a page that begins before the one before": (keys) => [keys.slice(2), keys.slice(0, 2)],
      "a page with nothing in it between pages that overlap": (keys) => [keys.slice(0, 3), [], keys.slice(2)],
      "a page out of order": (keys) => [keys.toReversed()]
    }
    for (const [name, pagesOf] of Object.entries(pages)) {
      it.live(`a store that lists in order, and then does not: ${name}`, () =>
        Effect.gen(function* () {
          const { become, raw, store } = yield* started({})
          const { open } = yield* openOn(store)
          const users = yield* open("users", options)
          for (const id of ids) yield* users.insert({ id, team: "red" })
          let all: ReadonlyArray<ReadonlyArray<string>> = []
          const list = (url: URL, keys: ReadonlyArray<string>) => {
            const token = url.searchParams.get("continuation-token")
            if (token === null)
              all = pagesOf(keys.filter((key) => key.startsWith(url.searchParams.get("prefix") ?? "")))
            const at = Number(token)
            const more = at + 1 < all.length
            const contents = all[at]!.map((key) => `<Contents><Key>${asForm(key)}</Key><Size>99</Size></Contents>`)
            const next = more ? `<NextContinuationToken>${at + 1}</NextContinuationToken>` : ""
            const head = `<EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${next}`
            return { status: 200, body: `<ListBucketResult>${head}${contents.join("")}</ListBucketResult>` }
          }
          yield* become({ list })
          const requests: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
            Stream.runCollect(listAll(raw, {})),
            Stream.runCollect(listAll(store, { keysOnly: true })),
            users.count(),
            Stream.runCollect(users.listIds())
          ]
          for (const request of requests) {
            const error = yield* Effect.flip(request)
            // Who goes on after a key meets what comes before it.
            assert.match(String((error as Error).message), /its pages cannot be relied on|listed some before it/)
          }
        })
      )
    }

    it.live("pages with nothing in them are not the end", () =>
      Effect.gen(function* () {
        const { become, raw, store } = yield* started({})
        const { open } = yield* openOn(store)
        const users = yield* open("users", options)
        for (const id of ids) yield* users.insert({ id, team: "red" })
        yield* become({ page: 2, emptyPages: true })
        assert.strictEqual(yield* users.count(), ids.length)
        assert.lengthOf(yield* Stream.runCollect(users.listIds()), ids.length)
        assert.lengthOf((yield* raw.list()).entries, 0)
        assert.lengthOf((yield* listSome(raw, {})).entries, 2)
        assert.strictEqual(yield* users.deleteAll, ids.length)
      })
    )
  })

  describe(`${S3.name}: DeleteObjects as servers have it`, () => {
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`)

    const deleting = Effect.fnUntraced(function* (oddities: Oddities) {
      const { become, objects, raw, seen } = yield* started(oddities)
      const rounds: Array<Readonly<Record<string, number>>> = []
      for (let round = 0; round < 2; round++) {
        yield* Effect.forEach(keys, (key) => raw.put({ key }), { concurrency: 8, discard: true })
        const before = seen.length
        const result = yield* raw.deleteMany(keys)
        const requests: Record<string, number> = {}
        for (const { method } of seen.slice(before)) requests[method] = (requests[method] ?? 0) + 1
        rounds.push(requests)
        assert.deepStrictEqual(
          result.failed.map(({ key }) => key),
          keys.filter((key) => objects.has(key))
        )
        assert.deepStrictEqual(
          result.deleted,
          keys.filter((key) => !objects.has(key))
        )
      }
      return { rounds, objects, become, raw }
    })

    it.live("Content-MD5 is required: it is sent, from the second request on", () =>
      Effect.gen(function* () {
        yield* works({ deletion: "needs md5" })
        const { objects, rounds } = yield* deleting({ deletion: "needs md5" })
        assert.strictEqual(objects.size, 0)
        assert.deepStrictEqual(rounds, [{ POST: 2 }, { POST: 1 }])
      })
    )

    for (const [status, code] of [
      [501, "NotImplemented"],
      [405, "MethodNotAllowed"],
      [400, "MalformedXML"]
    ] as const) {
      it.live(`${status} ${code}: keys are deleted one by one, and that is learned`, () =>
        Effect.gen(function* () {
          yield* works({ deleteMany: { status, code } })
          const { objects, rounds } = yield* deleting({ deleteMany: { status, code } })
          assert.strictEqual(objects.size, 0)
          assert.deepStrictEqual(rounds, [{ POST: 2, DELETE: 40 }, { DELETE: 40 }])
        })
      )
    }

    it.live("an answer that names no key: each is looked at, and later ones are deleted one by one", () =>
      Effect.gen(function* () {
        yield* works({ deletion: "silent" })
        const { rounds } = yield* deleting({ deletion: "silent" })
        assert.deepStrictEqual(rounds, [{ POST: 1, HEAD: 40 }, { DELETE: 40 }])
      })
    )

    it.live("an answer that names some keys: the others are looked at", () =>
      Effect.gen(function* () {
        yield* works({ deletion: "forgetful" })
        const { rounds } = yield* deleting({ deletion: "forgetful" })
        assert.deepStrictEqual(rounds, [
          { POST: 1, HEAD: 20 },
          { POST: 1, HEAD: 20 }
        ])
      })
    )

    it.live("a key that was not deleted, and not told of, is not said to be gone", () =>
      Effect.gen(function* () {
        const { raw } = yield* deleting({ deletion: "deletes half" })
        yield* Effect.forEach(keys, (key) => raw.put({ key }), { concurrency: 8, discard: true })
        const { failed } = yield* raw.deleteMany(keys)
        assert.lengthOf(failed, 20)
        assert.isTrue(failed.every(({ reason }) => reason._tag === "Unexpected"))
      })
    )

    it.live("no permission is not taken for an inability", () =>
      Effect.gen(function* () {
        const { raw, seen } = yield* started({ deleteMany: { status: 403, code: "AccessDenied" } })
        assert.strictEqual((yield* reasonOf(raw.deleteMany(keys)))._tag, "AccessDenied")
        assert.strictEqual(seen.length, 1)
      })
    )
  })

  describe(`${S3.name}: clocks that differ`, () => {
    for (const [name, clock, said] of [
      ["an hour ahead", 3_600_000, /60 minutes behind/],
      ["an hour behind", -3_600_000, /60 minutes ahead of/]
    ] as const) {
      it.live(`the store is ${name}: opening and all that follows succeed, with one warning`, () =>
        Effect.gen(function* () {
          const lines: Array<string> = []
          const logger = Logger.make(({ message }) => {
            lines.push(String(message))
          })
          const { seen, store } = yield* started({ clock })
          yield* Effect.provide(roundTrip(store), Logger.layer([logger]))
          const warnings = lines.filter((line) => line.includes("the clock of this machine"))
          assert.lengthOf(warnings, 1)
          assert.match(warnings[0]!, said)
          assert.match(warnings[0]!, /set the clock/)
          assert.isAbove(seen.length, 40)
        })
      )
    }

    it.live("a clock that jumps while the store is in use", () =>
      Effect.gen(function* () {
        const { become, store } = yield* started({})
        const { open } = yield* openOn(store)
        const users = yield* open("users", options)
        yield* users.insert({ id: "a", team: "red" })
        yield* become({ clock: 7_200_000 })
        yield* Effect.forEach(["b", "c", "d"], (id) => users.insert({ id, team: "red" }), { concurrency: 3 })
        yield* become({})
        assert.strictEqual(yield* users.count(), 4)
        yield* users.delete("a")
      })
    )

    it.live("what is forbidden is not asked for again", () =>
      Effect.gen(function* () {
        const { raw, seen } = yield* started({ list: { status: 403, code: "AccessDenied" } })
        assert.strictEqual((yield* reasonOf(raw.list()))._tag, "AccessDenied")
        assert.strictEqual(seen.length, 1)
      })
    )
  })

  if (S3.ownsConnections)
    describe(`${S3.name}: connections that were idle for long`, () => {
      const many = Array.from({ length: 8 }, (_, i) => `k${i}`)

      /** Several connections that have been used; every use of them from now on is answered by a reset. */
      const stale = Effect.fnUntraced(function* (keepAlive?: string) {
        const oddities = keepAlive === undefined ? {} : { keepAlive }
        const { become, store, ...rest } = yield* started(oddities)
        const { open } = yield* openOn(store)
        const users = yield* open("users", { schema: User, primaryKey: "id" })
        yield* Effect.forEach(many, (id) => users.insert({ id, team: "red" }), { concurrency: 8, discard: true })
        yield* become({ ...oddities, breaks: ({ used }) => used > 0 })
        return { ...rest, become, users, store }
      })

      it.effect("longer than servers keep them: they are not used again, and every write succeeds", () =>
        Effect.gen(function* () {
          const { users } = yield* stale()
          for (const i of [0, 1, 2, 3, 4]) {
            for (const write of [
              users.upsert({ id: `k${i}`, team: "blue" }),
              users.replace({ id: `k${i}`, team: "green" }),
              users.delete(`k${i}`)
            ]) {
              yield* TestClock.adjust("1 minute")
              yield* write
            }
          }
        })
      )

      it.effect("a server that says for how long it keeps them is believed, less a second", () =>
        Effect.gen(function* () {
          const connections = Effect.fnUntraced(function* (keepAlive: string, pause: string) {
            const { options: to, state } = yield* serveOddly(() => ({ keepAlive }))
            const store = yield* S3.make(to)
            yield* store.put({ key: "k" })
            yield* TestClock.adjust(pause as "1 second")
            yield* store.put({ key: "k" })
            return state.connections
          })
          assert.strictEqual(yield* connections("timeout=60, max=100", "58 seconds"), 1)
          assert.strictEqual(yield* connections("timeout=60, max=100", "59 seconds"), 2)
          assert.strictEqual(yield* connections("timeout=2", "900 millis"), 1)
          assert.strictEqual(yield* connections("timeout=2", "1 second"), 2)
          assert.strictEqual(yield* connections("of no meaning", "3 seconds"), 1)
          assert.strictEqual(yield* connections("of no meaning", "4 seconds"), 2)
        })
      )

      it.live("one that breaks takes the other idle ones with it: what may be repeated goes over a new one", () =>
        Effect.gen(function* () {
          const { become, seen, store, users } = yield* stale()
          const requests = (effect: Effect.Effect<unknown, unknown>) =>
            Effect.suspend(() => {
              const before = seen.length
              return Effect.map(effect, () => seen.slice(before).map(({ method }) => method))
            })
          const again = Effect.gen(function* () {
            yield* become({})
            yield* Effect.forEach(many, (id) => users.get(id), { concurrency: 8, discard: true })
            yield* become({ breaks: ({ used }) => used > 0 })
          })
          assert.deepStrictEqual(yield* requests(users.get("k0")), ["GET", "GET"])
          yield* again
          assert.deepStrictEqual(yield* requests(users.insert({ id: "new", team: "red" })), ["PUT", "PUT"])
          yield* again
          assert.deepStrictEqual(yield* requests(users.upsert({ id: "newer", team: "red" })), [
            "GET",
            "GET",
            "PUT",
            "PUT"
          ])
          yield* again
          assert.deepStrictEqual(yield* requests(users.update("k0", { team: "blue" })), ["GET", "GET", "PUT", "PUT"])
          yield* again
          assert.deepStrictEqual(yield* requests(store.list()), ["GET", "GET"])
        })
      )
    })
}
