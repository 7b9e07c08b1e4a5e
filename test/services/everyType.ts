/** Documents with a field of every type, written to a store and read back. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Encoding from "effect-s3db/encoding/Encoding"
import type * as Attributes from "effect-s3db/schema/Attributes"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { metadataSize } from "effect-s3db/Document"
import { generators, random, text } from "../encoding/random.ts"
import { openOn } from "../fixture.ts"
import { samples, secretSamples } from "../schema/samples.ts"

const all = [...samples, ...secretSamples]
const nameOf = (index: number): string => `f${index}`

/** Every kind of attribute in one schema. */
const Everything = Schema.Struct({
  id: Schema.String,
  ...Object.fromEntries(all.map((one, index) => [nameOf(index), Schema.optionalKey(one.schema)]))
}) as unknown as Schema.Struct<{ readonly id: Schema.String }> & Attributes.DocumentSchema

type Document = Record<string, unknown> & { readonly id: string }

const plain = (value: unknown): unknown => {
  if (Redacted.isRedacted(value)) return plain(Redacted.value(value))
  return Array.isArray(value) ? value.map(plain) : value
}

const same = (a: unknown, b: unknown): boolean =>
  Object.is(a, b) || Equal.equals(a, b) || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b))

/** Every sample by itself, then random ones, some fields at a time. */
const documents = (seed: number, count: number): ReadonlyArray<Document> => {
  const r = random(seed)
  const most = Math.max(...all.map((one) => one.values.length))
  const sampled = Array.from({ length: most }, (_, round) => ({
    id: `sample-${round}`,
    ...Object.fromEntries(
      all.flatMap((one, index) => (round < one.values.length ? [[nameOf(index), one.values[round]]] : []))
    )
  }))
  const made = Array.from({ length: count }, (_, i) => ({
    id: `random-${i}`,
    // Some are too large for metadata.
    ...(i % 3 === 0 ? { f0: text(r).repeat(20) + "é".repeat(800 + r.int(2000)) } : {}),
    ...Object.fromEntries(
      all.flatMap((one, index) => {
        const generate = generators[one.name]
        return generate !== undefined && index > 0 && r.int(4) === 0 ? [[nameOf(index), generate(r)]] : []
      })
    )
  }))
  return [...sampled, ...made]
}

export const ring = KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(9)) } })

/** Every sample, and so many random documents: in a resource that compresses what is large, and in one that does not. */
export const roundTrips = (store: ObjectStore["Service"], seed: number, count: number) =>
  Effect.gen(function* () {
    assert.includeMembers(yield* placesOf(store, seed, count, true), ["body", "metadata"])
    assert.deepStrictEqual(yield* placesOf(store, seed + 1, count, false), ["both", "metadata"])
  })

const placesOf = (store: ObjectStore["Service"], seed: number, count: number, compression: boolean) =>
  Effect.gen(function* () {
    const { open } = yield* openOn(store)
    const name = compression ? "compressed" : "everything"
    const things = yield* open(name, { schema: Everything, primaryKey: "id", compression })
    const places = new Set<string>()
    const written = documents(seed, count)
    const outcomes = yield* things.insertMany(written as ReadonlyArray<never>, { concurrency: 8 })
    for (const [index, outcome] of outcomes.entries()) {
      if (Result.isFailure(outcome)) assert.fail(`${written[index]!.id}: ${outcome.failure.message}`)
      const inserted = outcome.success as Document
      const stored = yield* things.getDocument(inserted.id)
      places.add(stored.storedIn)
      assert.isAtMost(stored.metadataBytes, 2048)
      const read = stored.value as unknown as Document
      assert.deepStrictEqual(Object.keys(read).toSorted(), Object.keys(inserted).toSorted())
      for (const name of Object.keys(inserted)) {
        // What was rounded on the way in is what comes out.
        assert.isTrue(
          same(plain(read[name]), plain(inserted[name])),
          `${inserted.id} ${all[Number(name.slice(1))]?.name}`
        )
        const [kind] = (all[Number(name.slice(1))]?.codec ?? "").split(":")
        if (["lat", "lon", "point", "vector"].includes(kind!)) continue
        assert.isTrue(same(plain(read[name]), plain(written[index]![name])), `${inserted.id} ${name}`)
      }
      const object = yield* store.get(`resource=${name}/data/id=${inserted.id}`)
      assert.strictEqual(metadataSize(object.metadata), stored.metadataBytes)
    }
    return [...places].sort()
  })

export const layers = [
  ["text", Encoding.layer],
  ["packed", Encoding.layerPacked]
] as const
