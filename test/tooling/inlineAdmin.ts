/**
 * Puts the admin page into the module that bundles it from the source, as text: the built library needs no bundler, and no file that
 * one would have to find.
 *
 * node test/tooling/inlineAdmin.ts <folder of the build>
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { load } from "../../src/http/internal/adminAssets.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = process.argv[2]
if (folder === undefined) throw new Error("the folder of the build is missing")

const { script, style } = await Effect.runPromise(load)
if (script.length < 10_000 || style.length < 1000) throw new Error("the admin page is not whole")
const licence = readFileSync(join(root, "node_modules/preact/LICENSE"), "utf8").trim()
const internal = join(folder, "http/internal")
const text = JSON.stringify({ script: `/*\n${licence}\n*/\n${script}`, style })
writeFileSync(
  join(internal, "adminAssets.js"),
  `import * as Effect from "effect/Effect";\nexport const load = /*#__PURE__*/ Effect.succeed(${text});\n`
)
rmSync(join(internal, "adminAssets.js.map"))
