import { defineConfig } from "vitest/config"

const conditions = ["effect-s3db-source"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", "./test/tooling/summary.ts"],
    // Against hanging only: how fast a machine is decides no test.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    coverage: {
      // CI runs the tests once, measured.
      enabled: process.env["CI"] === "true",
      provider: "v8",
      include: ["src/**/*.ts"],
      reporter: [["text", { skipFull: true }], "json-summary"],
      thresholds: { statements: 90, branches: 90, functions: 90, lines: 90 }
    }
  }
})
