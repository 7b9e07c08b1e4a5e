/**
 * A store that does less than the one below it: by default it reads and never writes. What it refuses does not reach the store.
 *
 * It stands below whoever must not be able to write, whatever is asked of them: an MCP server, a report, a program of others.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type CopyRequest, ObjectStore, type PutRequest } from "./ObjectStore.ts"
import { AccessDenied, type Operation, type Reason, StoreError } from "./StoreError.ts"

/**
 * The keys with which something may be done.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Objects that may be read. Listings leave others out. Default: all. */
  readonly reads?: ((key: string) => boolean) | undefined
  /** Objects that may be written, by their key, and what is to be there. Default: none. */
  readonly puts?: ((key: string, write: PutRequest | CopyRequest) => boolean) | undefined
  /** Objects that may be deleted. Default: none. */
  readonly deletes?: ((key: string) => boolean) | undefined
}

const all = () => true
const none = () => false

const what = { read: "read", put: "written", delete: "deleted" } as const

const denied = (right: keyof typeof what) =>
  new AccessDenied({
    code: "Restricted",
    description: `this program may not do that: objects like this one cannot be ${what[right]} here, whatever the store allows`
  })

/**
 * Wraps a store so that it does with objects what the options allow, and refuses all else with `AccessDenied` (code `Restricted`).
 * Without options nothing can be written. No request of its own, and none for what is refused.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  inner: ObjectStore["Service"],
  { deletes = none, puts = none, reads = all }: Options = {}
): ObjectStore["Service"] => {
  const failed = (operation: Operation, key: string, reason: Reason) =>
    Effect.fail(new StoreError({ operation, key, reason }))
  return {
    ...inner,
    put: (request) => (puts(request.key, request) ? inner.put(request) : failed("put", request.key, denied("put"))),
    get: (key, options) => (reads(key) ? inner.get(key, options) : failed("get", key, denied("read"))),
    head: (key) => (reads(key) ? inner.head(key) : failed("head", key, denied("read"))),
    delete: (key, options) => (deletes(key) ? inner.delete(key, options) : failed("delete", key, denied("delete"))),
    deleteMany: (keys, options) => {
      const allowed = keys.filter(deletes)
      if (allowed.length === keys.length) return inner.deleteMany(keys, options)
      if (allowed.length === 0) return failed("deleteMany", keys[0] ?? "", denied("delete"))
      const reason = denied("delete")
      return Effect.map(inner.deleteMany(allowed, options), ({ deleted, failed }) => {
        const reasons = new Map<string, Reason>(failed.map((one) => [one.key, one.reason]))
        const gone = new Set(deleted)
        return {
          deleted: keys.filter((key) => gone.has(key)),
          failed: keys.filter((key) => !gone.has(key)).map((key) => ({ key, reason: reasons.get(key) ?? reason }))
        }
      })
    },
    copy: (request) =>
      reads(request.from) && puts(request.to, request)
        ? inner.copy(request)
        : failed("copy", request.to, denied(reads(request.from) ? "put" : "read")),
    list: (request) =>
      reads === all
        ? inner.list(request)
        : Effect.map(inner.list(request), (page) => ({
            ...page,
            entries: page.entries.filter(({ key }) => reads(key)),
            // What is below one is nothing that may be known of, unless the prefix itself may be.
            commonPrefixes: page.commonPrefixes.filter(reads)
          }))
  }
}

/**
 * The store below it, of which nothing can be written or deleted.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore, never, ObjectStore> = Layer.effect(
  ObjectStore,
  Effect.map(ObjectStore, (inner) => make(inner))
)

/**
 * Creates a layer that does with the objects of the store below it what the options allow. Bind the result to a constant: each call makes
 * a layer of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<ObjectStore, never, ObjectStore> =>
  Layer.effect(
    ObjectStore,
    Effect.map(ObjectStore, (inner) => make(inner, options))
  )
