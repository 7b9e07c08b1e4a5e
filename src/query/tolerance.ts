/**
 * Documents that cannot be read, met on the way to others.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Document from "../Document.ts"
import * as damage from "../document/damage.ts"
import type * as Query from "../Query.ts"

/**
 * What becomes of them, as a request says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tolerance {
  /** Reads a document; one that cannot be read is a value, unless the request wants a failure. */
  readonly attempt: <A, E>(id: string, reading: Effect.Effect<A, E>) => Effect.Effect<A | Unread, E>
  /** What was read. One that could not be is told, as the request says, and left out. */
  readonly tell: <A>(one: A | Unread) => Effect.Effect<A | undefined>
  /** What was read of many, in their order, each being told when its turn comes; what is `undefined` is left out. */
  readonly inOrder: <A>(all: ReadonlyArray<A | Unread | undefined>) => Stream.Stream<A>
}

/**
 * A document that could not be read.
 *
 * @category models
 * @since 0.1.0
 */
export class Unread {
  readonly found: Query.Corrupt
  constructor(found: Query.Corrupt) {
    this.found = found
  }
}

/**
 * Returns whether a document could be read.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRead = <A>(one: A | Unread): one is A => !(one instanceof Unread)

/**
 * Makes what goes by the `onCorrupt` of a request on a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (resource: string, { onCorrupt = "fail" }: Query.OnCorrupt = {}): Tolerance => {
  const keyOf = (id: string): string => Result.getOrElse(Document.key(resource, id), () => "")

  const attempt: Tolerance["attempt"] = <A, E>(id: string, reading: Effect.Effect<A, E>) =>
    onCorrupt === "fail"
      ? reading
      : Effect.catch(reading, (failure): Effect.Effect<A | Unread, E> => {
          const reason = damage.reasonOf(failure)
          return reason === undefined
            ? Effect.fail(failure)
            : Effect.succeed(new Unread({ id, key: keyOf(id), reason }))
        })

  const tell: Tolerance["tell"] = <A>(one: A | Unread): Effect.Effect<A | undefined> => {
    if (!(one instanceof Unread)) return Effect.succeed(one)
    return Effect.as(typeof onCorrupt === "function" ? onCorrupt(one.found) : Effect.void, undefined)
  }

  return {
    attempt,
    tell,
    inOrder: <A>(all: ReadonlyArray<A | Unread | undefined>) => {
      const isThere = (one: A | undefined): one is A & {} => one !== undefined
      const isRead = (one: A | Unread | undefined): one is A => !(one instanceof Unread) && one !== undefined
      return all.some((one) => one instanceof Unread)
        ? Stream.filter(Stream.mapEffect(Stream.fromArray(all), tell<A | undefined>), isThere)
        : Stream.fromArray(all.filter(isRead))
    }
  }
}
