/**
 * Puts the worker thread that hashes passwords into the module that says where it is, as a `data:` URL, so that the built
 * library has no file that a bundler would have to find.
 *
 * node test/tooling/inlineWorker.ts <folder of the build>
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** The worker and what it imports as one module, licences included. */
const bundled = async (): Promise<string> => {
  const bundle = await rolldown({
    input: join(root, "src/crypto/internal/passwordWorker.ts"),
    platform: "node",
    // Of hash-wasm's ES module only what is used is taken: a quarter of it.
    resolve: { mainFields: ["module", "main"] }
  })
  const { output } = await bundle.generate({ format: "esm", minify: true, comments: { legal: true } })
  if (output.length !== 1) throw new Error("the worker is not one module")
  const licence = readFileSync(join(root, "node_modules/hash-wasm/LICENSE"), "utf8").trim()
  return `/*\n${licence}\n*/\n${output[0].code}`
}

const folder = process.argv[2]
if (folder === undefined) throw new Error("the folder of the build is missing")
const internal = join(folder, "crypto/internal")
const url = `data:text/javascript;base64,${Buffer.from(await bundled()).toString("base64")}`
writeFileSync(
  join(internal, "passwordWorkerUrl.js"),
  `export const passwordWorkerUrl = new URL(${JSON.stringify(url)});\n`
)
for (const gone of ["passwordWorkerUrl.js.map", "passwordWorker.js", "passwordWorker.js.map"]) {
  rmSync(join(internal, gone))
}
