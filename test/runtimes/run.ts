/** Programs in one file, run by other runtimes than this one. What they have to do is `main`, which prints lines. */
import { execFile, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { build } from "esbuild"
import * as Effect from "effect/Effect"
import { programOf } from "./runtimes.ts"

/** How a program is run: its settings are those that it asks for as `settings`. */
export interface Runner {
  readonly name: string
  /** Whether requests and answers are sent and read as they are. */
  readonly isExact: boolean
  readonly run: (program: string, settings: Readonly<Record<string, string>>) => Effect.Effect<ReadonlyArray<string>>
}

const linesOf = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n")

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-runtime-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** One file of a program and all that it imports, none of it Node's. */
const bundle = (path: string, program: string, end: string) =>
  Effect.promise(() => {
    const file = join(path, "app.mjs")
    const entry = join(path, "entry.ts")
    writeFileSync(entry, `import { main } from ${JSON.stringify(program)}\n${end}\n`)
    const options = {
      entryPoints: [entry],
      outfile: file,
      bundle: true,
      format: "esm" as const,
      platform: "neutral" as const,
      mainFields: ["module", "main"],
      conditions: ["effect-s3db-source"],
      // Asked for only by who wants them.
      external: ["@aws-sdk/credential-provider-node", "@smithy/core", "undici"],
      logLevel: "error" as const
    }
    return build(options).then(() => file)
  })

const exec = (command: string, args: ReadonlyArray<string>, settings: Readonly<Record<string, string>>) =>
  Effect.promise(
    () =>
      new Promise<ReadonlyArray<string>>((resolve, reject) => {
        const env = { ...process.env, ...settings, NO_COLOR: "1", FORCE_COLOR: undefined }
        execFile(command, args, { encoding: "utf8", env }, (error, stdout, stderr) =>
          error === null ? resolve(linesOf(stdout)) : reject(new Error(`${command}: ${stdout}${stderr}`))
        )
      })
  )

const byCommand = (name: "bun" | "deno", args: ReadonlyArray<string>): Runner => ({
  name,
  isExact: true,
  run: (program, settings) =>
    Effect.scoped(
      Effect.flatMap(folder, (path) =>
        Effect.flatMap(bundle(path, program, "await main(process.env)"), (file) =>
          exec(programOf(name), [...args, file], settings)
        )
      )
    )
})

const worker = `
const textOf = (value) => (typeof value === "string" ? value : JSON.stringify(value))
export default {
  async fetch(_, settings) {
    const lines = []
    console.log = (...values) => { lines.push(values.map(textOf).join(" ")) }
    try {
      await main(settings)
    } catch (error) {
      return new Response(String(error?.stack ?? error) + " " + JSON.stringify(error), { status: 500 })
    }
    return new Response(lines.join("\\n"))
  }
}`

const configuration = (settings: Readonly<Record<string, string>>, flags: ReadonlyArray<string>): string => {
  const bindings = Object.entries(settings).map(
    ([name, value]) => `(name = ${JSON.stringify(name)}, text = ${JSON.stringify(value)})`
  )
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "app.mjs", esModule = embed "app.mjs")],
      compatibilityDate = "2026-11-01",
      compatibilityFlags = ${JSON.stringify(flags)},
      bindings = [${bindings.join(", ")}]
    )),
    (name = "internet", network = (allow = ["local", "private"]))
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);
`
}

/** Starts a server and tells its port. */
const served = (config: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<{ readonly port: number; readonly stop: () => void }>((resolve, reject) => {
            const child = spawn(programOf("workerd"), ["serve", config, "--control-fd=3"], {
              stdio: ["ignore", "pipe", "pipe", "pipe"]
            })
            let said = ""
            const stop = () => {
              child.kill("SIGKILL")
            }
            for (const stream of [child.stdout, child.stderr]) stream?.on("data", (part) => (said += String(part)))
            child.on("error", reject)
            child.on("exit", (code) => reject(new Error(`workerd has ended: ${code}: ${said}`)))
            let control = ""
            child.stdio[3]?.on("data", (part) => {
              control += String(part)
              const port = /"port":(\d+)/.exec(control)?.[1]
              if (port !== undefined) resolve({ port: Number(port), stop })
            })
          })
      ),
      ({ stop }) => Effect.sync(stop)
    ),
    ({ port }) => port
  )

const byWorker = (name: string, flags: ReadonlyArray<string>): Runner => ({
  name,
  isExact: false,
  run: (program, settings) =>
    Effect.scoped(
      Effect.gen(function* () {
        const path = yield* folder
        yield* bundle(path, program, worker)
        const config = join(path, "config.capnp")
        writeFileSync(config, configuration(settings, flags))
        const port = yield* served(config)
        return yield* Effect.promise(() =>
          fetch(`http://127.0.0.1:${port}/`).then((response) =>
            response.text().then((text) => {
              if (!response.ok) throw new Error(text)
              return linesOf(text)
            })
          )
        )
      })
    )
})

/** Each runtime, with no more rights than it needs; workerd also as it imitates Node. */
export const runners: ReadonlyArray<Runner> = [
  byCommand("bun", []),
  byCommand("deno", ["run", "--no-prompt", "--allow-env", "--allow-net=127.0.0.1"]),
  byWorker("workerd", []),
  byWorker("workerd with nodejs_compat", ["nodejs_compat"])
]
