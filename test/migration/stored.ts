/** The databases that are moved in the tests: fixtures, and one as 16.2 writes it. */
import { readFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"
import * as Effect from "effect/Effect"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"

export { passphrase } from "./passphrase.ts"

export interface StoredObject {
  readonly key: string
  readonly metadata: Readonly<Record<string, string>>
  readonly contentType?: string | undefined
  /** In base 64. */
  readonly body: string
}

export interface Fixture {
  readonly by: string
  readonly objects: ReadonlyArray<StoredObject>
  readonly written: ReadonlyArray<{ readonly resource: string; readonly document: Readonly<Record<string, unknown>> }>
}

export const fixture = (name: string): Fixture =>
  JSON.parse(gunzipSync(readFileSync(new URL(`fixtures/${name}.json.gz`, import.meta.url))).toString("utf8")) as Fixture

/** A store with these objects. */
export const storeOf = Effect.fnUntraced(function* (objects: ReadonlyArray<StoredObject>) {
  const { store } = yield* MemoryStore.make()
  for (const { body, contentType, key, metadata } of objects) {
    yield* store.put({ key, metadata, contentType, body: new Uint8Array(Buffer.from(body, "base64")) })
  }
  return store
})
