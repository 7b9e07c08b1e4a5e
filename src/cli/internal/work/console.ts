/** `console`: one command after the other on a database that stays open. Nothing that is typed or stored is run as code. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { counted, Partial } from "../failure.ts"
import * as expression from "../expression.ts"
import { root } from "../globals.ts"
import * as input from "../input.ts"
import { Output } from "../output.ts"
import { words } from "../words.ts"
import { keptOpen } from "./opening.ts"

type Environment = FileSystem.FileSystem | Path.Path | Terminal.Terminal | ChildProcessSpawner | Stdio.Stdio

/** What names a connection: in a line it would not be where the command goes. */
const connectionFlags = ["--url", "-u", "--profile", "-p"]

export const console = (
  run: (args: ReadonlyArray<string>, isExpression: boolean) => Effect.Effect<number, never, Environment>
) =>
  Effect.gen(function* () {
    const output = yield* Output
    const stdio = yield* Stdio.Stdio
    const terminal = yield* Terminal.Terminal
    const { json, ndjson, profile, quiet, singleWriter, url } = yield* root
    const connection = [
      ...Option.match(url, { onNone: () => [], onSome: (text) => ["--url", Redacted.value(text)] }),
      ...Option.match(profile, { onNone: () => [], onSome: (name) => ["--profile", name] })
    ]
    const form = json ? ["--json"] : ndjson ? ["--ndjson"] : []
    /** The flags of the console, as far as a line has none of its own. */
    const inherited = (names: (...flags: ReadonlyArray<string>) => boolean): ReadonlyArray<string> => [
      ...(names(...connectionFlags) ? [] : connection),
      ...(names("--json", "--ndjson") ? [] : form),
      ...(quiet && !names("--quiet", "-q") ? ["--quiet"] : []),
      ...(singleWriter && !names("--single-writer") ? ["--single-writer"] : [])
    ]
    const isTerminal = yield* stdio.stdinIsTerminal
    const session = { failed: 0, isOver: false }
    // What a command reads is not what comes after it.
    const ownInput = isTerminal ? stdio : Stdio.make({ ...stdio, stdin: Stream.empty })
    const line = Effect.fnUntraced(function* (text: string) {
      const isExpression = expression.isExpression(text)
      const asked = isExpression ? expression.parse(text) : words(text)
      if (asked === undefined) {
        session.failed += 1
        return yield* output.warn("a quote is not closed")
      }
      if ("message" in asked) {
        session.failed += 1
        return yield* output.warn(`${asked.message}\n${text}\n${" ".repeat(asked.column)}^`)
      }
      const args = asked
      const [first] = args
      if (first === undefined || first.startsWith("#")) return
      if (first === "exit" || first === "quit") {
        session.isOver = true
        return
      }
      if (first === "console") return yield* output.warn("this is the console")
      const names = (...flags: ReadonlyArray<string>): boolean =>
        args.some((arg) => flags.some((flag) => arg === flag || arg.startsWith(`${flag}=`)))
      if (first !== "configure" && names(...connectionFlags)) {
        session.failed += 1
        return yield* output.warn("the console stays on one database: end it, and start it with the other one")
      }
      const code = yield* Effect.provideService(
        run(first === "help" ? ["--help"] : [...args, ...inherited(names)], isExpression),
        Stdio.Stdio,
        ownInput
      )
      if (code !== 0) session.failed += 1
    })
    const { stderr } = stdio
    const prompt = Effect.ignore(Stream.run(Stream.succeed(output.style("s3db> ", "bold")), stderr()))
    const lines = isTerminal
      ? Effect.gen(function* () {
          yield* output.note("commands as on the command line, without s3db; help lists them, exit ends it")
          while (!session.isOver) {
            yield* prompt
            yield* line(yield* Effect.catchTag(terminal.readLine, "QuitError", () => Effect.succeed("exit")))
          }
        })
      : Stream.runForEach(
          Stream.takeWhile(Stream.splitLines(Stream.decodeText(input.bytesOf("-"))), () => !session.isOver),
          line
        )
    yield* keptOpen(lines)
    if (session.failed > 0 && !isTerminal)
      return yield* new Partial({ description: `${counted(session.failed, "command")} failed` })
  })
