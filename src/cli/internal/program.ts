/** The whole command line: its commands, what a failure looks like, and the exit code. */
import * as Cause from "effect/Cause"
import * as Argument from "effect/cli/Argument"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as backups from "./commands/backup.ts"
import * as configuring from "./commands/configure.ts"
import * as documents from "./commands/documents.ts"
import * as maintenance from "./commands/maintenance.ts"
import * as serving from "./commands/mcp.ts"
import * as overview from "./commands/overview.ts"
import * as resources from "./commands/resources.ts"
import * as tools from "./commands/tools.ts"
import * as transfer from "./commands/transfer.ts"
import { inSteps } from "./expression.ts"
import { exitCodes, kindOf, type Kind, OutputClosed, remedyOf, withoutApi } from "./failure.ts"
import * as globals from "./globals.ts"
import { Output } from "./output.ts"
import { harmlessJson, harmlessLines } from "./table.ts"

const described = (): Completions.CommandDescriptor => Completions.fromCommand(command)

const completions = Command.make(
  "completions",
  { shell: Argument.Literals("shell", ["bash", "zsh", "fish", "powershell"]) },
  Effect.fnUntraced(function* ({ shell }) {
    const output = yield* Output
    const text = Completions.generate("s3db", shell, described())
    yield* output.raw(Stream.succeed(`${text}\n`))
  })
).pipe(
  Command.withDescription("Writes what a shell needs to complete commands and flags"),
  Command.withExamples([
    { command: 'eval "$(s3db completions bash)"', description: "In ~/.bashrc" },
    { command: "s3db completions fish > ~/.config/fish/completions/s3db.fish" }
  ])
)

const console = Command.make("console", {}, () =>
  Effect.gen(function* () {
    const version = yield* globals.Version
    const { console } = yield* Effect.promise(() => import("./work/console.ts"))
    yield* console((args, isExpression) =>
      run(version, args).pipe(Effect.provideService(globals.IsExpression, isExpression))
    )
  })
).pipe(
  Command.withDescription("Runs one command after the other on a database that stays open; also from standard input"),
  Command.withExamples([{ command: "s3db console --url memory://try" }, { command: "s3db console < commands.txt" }])
)

/** All commands, by what they are about. */
export const command = globals.root.pipe(
  Command.withDescription("A document database on S3, in a folder or in memory"),
  Command.withSubcommands([
    {
      group: "Connection",
      commands: [tools.init, configuring.configure, configuring.profiles, overview.status, tools.doctor]
    },
    {
      group: "Resources",
      commands: [
        overview.list,
        overview.describe,
        resources.create,
        resources.alter,
        resources.schema,
        resources.schemaDiff,
        resources.types
      ]
    },
    {
      group: "Documents",
      commands: [
        documents.get,
        documents.insert,
        documents.update,
        documents.upsert,
        documents.replace,
        documents.remove,
        documents.query,
        documents.search,
        documents.count,
        documents.aggregate,
        maintenance.history,
        maintenance.restore,
        maintenance.content
      ]
    },
    { group: "Many documents", commands: [transfer.exporting, transfer.importing, tools.seed, maintenance.truncate] },
    {
      group: "Care",
      commands: [
        maintenance.partitions,
        maintenance.analyze,
        maintenance.explain,
        maintenance.backfill,
        maintenance.repair,
        maintenance.upgrade,
        maintenance.rotate,
        maintenance.recount,
        maintenance.plugins,
        maintenance.watch,
        backups.backup,
        backups.rewind
      ]
    },
    { group: "Other", commands: [tools.migrate, tools.migrateFrom, serving.mcp, console, completions] }
  ]),
  Command.provide(globals.layer)
)

const builtIns = [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.LogLevel] as const

const say = Effect.fnUntraced(function* (text: string) {
  const { stderr } = yield* Stdio.Stdio
  yield* Effect.ignore(Stream.run(Stream.succeed(text), stderr()))
})

/** An error for people in a line or two, for programs as JSON. */
const told = (kind: Kind, message: string, remedy: string | undefined, asJson: boolean): string => {
  const text = message.trim()
  return asJson
    ? `${harmlessJson(JSON.stringify({ error: { kind, code: exitCodes[kind], message: text, ...(remedy === undefined ? {} : { remedy }) } }))}\n`
    : `error: ${harmlessLines(text)}\n${remedy === undefined ? "" : `  ${remedy}\n`}`
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** What is wrong with the command line, and what may be meant, in one sentence. */
const oneLine = (message: string): string =>
  message.replace(/\s*Did you mean this\?\s*(\S+)\s*$/, "; did you mean $1?").replaceAll(/\n+\s*/g, " ")

/** The flags that take a value in every command that has them. */
const withValue = (): ReadonlySet<string> => {
  const [taking, alone] = [new Set<string>(), new Set(["help", "version"])]
  const visit = ({ flags, subcommands }: Completions.CommandDescriptor): void => {
    for (const { name, type } of flags) (type._tag === "Boolean" ? alone : taking).add(name)
    subcommands.forEach(visit)
  }
  visit(described())
  return new Set([...taking].filter((name) => !alone.has(name)))
}

const longFlag = /^--([a-z][a-z-]*)$/

/** What begins with one `-`, and is no number and no `-` alone: to the parser some flags. */
const isDashed = (text: string | undefined): text is string => text !== undefined && /^-[^-\d.]/.test(text)

/**
 * Ties a value that begins with `-` to its flag, where no flag can stand: `--order -age`, a cursor.
 */
const tied = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = args.indexOf("--")
  const isBefore = (index: number) => end < 0 || index < end
  const isApart = (index: number) =>
    isBefore(index + 1) && longFlag.test(args[index] ?? "") && isDashed(args[index + 1])
  if (!args.some((_, index) => isApart(index))) return args
  const taking = withValue()
  const made: Array<string> = []
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!
    if (isApart(index) && taking.has(arg.slice(2))) made.push(`${arg}=${args[++index]}`)
    else made.push(arg)
  }
  return made
}

/** An id may begin with `-`. */
const dashHint = (args: ReadonlyArray<string>): string => {
  const before = args.includes("--") ? [] : args
  const text = before.find((arg) => isDashed(arg) && arg.length > 2 && !arg.includes("="))
  return text === undefined ? "" : `; if ${text} is no flags, it stands last, behind --`
}

/** What is an option in a program is a flag here; what has no limit is not told of one. */
const forCommandLine = (given: string, args: ReadonlyArray<string>): string => {
  const message = withoutApi(given)
  return (
    args.some((one) => one === "count" || one === "aggregate")
      ? message.replace("say scan: true, or a limit", "say scan: true")
      : message
  )
    .replaceAll("scan: true", "--scan")
    .replaceAll("singleWriter: true", "--single-writer")
}

/**
 * Runs the command line, and gives the exit code. What it says goes to the `Stdio` of its context; it never fails.
 */
export const run: (version: string, args: ReadonlyArray<string>) => Effect.Effect<number, never, Command.Environment> =
  Effect.fnUntraced(function* (version, given) {
    const args = tied(given)
    const asJson = args.includes("--json") || args.includes("--ndjson")
    const stdio = yield* Stdio.Stdio
    const write = (text: string) => Effect.ignore(Stream.run(Stream.succeed(text), stdio.stdout()))
    const formatter = CliOutput.defaultFormatter({ colors: yield* stdio.stdoutIsTerminal, globalFlags: "summary" })
    const presenter: CliOutput.Presenter = {
      present: (event) => {
        switch (event._tag) {
          case "Help":
            return write(`${formatter.formatHelpDoc(event.helpDoc)}\n`)
          case "Version":
            return write(`${event.version}\n`)
          case "InvalidInvocation": {
            const message = `${event.errors.map((error) => oneLine(error.message)).join("\n")}${dashHint(args)}`
            const help = `see \`${event.commandPath.join(" ")} --help\``
            return Effect.provideService(say(told("Usage", message, help, asJson)), Stdio.Stdio, stdio)
          }
        }
      }
    }
    const exit = yield* Command.runWith(command, { version })(args).pipe(
      Effect.provideService(globals.Version, version),
      // What a migration or the library logs is no data.
      Effect.provideService(Logger.LogToStderr, true),
      Effect.provideService(CliConfig.CliConfig, CliConfig.make({ builtIns })),
      Effect.provideService(CliOutput.Presenter, presenter),
      Effect.provideService(CliOutput.Formatter, formatter),
      Effect.exit
    )
    if (Exit.isSuccess(exit)) return exitCodes.Success
    const error = Cause.findError(exit.cause)
    if (Result.isFailure(error)) {
      if (Cause.hasInterruptsOnly(exit.cause)) return exitCodes.Interrupted
      yield* say(told("Defect", `this is a mistake of the program: ${Cause.pretty(exit.cause)}`, undefined, asJson))
      return exitCodes.Defect
    }
    const failure: unknown = error.success
    const kind = kindOf(failure)
    if (failure instanceof OutputClosed && failure.isGone) return exitCodes.Closed
    // The presenter has told what is wrong with the command line; nothing is where help was asked for.
    if (isShowHelp(failure)) return failure.errors.length > 0 ? exitCodes.Usage : exitCodes.Success
    const message = forCommandLine(messageOf(failure), args)
    yield* say(told(kind, (yield* globals.IsExpression) ? inSteps(message) : message, remedyOf(failure), asJson))
    return exitCodes[kind]
  })

const isShowHelp = (error: unknown): error is { readonly errors: ReadonlyArray<unknown> } =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp" && "errors" in error
