/** A database in memory under AWS's rules, and resources on it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Database from "effect-s3db/Database"
import type * as Document from "effect-s3db/Document"
import type * as DocumentCodec from "effect-s3db/DocumentCodec"
import * as Resource from "effect-s3db/Resource"
import type { DocumentSchema } from "effect-s3db/schema/Attributes"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore, type StoredObject } from "effect-s3db/storage/ObjectStore"

export interface Fixture {
  readonly store: ObjectStore["Service"]
  readonly database: Database.Database["Service"]
  readonly open: <S extends DocumentSchema>(
    name: string,
    options: Resource.Options<S>
  ) => ReturnType<typeof Resource.make<S>> extends Effect.Effect<infer A, infer E, unknown>
    ? Effect.Effect<A, E, DocumentCodec.Services<S["Type"]>>
    : never
}

/** Opens a database on a store, as another process would. */
export const openOn = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const open = <S extends DocumentSchema>(name: string, options: Resource.Options<S>) =>
    Effect.provideService(Resource.make(Resource.define(name, options)), Database.Database, database)
  return { store, database, open }
})

export const memory = Effect.map(MemoryStore.make(), ({ store }) => store)

export const openNew = Effect.flatMap(memory, openOn)

/** The object of a document as it lies in the store. */
export const objectOf = (store: ObjectStore["Service"], resource: string, id: string): Effect.Effect<StoredObject> =>
  Effect.orDie(store.get(`resource=${resource}/data/id=${id}`))

export const bodyOf = (object: StoredObject): Record<string, unknown> =>
  JSON.parse(new TextDecoder().decode(object.body)) as Record<string, unknown>

/** Everything of an object in one text. */
export const everything = (object: StoredObject): string =>
  JSON.stringify(object.metadata) + new TextDecoder().decode(object.body)

export const empty = Context.empty()
export type { Document }
