/**
 * What an import fails with.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { ExpectedError } from "../../internal/expectedError.ts"

/**
 * The reasons for which a file cannot be read on.
 *
 * - `NotThere`: there is no such file, or nothing answers at this address
 * - `Denied`: whoever asks may not read it
 * - `Failed`: it could not be read for another reason
 * - `Damaged`: it is cut off, or not what its compression or its format says
 * - `Encoding`: its bytes are no text in the encoding
 * - `Syntax`: it is not of the format
 * - `Header`: its columns cannot be told apart, or one that is asked for is not there
 * - `TooLarge`: more than a limit allows comes out of it
 * - `Unsupported`: nothing here reads it, or not on this platform
 * - `Changed`: it is another file than the one whose import is resumed
 *
 * @category errors
 * @since 0.1.0
 */
export const UnreadableReason = Schema.Literals([
  "NotThere",
  "Denied",
  "Failed",
  "Damaged",
  "Encoding",
  "Syntax",
  "Header",
  "TooLarge",
  "Unsupported",
  "Changed"
])

/**
 * One of the reasons for which a file cannot be read on.
 *
 * @category errors
 * @since 0.1.0
 */
export type UnreadableReason = typeof UnreadableReason.Type

/**
 * A file that cannot be read, or not from a place on. Rows before that place are imported, but for those that stand right before it. It holds no
 * values.
 *
 * @remedy Correct the file at the place that is named, or say by the options what it is: its format, encoding, delimiter, header. An import
 * with a name goes on after the rows that are done.
 * @category errors
 * @since 0.1.0
 */
export class Unreadable extends ExpectedError<Unreadable>("effect-s3db/plugins/Importer/Unreadable")(
  "Unreadable",
  {
    file: Schema.String,
    reason: UnreadableReason,
    description: Schema.String,
    /** The record at fault, or the one that was to come, from 1. The header is none. */
    row: Schema.optionalKey(Schema.Int),
    /** The line of the file where it begins, from 1. */
    line: Schema.optionalKey(Schema.Int),
    /** The column, by its name, or its number where it has none. */
    column: Schema.optionalKey(Schema.String)
  },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    const place = [
      ...(this.line === undefined ? (this.row === undefined ? [] : [`row ${this.row}`]) : [`line ${this.line}`]),
      ...(this.column === undefined ? [] : [`column ${this.column}`])
    ]
    return `${[this.file, ...place].join(", ")}: ${this.description}`
  }
}

/**
 * An option of an import that cannot be, such as a mapping onto a field that the resource does not have. Nothing was read or written.
 *
 * @remedy Correct the option that `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidImport extends ExpectedError<InvalidImport>("effect-s3db/plugins/Importer/InvalidImport")(
  "InvalidImport",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `${this.field}: ${this.problem}`
  }
}

/**
 * More rows were rejected than `maxRejects` allows. Rows before are imported. It names the last one that was rejected, and holds no values.
 *
 * @remedy Look at the rejects: where they have one cause, correct the file, the mapping or the definition; else raise `maxRejects`. An import
 * with a name goes on after the rows that are done.
 * @category errors
 * @since 0.1.0
 */
export class TooManyRejects extends ExpectedError<TooManyRejects>("effect-s3db/plugins/Importer/TooManyRejects")(
  "TooManyRejects",
  {
    file: Schema.String,
    rejected: Schema.Int,
    row: Schema.Int,
    line: Schema.optionalKey(Schema.Int),
    column: Schema.optionalKey(Schema.String),
    description: Schema.String
  },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    const column = this.column === undefined ? "" : `, column ${this.column}`
    const place = this.line === undefined ? `row ${this.row}` : `line ${this.line}`
    return `${this.file}: ${this.rejected} rows were rejected, the last one ${place}${column}: ${this.description}`
  }
}
