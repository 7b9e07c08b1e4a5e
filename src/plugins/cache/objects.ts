/**
 * The tier in an object store: a bucket, a folder, or another store.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { percentEncode } from "../../internal/text.ts"
import { deleteAll, getOption, listAll, type ListEntry, type ObjectStore } from "../../storage/ObjectStore.ts"
import * as Blobs from "./blobs.ts"
import { prefixOf, type Surroundings, type Tier, TierFailed } from "./tier.ts"

/**
 * The limits of a tier in an object store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits extends Blobs.Options {
  readonly name: string
  readonly prefix: string
  readonly maxBytes: number
  /** In milliseconds. */
  readonly timeToLive: number
  /** In milliseconds; 0: never. */
  readonly sweepInterval: number
}

/**
 * Makes a tier in an object store, and sweeps it until the scope closes. A look is 1 GET, a fill 1 PUT, a sweep 1 LIST for each 1,000
 * entries and 1 DeleteObjects for each 1,000 that go.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  { maxBytes, name, prefix, sweepInterval, timeToLive, ...options }: Limits,
  { root: own }: Surroundings
): Effect.fn.Return<Tier, never, Scope.Scope> {
  const blobs = Blobs.make(options)
  const root = `${prefix}${own}`
  let evictions = 0
  const failing = (operation: string) =>
    Effect.mapError(
      ({ message }: { readonly message: string }) => new TierFailed({ tier: name, operation, description: message })
    )

  /** Removes what is too old, and the oldest of what is too much. */
  const sweep = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    let bytes = 0
    const gone = new Set<string>()
    const left: Array<ListEntry> = []
    yield* Stream.runForEach(listAll(store, { prefix: root }), (entry) =>
      Effect.sync(() => {
        if (now - (entry.lastModified ?? now) >= timeToLive) gone.add(entry.key)
        else {
          bytes += entry.size ?? 0
          left.push(entry)
        }
      })
    )
    if (bytes > maxBytes) {
      for (const { key, size = 0 } of left.toSorted((a, b) => (a.lastModified ?? 0) - (b.lastModified ?? 0))) {
        if (bytes <= maxBytes) break
        gone.add(key)
        bytes -= size
      }
    }
    if (gone.size > 0) yield* store.deleteMany([...gone], { repeatable: true })
    evictions += gone.size
  }).pipe(Effect.catch((error) => Effect.logWarning(`tier ${name} of a cache could not be swept`, error)))

  if (sweepInterval > 0) {
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(sweepInterval), sweep)))
  }

  return {
    name,
    get: ({ path }) =>
      Effect.gen(function* () {
        const found = yield* getOption(store, `${prefix}${path}`)
        if (Option.isNone(found)) return Option.none()
        const put = yield* blobs.decode(found.value.body, path)
        const now = yield* Clock.currentTimeMillis
        return Option.map(
          Option.filter(put, ({ putAt }) => now - putAt < timeToLive),
          ({ entry }) => entry
        )
      }).pipe(failing("get")),
    set: ({ path }, entry) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        // Nothing that it could take the place of is missed.
        yield* store.put({ key: `${prefix}${path}`, body: yield* blobs.encode(entry, now, path), repeatable: true })
      }).pipe(failing("set")),
    clear: (resource) =>
      Effect.asVoid(deleteAll(store, `${prefix}${prefixOf(own, resource, percentEncode)}`, () => true)).pipe(
        failing("clear")
      ),
    evictions: Effect.sync(() => evictions),
    size: Effect.succeedNone
  }
})
