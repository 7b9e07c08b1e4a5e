/** Texts that people meet and that no class of errors makes: those of Effect's schemas and command line, and those that are put together from parts. */

export interface PlainText {
  readonly text: string
  /** What of it the file has to hold, so that the page tells of nothing that is gone. */
  readonly part: string
  readonly file: string
  readonly cause: string
  readonly remedy: string
}

const schema = "node_modules/effect/dist/SchemaIssue.js"
const cli = "node_modules/effect/dist/cli/CliError.js"

export const plainTexts: ReadonlyArray<PlainText> = [
  {
    text: "Missing key",
    part: "Missing key",
    file: schema,
    cause: "A field that is required is not there.",
    remedy: "Give it, or declare it optional or with a default."
  },
  {
    text: "Expected string, Expected number, ...",
    part: "Expected ",
    file: schema,
    cause: "A value is of another type than its field; the path says which.",
    remedy: "Give one of that type. In JSON, dates and exact decimals are texts."
  },
  {
    text: "Expected a value with a length of at least ..., at most ..., a value greater than ...",
    part: "a value with a length of at least",
    file: "node_modules/effect/dist/Schema.js",
    cause: "A value does not meet a rule of its field.",
    remedy: "Give one that does, or change the rule in the definition."
  },
  {
    text: "Unrecognized flag: ... in command ...",
    part: "Unrecognized flag",
    file: cli,
    cause: "`s3db` has no such flag there.",
    remedy: "`s3db COMMAND --help` lists them. A value that begins with `-` goes last, behind `--`."
  },
  {
    text: 'Unknown subcommand "..."',
    part: "Unknown subcommand",
    file: cli,
    cause: "`s3db` has no such command.",
    remedy: "`s3db --help` lists them."
  },
  {
    text: "Missing required argument: ..., Missing required flag: --...",
    part: "Missing required argument",
    file: cli,
    cause: "A command needs more than it was given.",
    remedy: "`s3db COMMAND --help` says what."
  },
  {
    text: 'Invalid value for flag --...: "..."',
    part: "Invalid value for flag",
    file: cli,
    cause: "A flag takes another kind of value, or one of a few words.",
    remedy: "The message says which."
  },
  {
    text: "line ...: Expected ... cells, as the first line has, no ...",
    part: "as the first line has, no",
    file: "src/plugins/importer/internal/table.ts",
    cause: "A line of CSV has more or fewer cells than the first.",
    remedy: "Quote cells that hold the delimiter or a line break, or name the delimiter with `--delimiter`."
  },
  {
    text: "there is no step ..., this parenthesis is not closed",
    part: "this parenthesis is not closed",
    file: "src/cli/internal/expression.ts",
    cause: "An expression of the console is none; the caret points at the place.",
    remedy: "`help` in the console shows what there is."
  },
  {
    text: "there is no folder ..., and none was made",
    part: "and none was made",
    file: "src/cli/internal/work/doctor.ts",
    cause: "`s3db doctor` looks at a folder that is not there, and changes nothing.",
    remedy: "Correct the URL, or make the database with `s3db create resource`."
  },
  {
    text: "Expected the token of this server",
    part: "Expected the token of this server",
    file: "src/mcp/HttpListener.ts",
    cause: "A request to `s3db mcp` over HTTP has no token, or another one.",
    remedy: "Send `Authorization: Bearer` with that of `S3DB_MCP_TOKEN`, or with the one that was said when it began."
  },
  {
    text: "Expected an id that is not empty, Expected an id of at most ... bytes",
    part: "Expected an id that is not empty",
    file: "src/Document.ts",
    cause: "An id cannot be part of a key.",
    remedy: "Take a shorter one, or let the resource make it: `Id.Random`."
  }
]
