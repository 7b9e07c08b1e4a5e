/**
 * What an MCP server may do with a database: which resources it sees, and whether it may write and delete. It is enforced by a store that
 * refuses all else, below whatever asks.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Catalog from "../Catalog.ts"
import * as Document from "../Document.ts"
import { percentEncode } from "../internal/text.ts"
import { type CopyRequest, fullCapabilities, getOption, ObjectStore, type PutRequest } from "../storage/ObjectStore.ts"
import * as RestrictedStore from "../storage/RestrictedStore.ts"
import type { StoreError } from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"

/**
 * What a server may do. Without any of it: read everything, and write nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Access {
  /** Whether documents may be created and changed, and resources made. Default `false`. */
  readonly write?: boolean | undefined
  /** Whether documents may be deleted as well. It goes with `write`. Default `false`. */
  readonly destructive?: boolean | undefined
  /** The resources that are there, for whoever asks. Default: all. */
  readonly resources?: ReadonlyArray<string> | undefined
}

/**
 * Tells whether a resource is there for whoever asks.
 *
 * @category guards
 * @since 0.1.0
 */
export const isVisible = ({ resources }: Access, name: string): boolean =>
  resources === undefined || resources.includes(name)

/** The versions of documents, and what belongs to them: losing one loses data. */
const holdsData = /^resource=[^/]+\/(data|historical|content)\//

/** Whether what is put in the place of a document is a version of it: nothing by which it is deleted. */
const isVersion = (key: string, request: PutRequest | CopyRequest): boolean =>
  !holdsData.test(key) || ("key" in request && Document.isSettled(request.metadata ?? {}))

/** The catalog and its backup, what is tried on a store that nobody has tried before, and what became of transactions. */
const shared: ReadonlyArray<string> = [Catalog.key, "s3db-probe/", Transaction.prefix]

const isShared = (key: string): boolean => shared.some((prefix) => key.startsWith(prefix))

/**
 * Creates the layer of a store that does what is allowed, and refuses all else with `AccessDenied`.
 *
 * **Details**
 *
 * - Without `write` nothing is written or deleted. What the store can do is then taken from the catalog (1 GET where the store does not
 *   know it itself), since trying it would write.
 * - With `write`, and without `destructive`, whatever holds a version or the content of a document can be replaced by a newer version and
 *   not deleted, nor the catalog.
 * - With `resources`, no object of another resource or of a plugin can be read, listed, written or deleted.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (access: Access): Layer.Layer<ObjectStore, StoreError, ObjectStore> =>
  Layer.effect(
    ObjectStore,
    Effect.gen(function* () {
      const inner = yield* ObjectStore
      const { destructive = false, resources, write = false } = access
      const roots = resources?.map((name) => `resource=${percentEncode(name)}/`)
      const isWithin = (key: string): boolean =>
        roots === undefined || isShared(key) || roots.some((root) => key.startsWith(root))
      const mayGo = (key: string): boolean => destructive || !(holdsData.test(key) || key === Catalog.key)
      const restricted = RestrictedStore.make(inner, {
        reads: roots === undefined ? undefined : isWithin,
        puts: write ? (key, request) => isWithin(key) && (destructive || isVersion(key, request)) : undefined,
        deletes: write ? (key) => isWithin(key) && mayGo(key) : undefined
      })
      if (write || inner.capabilities !== undefined) return restricted
      const found = yield* getOption(inner, Catalog.key)
      const reading = Option.isSome(found) ? yield* Effect.option(Catalog.read(found.value.body)) : Option.none()
      const known =
        Option.isSome(reading) && reading.value._tag !== "Irreparable"
          ? reading.value.catalog.store?.capabilities
          : undefined
      // Without a word of the store's order nothing is made of it; of conditions nothing is needed to read.
      return { ...restricted, capabilities: known ?? { ...fullCapabilities, orderedList: false } }
    })
  )
