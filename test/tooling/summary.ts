/** Ends a test run with the numbers on a line of their own, and with what was left out and how to have it. */
import { existsSync, readFileSync, rmSync } from "node:fs"
import type { Reporter, TestModule } from "vitest/node"
import { leftOutFile, startCommand } from "../services/available.ts"

export default class Summary implements Reporter {
  onInit(): void {
    rmSync(leftOutFile, { force: true })
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<unknown>): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 }
    for (const module of modules) {
      if (module.state() === "failed" && [...module.children.allTests()].length === 0) counts.failed += 1
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === "passed" || state === "failed" || state === "skipped") counts[state] += 1
      }
    }
    if (existsSync(leftOutFile)) {
      const names = [...new Set(readFileSync(leftOutFile, "utf8").trim().split("\n"))]
      console.log(`\nLeft out, because the servers that they need are not running:`)
      for (const name of names) console.log(`  ${name}`)
      console.log(`Start them with: ${startCommand}`)
    }
    console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  }
}
