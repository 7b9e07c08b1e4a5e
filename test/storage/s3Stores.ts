/** The stores that speak S3, as the suites of this folder take them: what one promises the others do. */
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { RequestCounter } from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import type { StoreError } from "effect-s3db/storage/StoreError"

export interface S3Tested {
  readonly name: string
  readonly make: (options: S3Store.Options) => Effect.Effect<ObjectStore["Service"], StoreError, Scope.Scope>
  readonly layer: (options: S3Store.LayerOptions) => Layer.Layer<ObjectStore | RequestCounter, StoreError>
  readonly layerConfig: (
    config: Config.Wrap<S3Store.LayerOptions>
  ) => Layer.Layer<ObjectStore | RequestCounter, StoreError | Config.ConfigError>
}

/** Over the AWS SDK. */
export const sdk: S3Tested = {
  name: "S3Store",
  make: S3Store.make,
  layer: S3Store.layer,
  layerConfig: S3Store.layerConfig
}
