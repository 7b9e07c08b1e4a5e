/**
 * Ends a test run with what each part took, with what was left out and how to have it, and with the numbers on a line of
 * their own. What failed, and what failed at first, is kept in files, for whoever sees the end of a long log only.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, join, relative } from "node:path"
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

interface Options {
  /** Where it is kept. */
  readonly folder?: string | undefined
}

export default class Summary implements Reporter {
  private readonly folder: string
  private suffix = ""

  constructor({ folder = services }: Options = {}) {
    this.folder = folder
  }

  onInit({ config }: Vitest): void {
    // CI runs both, and tells at its end what failed in either.
    this.suffix = config.mode === "deep" ? "-deep" : ""
    for (const file of [this.leftOut(), this.file("failures"), this.file("second-tries")]) rmSync(file, { force: true })
  }

  private file(name: string): string {
    return join(this.folder, `${name}${this.suffix}`)
  }

  private leftOut(): string {
    return join(this.folder, basename(leftOutFile))
  }

  private keep(name: string, heading: string, tests: ReadonlyArray<string>): string {
    const text = `\n${heading}\n${tests.map((test) => `  ${test.slice(0, 1500)}`).join("\n")}\n`
    if (tests.length > 0) {
      mkdirSync(this.folder, { recursive: true })
      writeFileSync(this.file(name), text)
    }
    return text
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<unknown>): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 }
    const failures = errors.map((error) => `outside of the tests: ${messageOf(error)}`)
    const secondTries: Array<string> = []
    for (const module of modules) {
      if (module.state() === "failed" && [...module.children.allTests()].length === 0) {
        counts.failed += 1
        failures.push(`${module.moduleId}: ${module.errors().map(messageOf).join("\n")}`)
      }
      for (const test of module.children.allTests()) {
        const { errors: reasons = [], state } = test.result()
        if (state === "passed" || state === "failed" || state === "skipped") counts[state] += 1
        const name = `${module.moduleId} > ${test.fullName}`
        if (state === "failed") failures.push(`${name}: ${reasons.map(messageOf).join("\n")}`)
        if (state === "passed" && (test.diagnostic()?.retryCount ?? 0) > 0) {
          secondTries.push(`${name}: ${reasons.slice(0, 1).map(messageOf).join()}`)
        }
      }
    }
    this.keep("failures", "Failed", failures)
    const tries = this.keep("second-tries", "Passed at the second try", secondTries)
    if (secondTries.length > 0) console.log(tries)
    if (existsSync(this.leftOut())) {
      const names = [...new Set(readFileSync(this.leftOut(), "utf8").trim().split("\n"))]
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
