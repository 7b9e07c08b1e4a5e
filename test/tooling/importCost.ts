/** What it costs to import the core, against the AWS SDK: time (best of 7, fresh processes) and source that is loaded. */
import { execFileSync } from "node:child_process"

const measure = (
  specifier: string
): { readonly millis: number; readonly kilobytes: number; readonly modules: number } => {
  const script = `
    import { statSync } from "node:fs"
    import { registerHooks } from "node:module"
    import { fileURLToPath } from "node:url"
    let bytes = 0, modules = 0
    registerHooks({ load(url, context, next) {
      const loaded = next(url, context)
      if (url.startsWith("file:")) { bytes += statSync(fileURLToPath(url)).size; modules += 1 }
      return loaded
    } })
    const start = performance.now()
    await import(${JSON.stringify(specifier)})
    console.log(JSON.stringify({ millis: performance.now() - start, kilobytes: bytes / 1024, modules }))`
  const runs = Array.from(
    { length: 7 },
    () =>
      JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" })) as {
        readonly millis: number
        readonly kilobytes: number
        readonly modules: number
      }
  )
  return runs.reduce((best, run) => (run.millis < best.millis ? run : best))
}

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
  "effect-s3db/Resource": measure("effect-s3db/Resource")
}
const baseline = cases["@aws-sdk/client-s3"]
if (process.argv.includes("--json")) console.log(JSON.stringify(cases))
else {
  for (const [name, { millis, kilobytes, modules }] of Object.entries(cases)) {
    console.log(
      `${name.padEnd(40)} ${millis.toFixed(0).padStart(5)} ms  ${kilobytes.toFixed(0).padStart(6)} KB  ${String(modules).padStart(4)} modules  ${(millis / baseline.millis).toFixed(2)}x`
    )
  }
}
