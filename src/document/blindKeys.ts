/**
 * The keys of blind unique keys: the one that each has from the beginning, and how it moves to another key of the ring.
 *
 * **Details**
 *
 * The catalog lists the keys of a blind unique key, and every writer reserves a value under each of them. One is `ready`: it
 * decides who has a value, and documents are found by it, whatever key is current in the ring of the program that looks. To
 * move to another key, that one is added, `building`; once every writer knows, each document is given the reservation that it
 * lacks; then it is the only one, and `ready`. See `docs/design/write-path.md`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Catalog from "../Catalog.ts"
import type { BlindKey } from "../crypto/KeyRing.ts"
import type * as Database from "../Database.ts"
import type * as DbError from "../DbError.ts"
import { deleteAll } from "../storage/ObjectStore.ts"
import * as Unique from "../Unique.ts"
import type { DocumentCodec } from "./codec.ts"
import type { Context } from "./context.ts"
import { type Indexes, unknownKey } from "./indexes.ts"

/**
 * Gives the blind unique keys of a resource that have no key yet the current one of the ring, if there is a ring. No request
 * when all have one; else 1 PUT, and 1 more for the backup of the catalog, for each.
 *
 * @category constructors
 * @since 0.1.0
 */
export const assign = Effect.fnUntraced(function* (
  resource: string,
  database: Database.Database["Service"],
  codec: Pick<DocumentCodec<unknown>, "blindKeys">
): Effect.fn.Return<void, DbError.DbError> {
  const { uniques = {} } = yield* database.indexes(resource)
  for (const [label, { definition, keys = [] }] of Object.entries(uniques)) {
    if (definition.blind !== true || keys.length > 0) continue
    const current = currentOf(codec.blindKeys(label))
    if (current === undefined) continue
    const first: ReadonlyArray<Catalog.UniqueKey> = [{ id: yield* Unique.newKeyId, key: current.id, state: "ready" }]
    // Nothing can be reserved before there is a key, and another program may have given one.
    yield* database.setUniqueKeys(resource, label, definition, (had) => (had.length > 0 ? had : first))
  }
})

const currentOf = (ring: ReadonlyArray<BlindKey>) => ring.find(({ isCurrent }) => isCurrent)

/**
 * A blind unique key on its way to the current key of the ring.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moving {
  readonly label: string
  /** What keys and documents call it, whatever its key. */
  readonly base: string
  readonly definition: Unique.Definition
  /** What the reservations to be made are under. */
  readonly id: string
}

/**
 * The move of the blind unique keys of a resource to the current key of the ring.
 *
 * @category models
 * @since 0.1.0
 */
export interface BlindKeys {
  /**
   * Has every writer reserve under the current key as well, and waits until all know. Tells which unique keys move. No request
   * when none does; else 1 PUT, and 1 more for the backup of the catalog, for each. `Unsupported`: the ring has not the key
   * under which one is kept.
   */
  readonly begin: Effect.Effect<ReadonlyArray<Moving>, DbError.Failure | DbError.DbError>
  /**
   * Says that every document has its reservations under the current key, and removes those under former ones. The requests
   * of `begin`, and 1 LIST and 1 DeleteObjects for each 1,000 reservations.
   */
  readonly finish: (moved: ReadonlyArray<Moving>) => Effect.Effect<void, DbError.Failure | DbError.DbError>
}

/**
 * Makes what moves the blind unique keys of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>({ codec, database, fresh, name, store }: Context<A>, indexes: Indexes<A>): BlindKeys => {
  const { all } = indexes
  const entries = Effect.map(database.indexes(name), ({ uniques = {} }) => Object.entries(uniques))

  /** Changes the keys of one, and gives the names of the reservations that are under none of them any more. */
  const setKeys = Effect.fnUntraced(function* (
    { base, definition, label }: Pick<Moving, "base" | "definition" | "label">,
    change: (had: ReadonlyArray<Catalog.UniqueKey>) => ReadonlyArray<Catalog.UniqueKey>
  ) {
    let gone: ReadonlyArray<Catalog.UniqueKey> = []
    yield* database.setUniqueKeys(name, label, definition, (had) => {
      const next = change(had)
      gone = had.filter(({ id }) => !next.some((one) => one.id === id))
      return next
    })
    return gone.map(({ id }) => Unique.nameUnder(base, id))
  })

  const removeReservations = (names: ReadonlyArray<string>) =>
    Effect.forEach(names, (former) => {
      const prefix = Unique.keyOf(name, former, "")
      return deleteAll(store, prefix, (key) => Unique.isOf(prefix, key))
    })

  /** Has one move to the current key, if it is not there. */
  const move = Effect.fnUntraced(function* (label: string, { build, definition, keys = [] }: Entry) {
    const current = currentOf(codec.blindKeys(label))
    // A program without a ring moves nothing.
    if (definition.blind !== true || current === undefined) return []
    if (keys.length === 1 && keys[0]!.key === current.id) return []
    const untold = [...(yield* all).uniques.values()].find((one) => one.label === label && one.isReady && !one.isTold)
    if (untold !== undefined) return yield* unknownKey(name, untold)
    const id = yield* Unique.newKeyId
    return yield* setKeys({ base: Catalog.labelOf(label, build), definition, label }, (had) =>
      towards(had, { id, key: current.id })
    )
  })

  return {
    begin: Effect.gen(function* () {
      yield* fresh
      const left: Array<string> = []
      for (const [label, entry] of yield* entries) left.push(...(yield* move(label, entry)))
      const moving = (yield* entries).flatMap(([label, { build, definition, keys = [] }]) => {
        const to = keys.find(({ state }) => state === "building")
        // Another program may have begun to move it elsewhere.
        return to !== undefined && to.key === currentOf(codec.blindKeys(label))?.id
          ? [{ label, base: Catalog.labelOf(label, build), definition, id: to.id }]
          : []
      })
      if (moving.length > 0 || left.length > 0) yield* database.known(name)
      // Of a move that was given up.
      yield* removeReservations(left)
      return moving
    }),
    finish: Effect.fnUntraced(function* (moved) {
      const left: Array<string> = []
      for (const { id, ...one } of moved) {
        const gone = yield* setKeys(one, (had) => {
          const to = had.find((key) => key.id === id)
          return to === undefined || to.state === "ready" ? had : [{ ...to, state: "ready" }]
        })
        left.push(...gone)
      }
      // First nobody reserves under those, nor looks for any.
      if (left.length > 0) yield* database.known(name)
      yield* removeReservations(left)
    })
  }
}

type Entry = NonNullable<Database.Indexes["uniques"]>[string]

/** The keys of a unique key that moves to one: the one by which it is looked up meanwhile, and that. */
const towards = (
  had: ReadonlyArray<Catalog.UniqueKey>,
  to: Pick<Catalog.UniqueKey, "id" | "key">
): ReadonlyArray<Catalog.UniqueKey> => {
  const ready = had.find(({ state }) => state === "ready")
  if (ready === undefined) return [{ ...to, state: "ready" }]
  const others = had.filter((one) => one !== ready)
  if (ready.key === to.key) return others.length === 0 ? had : [ready]
  const isUnderWay = others.length === 1 && others[0]!.key === to.key
  return isUnderWay ? had : [ready, { ...to, state: "building" }]
}
