/**
 * Changes of documents out of messages, applied by version: an older one never overwrites a newer one, whatever comes twice, late or at once.
 *
 * **Details**
 *
 * The version of what was applied last is in a field of the document; that of a deletion, which leaves no document, in a mark of this plugin. A
 * deletion writes its mark before it looks for the document; a write looks for the mark after it has written, and takes back what is
 * older than that. So whichever comes second sees the other.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as DbError from "../../DbError.ts"
import type * as Document from "../../Document.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import * as backoff from "../../internal/backoff.ts"
import type * as PluginStore from "../../kernel/PluginStore.ts"
import type { ChangeError, DeleteError, InsertError, ReadError } from "../../Repository.ts"
import type * as Duration from "effect/Duration"

/** A document as it was read: of any type. */
type Read = Document.Document<Readonly<Record<string, unknown>>>

/**
 * What is needed of a repository.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyRepository {
  readonly getDocument: (id: string) => Effect.Effect<Read, DbError.NotFound | ReadError>
  readonly insertJson: (document: JsonObject) => Effect.Effect<JsonObject, DbError.NotAllowed | InsertError>
  readonly replaceJson: (
    document: JsonObject,
    options: { readonly ifRevision: Document.Revision }
  ) => Effect.Effect<JsonObject, DbError.NotAllowed | ChangeError>
  readonly delete: (target: Read) => Effect.Effect<void, DeleteError>
}

/**
 * Where changes go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  readonly repository: AnyRepository
  readonly primaryKey: string
  /** The field of the version. */
  readonly field: string
  /** The versions of deletions, by id. */
  readonly deletions: PluginStore.PluginStore<number>
  readonly keepDeletions: Duration.Input
}

/**
 * What has become of a change. `"stale"`: a newer one, or this one, was there.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "applied" | "stale"

const versionIn = (document: Read, field: string): number => {
  const found = document.value[field]
  return typeof found === "number" ? found : -Infinity
}

/** Tries again when somebody else was first: each time somebody has got on. */
const again = <A, E extends { readonly _tag: string }, R>(
  attempt: Effect.Effect<A, E | DbError.Conflict | DbError.AlreadyExists, R>
) => {
  const isRace = ({ _tag }: { readonly _tag: string }) =>
    _tag === "Conflict" || _tag === "AlreadyExists" || _tag === "NotFound"
  const loop = (attempts: number): Effect.Effect<A, E | DbError.Conflict | DbError.AlreadyExists, R> =>
    Effect.catchIf(
      attempt,
      (error) => isRace(error) && attempts < 30,
      () => Effect.andThen(backoff.after(attempts, backoff.contention), loop(attempts + 1))
    )
  return loop(0)
}

const found = ({ repository }: Target, id: string) =>
  repository.getDocument(id).pipe(
    Effect.map(Option.some),
    Effect.catchTag("NotFound", () => Effect.succeedNone)
  )

const deletedAt = ({ deletions }: Target, id: string) =>
  Effect.map(deletions.get(id), (mark) => Option.getOrElse(mark, () => -Infinity))

/** Removes the document where a deletion is newer than it. */
const removeOlder = Effect.fnUntraced(function* (target: Target, id: string, version: number) {
  const current = yield* found(target, id)
  if (Option.isNone(current) || versionIn(current.value, target.field) >= version) return "stale" as const
  yield* target.repository.delete(current.value)
  return "applied" as const
})

/**
 * Puts a document in its place, unless a newer version of it is there, or was and is deleted. 2 GET and 1 PUT; 1 GET where it is stale.
 *
 * @category combinators
 * @since 0.1.0
 */
export const put = (target: Target, id: string, version: number, data: JsonObject) =>
  again(
    Effect.gen(function* () {
      const { field, primaryKey, repository } = target
      const current = yield* found(target, id)
      const there = Option.match(current, { onNone: () => -Infinity, onSome: (one) => versionIn(one, field) })
      let outcome: Outcome = "stale"
      if (there < version) {
        // Where there is no document, it may have been deleted by a newer change.
        if (Option.isNone(current) && (yield* deletedAt(target, id)) >= version) return outcome
        const document = { ...data, [primaryKey]: id, [field]: version }
        if (Option.isNone(current)) yield* repository.insertJson(document)
        else yield* repository.replaceJson(document, { ifRevision: current.value.revision })
        outcome = "applied"
      } else if (there > version) return outcome
      // What was written, now or by a process that came to no end, while a newer deletion went by.
      const deleted = yield* deletedAt(target, id)
      if (deleted > version) yield* removeOlder(target, id, deleted)
      return outcome
    })
  )

/** Raises the mark of a deletion. */
const mark = Effect.fnUntraced(function* ({ deletions, keepDeletions }: Target, id: string, version: number) {
  for (let attempts = 0; ; attempts++) {
    const before = yield* deletions.getVersion(id)
    const ttl = { ttl: keepDeletions }
    const isMarked = Option.isNone(before)
      ? yield* deletions.setIfAbsent(id, version, ttl)
      : before.value.value >= version
        ? true
        : Option.isSome(yield* deletions.setIfVersion(id, version, before.value.version, ttl))
    if (isMarked) return
    yield* backoff.after(attempts, backoff.contention)
  }
})

/**
 * Deletes a document, unless a newer version of it is there. 2 GET, 1 PUT and 1 DELETE.
 *
 * @category combinators
 * @since 0.1.0
 */
export const remove = (target: Target, id: string, version: number) =>
  Effect.andThen(mark(target, id, version), again(removeOlder(target, id, version)))
