/**
 * What a store holds, of which resources and plugins, as listings say it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import { headOption, listAll } from "../../storage/ObjectStore.ts"
import { ownerOf, Stock } from "./account.ts"

/**
 * What the store holds, as it was measured.
 *
 * @category models
 * @since 0.1.0
 */
export const Stored = Schema.Struct({
  /** When it was listed, in milliseconds since 1970. */
  at: Schema.Finite,
  parts: Schema.Array(
    Schema.Struct({
      resource: Schema.String,
      plugin: Schema.String,
      objects: Schema.Int,
      /** Of bodies, as listed, and of metadata, as some of them had it in the mean. */
      bytes: Schema.Finite
    })
  ),
  /** What had been seen of its hour by then. */
  before: Schema.Array(Stock)
})

/**
 * What the store holds, as it was measured.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored extends Schema.Schema.Type<typeof Stored> {}

/**
 * How the store is measured.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many objects of each part are asked for their metadata. */
  readonly sample: number
}

interface Part {
  readonly resource: string
  readonly plugin: string
  objects: number
  bytes: number
  readonly sample: Array<string>
}

const metadataBytes = (metadata: Readonly<Record<string, string>>): number =>
  Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0)

/**
 * Measures what the store holds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const measure = Effect.fnUntraced(function* (store: ObjectStore["Service"], { sample }: Options) {
  const parts = new Map<string, Part>()
  yield* listAll(store, {}).pipe(
    Stream.runForEach(
      Effect.fnUntraced(function* ({ key, size = 0 }) {
        const owner = ownerOf(key)
        const name = `${owner.resource}\n${owner.plugin}`
        const part: Part = parts.get(name) ?? { ...owner, objects: 0, bytes: 0, sample: [] }
        parts.set(name, part)
        part.objects++
        part.bytes += size
        // Each of them as likely as any other ("reservoir sampling", algorithm R: J. Vitter, 1985).
        if (part.sample.length < sample) part.sample.push(key)
        else {
          const place = yield* Random.nextIntBetween(0, part.objects - 1)
          if (place < sample) part.sample[place] = key
        }
      })
    )
  )
  const measured = yield* Effect.forEach(
    [...parts.values()],
    Effect.fnUntraced(function* ({ bytes, objects, plugin, resource, sample: keys }) {
      const heads = yield* Effect.forEach(keys, (key) => headOption(store, key), { concurrency: 16 })
      const found = heads.flatMap((head) => (Option.isSome(head) ? [metadataBytes(head.value.metadata)] : []))
      const mean = found.length === 0 ? 0 : found.reduce((sum, one) => sum + one, 0) / found.length
      return { resource, plugin, objects, bytes: Math.round(bytes + mean * objects) }
    })
  )
  return { parts: measured }
})
