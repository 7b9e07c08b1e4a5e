/**
 * What the command line says: data on standard output, all else on standard error. For people as tables that fit the terminal,
 * with colours only there; for programs as JSON (`--json`) or lines of JSON (`--ndjson`).
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Ref from "effect/Ref"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import { documentLevels, type Json, type JsonObject, stringifyExact } from "../../encoding/Json.ts"
import { counted, OutputClosed, Refused, withoutApi } from "./failure.ts"
import * as table from "./table.ts"

export interface Options {
  readonly json: boolean
  readonly ndjson: boolean
  readonly quiet: boolean
}

export interface Rows {
  /** The columns for people. Default: the keys of the first row. */
  readonly columns?: ReadonlyArray<string> | undefined
  /** What follows the rows for people, on standard error. */
  readonly footer?: ((count: number) => string) | undefined
}

export type Style = "bold" | "dim" | "red" | "green" | "yellow"

export class Output extends Context.Service<
  Output,
  {
    readonly isForPeople: boolean
    /** Writes rows as they come: a table, a JSON array, or lines. Gives their number. */
    readonly rows: <E, R>(
      rows: Stream.Stream<JsonObject, E, R>,
      options?: Rows
    ) => Effect.Effect<number, E | OutputClosed, R>
    /** Writes one value: as JSON, or as `forPeople` says it; by default its fields, one on a line. */
    readonly value: (value: Json, forPeople?: string | undefined) => Effect.Effect<void, OutputClosed>
    /** Writes text: as it is, or on a terminal so that it can do nothing to that. */
    readonly text: <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) => Effect.Effect<void, E | OutputClosed, R>
    /** Writes bytes or text as they are: of documents and definitions only what somebody has asked for as bytes. */
    readonly raw: <E, R>(bytes: Stream.Stream<string | Uint8Array, E, R>) => Effect.Effect<void, E | OutputClosed, R>
    /** Says something beside the data, unless `--quiet`. */
    readonly note: (text: string) => Effect.Effect<void>
    /** Says something beside the data that nobody should miss. */
    readonly warn: (text: string) => Effect.Effect<void>
    /** Says how far long work is, on a terminal in one line that changes. `total`: 0 where nobody knows. */
    readonly progress: (label: string) => Effect.Effect<{
      readonly update: (done: number, total?: number) => Effect.Effect<void>
      readonly end: Effect.Effect<void>
    }>
    /** Goes on only if somebody says yes: `force`, or a person at the terminal. */
    readonly confirm: (question: string, force: boolean) => Effect.Effect<void, Refused>
    readonly style: (text: string, style: Style) => string
  }
>()("effect-s3db/cli/internal/output") {}

const codes: Readonly<Record<Style, string>> = { bold: "1", dim: "2", red: "31", green: "32", yellow: "33" }

/** Rows by which the widths of a table are chosen: as many as are worth waiting for. */
const looked = 200

const exact = (value: Json): string => {
  const text = stringifyExact(value, documentLevels)
  return typeof text === "string" ? text : JSON.stringify(value)
}

const closed = (error: PlatformError): OutputClosed => {
  const { reason } = error
  const cause = "cause" in reason ? reason.cause : undefined
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
  const isGone = code === "EPIPE" || code === "ERR_STREAM_DESTROYED"
  return new OutputClosed({
    isGone,
    description: `the output cannot be written: ${code === "" ? error.message : code}`
  })
}

export const layer = (options: Options): Layer.Layer<Output, never, Stdio.Stdio | Terminal.Terminal> =>
  Layer.effect(
    Output,
    Effect.gen(function* () {
      const stdio = yield* Stdio.Stdio
      const terminal = yield* Terminal.Terminal
      const [outIsTerminal, errIsTerminal, inIsTerminal] = yield* Effect.all([
        stdio.stdoutIsTerminal,
        stdio.stderrIsTerminal,
        stdio.stdinIsTerminal
      ])
      const variable = (name: string) =>
        Config.String(name).pipe(
          Config.option,
          Effect.orElseSucceed(() => Option.none<string>()),
          Effect.map(Option.getOrElse(() => ""))
        )
      const isPlain = (yield* variable("NO_COLOR")) !== "" || (yield* variable("TERM")) === "dumb"
      const mode = options.ndjson ? "ndjson" : options.json ? "json" : "people"
      const width = outIsTerminal
        ? yield* Effect.map(terminal.columns, (columns) => (columns > 0 ? columns : 80))
        : Number.POSITIVE_INFINITY
      const paint = (isTerminal: boolean) => (text: string, style: Style) =>
        isTerminal && !isPlain ? `\u001b[${codes[style]}m${text}\u001b[0m` : text
      const style = paint(outIsTerminal)
      const errStyle = paint(errIsTerminal)

      const raw = <E, R>(bytes: Stream.Stream<string | Uint8Array, E, R>) =>
        Stream.run(
          bytes,
          // A failure of the source is told from one of the output.
          stdio.stdout()
        ).pipe(Effect.mapError((error) => (isPlatformError(error) ? closed(error) : error)))
      const write = (text: string) => raw(Stream.succeed(text))
      const say = (text: string) => Effect.ignore(Stream.run(Stream.succeed(text), stdio.stderr()))
      const jsonText = (value: Json): string => (outIsTerminal ? table.harmlessJson(exact(value)) : exact(value))

      /** The line that changes, while there is one. */
      const moving = yield* Ref.make("")
      const clear = Effect.flatMap(Ref.getAndSet(moving, ""), (line) =>
        line === "" ? Effect.void : say("\r\u001b[2K")
      )
      const note = (text: string) =>
        options.quiet ? Effect.void : Effect.andThen(clear, say(`${table.harmlessLines(text)}\n`))
      const warn = (text: string) =>
        Effect.andThen(clear, say(`${errStyle("warning:", "yellow")} ${table.harmlessLines(withoutApi(text))}\n`))

      const tableOf = Effect.fnUntraced(function* <E, R>(
        rows: Stream.Stream<JsonObject, E, R>,
        { columns, footer }: Rows
      ) {
        let chosen: { readonly names: ReadonlyArray<string>; readonly layout: table.Layout } | undefined
        let count = 0
        const pieces = rows.pipe(
          Stream.grouped(looked),
          Stream.map((group) => {
            count += group.length
            const listed = columns ?? [...new Set(group.flatMap((row) => Object.keys(row)))]
            if (chosen === undefined) {
              const inUse = listed.filter((name) => group.some((row) => at(row, name) !== undefined))
              const names = inUse.length === 0 ? listed : inUse
              const cells = group.map((row) => names.map((name) => table.cellText(at(row, name))))
              chosen = { names, layout: table.layout(names.map(table.harmless), cells, width) }
              const header = style(table.line(chosen.layout, names.map(table.harmless)), "bold")
              return `${header}\n${linesOf(group, chosen)}`
            }
            return linesOf(group, chosen)
          })
        )
        yield* raw(pieces)
        const hidden = chosen?.layout.hidden ?? 0
        if (hidden > 0)
          yield* note(`too wide for ${counted(hidden, "more column")}: name some with --select, or use --json`)
        if (footer !== undefined) yield* note(footer(count))
        return count
      })

      const linesOf = (
        group: ReadonlyArray<JsonObject>,
        { layout, names }: { readonly names: ReadonlyArray<string>; readonly layout: table.Layout }
      ): string =>
        group
          .map(
            (row) =>
              `${table.line(
                layout,
                names.map((name) => table.cellText(at(row, name)))
              )}\n`
          )
          .join("")

      return Output.of({
        isForPeople: mode === "people",
        raw,
        text: (bytes) =>
          outIsTerminal
            ? raw(Stream.map(Stream.decodeText(bytes), (text) => table.harmlessLines(text.replaceAll("\r\n", "\n"))))
            : raw(bytes),
        note,
        warn,
        style,
        rows: Effect.fnUntraced(function* <E, R>(rows: Stream.Stream<JsonObject, E, R>, given: Rows = {}) {
          if (mode === "people") return yield* tableOf(rows, given)
          let count = 0
          const lines = Stream.map(rows, (row) => {
            count += 1
            if (mode === "ndjson") return `${jsonText(row)}\n`
            return `${count === 1 ? "[\n" : ",\n"}${jsonText(row)}`
          })
          yield* raw(lines)
          if (mode === "json") yield* write(count === 0 ? "[]\n" : "\n]\n")
          return count
        }),
        value: (value, forPeople) => {
          if (mode !== "people") return write(`${jsonText(value)}\n`)
          return write(forPeople === undefined ? fieldsOf(value, width, style) : `${table.harmlessLines(forPeople)}\n`)
        },
        progress: (label) =>
          Effect.sync(() => {
            let last = -1
            const shows = errIsTerminal && !options.quiet
            return {
              update: (done: number, total = 0) =>
                Effect.suspend(() => {
                  const percent = total === 0 ? done : Math.floor((100 * done) / total)
                  if (!shows || percent === last) return Effect.void
                  last = percent
                  const text =
                    total === 0 ? `${label}: ${done}` : `${label}: ${bar(done / total)} ${percent} % of ${total}`
                  return Effect.andThen(Ref.set(moving, text), say(`\r\u001b[2K${text}`))
                }),
              end: clear
            }
          }),
        confirm: Effect.fnUntraced(function* (question, force) {
          if (force) return
          if (!inIsTerminal || !errIsTerminal) {
            return yield* new Refused({
              description: `${question} There is nobody to ask: say --force if that is what you want`
            })
          }
          yield* say(`${errStyle(table.harmlessLines(question), "yellow")} [y/N] `)
          const answer = yield* terminal.readLine.pipe(Effect.orElseSucceed(() => ""))
          if (!/^y(es)?$/i.test(answer.trim())) return yield* new Refused({ description: "nothing was changed" })
        })
      })
    })
  )

const isPlatformError = (error: unknown): error is PlatformError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "PlatformError"

const bar = (part: number): string => {
  const filled = Math.round(Math.min(1, part) * 20)
  return `[${"#".repeat(filled)}${"-".repeat(20 - filled)}]`
}

/** The value of a row at a column: by its name as it stands, or by its path. */
const at = (row: JsonObject, name: string): Json | undefined => {
  if (Object.hasOwn(row, name)) return row[name]
  return name
    .split(".")
    .reduce<Json | undefined>(
      (value, part) =>
        typeof value === "object" && value !== null && !Array.isArray(value) && Object.hasOwn(value, part)
          ? (value as JsonObject)[part]
          : undefined,
      row
    )
}

const fieldsOf = (value: Json, width: number, style: (text: string, style: Style) => string): string => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return `${table.cellText(value)}\n`
  const names = Object.keys(value)
  const longest = Math.max(0, ...names.map((name) => name.length))
  return names
    .map((name) => {
      const cell = table.cellText((value as JsonObject)[name])
      const shown = Number.isFinite(width) ? table.clip(cell, Math.max(20, width - longest - 2)) : cell
      const label = table.harmless(name)
      return shown === "" ? `${style(label, "bold")}\n` : `${style(label.padEnd(longest), "bold")}  ${shown}\n`
    })
    .join("")
}
