/** Objects that are packed, and who reads them by packs. */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Json } from "effect-s3db/encoding/Json"
import * as PackedObjects from "effect-s3db/kernel/PackedObjects"
import { getOption, type ObjectStore, type StoredObject } from "effect-s3db/storage/ObjectStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { keysOf } from "../fixture.ts"

export type Store = ObjectStore["Service"]

export const listed = "data/"
export const prefix = "plugin=x/packed"
export const on = (store: Store, options?: Partial<PackedObjects.Options>) =>
  PackedObjects.make(store, { listed, prefix, compression: "none", objectsPerPack: 4, leastChanges: 1, ...options })
export const encode = (value: string) => new TextEncoder().encode(value)
export const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
export const range = (length: number) => Array.from({ length }, (_, i) => i)
export const name = (i: number) => String(i).padStart(5, "0")
/** `-` in front: not to be packed. */
export const put = (store: Store, key: string, value: string) =>
  store.put({ key: listed + key, body: encode(value), metadata: { v: value } })

export const packing: PackedObjects.Packing<string> = {
  read: ({ body }) => Effect.succeed(decode(body).startsWith("-") ? undefined : decode(body)),
  columns: (all) => [
    { name: "value", values: all, statistics: all.length },
    { name: "odd", values: all.map((text): Json | undefined => (text.length % 2 === 1 ? -0 : undefined)) }
  ],
  tag: "1"
}

/** Which row a reader takes for the object at a key with an ETag. */
export type Takes = (index: PackedObjects.Index, key: string, etag: string | undefined) => number | undefined

export type Copy = PackedObjects.Row | "nothing"

export type Seen = Readonly<Record<string, string>>

/** Copies that say the same of every key. */
export const copiesOf = <X>(find: () => X): PackedObjects.Copies<X> => ({ index: { entries: () => [] }, find })

/** Everything there is by a reader of packs, and how many objects it has read by themselves. */
export const scanned = Effect.fnUntraced(function* (
  store: Store,
  options?: Partial<PackedObjects.Options>,
  takes: Takes = (index, key, etag) => index.rowOf(key, etag),
  /** What is made of a pack that is gone. */
  gone: (error: StoreError) => Effect.Effect<PackedObjects.Copies<Copy>, StoreError> = Effect.fail,
  freshness?: PackedObjects.Freshness
) {
  const packed = on(store, options)
  const all = new Map<string, string>()
  let read = 0
  yield* packed
    .batches<Copy, never>(
      (pack) =>
        packed.whole(pack).pipe(
          Effect.map(({ index, rows }): PackedObjects.Copies<Copy> => ({
            index,
            find: (key, etag) => {
              const row = takes(index, key, etag)
              return row === undefined ? undefined : rows[row]
            }
          })),
          Effect.catch(gone)
        ),
      freshness
    )
    .pipe(
      Stream.flatMap(Stream.fromArray),
      Stream.runForEach(
        Effect.fnUntraced(function* ({ copy, entry: { key } }) {
          if (copy === "nothing") return
          assert.isFalse(all.has(key.slice(listed.length)), "each once")
          if (copy !== undefined) {
            assert.strictEqual(copy.metadata["v"], decode(copy.body))
            return void all.set(key.slice(listed.length), decode(copy.body))
          }
          read += 1
          const found = yield* getOption(store, key)
          if (Option.isSome(found)) all.set(key.slice(listed.length), decode(found.value.body))
        })
      )
    )
  return { all: Object.fromEntries(all), read }
})

export const there = Effect.fnUntraced(function* (store: Store) {
  const all: Record<string, string> = {}
  for (const key of yield* keysOf(store, listed)) {
    const found: StoredObject = yield* store.get(key)
    all[key.slice(listed.length)] = decode(found.body)
  }
  return all
})

export const assertSame = Effect.fnUntraced(function* (store: Store, options?: Partial<PackedObjects.Options>) {
  const { all, read } = yield* scanned(store, options)
  assert.deepStrictEqual(all, yield* there(store))
  return read
})

/** Writes, and notes what has been at each key, and since when. */
export const noting = (store: Store) => {
  const versions = new Map<string, Array<{ readonly at: number; readonly value: string | undefined }>>()
  const note = Effect.fnUntraced(function* (key: string, value: string | undefined) {
    versions.set(key, [...(versions.get(key) ?? []), { at: yield* Clock.currentTimeMillis, value }])
  })
  return {
    put: (key: string, value: string) => Effect.andThen(put(store, key, value), note(key, value)),
    remove: (key: string) => Effect.andThen(store.delete(listed + key), note(key, undefined)),
    /** Of each key there is what was there at a time or later. */
    assertSince: (all: Seen, notBefore: number, message: string) => {
      for (const [key, told] of versions) {
        const since = told.findLastIndex(({ at }) => at <= notBefore)
        const may = [...(since === -1 ? [undefined] : []), ...told.slice(Math.max(0, since)).map(({ value }) => value)]
        assert.include(may, all[key], `${message}: ${key} since ${notBefore}`)
      }
      assert.isTrue(
        Object.keys(all).every((key) => versions.has(key)),
        message
      )
    }
  }
}
