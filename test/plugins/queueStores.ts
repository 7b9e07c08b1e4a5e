/** The stores that processes share in the tests of queues: a folder, or the gateway. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as FileStore from "effect-s3db/storage/FileStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { gateway } from "../services/ceph.ts"

const scheme = "gateway:"

/** The bucket that the gateway comes up with. */
const bucket = "s3db"

const onGateway = (prefix: string) =>
  Layer.effect(
    ObjectStore,
    Effect.gen(function* () {
      const { accessKeyId, endpoint, secretAccessKey } = gateway
      const store = yield* S3Store.make({
        bucket,
        endpoint,
        credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
      })
      return RetryingStore.make(PrefixedStore.make(store, prefix))
    })
  )

/** The store at a folder, or at `gateway:PREFIX`. */
export const storeAt = (location: string) =>
  location.startsWith(scheme)
    ? onGateway(location.slice(scheme.length))
    : FileStore.layer({ path: location, durability: "none" })
