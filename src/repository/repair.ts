/**
 * What crashes have left behind, and what is missing: found, told, and mended.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Document from "../Document.ts"
import { markerGraceMillis } from "../document/commit.ts"
import type { Base } from "../document/context.ts"
import { isDamage, isOfDocument, reasonOf } from "../document/damage.ts"
import * as documentObject from "../document/documentObject.ts"
import type { Documents } from "../document/documents.ts"
import type { Compiled } from "../document/indexes.ts"
import * as Leftovers from "../document/leftovers.ts"
import type { Finding, RepairOptions } from "../Repository.ts"
import { headOption } from "../storage/ObjectStore.ts"
import { isStoreError } from "../storage/StoreError.ts"
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
   * its markers, those of companions among them; then all markers, reservations and contents are listed, and each costs 1 GET.
   */
  readonly repair: (options: RepairOptions | undefined) => Stream.Stream<Finding, RewriteFailure>
}

const defaultConcurrency = 16

/** What picks from what a version owns the markers of what is still kept up. */
const keptBy = ({ companions, partitions }: Compiled) => {
  const labels = (all: ReadonlyMap<string, { readonly label: string }>) =>
    new Set([...all.values()].map(({ label }) => label))
  const kept = { markers: labels(partitions), companions: labels(companions) }
  const pick = <X>(owned: Readonly<Record<string, X>>, labels: ReadonlySet<string>) =>
    Object.fromEntries(Object.entries(owned).filter(([label]) => labels.has(label)))
  return ({ companions, markers }: documentObject.Owner): documentObject.Owner => ({
    markers: pick(markers, kept.markers),
    companions: pick(companions, kept.companions)
  })
}

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
  const { name, store } = context
  const leftovers = Leftovers.make(context, reader)

  const loadSettled = (id: string) =>
    reader.loadSettled(id).pipe(
      Effect.map(Option.some),
      Effect.catchTag("NotFound", () => Effect.succeed(Option.none<Base<A>>()))
    )

  const repair = ({ dryRun = true }: RepairOptions) => {
    const perform = <X, E>(effect: Effect.Effect<X, E>) => (dryRun ? Effect.void : Effect.asVoid(effect))
    const find = (kind: Finding["kind"], key: string, id: string, repaired = !dryRun): Finding => ({
      kind,
      key,
      id,
      repaired
    })

    /** Only told: what cannot be read may still be restored, and what cannot be written again is somebody's to change. */
    const only = (key: string, id: string, failure: unknown): Finding => {
      const description = reasonOf(failure)?.description ?? (failure instanceof Error ? failure.message : "")
      const at = isStoreError(failure) ? (failure.key ?? key) : key
      return { ...find(isDamage(failure) ? "Corrupt" : "Unindexed", at, id, false), description }
    }

    const foreign = (key: string): Finding => ({
      ...find("Foreign", key, "", false),
      description: "it is no key of this resource: somebody else has put it there"
    })

    /** Markers that the document owns and that are not there. */
    const markersOf = Effect.fnUntraced(function* ({ id, stored }: Base<A>) {
      const findings: Array<Finding> = []
      // Those of one that has been removed are to go.
      const kept = keptBy(yield* indexes.all)
      for (const at of documentObject.markersOf(name, id, kept(stored))) {
        if (Option.isSome(yield* headOption(store, at))) continue
        // It may have moved since it was read.
        const now = yield* reader.stored(id)
        if (now === undefined || !documentObject.markersOf(name, id, now).includes(at)) continue
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
      const { rewritten, violations } = dryRun ? { rewritten: true, violations: [] } : yield* rewriting.fill(id)
      return [
        ...(rewritten ? [find("Unindexed", key, id)] : []),
        ...(violations.length > 0 ? [find("Duplicate", key, id, false)] : [])
      ]
    })

    const whole = Effect.fnUntraced(function* (id: string): Effect.fn.Return<ReadonlyArray<Finding>, RewriteFailure> {
      const base = yield* loadSettled(id)
      if (Option.isNone(base)) return []
      const { value } = base
      return [...(yield* markersOf(value)), ...(yield* claimsOf(value)), ...(yield* indexesOf(value))]
    })

    const document = (id: string, key: string): Effect.Effect<ReadonlyArray<Finding>, RewriteFailure> =>
      Effect.catchIf(whole(id), isOfDocument, (failure) => Effect.succeed([only(key, id, failure)]))

    const leftover =
      (kind: Finding["kind"], { find: findLeft, parse }: Leftovers.Kind) =>
      (listed: Leftovers.Listed) =>
        parse(listed.key) === undefined
          ? Effect.succeed(foreign(listed.key))
          : Effect.gen(function* () {
              const left = yield* findLeft(listed)
              if (left === undefined) return undefined
              yield* perform(left.remove)
              return find(kind, listed.key, left.id)
            }).pipe(
              Effect.catchIf(isDamage, (error) => Effect.succeed(only(listed.key, parse(listed.key)?.id ?? "", error)))
            )

    return { document, foreign, leftover }
  }

  return {
    repair: (options = {}) =>
      Stream.suspend((): Stream.Stream<Finding, RewriteFailure> => {
        const { concurrency = defaultConcurrency } = options
        const { markerGraceMillis: grace = markerGraceMillis, sweepDeletions = false } = options
        const { document, foreign, leftover } = repair(options)
        const deletion = leftover("LeftoverDeletion", leftovers.deletions(grace, sweepDeletions))
        const one = (listed: Leftovers.Listed): Effect.Effect<ReadonlyArray<Finding>, RewriteFailure> => {
          const id = Option.getOrUndefined(Document.idOf(name, listed.key))
          if (id === undefined) return Effect.succeed([foreign(listed.key)])
          // It tells of a deletion, or is what is left of something else.
          if (listed.size === Document.deletionBytes) {
            return Effect.map(deletion(listed), (finding) => (finding === undefined ? [] : [finding]))
          }
          return document(id, listed.key)
        }
        const documents = leftovers
          .list(Document.keyPrefix(name))
          .pipe(Stream.mapEffect(one, { concurrency }), Stream.flatMap(Stream.fromArray))
        const over = (finding: Finding["kind"], kind: Leftovers.Kind) =>
          leftovers.list(kind.prefix).pipe(
            Stream.mapEffect(leftover(finding, kind), { concurrency }),
            Stream.filter((finding) => finding !== undefined)
          )
        return Stream.unwrap(Effect.as(context.fresh, documents)).pipe(
          Stream.concat(over("LeftoverMarker", leftovers.markers(grace))),
          Stream.concat(over("LeftoverMarker", leftovers.companions(grace))),
          Stream.concat(over("LeftoverReservation", leftovers.reservations)),
          Stream.concat(over("LeftoverContent", leftovers.contents(grace)))
        )
      })
  }
}
