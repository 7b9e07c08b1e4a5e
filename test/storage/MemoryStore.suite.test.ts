import * as Layer from "effect/Layer"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as BoundedStore from "effect-s3db/storage/BoundedStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RestrictedStore from "effect-s3db/storage/RestrictedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as SingleWriterStore from "effect-s3db/storage/SingleWriterStore"
import * as StandardStore from "effect-s3db/storage/StandardStore"
import * as TimeoutStore from "effect-s3db/storage/TimeoutStore"
import { suite } from "effect-s3db/testing/ObjectStoreSuite"

suite("memory", MemoryStore.layer)

const decorators = {
  prefixed: PrefixedStore.layer("some/prefix"),
  timeout: TimeoutStore.layer,
  retrying: RetryingStore.layer,
  bounded: BoundedStore.layerWith({ concurrency: 3 }),
  instrumented: InstrumentedStore.layer,
  "restricted in nothing": RestrictedStore.layerWith({ reads: () => true, puts: () => true, deletes: () => true }),
  "single writer": SingleWriterStore.layer,
  standard: StandardStore.layerWith({ prefix: "p" })
}

for (const [name, decorator] of Object.entries(decorators)) {
  const keyBytes = 1024 - (name === "prefixed" ? "some/prefix/".length : name === "standard" ? "p/".length : 0)
  suite(`${name} over memory`, decorator.pipe(Layer.provide(Layer.fresh(MemoryStore.layer))), { keyBytes })
}

suite("express over memory", MemoryStore.layerWith({ profile: "express" }), {
  ordered: false,
  delimiters: false
})

suite(
  "single writer over a store without conditions",
  SingleWriterStore.layer.pipe(Layer.provide(MemoryStore.layerWith({ profile: "unconditional" })))
)
