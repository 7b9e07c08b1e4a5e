/**
 * Makes what the documentation takes from the source: the page of errors, the list of modules, the lines between the pages of
 * the guide, `llms.txt`, and the reference in `docs/reference`.
 *
 * npm run docs [-- --no-reference]
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { check, describe, generatedPages } from "./links.ts"
import { made, problems } from "./made.ts"
import * as reference from "./reference.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

for (const { path, text } of made()) writeFileSync(join(root, path), text)
if (!process.argv.includes("--no-reference")) console.log(`docs/reference has ${reference.write().length} modules`)
const found = [...problems(), ...check(generatedPages()).map(describe)]
for (const problem of found) console.error(problem)
if (found.length > 0) process.exitCode = 1
