/**
 * Ends a test run with what each part took, with what was left out and how to have it, and with the numbers on a line of
 * their own. What failed is kept in a file, for whoever sees the end of a long log only.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import type { Reporter, TestModule, Vitest } from "vitest/node"
import { installCommand } from "../runtimes/runtimes.ts"
import { leftOutFile, startCommand } from "../services/available.ts"
import { report } from "./budgets.ts"

const tests = fileURLToPath(new URL("..", import.meta.url))
const services = fileURLToPath(new URL("../../.services", import.meta.url))

/** An error with where it comes from: the first lines of its stack. */
const messageOf = (error: unknown): string => {
  const { message = JSON.stringify(error), stack = "" } = error as {
    readonly message?: string
    readonly stack?: string
  }
  const frames = stack.split("\n").filter((line) => /^\s+at /.test(line))
  return [message, ...frames.slice(0, 4)].join("\n")
}

export default class Summary implements Reporter {
  private failuresFile = join(services, "failures")

  onInit({ config }: Vitest): void {
    // CI runs both, and tells at its end what failed in either.
    this.failuresFile = join(services, config.mode === "deep" ? "failures-deep" : "failures")
    rmSync(leftOutFile, { force: true })
    rmSync(this.failuresFile, { force: true })
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<unknown>): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 }
    const failures = errors.map((error) => `outside of the tests: ${messageOf(error)}`)
    for (const module of modules) {
      if (module.state() === "failed" && [...module.children.allTests()].length === 0) {
        counts.failed += 1
        failures.push(`${module.moduleId}: ${module.errors().map(messageOf).join("\n")}`)
      }
      for (const test of module.children.allTests()) {
        const { errors: reasons = [], state } = test.result()
        if (state === "passed" || state === "failed" || state === "skipped") counts[state] += 1
        if (state === "failed")
          failures.push(`${module.moduleId} > ${test.fullName}: ${reasons.map(messageOf).join("\n")}`)
      }
    }
    if (failures.length > 0) {
      mkdirSync(services, { recursive: true })
      writeFileSync(
        this.failuresFile,
        `\nFailed\n${failures.map((failure) => `  ${failure.slice(0, 1500)}`).join("\n")}\n`
      )
    }
    if (existsSync(leftOutFile)) {
      const names = [...new Set(readFileSync(leftOutFile, "utf8").trim().split("\n"))]
      console.log(`\nLeft out, because what they need is not there:`)
      for (const name of names) console.log(`  ${name}`)
      console.log(`Servers are started with: ${startCommand}; other runtimes are installed with: ${installCommand}`)
    }
    const timings = modules.map((module) => ({
      file: relative(tests, module.moduleId).replaceAll("\\", "/"),
      seconds: module.diagnostic().duration / 1000,
      tests: [...module.children.allTests()].length
    }))
    console.log(`\n${report(timings).join("\n")}`)
    console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  }
}
