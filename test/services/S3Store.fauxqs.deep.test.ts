import * as Layer from "effect/Layer"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { suite } from "effect-s3db/testing/ObjectStoreSuite"
import { open } from "./fauxqs.ts"

suite("S3 on fauxqs", Layer.effect(ObjectStore, open), {
  conditionalPut: false,
  conditionalDelete: false,
  conditionalCopy: false,
  hostileKeys: false,
  delimiters: false,
  ordered: false
})
