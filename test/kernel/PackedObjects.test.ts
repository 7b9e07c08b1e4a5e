import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import type { Json } from "effect-s3db/encoding/Json"
import * as Lease from "effect-s3db/kernel/Lease"
import * as Parts from "effect-s3db/kernel/Segments"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { crashing, keysOf, memory, moments } from "../fixture.ts"
import {
  assertSame,
  copiesOf,
  decode,
  encode,
  listed,
  name,
  noting,
  on,
  packing,
  prefix,
  put,
  range,
  scanned,
  type Seen,
  type Store,
  type Takes,
  there
} from "./packedObjects.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-packed-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const stores = {
  memory,
  "a folder": Effect.flatMap(folder, (path) => Effect.orDie(FileStore.make({ path })))
}

for (const [where, open] of Object.entries(stores)) {
  describe(`PackedObjects on ${where}`, () => {
    it.effect("has copies of what is packed, and reads what is new, changed or left out", () =>
      Effect.gen(function* () {
        const store = yield* open
        for (const i of range(10)) yield* put(store, name(i), i === 3 ? "-3" : `v${i}`)
        assert.strictEqual(yield* assertSame(store), 10)
        const packed = on(store)
        assert.deepStrictEqual(yield* packed.compact(packing), { keys: 10, read: 10, packs: 3, loose: 1 })
        assert.strictEqual(yield* assertSame(store), 1)
        yield* put(store, name(4), "other")
        yield* put(store, name(20), "new")
        yield* put(store, "00003a", "between")
        yield* store.delete(listed + name(7))
        assert.strictEqual(yield* assertSame(store), 4)
        assert.strictEqual((yield* packed.compact(packing)).read, 3)
        assert.strictEqual(yield* assertSame(store), 1)
        // Nothing has changed: nothing is read or written.
        assert.deepStrictEqual(yield* packed.compact(packing), { keys: 11, read: 0, packs: 0, loose: 1 })
        yield* packed.reset
        assert.deepStrictEqual(
          (yield* keysOf(store, prefix)).filter((key) => key.includes("/part/")),
          []
        )
        assert.strictEqual(yield* assertSame(store), 11)
        yield* packed.compact(packing)
        assert.strictEqual(yield* assertSame(store), 1)
      }).pipe(Effect.scoped)
    )

    it.effect("has columns and statistics", () =>
      Effect.gen(function* () {
        const store = yield* open
        for (const i of range(4)) yield* put(store, name(i), ["a", "bb", "-c", "ddd"][i]!)
        const packed = on(store)
        yield* packed.compact(packing)
        const [pack] = yield* packed.read
        const index = yield* packed.index(pack!)
        assert.strictEqual(index.rows, 3)
        assert.strictEqual(index.statistics.get("value"), 3)
        const columns = (...names: ReadonlyArray<string>) =>
          Effect.map(packed.columns(pack!, index, names), (found) => Option.getOrUndefined(found))
        const [value, odd] = [
          ["value", ["a", "bb", "ddd"]],
          ["odd", [-0, undefined, -0]]
        ] as const
        assert.deepStrictEqual(
          yield* columns("value", "odd"),
          new Map<string, ReadonlyArray<Json | undefined>>([value, odd])
        )
        assert.deepStrictEqual(yield* columns("odd"), new Map([odd]))
        assert.deepStrictEqual(yield* columns(), new Map())
        assert.isUndefined(yield* columns("value", "none"))
        const rows = yield* packed.rows(pack!, index)
        assert.deepStrictEqual(
          rows.map(({ body }) => decode(body)),
          ["a", "bb", "ddd"]
        )
      }).pipe(Effect.scoped)
    )
  })
}

describe("PackedObjects", () => {
  it.effect("keeps what it has replaced for a while", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(8)) yield* put(store, name(i), `v${i}`)
      const packed = on(store, { grace: "1 minute" })
      yield* packed.compact(packing)
      const before = yield* packed.read
      yield* put(store, name(1), "other")
      yield* packed.compact(packing)
      const open = Effect.forEach(before, packed.whole)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(open)))
      yield* TestClock.adjust("30 seconds")
      yield* packed.compact(packing)
      yield* packed.compact(packing)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(open)))
      yield* TestClock.adjust("31 seconds")
      yield* packed.compact(packing)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(open)))
      assert.strictEqual((yield* keysOf(store, `${prefix}/part/`)).length, 2)
      assert.strictEqual(yield* assertSame(store), 0)
    })
  )

  it.effect("makes packs anew whose columns were made otherwise, without reading the objects", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(8)) yield* put(store, name(i), `v${i}`)
      const packed = on(store)
      yield* packed.compact(packing)
      assert.deepStrictEqual(yield* packed.compact({ ...packing, tag: "2" }), { keys: 8, read: 0, packs: 2, loose: 0 })
      const [pack] = yield* packed.read
      assert.strictEqual((yield* packed.index(pack!)).tag, "2")
    })
  )

  it.effect("takes in the requests that it says", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const options = { objectsPerPack: 1000, leastChanges: 10 }
      for (const i of range(3000)) yield* put(store, name(i), `v${i}`)
      const packed = on(store, options)
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* counter.reset
        yield* effect
        const { delete: _, get, list, put } = yield* counter.counts
        return { get, list, put }
      })
      yield* packed.compact(packing)
      // The last page says that nothing comes after it.
      assert.deepStrictEqual(yield* made(scanned(store, options)), { get: 4, list: 4, put: 0 })
      // It says how new they are.
      assert.deepStrictEqual(yield* made(packed.compact(packing)), { get: 4, list: 4, put: 1 })
      for (const i of range(9)) yield* put(store, name(i), "other")
      assert.deepStrictEqual(yield* made(packed.compact(packing)), { get: 4, list: 4, put: 1 })
      assert.deepStrictEqual(yield* made(scanned(store, options)), { get: 13, list: 4, put: 0 })
      yield* put(store, name(9), "other")
      // The manifest and the indexes, ten objects, and the rows.
      assert.deepStrictEqual(yield* made(packed.compact(packing)), { get: 15, list: 4, put: 2 })
    })
  )

  it.effect("lists nothing of what is new enough", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const options = { objectsPerPack: 10, leastChanges: 3 }
      const packed = on(store, options)
      const since = Effect.fnUntraced(function* (notBefore: number) {
        yield* counter.reset
        const { all } = yield* scanned(store, options, undefined, undefined, { notBefore })
        const { get, list } = yield* counter.counts
        return { all, get, list }
      })
      yield* TestClock.setTime(1000)
      for (const i of range(30)) yield* put(store, name(i), i === 3 ? "-3" : `v${i}`)
      yield* packed.compact(packing)
      const first = yield* there(store)
      // The manifest, three packs, and what was left out of them.
      assert.deepStrictEqual(yield* since(1000), { all: first, get: 5, list: 0 })
      assert.deepStrictEqual(
        (yield* packed.read).map(({ wholeAt }) => wholeAt),
        [1000, 1000, 1000]
      )
      yield* TestClock.setTime(2000)
      yield* put(store, name(12), "other")
      yield* store.delete(listed + name(13))
      yield* put(store, name(40), "new")
      assert.deepStrictEqual((yield* since(1000)).all, first)
      assert.deepStrictEqual((yield* since(1001)).all, yield* there(store))
      // Too little has changed in the second one and after the last one, which are listed.
      yield* packed.compact(packing)
      assert.deepStrictEqual(
        (yield* packed.read).map(({ wholeAt }) => wholeAt),
        [2000, 1000, 2000]
      )
      const { all, list } = yield* since(2000)
      assert.deepStrictEqual(all, yield* there(store))
      assert.strictEqual(list, 2)
      // What comes after the last one may be older than the packs, too.
      assert.deepStrictEqual((yield* since(1000)).all, first)
      yield* packed.compact({ ...packing, tag: "2" })
      yield* store.delete(listed + name(40))
      yield* TestClock.setTime(3000)
      yield* packed.compact(packing)
      assert.deepStrictEqual(yield* since(3000), { all: yield* there(store), get: 5, list: 0 })
    })
  )

  it.effect("lists the range of a pack that has become larger, or whose pack is gone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const packed = on(store, { objectsPerPack: 3 })
      for (const i of range(9)) yield* put(store, name(i), `v${i}`)
      yield* packed.compact(packing)
      const parts = Parts.make(store, { prefix })
      const { parts: all, version } = yield* parts.read
      yield* store.delete(`${prefix}/part/g=${all[0]!.name}`)
      const read = scanned(store, { objectsPerPack: 3 }, undefined, undefined, { notBefore: 0 })
      assert.deepStrictEqual((yield* read).all, yield* there(store))
      // Now nothing is about the first keys but the second pack.
      yield* parts.commit({ remove: [all[0]!], expected: version })
      assert.deepStrictEqual(
        (yield* packed.read).map(({ wholeAt }) => wholeAt),
        [undefined, 0]
      )
      assert.deepStrictEqual((yield* read).all, yield* there(store))
    })
  )

  it.effect("a pack with keys of the range before its own is not taken for its range", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const narrow: Store = { ...store, list: (one) => store.list({ ...one, maxKeys: 1 }) }
      const options = { objectsPerPack: 3, leastChanges: 3 }
      for (const key of ["b0", "b1", "b2"]) yield* put(store, key, "v")
      yield* on(narrow, options).compact(packing)
      // The range is cut after `b0`, and too little has changed in what is left of it.
      for (const key of ["a0", "a1", "b1x", "b1y"]) yield* put(store, key, "v")
      yield* on(narrow, options).compact(packing)
      for (const key of ["b1x", "b1y"]) yield* store.delete(listed + key)
      yield* TestClock.setTime(1000)
      for (const key of ["a0", "a1", "b0"]) yield* put(store, key, "other")
      yield* on(narrow, options).compact(packing)
      const { all } = yield* scanned(store, options, undefined, undefined, { notBefore: 1000 })
      assert.deepStrictEqual(all, yield* there(store))
    })
  )

  it.effect("what was put in a range of which nothing was left is not missed by what was listed after it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const options = { objectsPerPack: 2 }
      for (const i of range(4)) yield* put(store, name(i), `v${i}`)
      yield* on(store, options).compact(packing)
      for (const i of [2, 3]) yield* store.delete(listed + name(i))
      // After the listing of the range that was emptied, before that of what comes after it.
      const between = Effect.gen(function* () {
        yield* TestClock.setTime(2000)
        yield* put(store, name(2), "new")
        yield* TestClock.setTime(3000)
      })
      const late: Store = {
        ...store,
        list: (one) => Effect.tap(store.list(one), () => (one?.startAfter === listed + name(1) ? between : Effect.void))
      }
      yield* TestClock.setTime(1000)
      yield* on(late, options).compact(packing)
      const since = (notBefore: number) => scanned(store, options, undefined, undefined, { notBefore })
      assert.deepStrictEqual((yield* since(2500)).all, yield* there(store))
      yield* on(store, options).compact(packing)
      assert.deepStrictEqual((yield* since(3000)).all, yield* there(store))
    })
  )

  it.effect("where no compaction has said anything, all is listed however old it may be", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const always = scanned(store, undefined, undefined, undefined, { notBefore: Number.NEGATIVE_INFINITY })
      for (const i of range(6)) yield* put(store, name(i), `v${i}`)
      assert.deepStrictEqual((yield* always).all, yield* there(store))
      yield* on(store).compact(packing)
      const packed = yield* there(store)
      yield* put(store, name(1), "other")
      assert.deepStrictEqual((yield* always).all, packed)
      // As earlier releases have named it.
      const parts = Parts.make(store, { prefix })
      const { parts: all, version } = yield* parts.read
      const notes = all.map(({ note, ...part }) => {
        const { e: _e, w: _w, ...rest } = { ...(note as { readonly e?: Json; readonly w?: Json }) }
        return { ...part, note: rest }
      })
      yield* parts.commit({ remove: all, add: notes, expected: version })
      assert.deepStrictEqual((yield* always).all, yield* there(store))
    })
  )

  it.effect("a compaction whose clock was wrong is not believed before its time", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const options = { leastChanges: 3 }
      const since = (notBefore: number) => scanned(store, options, undefined, undefined, { notBefore })
      for (const i of range(9)) yield* put(store, name(i), `v${i}`)
      yield* TestClock.setTime(1_000_000)
      yield* on(store, options).compact(packing)
      yield* TestClock.setTime(1000)
      yield* put(store, name(1), "other")
      yield* put(store, name(9), "new")
      // Too little has changed for it to be said anew.
      yield* on(store, options).compact(packing)
      yield* TestClock.setTime(3000)
      assert.deepStrictEqual((yield* since(2000)).all, yield* there(store))
      // Nor when that has come: a compaction has known better.
      yield* TestClock.setTime(1_000_000)
      assert.deepStrictEqual((yield* since(1_000_000)).all, yield* there(store))
    })
  )

  it.effect("a time in the future is not told as that since when copies are whole", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* TestClock.setTime(1_000_000)
      for (const i of range(4)) yield* put(store, name(i), `v${i}`)
      yield* on(store).compact(packing)
      assert.strictEqual(yield* on(store).wholeAt, 1_000_000)
      yield* TestClock.setTime(1000)
      assert.isUndefined(yield* on(store).wholeAt)
    })
  )

  it.effect("a compaction that another was faster than does not name a pack again that was replaced", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const options = { objectsPerPack: 2 }
      for (const i of range(4)) yield* put(store, name(i), `v${i}`)
      yield* on(store, options).compact(packing)
      for (const i of [2, 3]) yield* store.delete(listed + name(i))
      const { parts } = yield* Parts.make(store, { prefix }).read
      const lost = `${prefix}/part/g=${parts[1]!.name}`
      yield* store.delete(lost)
      // When the first one has looked at the first pack, and finds that the second is gone.
      let isFirst = true
      const faster = Effect.gen(function* () {
        if (!isFirst) return
        isFirst = false
        yield* put(store, name(1), "other")
        yield* Effect.orDie(on(store, options).compact(packing))
      })
      const slow: Store = {
        ...store,
        get: (key, ...rest) => Effect.andThen(key === lost ? faster : Effect.void, store.get(key, ...rest))
      }
      yield* on(slow, options).compact(packing)
      assert.isFalse(isFirst)
      assert.strictEqual((yield* on(store, options).read).length, 1)
      yield* on(store, options).compact(packing)
      assert.strictEqual(yield* on(store, options).wholeAt, 0)
      assert.deepStrictEqual((yield* scanned(store, options)).all, yield* there(store))
    })
  )

  it.effect("random writes between compactions that crash anywhere: what is read is as new as was asked for", () =>
    Effect.gen(function* () {
      for (const seed of range(16)) {
        const store = yield* memory
        const noted = noting(store)
        const options = { objectsPerPack: 1 + (seed % 5), leastChanges: 1 + (seed % 3), grace: seed % 2 === 0 ? 0 : 50 }
        yield* Effect.gen(function* () {
          for (let now = 1; now <= 60; now++) {
            yield* TestClock.setTime(seed * 1000 + now)
            const kind = yield* Random.nextIntBetween(0, 10)
            const key = name(yield* Random.nextIntBetween(0, 14))
            if (kind === 0) yield* noted.remove(key)
            else if (kind < 6) yield* noted.put(key, `${kind === 1 ? "-" : ""}${now}`)
            else if (kind < 8) {
              const at = yield* Random.nextIntBetween(0, 60)
              yield* Effect.exit(
                on(crashing(store, at, kind === 6 ? "before" : "after").store, options).compact(packing)
              )
            } else {
              const notBefore = seed * 1000 + now - (yield* Random.nextIntBetween(0, 30))
              const { all } = yield* scanned(store, options, undefined, undefined, { notBefore })
              noted.assertSince(all, notBefore, `${seed}, ${now}`)
            }
          }
        }).pipe(Random.withSeed(`${seed}`))
      }
    })
  )

  it.effect("of what is put here and nowhere else, takes beside the listing one request for two thousand", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const packed = on(store, { objectsPerPack: 1000, leastChanges: 10, writtenBytes: 64 * 1024 * 1024 })
      const grow = Effect.fnUntraced(function* (from: number, to: number) {
        for (let i = from; i < to; i++) {
          const value = `v${i}`
          const { etag } = yield* put(store, name(i), value)
          packed.written.hand({ key: listed + name(i), etag, metadata: { v: value }, body: encode(value) })
        }
        yield* counter.reset
        const { packs, read } = yield* packed.compact(packing)
        const { get, list, put: puts } = yield* counter.counts
        return { packs, read, get, list, puts }
      })
      // The manifest, which is not there; ten packs, and eight and two in one change of it.
      assert.deepStrictEqual(yield* grow(0, 10_000), { packs: 10, read: 0, get: 1, list: 10, puts: 12 })
      // What is there is looked at: the index of each pack.
      assert.deepStrictEqual(yield* grow(10_000, 14_000), { packs: 4, read: 0, get: 11, list: 14, puts: 5 })
      assert.strictEqual((yield* packed.read).length, 14)
      assert.strictEqual(yield* assertSame(store, { objectsPerPack: 1000 }), 0)
    })
  )

  it.effect("does again what another compaction has been faster with", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const options = { objectsPerPack: 2, leastChanges: 1 }
      for (const i of range(20)) yield* put(store, name(i), `v${i}`)
      const other = on(store, options)
      let isFirst = true
      const racing: Store = {
        ...store,
        put: (request) =>
          Effect.suspend(() => {
            const isNow = isFirst && request.key.endsWith("/manifest")
            if (isNow) isFirst = false
            return Effect.andThen(isNow ? Effect.orDie(other.compact(packing)) : Effect.void, store.put(request))
          })
      }
      const { keys } = yield* on(racing, options).compact(packing)
      assert.isFalse(isFirst)
      assert.strictEqual(keys, 20)
      assert.strictEqual(yield* assertSame(store, options), 0)
      assert.deepStrictEqual(yield* on(store, options).compact(packing), { keys: 20, read: 0, packs: 0, loose: 0 })
    })
  )

  it.effect("lists the parts of a range at once", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const options = { objectsPerPack: 3000 }
      for (const i of range(3000)) yield* put(store, name(2 * i), `v${i}`)
      const packed = on(store, options)
      yield* packed.compact(packing)
      let now = 0
      let most = 0
      const watched: Store = {
        ...store,
        list: (request) =>
          Effect.suspend(() => {
            most = Math.max(most, (now += 1))
            return Effect.andThen(Effect.yieldNow, store.list(request))
          }).pipe(Effect.ensuring(Effect.sync(() => (now -= 1))))
      }
      const listsOf = Effect.gen(function* () {
        yield* counter.reset
        const { all } = yield* scanned(watched, options)
        return { found: Object.keys(all).length, lists: (yield* counter.counts).list }
      })
      // The last one says that nothing comes after it.
      assert.deepStrictEqual(yield* listsOf, { found: 3000, lists: 4 })
      assert.isAtLeast(most, 3)
      // One more where something was added.
      yield* put(store, name(1501), "new")
      assert.deepStrictEqual(yield* listsOf, { found: 3001, lists: 5 })
      for (const i of range(1500)) yield* put(store, name(2 * i + 1), "new")
      assert.strictEqual((yield* listsOf).found, 4500)
      yield* assertSame(store, options)
    })
  )

  it.effect("takes where a listing is cut for a hint", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(4)) yield* put(store, name(i), `v${i}`)
      yield* on(store).compact(packing)
      const segments = Parts.make(store, { prefix })
      const { parts, version } = yield* segments.read
      const [part] = parts
      const cuts = ["zzz", name(2), name(1), "", name(3), "00002x", name(2)]
      const note = { ...(part!.note as Record<string, Json>), c: cuts }
      yield* segments.commit({ add: [{ ...part!, note }], remove: [part!], expected: version })
      assert.strictEqual(yield* assertSame(store), 0)
      const seen: Array<string> = []
      yield* Stream.runForEach(
        on(store).batches(() => Effect.succeed(copiesOf(() => undefined))),
        (all) => Effect.sync(() => seen.push(...all.map(({ entry: { key } }) => key)))
      )
      assert.deepStrictEqual(seen, yield* keysOf(store, listed))
    })
  )

  it.effect("passes a pack over that is gone, cut short or altered, and a manifest that cannot be read", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(12)) yield* put(store, name(i), `v${i}`)
      const packed = on(store)
      yield* packed.compact(packing)
      const parts = yield* keysOf(store, `${prefix}/part/`)
      assert.strictEqual(parts.length, 3)
      const { body } = yield* store.get(parts[1]!)
      yield* store.delete(parts[0]!)
      yield* store.put({ key: parts[1]!, body: body.map((byte, i) => (i === 70 ? byte ^ 1 : byte)) })
      yield* store.put({ key: parts[2]!, body: new Uint8Array(0) })
      assert.strictEqual(yield* assertSame(store), 12)
      // What has no index is made anew; rows are looked at by readers alone.
      yield* packed.compact(packing)
      assert.strictEqual(yield* assertSame(store), 4)
      yield* packed.reset
      yield* packed.compact(packing)
      assert.strictEqual(yield* assertSame(store), 0)
      yield* store.put({ key: `${prefix}/manifest`, body: encode("{") })
      assert.strictEqual(yield* assertSame(store), 12)
    })
  )

  it.effect("shuts out who had the lease before", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(4)) yield* put(store, name(i), `v${i}`)
      yield* on(store).compact(packing, { token: 2 })
      yield* put(store, name(1), "other")
      const exit = yield* Effect.flip(on(store).compact(packing, { token: 1 }))
      assert.instanceOf(exit, Lease.LeaseLost)
      yield* on(store).reset
      assert.strictEqual(yield* assertSame(store), 4)
    })
  )

  it.effect("goes on whatever its compaction died of, at any request", () =>
    Effect.gen(function* () {
      for (const when of moments) {
        for (let at = 1; ; at++) {
          const store = yield* memory
          for (const i of range(9)) yield* put(store, name(i), `v${i}`)
          yield* on(store, { grace: 0 }).compact(packing)
          for (const i of [1, 5, 12]) yield* put(store, name(i), "other")
          yield* store.delete(listed + name(8))
          const client = crashing(store, at, when)
          const exit = yield* Effect.exit(on(client.store, { grace: 0 }).compact(packing))
          yield* assertSame(store)
          yield* on(store, { grace: 0 }).compact(packing)
          assert.strictEqual(yield* assertSame(store), 0, `${when} ${at}`)
          if (Exit.isSuccess(exit)) break
        }
      }
    })
  )

  it.effect("random writers, compactions and readers, in many orders of their requests", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 25; seed++) {
        yield* Effect.gen(function* () {
          const store = yield* memory
          const size = 1 + (yield* Random.nextIntBetween(0, 6))
          const options = {
            objectsPerPack: size,
            leastChanges: 1 + (yield* Random.nextIntBetween(0, 3)),
            keysPerListing: 1 + (yield* Random.nextIntBetween(0, 4)),
            grace: 0
          }
          let made = 0
          for (let step = 0; step < 12; step++) {
            const many = yield* Random.nextIntBetween(0, 12)
            for (let i = 0; i < many; i++) {
              const key = name(yield* Random.nextIntBetween(0, 30))
              if ((yield* Random.next) < 0.4) yield* store.delete(listed + key)
              else yield* put(store, key, `${(yield* Random.next) < 0.1 ? "-" : ""}${(made += 1)}`)
            }
            if ((yield* Random.next) < 0.7) {
              const at = 1 + (yield* Random.nextIntBetween(0, 20))
              const client = crashing(store, at, (yield* Random.next) < 0.5 ? "before" : "after")
              yield* Effect.exit(on(client.store, options).compact(packing))
            }
            if ((yield* Random.next) < 0.1) yield* on(store, options).reset
            yield* assertSame(store, options)
          }
        }).pipe(Random.withSeed(seed))
      }
    })
  )

  /** Every order of the requests of a reader, a writer and a compaction; `takes`: which copy a reader takes. */
  const explored = (
    bounds: { readonly preemptions: number; readonly crashes: number },
    takes?: Takes,
    gone?: Parameters<typeof scanned>[3]
  ) =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      const options = { objectsPerPack: 4, grace: 0 }
      for (const i of range(3)) yield* put(store, name(i), "a")
      yield* on(store, options).compact(packing)
      yield* put(store, name(0), "b")
      yield* store.delete(listed + name(2))
      const start = yield* control.snapshot
      const schedule = Interleavings.make(store)
      /** The same each time. */
      const program = (client: string, make: (store: Store) => Effect.Effect<Seen, unknown>) =>
        Effect.suspend(() => make(schedule.client(client))).pipe(
          Effect.provideService(Id.Generator, Id.seeded(client.charCodeAt(0))),
          Random.withSeed(client)
        )
      let wrong = 0
      const report = yield* schedule.explore({
        before: control.restore(start),
        programs: {
          reader: program("reader", (mine) => Effect.map(scanned(mine, options, takes, gone), ({ all }) => all)),
          writer: program("writer", (mine) => Effect.as(put(mine, name(1), "c"), {})),
          compaction: program("compaction", (mine) => Effect.as(on(mine, options).compact(packing), {}))
        },
        ...bounds,
        check: ({ crashed, exits }) =>
          Effect.gen(function* () {
            const seen = exits["reader"]
            for (const [client, exit] of Object.entries(exits)) {
              assert.isTrue(crashed.includes(client) || Exit.isSuccess(exit), String(exit))
            }
            if (seen !== undefined && Exit.isSuccess(seen)) {
              const all = seen.value
              const isRight = all[name(0)] === "b" && ["a", "c"].includes(all[name(1)] ?? "") && !(name(2) in all)
              if (!isRight) wrong += 1
            }
            if ((yield* scanned(store, options, takes)).all[name(0)] !== "b") wrong += 1
          })
      })
      assert.isTrue(report.complete)
      assert.isAbove(report.schedules, bounds.preemptions === 0 ? 3 : 50)
      return wrong
    })

  it.effect("in every order of requests a reader sees each object as of its start or later", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* explored({ preemptions: 1, crashes: 0 }), 0)
    })
  )

  it.effect("the exploration finds a reader that takes copies whatever their ETags are", () =>
    Effect.gen(function* () {
      const first = yield* memory
      yield* put(first, name(0), "a")
      const { etag } = yield* first.head(listed + name(0))
      const careless: Takes = (index, key, now) => index.rowOf(key, now) ?? index.rowOf(key, etag)
      assert.isAbove(yield* explored({ preemptions: 0, crashes: 0 }, careless), 0)
    })
  )

  it.effect("the exploration finds a reader that takes a pack that is gone for an empty range", () =>
    Effect.gen(function* () {
      const careless = () => Effect.succeed(copiesOf(() => "nothing" as const))
      assert.isAbove(yield* explored({ preemptions: 1, crashes: 0 }, undefined, careless), 0)
    })
  )
})
