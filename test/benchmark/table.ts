/** What benchmarks print, and what `docs/benchmarks.md` is made of. */

export interface Table {
  readonly title: string
  readonly columns: ReadonlyArray<string>
  /** The first cell of a row says what it is about; the others are figures. */
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

/** One run of one benchmark, as `--json` writes it. */
export interface Run {
  readonly benchmark: string
  readonly date: string
  readonly node: string
  readonly cores: number
  readonly processor: string
  /** How many processes wanted the processor in the minute before, at the beginning and at the end. */
  readonly load: readonly [number, number]
  readonly tables: ReadonlyArray<Table>
  /** What one has to know of it: what was not installed, what failed. */
  readonly notes: ReadonlyArray<string>
  /** What it prints where it has no tables. */
  readonly text?: string | undefined
  readonly results: unknown
}

/** With as many digits as mean something. */
export const digits = (value: number): string =>
  Number.isFinite(value) ? value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2) : "-"

export const toText = ({ columns, rows, title }: Table): string => {
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => (row[i] ?? "").length)))
  const line = (cells: ReadonlyArray<string>) =>
    `  ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ")}`
  return [title, line(columns), ...rows.map(line)].join("\n")
}

const escaped = (cell: string): string => cell.replaceAll("|", "\\|")

export const toMarkdown = ({ columns, rows, title }: Table): string => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.map(escaped).join(" | ")} |`
  const rule = `|${columns.map((_, i) => (i === 0 ? "---" : "---:")).join("|")}|`
  return [`**${title}**`, "", line(columns), rule, ...rows.map(line)].join("\n")
}
