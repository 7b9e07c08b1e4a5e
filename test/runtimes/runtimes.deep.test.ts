import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeWithGateway, describeWithRuntimes, gateway } from "../services/available.ts"
import { extract, folder } from "../tooling/doctest.ts"
import { runners } from "./run.ts"

/** The first example of the README, its last line being what is to be done. */
const first = () => {
  const example = extract().find(({ at, runs }) => at.startsWith("README.md") && runs)!
  const code = example.code.replace(/^await (Effect\.runPromise\(.*\))$/m, "export const main = () => $1")
  assert.notStrictEqual(code, example.code)
  mkdirSync(folder, { recursive: true })
  const file = join(folder, "README-first-main.ts")
  writeFileSync(file, code)
  return { file, output: example.output! }
}

/** How a list of texts is printed differs. */
const plain = (text: string): string => text.replaceAll(/[' "\s]/g, "")

describeWithRuntimes("other runtimes", () => {
  for (const { name, run } of runners) {
    describe(name, () => {
      it.live("runs the first example of the README", () =>
        Effect.gen(function* () {
          const { file, output } = first()
          const lines = yield* run(file, {})
          assert.strictEqual(plain(lines.join("")), plain(output))
        })
      )
    })
  }
})

const program = new URL("store.ts", import.meta.url).pathname

describeWithRuntimes("other runtimes on Ceph's gateway", () => {
  describeWithGateway("S3HttpStore", () => {
    const settings = {
      endpoint: gateway.endpoint,
      bucket: gateway.bucket,
      accessKeyId: gateway.accessKeyId,
      secretAccessKey: gateway.secretAccessKey
    }
    for (const { isExact, name, run } of runners) {
      it.live(`writes, reads, lists and deletes: ${name}`, () =>
        Effect.gen(function* () {
          const prefix = `runtimes/${process.pid}/${name.replaceAll(" ", "-")}`
          const lines = yield* run(program, { ...settings, prefix })
          assert.deepStrictEqual(lines, [
            "refused PreconditionFailed",
            "body of a/1 3k x  y",
            "body of a/\u00e9 b+c&<d> 3k x  y",
            "body of a/\u{1f600}%2F'\" 3k x  y",
            "body of a/~(x)*! 3k x  y",
            "big true 1000 300000",
            "copied true",
            "a/1 11, a/2 11, a/big 300000, a/~(x)*! 16, a/\u00e9 b+c&<d> 20, a/\u{1f600}%2F'\" 19",
            "deleted 70 0",
            "left 0",
            isExact ? "exact dots gzip" : "exact Unsupported",
            "gone NoSuchKey",
            "bcn Barcelona 1600000, poa Porto Alegre 1300000, zrh Z\u00fcrich 445000",
            "AlreadyExists",
            "left 0"
          ])
        })
      )
    }
  })
})
