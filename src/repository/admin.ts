/**
 * Maintenance of a resource, under the names of its operations.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Documents } from "../document/documents.ts"
import * as forgetting from "../document/forgetting.ts"
import type { Fields } from "../query/fields.ts"
import type { Keys } from "../query/keys.ts"
import type { Listing } from "../query/listing.ts"
import type { Packed } from "../query/packed.ts"
import type { Admin } from "../Repository.ts"
import * as Backfilling from "./backfill.ts"
import type { Changes } from "./changes.ts"
import type { Counts } from "./counts.ts"
import type { History } from "./history.ts"
import type { Operation } from "./operation.ts"
import * as Packing from "./packing.ts"
import * as pruning from "./prune.ts"
import * as Repairing from "./repair.ts"
import * as Rewriting from "./rewrite.ts"

/**
 * Makes the maintenance of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  documents: Documents<A>,
  {
    changes,
    counts,
    fields,
    history,
    keys,
    listing,
    operation,
    packed
  }: {
    readonly changes: Changes<A>
    readonly counts: Counts
    readonly fields: Fields<A>
    readonly history: History<A>
    readonly keys: Keys
    readonly listing: Listing<A>
    readonly operation: Operation
    readonly packed: Packed
  }
): Admin => {
  const rewriting = Rewriting.make(documents, { keys, listing, operation })
  const { backfill, remove } = Backfilling.make(documents, { operation, rewriting })
  const { repair } = Repairing.make(documents, { rewriting })
  const { discarding } = documents
  const { pack } = Packing.make(documents, { fields, packed })
  const prune = pruning.make(documents)
  const { fn, draw, named, namedStream, refuse, run } = operation
  const { context } = documents

  const told = <X, E, R>(name: string, stream: Stream.Stream<X, E, R>) => draw(name)(namedStream(stream))

  const recount: Admin["recount"] = (options) =>
    context.declared.counters === undefined
      ? refuse("declare the resource with counters: true to use it")
      : Effect.catchTag(named(counts.recount(options?.onProgress)), "InvalidInput", Effect.die)

  return {
    migrate: (options) => told("Resource.migrate", rewriting.migrate(options)),
    rotate: (options) => told("Resource.rotate", rewriting.rotate(options)),
    backfill: (options) => told("Resource.backfill", backfill(options)),
    repair: (options) => told("Resource.repair", repair(options)),
    pruneHistory: ({ before, keep }) =>
      draw("Resource.pruneHistory")(
        Stream.unwrap(
          Effect.map(history.isDeclared, () =>
            namedStream(prune({ keep, before: before === undefined ? undefined : DateTime.toEpochMillis(before) }))
          )
        )
      ),
    discard: fn(
      "Resource.discard",
      Effect.fnUntraced(function* (id) {
        const removed = yield* named(forgetting.inDoubt(context, discarding.discard(id, changes.onCommit)))
        // Where it was nobody knew.
        yield* forgetting.forget(context, () => ({ ids: [id], prefixes: undefined }))
        const readable = `document ${JSON.stringify(id)} can be read: delete removes it`
        return removed === undefined ? yield* refuse(readable) : { id, removed }
      }),
      (id: string) => id
    ),
    recount: (options) => recount(options).pipe(run("Resource.recount")),
    pack: fn(
      "Resource.pack",
      Effect.fnUntraced(function* (copies, { token } = {}) {
        return yield* named(pack(copies, token))
      })
    ),
    makeCurrent: Effect.flatMap(context.codec.version, (version) =>
      context.database.makeCurrent(context.name, version)
    ).pipe(run("Resource.makeCurrent")),
    removePartition: fn(
      "Resource.removePartition",
      Effect.fnUntraced(function* (label, options) {
        return yield* named(remove("partitions", label, options?.onProgress))
      })
    ),
    removeCompanion: fn(
      "Resource.removeCompanion",
      Effect.fnUntraced(function* (label, options) {
        return yield* named(remove("companions", label, options?.onProgress))
      })
    ),
    removeUnique: fn(
      "Resource.removeUnique",
      Effect.fnUntraced(function* (label, options) {
        return yield* named(remove("uniques", label, options?.onProgress))
      })
    )
  }
}
