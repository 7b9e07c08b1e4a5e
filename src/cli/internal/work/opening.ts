/** Opens the database and its resources for a command. */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as KeyRing from "../../../crypto/KeyRing.ts"
import * as PasswordHasher from "../../../crypto/PasswordHasher.ts"
import * as Database from "../../../Database.ts"
import * as DbError from "../../../DbError.ts"
import * as Resource from "../../../Resource.ts"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import { ObjectStore } from "../../../storage/ObjectStore.ts"
import type { StoreError } from "../../../storage/StoreError.ts"
import * as Connection from "../connection.ts"
import { Missing, NoConnection } from "../failure.ts"
import { didYouMean } from "../../../internal/nearest.ts"

/** Where the catalog of a database is. */
export const catalogKey = "s3db.json"

/** Says of the connection what it is worth, without its secrets. */
export const connection = Effect.gen(function* () {
  const { find } = yield* Connection.Connection
  const { source, url } = yield* find
  const parsed = yield* ConnectionString.parse(url)
  return { source, url, parsed, described: Connection.describe(parsed) }
})

/** The store alone. */
export const store = Layer.unwrap(Effect.map(connection, ({ url }) => ConnectionString.layer(url)))

/** The keys of secrets, if there are any. */
const keys = Layer.unwrap(
  Effect.gen(function* () {
    const given = yield* Config.Redacted("S3DB_KEYS").pipe(
      Config.option,
      Effect.orElseSucceed(() => Option.none<Redacted.Redacted<string>>())
    )
    return Option.isNone(given) ? Layer.empty : KeyRing.layerConfig()
  })
)

export interface OpenOptions {
  /** Whether a database is made where there is none. */
  readonly create: boolean
  /** What stands between the database and its store. */
  readonly through?: Layer.Layer<ObjectStore, StoreError, ObjectStore>
}

const opened = ({ create, through = Layer.effect(ObjectStore, ObjectStore) }: OpenOptions) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { described, parsed } = yield* connection
      const { singleWriter } = yield* Connection.Connection
      const none = new NoConnection({
        description: `there is no database at ${described}: correct the URL, or make one with \`s3db create resource\``
      })
      if (parsed._tag === "File" && !create) {
        const fs = yield* FileSystem.FileSystem
        // Opening a folder makes it.
        if (!(yield* Effect.orElseSucceed(fs.exists(parsed.options.path), () => false))) return yield* none
      }
      const isThere = Layer.effectDiscard(
        Effect.gen(function* () {
          if (create) return
          // Of a HEAD nobody can tell whether the bucket or the object is missing.
          yield* (yield* ObjectStore).get(catalogKey, { range: { start: 0, end: 0 } }).pipe(
            Effect.catchReasons("StoreError", {
              NoSuchKey: () => none,
              // An empty one is damaged, which opening it tells, or mends.
              InvalidRange: () => Effect.void
            }),
            Effect.catchTag("StoreError", (error) => DbError.fromStore("Database.open")(error))
          )
        })
      )
      const database = Database.layerWith({ singleWriter })
      return Layer.mergeAll(keys, PasswordHasher.layer, database.pipe(Layer.provideMerge(isThere))).pipe(
        Layer.provideMerge(through),
        Layer.provideMerge(ConnectionString.layer((yield* connection).url))
      )
    })
  )

type Opened = Layer.Success<ReturnType<typeof opened>>

/** What a console keeps open from one command to the next. */
const Kept = Context.Reference<Context.Context<Opened> | undefined>("effect-s3db/cli/internal/work/opening/Kept", {
  defaultValue: () => undefined
})

const withOpened =
  (options: OpenOptions) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Kept, (kept) =>
      kept === undefined ? Effect.provide(effect, opened(options)) : Effect.provideContext(effect, kept)
    )

/** Runs with the database that is there. */
export const withDatabase = withOpened({ create: false })

/** Runs with the database, which is made where there is none. */
export const withNewDatabase = withOpened({ create: true })

/** Runs with a database that stands on what a layer lets through to its store; in memory one is made, where it may be written. */
export const withRestricted =
  (through: Layer.Layer<ObjectStore, StoreError, ObjectStore>, canWrite: boolean) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(connection, ({ parsed }) =>
      Effect.provide(effect, opened({ create: canWrite && parsed._tag === "Memory", through }))
    )

/** Runs with a database that has nothing, and of which nothing stays. */
export const withEmpty = Effect.provide(
  Layer.mergeAll(keys, PasswordHasher.layer, Database.layer).pipe(
    Layer.provideMerge(ConnectionString.layer("memory://nothing"))
  )
)

/** Keeps a database open, for whatever asks for it within. In memory it is made. */
export const keptOpen = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const { parsed } = yield* connection
  return yield* Effect.flatMap(Effect.context<Opened>(), (context) =>
    Effect.provideService(effect, Kept, context)
  ).pipe(Effect.provide(opened({ create: parsed._tag === "Memory" })))
})

/** What a resource is, as the catalog has it. */
export const definition = Effect.fnUntraced(function* (name: string) {
  const database = yield* Database.Database
  const names = (yield* database.listResources).map((resource) => resource.name)
  if (!names.includes(name)) {
    const there = names.length === 0 ? "there is none yet" : `there are ${names.join(", ")}`
    const description = `there is no resource called ${JSON.stringify(name)}: ${there}${didYouMean(name, names)}`
    return yield* new Missing({ description })
  }
  return yield* Resource.fromCatalog(name)
})

/** Opens a resource that the catalog has. */
export const resource = Effect.fnUntraced(function* (name: string) {
  const defined = yield* definition(name)
  const repository = yield* Resource.make(defined)
  return { definition: defined, repository }
})
