/** The command line in a pseudo-terminal, under Ctrl-C, and the project that it makes. */
import { execFileSync } from "node:child_process"
import { mkdirSync, symlinkSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { inTerminal, quoted } from "./pseudoTerminal.ts"
import { inFolder, type Ran, start } from "./shell.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const modules = fileURLToPath(new URL("../../node_modules", import.meta.url))
const root = fileURLToPath(new URL("../..", import.meta.url))

/** The command line of the source. */
const typing = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>, typed: string) =>
  inTerminal(["--conditions=effect-s3db-source", main, ...args], env, typed)

describe("at a terminal", () => {
  it.live("asks before it destroys, shows colours and progress, and hides what is typed for a secret", () =>
    Effect.gen(function* () {
      const { env, json, path, read } = yield* inFolder
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      yield* json(["insert", "notes", '[{"id":"a","text":"x"},{"id":"b","text":"y"}]'])
      const no = yield* typing(["delete", "notes", "a"], env, "n\r")
      assert.strictEqual(no.code, exitCodes.Refused, no.out)
      assert.deepStrictEqual(yield* json(["count", "notes"]), { count: 2 })
      const yes = yield* typing(["delete", "notes", "a"], env, "y\r")
      assert.strictEqual(yes.code, 0, yes.out)
      assert.deepStrictEqual(yield* json(["count", "notes"]), { count: 1 })
      const table = yield* typing(["query", "notes", "--scan"], env, "")
      assert.include(table.out, "\u001b[1m")
      yield* json(["seed", "notes", "-n", "300"])
      const exported = yield* typing(["export", "notes", "-o", path("notes.ndjson")], env, "")
      assert.include(exported.out, "exported: ")
      const configured = yield* typing(
        ["configure", "mine"],
        { ...env, S3DB_URL: "" },
        "s3://KEY:TYPED-SECRET@bucket\r"
      )
      assert.strictEqual(configured.code, 0, configured.out)
      assert.notInclude(configured.out, "TYPED-SECRET")
      assert.include(yield* read("config/s3db/profiles.json"), "TYPED-SECRET")
    })
  )

  it.live("Ctrl-C ends an import between two documents, and says how to go on", () =>
    Effect.gen(function* () {
      const { env, json, s3db } = yield* inFolder
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      const documents = Array.from({ length: 3000 }, (_, i) => JSON.stringify({ id: `n${i}`, text: `text ${i}` }))
      const ended = yield* Effect.callback<Ran>((resume) => {
        const child = start(["import", "notes", "-", "--json"], {
          env: { ...process.env, ...env },
          stdio: ["pipe", "pipe", "pipe"]
        })
        let [out, err] = ["", ""]
        child.stdout!.setEncoding("utf8").on("data", (text: string) => (out += text))
        child.stderr!.setEncoding("utf8").on("data", (text: string) => (err += text))
        // It never ends by itself: its input stays open.
        child.stdin!.write(`${documents.join("\n")}\n`)
        const look = setInterval(() => {
          void Effect.runPromise(json(["count", "notes"])).then((found) => {
            if ((found as { readonly count: number }).count < 50) return
            clearInterval(look)
            child.kill("SIGINT")
          })
        }, 300)
        child.on("close", (code) => {
          clearInterval(look)
          resume(Effect.succeed({ code: code ?? -1, out, err }))
        })
        return Effect.sync(() => child.kill("SIGKILL"))
      })
      assert.strictEqual(ended.code, exitCodes.Interrupted)
      const skip = /--skip (\d+)/.exec(ended.err)?.[1]
      assert.isDefined(skip, ended.err)
      const { count } = (yield* json(["count", "notes"])) as { readonly count: number }
      assert.isAtLeast(count, Number(skip))
      // What is there is whole, and going on gives the rest.
      const rest = yield* s3db(["import", "notes", "-", "--skip", skip!, "--mode", "replace"], {
        stdin: documents.join("\n")
      })
      assert.strictEqual(rest.code, 0, rest.err)
      assert.deepStrictEqual(yield* json(["count", "notes"]), { count: 3000 })
      assert.deepStrictEqual(yield* json(["repair", "notes"]), [])
    })
  )

  it.live("whoever reads the output may go", () =>
    Effect.gen(function* () {
      const { env, json } = yield* inFolder
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      yield* json(["seed", "notes", "-n", "2000"])
      const script = `${[process.execPath, "--conditions=effect-s3db-source", main, "query", "notes", "--all", "--scan", "--ndjson"].map(quoted).join(" ")} | head -n 1; echo "\${PIPESTATUS[0]}"`
      const out = execFileSync("bash", ["-c", script], { env: { ...process.env, ...env }, encoding: "utf8" })
      const [line = "", code] = out.trim().split("\n")
      assert.property(JSON.parse(line), "text")
      assert.include(["0", String(exitCodes.Closed)], code)
    })
  )
})

describe("the project that init makes", () => {
  it.live("type-checks, passes its tests and runs, in an empty folder", () =>
    Effect.gen(function* () {
      const { json, path } = yield* inFolder
      yield* json(["init", path("tasks")])
      const folder = path("tasks")
      mkdirSync(path("tasks/node_modules/@types"), { recursive: true })
      symlinkSync(`${modules}/effect`, path("tasks/node_modules/effect"))
      symlinkSync(`${modules}/@types/node`, path("tasks/node_modules/@types/node"))
      symlinkSync(root, path("tasks/node_modules/effect-s3db"))
      const run = (...args: ReadonlyArray<string>) =>
        execFileSync(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", ...args], {
          cwd: folder,
          encoding: "utf8",
          env: { PATH: process.env["PATH"] ?? "" }
        })
      execFileSync(
        process.execPath,
        [
          `${modules}/typescript/bin/tsc`,
          "--customConditions",
          "effect-s3db-source",
          "--lib",
          "ES2024,DOM.AsyncIterable"
        ],
        {
          cwd: folder
        }
      )
      assert.include(run("--test", "test/program.test.ts"), "pass 2")
      assert.strictEqual(run("src/main.ts", "one"), "one\n")
      assert.deepStrictEqual(run("src/main.ts", "two").trim().split("\n").toSorted(), ["one", "two"])
      assert.strictEqual(run(main, "count", "tasks", "--url", "file://./data"), "2\n")
    })
  )
})
