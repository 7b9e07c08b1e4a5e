import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectKeyValueStore from "effect/persistence/KeyValueStore"
import * as EffectPersistence from "effect/persistence/Persistence"
import * as EffectRateLimiter from "effect/persistence/RateLimiter"
import * as KeyValueStore from "effect-s3db/persistence/KeyValueStore"
import * as Persistence from "effect-s3db/persistence/Persistence"
import * as RateLimiter from "effect-s3db/persistence/RateLimiter"
import * as Database from "effect-s3db/Database"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as suites from "./suites.ts"

suites.keyValueStore("Effect's in memory", () => EffectKeyValueStore.layerMemory)
suites.persistence("Effect's in memory", () => EffectPersistence.layerMemory)
suites.rateLimiter("Effect's in memory", () => EffectRateLimiter.layerStoreMemory)

const inMemory = Database.layerWith({ catalogLease: 0 }).pipe(Layer.provide(MemoryStore.layer))

suites.keyValueStore("ours in memory", () => Layer.provide(KeyValueStore.layer, Layer.fresh(inMemory)))
suites.persistence("ours in memory", () => Layer.provide(Persistence.layer, Layer.fresh(inMemory)))
suites.rateLimiter("ours in memory", () => Layer.provide(RateLimiter.layerStore, Layer.fresh(inMemory)))

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-persistence-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
).pipe(Effect.flatMap((path) => FileStore.make({ path, durability: "none" })))

suites.keyValueStore("ours in a folder", () =>
  Layer.effectContext(
    Effect.map(folder, (store) => Context.make(EffectKeyValueStore.KeyValueStore, KeyValueStore.make(store)))
  )
)

suites.persistence(
  "ours in a folder",
  () =>
    Layer.provide(
      EffectPersistence.layer,
      Layer.effect(
        EffectPersistence.BackingPersistence,
        Effect.flatMap(folder, (store) => Persistence.make(store))
      )
    ),
  100
)
suites.rateLimiter("ours in a folder", () =>
  Layer.effect(
    EffectRateLimiter.RateLimiterStore,
    Effect.flatMap(folder, (store) => RateLimiter.make(store))
  )
)
