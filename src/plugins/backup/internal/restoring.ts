/** What a restoration has to do, found by the index of a backup and a listing of the target side by side, and doing it. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { compareUtf8 } from "../../../internal/text.ts"
import { type ListEntry, listSome, type ObjectStore } from "../../../storage/ObjectStore.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import * as format from "./format.ts"
import * as Vault from "./vault.ts"

export type Mode = "empty" | "merge" | "skip" | "replace"

export type Action =
  | { readonly _tag: "Put"; readonly row: format.Row; readonly isThere: boolean }
  /** It is there already, as it was. */
  | { readonly _tag: "Same"; readonly row: format.Row }
  /** There is another, which stays. */
  | { readonly _tag: "Keep"; readonly row: format.Row }
  | { readonly _tag: "Remove"; readonly key: string }

/** A listing that is drawn key by key. */
const keysOf = (store: ObjectStore["Service"], covers: (key: string) => boolean) => {
  let page: ReadonlyArray<ListEntry> = []
  let at = 0
  let token: string | undefined
  let isOver = false
  const peek = Effect.fnUntraced(function* (): Effect.fn.Return<ListEntry | undefined, StoreError.StoreError> {
    for (;;) {
      for (; at < page.length; at += 1) {
        const entry = page[at]!
        if (covers(entry.key)) return entry
      }
      if (isOver) return undefined
      const next = yield* listSome(store, { prefix: "", ...(token === undefined ? {} : { token }) })
      page = next.entries
      at = 0
      token = next.nextToken
      isOver = token === undefined
    }
  })
  return { peek, advance: () => (at += 1) }
}

/** So many things to do are found before the first of them is done. */
const mostActions = 1000

const isCatalog = (key: string) => key === format.catalogKey || key === format.catalogCopyKey

/**
 * Everything that has to be done but for the catalog, which comes last. What has the same ETag and size is the same: every write of a document
 * has bytes of its own.
 */
export const actions = (
  vault: Vault.Vault,
  target: ObjectStore["Service"],
  parts: ReadonlyArray<format.Part>,
  {
    covers,
    isReplaced,
    mode
  }: {
    /** What is put back. */
    readonly covers: (key: string) => boolean
    /** What is removed by `replace` where the backup does not have it. */
    readonly isReplaced: (key: string) => boolean
    readonly mode: Mode
  }
): Stream.Stream<Action, StoreError.StoreError> =>
  Stream.suspend(() => {
    const isWanted = (key: string) => covers(key) && !isCatalog(key)
    const keys = keysOf(target, (key) => isReplaced(key) && !isCatalog(key))
    let next = 0
    let rows: ReadonlyArray<format.Row> = []
    let row = 0
    /** So many at once, however many keys lie between two objects of the backup: what is removed is not kept in memory. */
    const some = Effect.fnUntraced(function* () {
      const all: Array<Action> = []
      while (all.length < mostActions) {
        if (row === rows.length) {
          const part = parts[next]
          if (part === undefined) break
          rows = yield* Vault.readIndex(vault, part)
          row = 0
          next += 1
          continue
        }
        const wanted = rows[row]!
        if (!isWanted(wanted.key)) {
          row += 1
          continue
        }
        const entry = yield* keys.peek()
        const order = entry === undefined ? 1 : compareUtf8(entry.key, wanted.key)
        if (entry !== undefined && order <= 0) keys.advance()
        if (entry !== undefined && order < 0) {
          if (mode === "replace") all.push({ _tag: "Remove", key: entry.key })
          continue
        }
        row += 1
        if (entry === undefined || order > 0) all.push({ _tag: "Put", row: wanted, isThere: false })
        else if (entry.etag === wanted.etag && entry.size === wanted.size) all.push({ _tag: "Same", row: wanted })
        else if (mode === "skip") all.push({ _tag: "Keep", row: wanted })
        else all.push({ _tag: "Put", row: wanted, isThere: true })
      }
      // What comes after the last object of the backup.
      while (all.length < mostActions) {
        const entry = mode === "replace" ? yield* keys.peek() : undefined
        if (entry === undefined) break
        keys.advance()
        all.push({ _tag: "Remove", key: entry.key })
      }
      return all
    })
    return Stream.paginate(undefined, () =>
      Effect.map(some(), (all) => [all, all.length < mostActions ? Option.none() : Option.some(undefined)] as const)
    )
  })

/** Reads objects of a backup, and puts them where they were. */
export const writer = (vault: Vault.Vault, target: ObjectStore["Service"]) => {
  const packs = Vault.packReader(vault)
  const objectOf = Effect.fnUntraced(function* (row: format.Row) {
    const pack = yield* packs(row.pack)
    return yield* Effect.mapError(format.recordAt(pack, row), Vault.wrongPack(row.pack))
  })
  return {
    objectOf,
    put: Effect.fnUntraced(function* (row: format.Row) {
      const { body, contentEncoding, contentType, key, metadata } = yield* objectOf(row)
      yield* target.put({
        key,
        body,
        metadata,
        contentType,
        ...(contentEncoding === undefined ? {} : { contentEncoding }),
        repeatable: true
      })
    })
  }
}
