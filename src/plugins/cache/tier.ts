/**
 * Tiers: places in which results are kept, by their keys.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { ExpectedError } from "../../internal/expectedError.ts"

/**
 * A tier that could not do what it was asked for: it cannot be reached, refuses, or does not answer in time. Reads go on without it.
 *
 * @remedy Nothing, for a moment of it: reads go on without the tier. Where it lasts, look at the tier (its address,
 * its rights, its disk); only what is asked of it alone, such as invalidation, fails.
 * @category errors
 * @since 0.1.0
 */
export class TierFailed extends ExpectedError<TierFailed>("effect-s3db/plugins/Cache/TierFailed")(
  "TierFailed",
  { tier: Schema.String, operation: Schema.String, description: Schema.String },
  { httpApiStatus: 503 }
) {
  override get message(): string {
    return `tier ${this.tier} failed, ${this.operation}: ${this.description}`
  }
}

/**
 * The key of a result. `path` is made of unreserved ASCII, `=` and `/`: the database, the resource, the method, and a hash of the arguments;
 * it shows nothing of these.
 *
 * @category models
 * @since 0.1.0
 */
export interface Key {
  readonly resource: string
  /** Tells it from all others of this process. */
  readonly text: string
  /** Tells it from all others. */
  readonly path: string
}

/**
 * A result as it is kept: the stamp of what it depends on, when its loading began, in milliseconds since 1970, and its stored form as
 * text.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly stamp: string
  readonly loadedAt: number
  readonly text: string
  /** The same, read, for tiers within the process; of the form that has made it. Never changed. */
  readonly held?: { readonly form: object; readonly value: unknown } | undefined
}

/**
 * The entries that a tier has now, as far as it knows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Size {
  readonly entries: number
  readonly bytes: number
}

/**
 * A place in which results are kept. It may lose any of them at any time, and give old ones: who reads looks at their stamps.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tier {
  /** Tells it from others in statistics and errors. */
  readonly name: string
  /** It answers at once, and never fails: nobody need watch it. Default `false`. */
  readonly isImmediate?: boolean | undefined
  readonly get: (key: Key) => Effect.Effect<Option.Option<Entry>, TierFailed>
  /** Keeps an entry in the place of the one that there is. */
  readonly set: (key: Key, entry: Entry) => Effect.Effect<void, TierFailed>
  /** Removes what there is of a resource, or of all. Those whose names begin alike are others. */
  readonly clear: (resource: string | undefined) => Effect.Effect<void, TierFailed>
  /** How many entries it has removed to make room, or since they were too old. */
  readonly evictions: Effect.Effect<number>
  /** `None` where it would have to ask. */
  readonly size: Effect.Effect<Option.Option<Size>>
}

/**
 * The surroundings of a tier.
 *
 * @category models
 * @since 0.1.0
 */
export interface Surroundings {
  /** What the paths of all keys of this cache begin with: unreserved ASCII, `=` and `/`, and a `/` at its end. */
  readonly root: string
}

/**
 * A tier to be made with a cache, and gone with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface TierOf<out R = never> {
  readonly make: (surroundings: Surroundings) => Effect.Effect<Tier, TierFailed, R | Scope.Scope>
}

/**
 * Returns what the paths of all entries of a resource begin with, or of all.
 *
 * @category keys
 * @since 0.1.0
 */
export const prefixOf = (root: string, resource: string | undefined, encode: (text: string) => string): string =>
  resource === undefined ? root : `${root}resource=${encode(resource)}/`
