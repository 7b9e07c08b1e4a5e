/**
 * The program of the admin page, as a browser gets it. In the built library this module holds it, as text: see
 * `test/tooling/inlineAdmin.ts`. Here it is made of `src/http/admin` when it is first wanted, by the bundler that the build uses, too.
 *
 * @since 0.1.0
 */
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"

export interface Assets {
  readonly script: string
  readonly style: string
}

/** Bundles the page. What goes wrong is a mistake in it, or the bundler is not there. */
export const load: Effect.Effect<Assets> = Effect.gen(function* () {
  const { build } = yield* Effect.promise(() => import("esbuild"))
  const { outputFiles } = yield* Effect.promise(() =>
    build({
      entryPoints: ["main.tsx", "admin.css"].map((name) => fileURLToPath(new URL(`../admin/${name}`, import.meta.url))),
      bundle: true,
      write: false,
      outdir: "out",
      format: "esm",
      minify: true,
      target: ["chrome123", "firefox121", "safari17.5"],
      jsx: "automatic",
      jsxImportSource: "preact",
      legalComments: "inline",
      logLevel: "silent"
    })
  )
  const named = (ending: string): string => outputFiles.find(({ path }) => path.endsWith(ending))?.text ?? ""
  return { script: named(".js"), style: named(".css") }
})
