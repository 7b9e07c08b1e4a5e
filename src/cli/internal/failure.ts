/** What the command line fails with beside the errors of the library, and the exit code of each kind of failure. */
import * as Schema from "effect/Schema"
import { ExpectedError } from "../../internal/expectedError.ts"

/** The exit codes, by the kind of failure. They are documented, and stay. */
export const exitCodes = {
  /** All is well. */
  Success: 0,
  /** A mistake of the program. */
  Defect: 1,
  /** The command line cannot be understood. */
  Usage: 2,
  /** There is no connection, or what it says is wrong: a profile, a URL, a bucket, a key. */
  Configuration: 3,
  /** What was asked for is not there. */
  NotFound: 4,
  /** It is there already, or was changed by somebody else. */
  Conflict: 5,
  /** An input does not fit. */
  Invalid: 6,
  /** The store, the definition or a guard does not allow it. */
  Denied: 7,
  /** The store cannot be reached, or asks to come back later. */
  Unavailable: 8,
  /** What is stored is damaged, or cannot be decrypted. */
  Damaged: 9,
  /** It was done in part, or a check has found something. */
  Unfinished: 10,
  /** It would destroy something, and nobody has said yes. */
  Refused: 11,
  /** The store or the definition cannot do that. */
  Unsupported: 12,
  /** Interrupted by Ctrl-C or a signal. */
  Interrupted: 130,
  /** Whoever read the output has gone. */
  Closed: 141
} as const

export type Kind = keyof typeof exitCodes

/**
 * A command line that cannot be carried out as it stands.
 *
 * @remedy Correct the command as the message says; `s3db COMMAND --help` has its flags and examples.
 */
export class Usage extends ExpectedError<Usage>("effect-s3db/cli/Usage")("Usage", { description: Schema.String }) {}

/**
 * Nobody has said where the data is, or it cannot be opened as it is said.
 *
 * @remedy Say where the data is: `--url`, `--profile` or `S3DB_URL`. `docs/guide/connecting.md` has the forms, `s3db
 * doctor` tells what is wrong with one.
 */
export class NoConnection extends ExpectedError<NoConnection>("effect-s3db/cli/NoConnection")("NoConnection", {
  description: Schema.String
}) {}

/**
 * Something that is named, and is not there.
 *
 * @remedy Correct the name; `s3db list` and `s3db profiles` show those that there are.
 */
export class Missing extends ExpectedError<Missing>("effect-s3db/cli/Missing")("Missing", {
  description: Schema.String
}) {}

/**
 * An input that cannot be read: no JSON, no such file.
 *
 * @remedy Correct the file or the text that the message names.
 */
export class Unreadable extends ExpectedError<Unreadable>("effect-s3db/cli/Unreadable")("Unreadable", {
  description: Schema.String
}) {}

/** What became of a file or folder that is named, in a sentence for whoever has named it. */
export const fileFailure =
  (file: string, what: "read" | "written", folder?: string) =>
  (error: { readonly message: string; readonly reason?: { readonly _tag: string } }): Unreadable => {
    const cannot = `${file} cannot be ${what}:`
    switch (error.reason?._tag) {
      case "NotFound":
        return new Unreadable({
          description:
            what === "read"
              ? `${cannot} it is not there; correct its path`
              : `${cannot} there is no folder ${folder ?? "for it"}; make it first, or correct the path`
        })
      case "PermissionDenied":
        return new Unreadable({
          description: `${cannot} you are not allowed to; see the permissions of ${folder ?? file}`
        })
      default:
        return new Unreadable({ description: `${cannot} ${error.message}` })
    }
  }

/**
 * A resource of that name is in the catalog.
 *
 * @remedy Choose another name, or change the definition by `s3db alter resource`.
 */
export class ResourceExists extends ExpectedError<ResourceExists>("effect-s3db/cli/ResourceExists")("ResourceExists", {
  resource: Schema.String
}) {
  override get message(): string {
    return `there is a resource ${JSON.stringify(this.resource)} already: \`s3db alter resource\` gives it another definition`
  }
}

/**
 * Something would be destroyed, and nobody has said yes.
 *
 * @remedy Answer the question, or say `--force` where nobody can be asked.
 */
export class Refused extends ExpectedError<Refused>("effect-s3db/cli/Refused")("Refused", {
  description: Schema.String
}) {}

/**
 * Work that was done in part, or a check that has found something. What there is to say of it is on the output.
 *
 * @remedy Look at the output, which has each problem; mend them and run the command again.
 */
export class Partial extends ExpectedError<Partial>("effect-s3db/cli/Partial")("Partial", {
  description: Schema.String
}) {}

/**
 * The output cannot be written to any more.
 *
 * @remedy Nothing where the reader had enough, as `head` has; else make room where the output goes.
 */
export class OutputClosed extends ExpectedError<OutputClosed>("effect-s3db/cli/OutputClosed")("OutputClosed", {
  description: Schema.String,
  /** Whoever read it has gone: nothing to tell anybody. */
  isGone: Schema.Boolean
}) {}

/** A message without the name of the method that has failed, which nobody has called who has typed a command. */
export const withoutApi = (message: string): string =>
  message
    .replaceAll(/\b(?:Database|Resource)\.[a-z]\w* is not allowed on /g, "this is not allowed on ")
    .replaceAll(/\b(?:Database|Resource)\.[a-z]\w* on (\S+) failed: /g, "$1: ")
    .replaceAll(/\b(?:Database|Resource)\.[a-z]\w* of (?=\S+ is not done: )/g, "")
    .replaceAll(/\b(?:Database|Resource)\.[a-z]\w* failed: /g, "")

/** `1 document`, `2 documents`. */
export const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`

const kinds: Readonly<Record<string, Kind>> = {
  Usage: "Usage",
  ShowHelp: "Usage",
  NoConnection: "Configuration",
  InvalidConnectionString: "Configuration",
  InvalidKeyRing: "Configuration",
  ConfigError: "Configuration",
  Missing: "NotFound",
  NotFound: "NotFound",
  NoSuchResource: "NotFound",
  AlreadyExists: "Conflict",
  ResourceExists: "Conflict",
  Conflict: "Conflict",
  UniqueViolation: "Conflict",
  TransactionConflict: "Conflict",
  TargetNotEmpty: "Conflict",
  OtherDatabase: "Conflict",
  RestoreUnderWay: "Conflict",
  NotInstant: "Conflict",
  NoSuchBackup: "NotFound",
  BackupLost: "Unfinished",
  BackupDamaged: "Damaged",
  LeaseLost: "Conflict",
  Unreadable: "Invalid",
  InvalidInput: "Invalid",
  MetadataLimit: "Invalid",
  LineProblem: "Invalid",
  InvalidImport: "Usage",
  TooManyRejects: "Unfinished",
  NoColumn: "Invalid",
  Unfit: "Invalid",
  DependencyMissing: "Configuration",
  Trimmed: "NotFound",
  TooManyGroups: "Invalid",
  UnsupportedSchema: "Invalid",
  NotAllowed: "Denied",
  Rejected: "Denied",
  Forbidden: "Denied",
  AfterFailed: "Unfinished",
  Unfinished: "Unfinished",
  Partial: "Unfinished",
  Refused: "Refused",
  InvalidFullText: "Invalid",
  IndexIncomplete: "Unfinished",
  IndexDamaged: "Damaged"
}

const kindsOfReasons: Readonly<Record<string, Kind>> = {
  NoSuchBucket: "Configuration",
  ServiceFailed: "Configuration",
  NoSuchKey: "NotFound",
  PreconditionFailed: "Conflict",
  MetadataTooLarge: "Invalid",
  KeyTooLong: "Invalid",
  EntityTooLarge: "Invalid",
  InvalidRange: "Invalid",
  InvalidArgument: "Invalid",
  AccessDenied: "Denied",
  ConditionalRequestConflict: "Unavailable",
  Throttled: "Unavailable",
  Unavailable: "Unavailable",
  Timeout: "Unavailable",
  OutcomeUnknown: "Unavailable",
  Unexpected: "Unavailable",
  Corrupt: "Damaged",
  SecretUnreadable: "Damaged",
  Incomplete: "Unfinished",
  Unsupported: "Unsupported"
}

const tagOf = (value: unknown): string | undefined =>
  typeof value === "object" && value !== null && "_tag" in value && typeof value._tag === "string"
    ? value._tag
    : undefined

/** The kind of a failure; whatever nobody has thought of is a defect. */
export const kindOf = (error: unknown): Kind => {
  const tag = tagOf(error)
  if (tag === undefined) return "Defect"
  if (error instanceof OutputClosed) return error.isGone ? "Closed" : "Unavailable"
  const reason = typeof error === "object" && error !== null && "reason" in error ? tagOf(error.reason) : undefined
  if ((tag === "DbError" || tag === "StoreError") && reason !== undefined) return kindsOfReasons[reason] ?? "Defect"
  return Object.hasOwn(kinds, tag) ? kinds[tag]! : "Defect"
}

const remedies: Readonly<Record<string, string>> = {
  NoSuchBucket: "make it with `s3db create bucket`, or correct the URL",
  AccessDenied: "`s3db doctor` tells which permission is missing",
  Unavailable: "`s3db doctor` tells what does not answer; try again later",
  Throttled: "try again later, or with a smaller --concurrency",
  Timeout: "try again later; `s3db doctor` measures the latency",
  ServiceFailed: "secrets need their keys in S3DB_KEYS, as id:base64,id:base64",
  Corrupt: "`s3db repair` lists what is damaged; where it is the catalog, `s3db doctor` says what to do",
  Incomplete: "run `s3db backfill`"
}

/** What to do about a failure of the infrastructure, where its message does not say so. */
export const remedyOf = (error: unknown): string | undefined => {
  const reason = typeof error === "object" && error !== null && "reason" in error ? tagOf(error.reason) : undefined
  return reason === undefined ? undefined : remedies[reason]
}
