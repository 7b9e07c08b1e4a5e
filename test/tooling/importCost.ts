/**
 * What it costs to import the core, and to open a bucket, against the AWS SDK: time (best of 7, fresh processes) and source that is
 * loaded; and the size of `S3HttpStore` and all that it imports but Effect. Fails when that is too large, or loads the SDK. The garbage
 * of what is loaded before is collected before the time is taken: it is another's.
 */
import { execFileSync } from "node:child_process"
import { gzipSync } from "node:zlib"
import { buildSync } from "esbuild"

interface Measured {
  readonly millis: number
  readonly kilobytes: number
  readonly modules: number
  /** Of them, those of the AWS SDK. */
  readonly foreign: number
}

/** `before` is loaded already, and `use` is what is done with the module as `it`. What is loaded is counted apart: counting takes time. */
const measure = (specifier: string, before: ReadonlyArray<string> = [], use = ""): Measured => {
  const script = (counting: string) => `
    import { statSync } from "node:fs"
    import { registerHooks } from "node:module"
    import { fileURLToPath } from "node:url"
    let bytes = 0, modules = 0, foreign = 0
    for (const one of ${JSON.stringify(before)}) await import(one)
    ${counting}
    gc()
    const start = performance.now()
    const it = await import(${JSON.stringify(specifier)})
    ${use}
    console.log(JSON.stringify({ millis: performance.now() - start, kilobytes: bytes / 1024, modules, foreign }))`
  const run = (counting: string) =>
    JSON.parse(
      execFileSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", script(counting)], {
        encoding: "utf8"
      })
    ) as Measured
  const counted = run(`
    registerHooks({ load(url, context, next) {
      const loaded = next(url, context)
      if (url.startsWith("file:")) { bytes += statSync(fileURLToPath(url)).size; modules += 1 }
      if (/@aws-sdk|@smithy/.test(url)) foreign += 1
      return loaded
    } })`)
  return { ...counted, millis: Math.min(...Array.from({ length: 7 }, () => run("").millis)) }
}

const ofEffect = ["Effect", "Schema", "Stream", "Layer", "Config", "Random", "Semaphore"].map((name) =>
  import.meta.resolve(`effect/${name}`)
)

/** Opens the bucket of a connection string, with credentials. */
const opening = `
  const { Effect, Layer } = { Effect: await import("effect/Effect"), Layer: await import("effect/Layer") }
  await Effect.runPromise(Effect.scoped(Layer.build(it.layer("s3://key:secret@bucket"))))`

const compiled = buildSync({
  stdin: { contents: `export * from "effect-s3db/storage/S3HttpStore"`, resolveDir: import.meta.dirname },
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  platform: "neutral",
  mainFields: ["module", "main"],
  external: ["effect/*", "@aws-sdk/*", "@smithy/*", "undici"]
}).outputFiles[0]!.contents

const size = { minified: compiled.length / 1024, gzipped: gzipSync(compiled).length / 1024 }

const mostKilobytes = 40

// The built library, as users have it.
const cases = {
  "@aws-sdk/client-s3": measure("@aws-sdk/client-s3"),
  "effect (Effect, Schema, Stream, Layer)": measure(
    `data:text/javascript,${encodeURIComponent(
      ["Effect", "Schema", "Stream", "Layer"]
        .map((name) => `import "${import.meta.resolve(`effect/${name}`)}"`)
        .join(";")
    )}`
  ),
  "effect-s3db/Resource": measure("effect-s3db/Resource"),
  "S3HttpStore, beside Effect": measure("effect-s3db/storage/S3HttpStore", ofEffect),
  "s3:// opened, beside Effect": measure("effect-s3db/storage/ConnectionString", ofEffect, opening)
}
const baseline = cases["@aws-sdk/client-s3"]
if (process.argv.includes("--json")) console.log(JSON.stringify({ ...cases, size }))
else {
  for (const [name, { millis, kilobytes, modules }] of Object.entries(cases)) {
    console.log(
      `${name.padEnd(40)} ${millis.toFixed(0).padStart(5)} ms  ${kilobytes.toFixed(0).padStart(6)} KB  ${String(modules).padStart(4)} modules  ${(millis / baseline.millis).toFixed(2)}x`
    )
  }
  console.log(
    `S3HttpStore and what it imports but Effect: ${size.minified.toFixed(0)} KB minified, ${size.gzipped.toFixed(1)} KB gzipped`
  )
}
if (size.gzipped > mostKilobytes) throw new Error(`S3HttpStore is larger than ${mostKilobytes} KB`)
if (cases["s3:// opened, beside Effect"].foreign > 0) throw new Error("s3:// loads the AWS SDK")
