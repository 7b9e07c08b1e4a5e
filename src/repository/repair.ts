/**
 * What crashes have left behind, and what is missing: found, told, and mended.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Content from "../Content.ts"
import type * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import { markerGraceMillis } from "../document/commit.ts"
import type { Base } from "../document/context.ts"
import * as documentObject from "../document/documentObject.ts"
import type { Documents } from "../document/documents.ts"
import { percentEncode } from "../internal/text.ts"
import * as Partition from "../Partition.ts"
import type { Finding, RepairOptions } from "../Repository.ts"
import { headOption, listAll } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"
import * as Unique from "../Unique.ts"
import type { RewriteFailure, Rewriting } from "./rewrite.ts"

/**
 * The repair of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Repairing {
  /**
   * Finds what is not as it should be, and mends it unless it is a dry run. Each document costs 1 GET and 1 HEAD for each of
   * its markers; then all markers, reservations and contents are listed, and each costs 1 GET; and the documents are listed once
   * more, for what deletions have left.
   */
  readonly repair: (options: RepairOptions | undefined) => Stream.Stream<Finding, RewriteFailure>
}

/** A key that was listed, and how old it is by the store's clock. */
interface Listed {
  readonly key: string
  readonly now: number
  readonly age: number
  readonly size: number | undefined
}

const defaultConcurrency = 16

/**
 * Makes the repair of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, indexes, reader, reservations }: Documents<A>,
  { rewriting }: { readonly rewriting: Rewriting<A> }
): Repairing => {
  const { capabilities, name, settings, store } = context

  const loadSettled = (id: string) =>
    reader.loadSettled(id).pipe(
      Effect.map(Option.some),
      Effect.catchTag("NotFound", () => Effect.succeed(Option.none<Base<A>>()))
    )

  const repair = ({
    dryRun = true,
    markerGraceMillis: grace = markerGraceMillis,
    sweepDeletions = false
  }: RepairOptions) => {
    const perform = <X, E>(effect: Effect.Effect<X, E>) => (dryRun ? Effect.void : Effect.asVoid(effect))
    const find = (kind: Finding["kind"], key: string, id: string, repaired = !dryRun): Finding => ({
      kind,
      key,
      id,
      repaired
    })

    /** Markers that the document owns and that are not there. */
    const markersOf = Effect.fnUntraced(function* ({ id, stored }: Base<A>) {
      const findings: Array<Finding> = []
      for (const [label, owned] of Object.entries(stored.markers)) {
        const at = Partition.keyOf(name, label, id, owned)
        if (Option.isSome(yield* headOption(store, at))) continue
        // It may have moved since it was read.
        const now = yield* reader.stored(id)
        if (now?.markers[label]?.writeId !== owned.writeId) continue
        yield* perform(store.put({ key: at, repeatable: true }))
        findings.push(find("MissingMarker", at, id))
      }
      return findings
    })

    /** Values that the document has and has not reserved. */
    const claimsOf = Effect.fnUntraced(function* ({ id, stored }: Base<A>) {
      const findings: Array<Finding> = []
      const { uniques } = yield* indexes.all
      for (const [label, claim] of Object.entries(stored.claims)) {
        const unique = uniques.get(label)
        if (unique === undefined) continue
        const at = unique.key(claim.digest)
        const found = yield* Unique.find(store, at)
        if (found?.owners.includes(id) === true) continue
        const now = yield* reader.stored(id)
        if (now?.claims[label]?.digest !== claim.digest) continue
        const [owner] = found?.owners ?? []
        const other = owner === undefined ? undefined : yield* reader.stored(owner)
        if (other?.claims[label]?.digest === claim.digest) {
          findings.push(find("Duplicate", at, id, false))
          continue
        }
        yield* perform(reservations.reclaim(id, unique, claim.digest))
        findings.push(find("Unindexed", at, id))
      }
      return findings
    })

    /** Whether the document lacks what the definition wants. */
    const indexesOf = Effect.fnUntraced(function* (base: Base<A>) {
      const { id, key } = base
      if (yield* indexes.isIndexed(base)) return []
      const isOld = (now: Base<A>) => Effect.map(indexes.isIndexed(now), (isIndexed) => !isIndexed)
      const isDuplicate = yield* perform(rewriting.one(id, isOld)).pipe(
        Effect.as(false),
        Effect.catchTag("UniqueViolation", () => Effect.succeed(true))
      )
      return [isDuplicate ? find("Duplicate", key, id, false) : find("Unindexed", key, id)]
    })

    const document = Effect.fnUntraced(function* (
      id: string
    ): Effect.fn.Return<ReadonlyArray<Finding>, RewriteFailure> {
      const base = yield* loadSettled(id)
      if (Option.isNone(base)) return []
      const { value } = base
      return [...(yield* markersOf(value)), ...(yield* claimsOf(value)), ...(yield* indexesOf(value))]
    })

    /** A key below `partition=`, whatever partitions there are now. */
    const marker = Effect.fnUntraced(function* ({ age, key }: Listed) {
      const match = /^resource=[^/]+\/partition=([^/]+)\//.exec(key)
      if (match === null || age <= grace) return undefined
      const label = decodeURIComponent(match[1]!)
      const parsed = Partition.compile(name, label, { fields: [] }).parse(key)
      if (parsed === undefined) return undefined
      const isOwned = (stored: Document.Stored) => {
        const owned = Object.hasOwn(stored.markers, label) ? stored.markers[label] : undefined
        return owned?.values === parsed.values && owned.writeId === parsed.writeId
      }
      if ((yield* reader.held(parsed.id)).some(isOwned)) return undefined
      yield* perform(store.delete(key, { repeatable: true }))
      return find("LeftoverMarker", key, parsed.id)
    })

    const reservation = Effect.fnUntraced(function* ({ age, key, now }: Listed) {
      const match = /^resource=[^/]+\/unique=([^/]+)\/([^/]+)$/.exec(key)
      if (match === null || age <= settings.uniqueLease) return undefined
      const label = decodeURIComponent(match[1]!)
      const found = yield* Unique.find(store, key)
      // It may have been made anew since it was listed.
      const [owner] = found?.owners ?? []
      if (found === undefined || owner === undefined) return undefined
      if (now - found.lastModified <= settings.uniqueLease) return undefined
      for (const id of found.owners) {
        const isIn = (stored: Document.Stored) => stored.claims[label]?.digest === match[2]
        if ((yield* reader.held(id)).some(isIn)) return undefined
      }
      yield* perform(Unique.release(store, capabilities, key, found.etag))
      return find("LeftoverReservation", key, owner)
    })

    const content = Effect.fnUntraced(function* ({ age, key }: Listed) {
      const parsed = Content.parse(key)
      if (parsed === undefined || age <= grace) return undefined
      const isOwned = (stored: Document.Stored) => stored.content?.name === parsed.name
      if ((yield* reader.held(parsed.id)).some(isOwned)) return undefined
      yield* perform(store.delete(key, { repeatable: true }))
      return find("LeftoverContent", key, parsed.id)
    })

    /** What a deletion has left: where the store ignores conditions on DELETE that is all of them. */
    const deletion = Effect.fnUntraced(function* ({ age, key, size }: Listed) {
      if (size !== Document.deletionBytes || age <= grace) return undefined
      if (!capabilities.conditionalDelete && !sweepDeletions) return undefined
      const id = Option.getOrUndefined(Document.idOf(name, key))
      const slot = id === undefined ? undefined : yield* documentObject.load(context.place, key, id)
      if (id === undefined || slot?.deletion === undefined) return undefined
      yield* perform(documentObject.sweepDeletion(context.place, key, id, slot))
      if (!capabilities.conditionalDelete) yield* perform(store.delete(key))
      return find("LeftoverDeletion", key, id)
    })

    return { document, marker, reservation, content, deletion }
  }

  return {
    repair: (options = {}) =>
      Stream.suspend((): Stream.Stream<Finding, RewriteFailure> => {
        const { concurrency = defaultConcurrency } = options
        const { content, deletion, document, marker, reservation } = repair(options)
        const over = (
          part: string,
          one: (listed: Listed) => Effect.Effect<Finding | undefined, StoreError | DbError.InvalidInput>
        ) =>
          Stream.unwrap(
            Effect.map(Unique.storeTime(store), (now) =>
              listAll(store, { prefix: `resource=${percentEncode(name)}/${part}` }).pipe(
                Stream.mapEffect(
                  ({ key, lastModified = now, size }) => one({ key, now, age: now - lastModified, size }),
                  {
                    concurrency
                  }
                ),
                Stream.filter((finding) => finding !== undefined)
              )
            )
          )
        return Stream.flatMap(rewriting.each({ concurrency }, document), Stream.fromArray).pipe(
          Stream.concat(over("partition=", marker)),
          Stream.concat(over("unique=", reservation)),
          Stream.concat(over("content/", content)),
          Stream.concat(over("data/", deletion))
        )
      })
  }
}
