/** Tests that need a real server: they run when it answers, fail when it must, and are named when they are left out. */
import { appendFileSync, mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, it } from "@effect/vitest"
import * as ceph from "./ceph.ts"

export const required = process.env["S3DB_REQUIRE_SERVICES"] === "1"

/** Where the names of left out tests are collected, for the report at the end of the run. */
export const leftOutFile = fileURLToPath(new URL("../../.services/left-out", import.meta.url))

export const startCommand = "npm run services -- up --install"

export const gateway = { ...ceph.gateway, available: await ceph.answers() }

/** Registers tests that need the gateway. */
export const describeWithGateway = (name: string, tests: () => void): void => {
  if (gateway.available) return tests()
  if (required) {
    describe(name, () => {
      it("needs Ceph's gateway", () => {
        throw new Error(`the gateway does not answer at ${gateway.endpoint}; start it with: ${startCommand}`)
      })
    })
    return
  }
  mkdirSync(dirname(leftOutFile), { recursive: true })
  appendFileSync(leftOutFile, `${name}\n`)
  describe.skip(name, () => {
    it("needs Ceph's gateway", () => {})
  })
}
