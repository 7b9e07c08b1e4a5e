/** Comparing an index with the documents. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { sameBytes } from "../../../internal/bytes.ts"
import type { Finding } from "../keeping.ts"
import type { Source } from "./indexer.ts"
import { step } from "./reading.ts"

export interface Options<Part, Item extends { readonly fingerprint: Uint8Array }, E, E2> {
  readonly source: Pick<Source<Item, E>, "page" | "read">
  /** Brings what the journal has into the index. */
  readonly updated: Effect.Effect<void, E2>
  /** Does something with what answers. */
  readonly withLive: <A, E3>(use: (part: Part) => Effect.Effect<A, E3>) => Effect.Effect<A, E2 | E3>
  /** What was written since a part knows. */
  readonly newerThan: (part: Part) => Effect.Effect<{ readonly ids: ReadonlySet<string> }, E2>
  /** What a part has of some documents. */
  readonly locate: (
    part: Part,
    ids: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<{ readonly id: string; readonly fingerprint: Uint8Array }>, E2>
  /** The ids of all documents that a part has. */
  readonly idsOf: (part: Part) => Stream.Stream<string, E2>
  /** Reads everything else that a part has. */
  readonly check: (part: Part) => Effect.Effect<void, E2>
}

export const verify = <Part, Item extends { readonly fingerprint: Uint8Array }, E, E2>({
  check,
  idsOf,
  locate,
  newerThan,
  source,
  updated,
  withLive
}: Options<Part, Item, E, E2>): Stream.Stream<Finding, E | E2> => {
  /** What is wrong with some documents, by what the index has of them. */
  const compared = Effect.fnUntraced(function* (
    part: Part,
    present: ReadonlyMap<string, Item>,
    ids: ReadonlyArray<string>
  ) {
    const located = yield* locate(part, ids)
    const indexed = new Map(located.map((one) => [one.id, one.fingerprint]))
    return ids.flatMap((id): ReadonlyArray<Finding> => {
      const [is, has] = [present.get(id), indexed.get(id)]
      if (is === undefined) return has === undefined ? [] : [{ id, problem: "gone" }]
      if (has === undefined) return [{ id, problem: "missing" }]
      return sameBytes(is.fingerprint, has) ? [] : [{ id, problem: "different" }]
    })
  })

  /** Compares documents once more, when the index knows what they are now. */
  const confirmed = Effect.fnUntraced(function* (findings: ReadonlyArray<Finding>) {
    if (findings.length === 0) return []
    yield* updated
    const ids = findings.map(({ id }) => id)
    const present = yield* source.read(ids)
    const touched = yield* withLive((part) => Effect.map(newerThan(part), ({ ids }) => ids))
    const again = yield* withLive((part) => compared(part, present, ids))
    return again.filter(({ id }) => !touched.has(id))
  })

  return Stream.unwrap(
    Effect.gen(function* () {
      yield* updated
      const part = yield* withLive(Effect.succeed)
      yield* check(part)
      const there = Stream.paginate(undefined as string | undefined, (cursor) =>
        Effect.map(source.page(cursor), ({ cursor, found }) => [[found], Option.fromUndefinedOr(cursor)] as const)
      ).pipe(
        Stream.mapEffect((found) => Effect.flatMap(compared(part, found, [...found.keys()]), confirmed)),
        Stream.flattenIterable
      )
      const gone = idsOf(part).pipe(
        Stream.grouped(step),
        Stream.mapEffect(
          Effect.fnUntraced(function* (ids) {
            const found = yield* compared(part, yield* source.read(ids), ids)
            return yield* confirmed(found.filter(({ problem }) => problem === "gone"))
          })
        ),
        Stream.flattenIterable
      )
      return Stream.concat(there, gone)
    })
  )
}
