/** The stores that speak S3, as the suites of this folder take them: what one promises the others do. */
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { RequestCounter } from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import type { StoreError } from "effect-s3db/storage/StoreError"

export interface S3Tested {
  readonly name: string
  /** Whether its connections are its own, so that it can look after those that are idle. */
  readonly ownsConnections: boolean
  readonly make: (options: S3Store.Options) => Effect.Effect<ObjectStore["Service"], StoreError, Scope.Scope>
  readonly layer: (options: S3Store.LayerOptions) => Layer.Layer<ObjectStore | RequestCounter, StoreError>
  readonly layerConfig: (
    config: Config.Wrap<S3Store.LayerOptions>
  ) => Layer.Layer<ObjectStore | RequestCounter, StoreError | Config.ConfigError>
}

/** Over the AWS SDK. */
export const sdk: S3Tested = {
  name: "S3Store",
  ownsConnections: true,
  make: S3Store.make,
  layer: S3Store.layer,
  layerConfig: S3Store.layerConfig
}

/** Over HTTP, with Node's own client. */
export const http: S3Tested = {
  name: "S3HttpStore",
  ownsConnections: true,
  make: S3HttpStore.make,
  layer: S3HttpStore.layer,
  layerConfig: S3HttpStore.layerConfig
}

/** Over `fetch`. */
export const overFetch: S3Tested = {
  name: "S3HttpStore over fetch",
  ownsConnections: false,
  make: (options) => S3HttpStore.make({ ...options, transport: "fetch" }),
  layer: (options) => S3HttpStore.layer({ ...options, transport: "fetch" }),
  layerConfig: S3HttpStore.layerConfig
}

/** Over undici. */
export const overUndici: S3Tested = {
  name: "S3HttpStore over undici",
  ownsConnections: true,
  make: (options) => S3HttpStore.make({ ...options, transport: "undici" }),
  layer: (options) => S3HttpStore.layer({ ...options, transport: "undici" }),
  layerConfig: S3HttpStore.layerConfig
}
