/** What the command line does for plugins. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { inFolder, type Ran, start } from "./shell.ts"

const declared = JSON.stringify({ attributes: { text: "string" }, journal: true })

describe("plugins on the command line", () => {
  it.live("the journal and segments are kept without a program, and others say what they need", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* inFolder
      yield* json(["create", "resource", "notes", declared])
      yield* json(["insert", "notes", '[{"id":"a","text":"x"},{"id":"b","text":"y"}]'])
      const first = yield* json(["plugins", "run", "journal", "--once"])
      assert.deepInclude(first as object, { appended: 2, undecided: 0, next: 2 })
      yield* json(["update", "notes", "a", "--set", "text=z"])
      assert.deepInclude((yield* json(["plugins", "run", "journal", "--once"])) as object, { appended: 1, next: 3 })
      const seen = yield* json(["watch", "notes", "--from", "0", "--times", "1", "--interval", "1"])
      assert.deepStrictEqual(
        (seen as ReadonlyArray<{ readonly id: string; readonly change: string }>)
          .map(({ change, id }) => `${change} ${id}`)
          .toSorted(),
        ["changed a", "new a", "new b"]
      )
      const packed = (yield* json(["plugins", "run", "segments", "notes", "--once"])) as ReadonlyArray<object>
      assert.deepStrictEqual(
        packed.map((one) => (one as { readonly resource: string }).resource),
        ["notes"]
      )
      const listed = (yield* json(["plugins"])) as ReadonlyArray<Readonly<Record<string, unknown>>>
      assert.deepStrictEqual(
        listed.map(({ plugin, worker }) => [plugin, worker]),
        [["segments", "s3db plugins run segments RESOURCE"]]
      )
      for (const [args, code, said] of [
        [["ttl"], exitCodes.Usage, "Ttl.layer"],
        [["scheduler"], exitCodes.Usage, "jobs are code"],
        [["segmets"], exitCodes.Usage, "did you mean segments?"],
        [["segments"], exitCodes.Usage, "name the resources"],
        [["segments", "nope"], exitCodes.NotFound, "nope"]
      ] as const) {
        const refused = yield* s3db(["plugins", "run", ...args])
        assert.strictEqual(refused.code, code, refused.err)
        assert.include(refused.err, said)
      }
    })
  )

  it.live("the journal is kept until Ctrl-C, which leaves nothing half done", () =>
    Effect.gen(function* () {
      const { env, json } = yield* inFolder
      yield* json(["create", "resource", "notes", declared])
      const ended = yield* Effect.callback<Ran>((resume) => {
        const child = start(["plugins", "run", "journal", "--ndjson"], {
          env: { ...process.env, ...env },
          stdio: ["ignore", "pipe", "pipe"]
        })
        const written = { out: "", err: "" }
        child.stdout!.setEncoding("utf8").on("data", (text: string) => {
          // It says that it is well once it works.
          if (written.out === "") child.kill("SIGINT")
          written.out += text
        })
        child.stderr!.setEncoding("utf8").on("data", (text: string) => (written.err += text))
        child.on("close", (code) => resume(Effect.succeed({ code: code ?? -1, ...written })))
        return Effect.sync(() => child.kill("SIGKILL"))
      })
      assert.strictEqual(ended.code, exitCodes.Interrupted, ended.err)
      assert.deepStrictEqual(JSON.parse(ended.out.trim().split("\n")[0]!), { health: "up", detail: "" })
      // Its lease is free: another one does not wait for it.
      yield* json(["insert", "notes", '{"id":"a","text":"x"}'])
      assert.deepInclude((yield* json(["plugins", "run", "journal", "--once"])) as object, { appended: 1 })
      const listed = (yield* json(["plugins"])) as ReadonlyArray<Readonly<Record<string, unknown>>>
      assert.deepInclude(listed[0]!, { plugin: "journaler", health: "up", detail: "at position 1, nothing waits" })
    })
  )
})
