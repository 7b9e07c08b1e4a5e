/** What the tests of `migrate-from` share. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { writeFolder } from "../migration/folders.ts"
import { passphrase } from "../migration/passphrase.ts"
import { key } from "./people.ts"
import { type Given, inFolder } from "./shell.ts"

export const urlOf = (folder: string) => `file://${folder.split("/").map(encodeURIComponent).join("/")}`

/** An old database in a folder, and the command line with a new one that is not there yet. */
export const old = Effect.gen(function* () {
  const shell = yield* inFolder
  const folder = shell.path("old")
  writeFolder("folder-s3db-js-21-6-2", folder)
  const env = { S3DB_KEYS: `k1:${key}`, S3DB_OLD_PASSPHRASE: passphrase }
  const s3db = (args: ReadonlyArray<string>, given: Given = {}) =>
    shell.s3db(args, { ...given, env: { ...env, ...given.env } })
  const source = urlOf(join(folder, "app"))
  const data = join(folder, "app", "resource=users", "data")
  const from = (...args: ReadonlyArray<string>) => s3db(["migrate-from", source, "--json", ...args])
  return { ...shell, env: { ...shell.env, ...env }, s3db, source, data, from }
})

export const counters = {
  records: 4,
  written: 0,
  unchanged: 0,
  different: 0,
  missing: 0,
  refused: 0,
  unreadable: 0,
  partial: 0,
  truncated: 0,
  normalized: 0
}

export const rowOf = (out: string) => {
  const rows = JSON.parse(out) as ReadonlyArray<Readonly<Record<string, unknown>>>
  assert.lengthOf(rows, 1)
  const { notes: _, resource, ...row } = rows[0]!
  assert.strictEqual(resource, "users")
  return row
}

export const linesOf = (file: string) =>
  readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)

/** A record that is damaged: what is in its file is not what its metadata is of. */
export const damage = (data: string, id: string) => writeFileSync(join(data, `id=${id}`), "torn")
