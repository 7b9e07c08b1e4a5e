/**
 * A part of a store: everything below one prefix, seen as a store of its own.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { utf8Length } from "../internal/text.ts"
import { checkPage } from "./internal/listing.ts"
import { maxKeyBytes, ObjectStore } from "./ObjectStore.ts"
import { fieldsOf, StoreError } from "./StoreError.ts"

/**
 * Wraps a store so that it shows the objects of `inner` whose keys begin with `prefix` and one `/`, under what follows
 * it. The prefix counts towards the 1,024 bytes of a key. An empty prefix gives `inner` itself. No request of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: ObjectStore["Service"], prefix: string): ObjectStore["Service"] => {
  const base = prefix.replace(/^\/+|\/+$/g, "")
  if (base === "") return inner
  const root = `${base}/`
  const outside = (key: string) => root + key
  const inside = (key: string) => (key.startsWith(root) ? key.slice(root.length) : key)
  const renamed = Effect.mapError((error: StoreError): StoreError =>
    error.key === undefined ? error : new StoreError({ ...fieldsOf(error), key: inside(error.key) })
  )
  return {
    ...inner,
    location: `${inner.location}/${base}`,
    keyBytes: (inner.keyBytes ?? maxKeyBytes) - utf8Length(root),
    put: (request) => renamed(inner.put({ ...request, key: checked(request.key, outside) })),
    get: (key, options) =>
      renamed(Effect.map(inner.get(checked(key, outside), options), (object) => ({ ...object, key }))),
    head: (key) => renamed(Effect.map(inner.head(checked(key, outside)), (head) => ({ ...head, key }))),
    delete: (key, options) => renamed(inner.delete(checked(key, outside), options)),
    deleteMany: (keys, options) =>
      renamed(
        Effect.map(
          inner.deleteMany(
            keys.map((key) => checked(key, outside)),
            options
          ),
          ({ deleted, failed }) => ({
            deleted: deleted.map(inside),
            failed: failed.map(({ key, reason }) => ({ key: inside(key), reason }))
          })
        )
      ),
    copy: (request) =>
      renamed(inner.copy({ ...request, from: checked(request.from, outside), to: checked(request.to, outside) })),
    list: (request = {}) =>
      renamed(
        Effect.flatMap(
          inner.list({
            ...request,
            prefix: outside(request.prefix ?? ""),
            startAfter: request.startAfter === undefined ? undefined : outside(request.startAfter)
          }),
          (page) => {
            // What is not below the prefix must not be shown as if it were.
            const problem = checkPage({ prefix: root }, page)
            if (problem !== undefined) {
              return Effect.fail(new StoreError({ operation: "list", key: request.prefix ?? "", reason: problem }))
            }
            return Effect.succeed({
              entries: page.entries.map((entry) => ({ ...entry, key: inside(entry.key) })),
              commonPrefixes: page.commonPrefixes.map(inside),
              nextToken: page.nextToken
            })
          }
        )
      )
  }
}

/** An empty key stays empty, so that the store refuses it instead of writing to the prefix itself. */
const checked = (key: string, outside: (key: string) => string): string => (key === "" ? "" : outside(key))

/**
 * Creates a layer that shows what is below a prefix of the store below it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (prefix: string): Layer.Layer<ObjectStore, never, ObjectStore> =>
  Layer.effect(
    ObjectStore,
    Effect.map(ObjectStore, (inner) => make(inner, prefix))
  )
