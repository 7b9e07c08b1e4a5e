/** The command line in the process of the tests, and as a process of its own. */
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { spawn, type SpawnOptions } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import { run } from "../../src/cli/internal/program.ts"

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface Given {
  /** What standard input has. Default: nothing, and it is no terminal. */
  readonly stdin?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Told of what is written, as it comes. */
  readonly onWrite?: ((text: string) => void) | undefined
  /** A person in front of a terminal so wide, who answers so. */
  readonly terminal?: { readonly columns: number; readonly answer?: string | undefined } | undefined
}

const services = NodeChildProcessSpawner.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer))
)

/** Runs the command line in this process, with an environment of its own. */
export const inProcess = (
  args: ReadonlyArray<string>,
  { env = {}, onWrite, stdin, terminal }: Given = {}
): Effect.Effect<Ran> =>
  Effect.gen(function* () {
    const decoder = new TextDecoder()
    const written = { out: "", err: "" }
    const sink = (name: "out" | "err") =>
      Sink.forEach((chunk: string | Uint8Array) =>
        Effect.sync(() => {
          const text = typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true })
          written[name] += text
          onWrite?.(text)
        })
      )
    const isTerminal = Effect.succeed(terminal !== undefined)
    const stdio = Stdio.make({
      args: Effect.succeed(args),
      stdin: stdin === undefined ? Stream.empty : Stream.succeed(new TextEncoder().encode(stdin)),
      stdout: () => sink("out"),
      stderr: () => sink("err"),
      stdinIsTerminal: isTerminal,
      stdoutIsTerminal: isTerminal,
      stderrIsTerminal: isTerminal
    })
    const columns = terminal?.columns ?? 80
    const person = Terminal.make({
      columns: Effect.succeed(columns),
      rows: Effect.succeed(24),
      size: Effect.die("nobody asks"),
      readInput: Effect.die("nobody asks"),
      readLine: Effect.sync(() => terminal?.answer ?? ""),
      display: (text) => Effect.sync(() => void (written.err += text))
    })
    const code = yield* run("1.2.3", args).pipe(
      Effect.provideService(Stdio.Stdio, stdio),
      Effect.provideService(Terminal.Terminal, person),
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromEnv({ env: { XDG_CONFIG_HOME: "/nowhere", ...env } })
      ),
      Effect.provide(services)
    )
    return { code, ...written }
  })

/** A folder of its own, and the command line with a database in it. */
export const inFolder = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "s3db cli ü " })
  const url = `file://${path.join(folder, "data").split("/").map(encodeURIComponent).join("/")}?durability=none`
  const env = { S3DB_URL: url, XDG_CONFIG_HOME: path.join(folder, "config") }
  return {
    folder,
    url,
    env,
    path: (...names: ReadonlyArray<string>) => path.join(folder, ...names),
    write: (name: string, text: string) => Effect.orDie(fs.writeFileString(path.join(folder, name), text)),
    read: (name: string) => Effect.orDie(fs.readFileString(path.join(folder, name))),
    s3db: (args: ReadonlyArray<string>, given: Given = {}) =>
      inProcess(args, { ...given, env: { ...env, ...given.env } }),
    /** Fails the test unless the command succeeds; gives what it wrote as JSON. */
    json: (args: ReadonlyArray<string>, given: Given = {}) =>
      Effect.flatMap(
        inProcess([...args, "--json"], { ...given, env: { ...env, ...given.env } }),
        ({ code, err, out }) =>
          code === 0
            ? Effect.sync(() => JSON.parse(out) as unknown)
            : Effect.die(new Error(`exit code ${code}: ${err}`))
      )
  }
}).pipe(Effect.orDie, Effect.provide(services))

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

/** Starts the command line as a process of its own. */
export const start = (args: ReadonlyArray<string>, options: SpawnOptions = {}, node: ReadonlyArray<string> = []) =>
  spawn(
    process.execPath,
    ["--conditions=effect-s3db-source", "--disable-warning=ExperimentalWarning", ...node, main, ...args],
    options
  )

/** Runs it to its end. */
export const asProcess = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  node: ReadonlyArray<string> = []
): Effect.Effect<Ran> =>
  Effect.callback<Ran>((resume) => {
    const child = start(args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] }, node)
    const written = { out: "", err: "" }
    child.stdout!.setEncoding("utf8").on("data", (text: string) => (written.out += text))
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (written.err += text))
    child.on("close", (code) => resume(Effect.succeed({ code: code ?? -1, ...written })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })
