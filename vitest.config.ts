import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { configDefaults, defineConfig } from "vitest/config"

const conditions = ["effect-s3db-source"]

/** `npm run test:deep` is `vitest run --mode deep`: what needs minutes, real servers or processes that are killed. */
export default defineConfig(({ mode }) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: mode === "deep" ? ["test/**/*.deep.test.ts"] : ["test/**/*.test.ts"],
    exclude: mode === "deep" ? configDefaults.exclude : [...configDefaults.exclude, "test/**/*.deep.test.ts"],
    reporters: ["default", "./test/tooling/summary.ts"],
    // Before the library: what waits for its threads has to know of them.
    setupFiles: ["./test/threads.ts"],
    // A worker loads the library once, for all of its files: no test leaves anything behind in a module.
    isolate: false,
    maxWorkers: availableParallelism(),
    // What passes at its second try is told by the summary: it is a fault all the same.
    retry: process.env["CI"] === "true" ? 1 : 0,
    // For the processes that tests start: they compile the library once.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/compile", import.meta.url)) },
    // Against hanging only: how fast a machine is decides no test.
    testTimeout: mode === "deep" ? 600_000 : 120_000,
    hookTimeout: 120_000,
    coverage: {
      // CI runs the tests once, measured.
      enabled: process.env["CI"] === "true" && mode !== "deep",
      provider: "v8",
      include: ["src/**/*.ts"],
      // The page runs in a browser: `test/http/admin.deep.test.ts`.
      exclude: ["src/http/admin/**"],
      reporter: [["text", { skipFull: true }], "json-summary"],
      thresholds: { statements: 90, branches: 90, functions: 90, lines: 90 }
    }
  }
}))
