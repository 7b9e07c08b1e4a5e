/**
 * Immutable objects below a prefix, each named by the SHA-256 of its bytes and the generation in which it was put, and the
 * rule by which those that nobody names are collected.
 *
 * A manifest, which is changed by compare-and-set alone, names parts, and has a generation and a floor below it. A part is
 * put under the generation of a manifest that was read before. A change of the manifest may name a part that the version
 * before does not name only if the part's generation is not below the floor of that version. Collecting raises both: the
 * floor to what the generation was. From then on a part below the floor that the manifest does not name is never named
 * again, whenever a deletion of it arrives: no clock decides. A writer that put it and stood still meanwhile is refused, and
 * puts it anew, under another key.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { sha256 } from "../../internal/sha256.ts"
import { listAll, type ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"

/** Of a manifest: where parts are put, and below what nothing new is named. */
export interface Generations {
  readonly generation: number
  readonly floor: number
}

/** Those of a manifest that was never collected. */
export const firstGenerations: Generations = { generation: 1, floor: 0 }

/** Those after a collection begins: what is being put now outlives it. */
export const nextGenerations = ({ generation }: Generations): Generations => ({
  generation: generation + 1,
  floor: generation
})

/** The generation and the hash: `12/Ab…`. */
export const Name = Schema.String.check(Schema.isPattern(/^[1-9]\d*\/[\w-]{43}$/))

export const generationOf = (name: string): number => Number(name.slice(0, name.indexOf("/")))

export const hashOf = (bytes: Uint8Array): string => Base64Url.encode(sha256(bytes))

export interface Parts {
  readonly keyOf: (name: string) => string
  /** Gives its name. 1 PUT. */
  readonly put: (generation: number, bytes: Uint8Array) => Effect.Effect<string, StoreError.StoreError>
  /** The whole part, its hash checked. 1 GET. */
  readonly get: (name: string) => Effect.Effect<Uint8Array, StoreError.StoreError>
  /** A range of a part: nothing can be checked. 1 GET. */
  readonly range: (name: string, start: number, end?: number) => Effect.Effect<Uint8Array, StoreError.StoreError>
  /** Removes parts that are never named again. 1 request for each 1,000. */
  readonly remove: (names: ReadonlyArray<string>) => Effect.Effect<void, StoreError.StoreError>
  /** Removes the parts below a floor that are not named, and gives their number. 1 LIST and at most 1 request for each 1,000. */
  readonly collect: (floor: number, named: ReadonlySet<string>) => Effect.Effect<number, StoreError.StoreError>
}

const partPattern = /g=(\d+)\/([\w-]{43})$/

export const make = (store: ObjectStore["Service"], prefix: string): Parts => {
  const folder = `${prefix}/part/`
  const keyOf = (name: string) => `${folder}g=${name}`

  const remove = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
    if (names.length === 0) return
    const { failed } = yield* store.deleteMany(names.map(keyOf), { repeatable: true })
    const [left] = failed
    if (left !== undefined) {
      return yield* new StoreError.StoreError({ operation: "deleteMany", key: left.key, reason: left.reason })
    }
  })

  return {
    keyOf,
    // Whoever puts this key puts these bytes.
    put: Effect.fnUntraced(function* (generation, bytes) {
      const name = `${generation}/${hashOf(bytes)}`
      yield* store.put({ key: keyOf(name), body: bytes, repeatable: true })
      return name
    }),
    get: Effect.fnUntraced(function* (name) {
      const key = keyOf(name)
      const { body } = yield* store.get(key)
      if (name.endsWith(`/${hashOf(body)}`)) return body
      const reason = new StoreError.Corrupt({ description: "the part is not what its name says" })
      return yield* new StoreError.StoreError({ operation: "get", key, reason })
    }),
    range: (name, start, end) => Effect.map(store.get(keyOf(name), { range: { start, end } }), ({ body }) => body),
    remove,
    collect: (floor, named) =>
      listAll(store, { prefix: folder, keysOnly: true }).pipe(
        Stream.filterMap(({ key }) => {
          const match = partPattern.exec(key)
          return match === null || Number(match[1]) >= floor || named.has(`${match[1]}/${match[2]}`)
            ? Result.failVoid
            : Result.succeed(`${match[1]}/${match[2]}`)
        }),
        Stream.grouped(1000),
        Stream.runFoldEffect(
          () => 0,
          (count, names) => Effect.as(remove(names), count + names.length)
        )
      )
  }
}
