/**
 * Where documents are replicated to: what a target is asked, and what it says when it cannot. `plugins/Replicator` sees to order, retries and
 * positions, so that a target only has to take what it is given.
 *
 * ```ts
 * import * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
 * import { Effect } from "effect"
 *
 * const known = new Map<string, ReplicaTarget.Change>()
 *
 * const inMemory: ReplicaTarget.Target = {
 *   kind: "memory",
 *   keeps: "state",
 *   plan: () => Effect.succeed(ReplicaTarget.nothingToDo),
 *   run: () => Effect.void,
 *   apply: ({ changes, isRepair }) =>
 *     Effect.sync(() => {
 *       for (const change of changes) {
 *         const version = known.get(change.id)?.version ?? -1
 *         // A deletion stays as a guard, so that an older version does not bring the document back.
 *         if (isRepair ? version <= change.version : version < change.version) known.set(change.id, change)
 *       }
 *     })
 * }
 * ```
 *
 * @see `docs/design/replication.md`
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Definition } from "../Definition.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import type { DynamicSchema } from "../Portable.ts"
import type * as Columns from "./parquet/internal/columns.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A target that could not do what it was asked.
 *
 * - `Unavailable`: it cannot be reached, or is busy. Tried again, with growing pauses, for as long as it takes.
 * - `Credentials`: it does not know who asks, or does not let him do it. Tried again, too, and the circuit is open at once.
 * - `Schema`: what it has is not as the documents need it, such as a table that is missing. Tried again, too: nothing is given up for it.
 * - `Refused`: it does not take these documents. One that is refused alone, again and again, becomes a dead letter.
 *
 * `description` shows no values of documents.
 *
 * @remedy `Unavailable`: see that the target runs and can be reached. `Credentials`: mend the key, the password or the token that the target is given, or what it may do there; nothing is lost meanwhile. `Schema`: look at `plan`, and run it or mend the target. `Refused`: mend the document, or leave it out, then `replay`.
 * @category errors
 * @since 0.1.0
 */
export class TargetError extends ExpectedError<TargetError>("effect-s3db/plugins/ReplicaTarget/TargetError")(
  "TargetError",
  {
    target: Schema.String,
    problem: Schema.Literals(["Unavailable", "Credentials", "Schema", "Refused"]),
    description: Schema.String,
    /** What the target says of when to come again, in milliseconds from now. */
    retryAfterMillis: Schema.optionalKey(Schema.Number)
  },
  { httpApiStatus: 502 }
) {
  override get message(): string {
    return `the target ${this.target}: ${this.description}`
  }
  /** Whether it may pass without a change to a document. */
  get isRetryable(): boolean {
    return this.problem !== "Refused"
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What a column holds: see `Parquet.Type`, without `Struct`.
 *
 * @category models
 * @since 0.1.0
 */
export type Type = Exclude<Columns.Type, { readonly _tag: "Struct" }>

/**
 * A field of a document, as a column.
 *
 * @category models
 * @since 0.1.0
 */
export interface Column {
  /** Where its value is in the document, names from the outside in. */
  readonly path: ReadonlyArray<string>
  readonly name: string
  readonly type: Type
}

/**
 * What the documents of a resource look like at the target.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shape {
  /** What the target calls the resource. */
  readonly name: string
  /** The resource that the documents are of. */
  readonly source: string
  readonly primaryKey: string
  /** All but the primary key. */
  readonly columns: ReadonlyArray<Column>
  /** Of the documents as they are sent. */
  readonly definition: Definition<DynamicSchema>
  /** Paths of secrets that are left out. */
  readonly hidden: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * A version of a document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change {
  readonly id: string
  /**
   * Of versions of one document a later one has a greater number, also of one that was deleted and created again: from 0, less than 2 ** 53.
   */
  readonly version: number
  /** `snapshot`: it is there, whoever wrote it when. */
  readonly operation: "insert" | "update" | "delete" | "snapshot"
  /** In its JSON form; `undefined` where it is gone, or is not to be at the target. */
  readonly document: JsonObject | undefined
  /** The version before, where the journal has it. */
  readonly before: JsonObject | undefined
  /** When it was written, in milliseconds since the epoch by the clock of the writer; when it was read, of a snapshot. */
  readonly time: number
}

/**
 * Changes of documents of one resource, in their order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Batch {
  readonly shape: Shape
  readonly changes: ReadonlyArray<Change>
  /** What is there in the same version is written again, since somebody else may have changed it. */
  readonly isRepair: boolean
}

/**
 * Something that has to be done before a target takes documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Step {
  /** What the target calls the resource. */
  readonly name: string
  readonly description: string
  /** As it is sent to the target. */
  readonly statement: string
}

/**
 * What has to be done before a target takes documents, and what is in the way of that and nobody does by himself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  readonly steps: ReadonlyArray<Step>
  readonly problems: ReadonlyArray<{ readonly name: string; readonly problem: string }>
}

/**
 * The plan of a target that has all it needs.
 *
 * @category constants
 * @since 0.1.0
 */
export const nothingToDo: Plan = { steps: [], problems: [] }

/**
 * A target of a replicator.
 *
 * **Details**
 *
 * It is asked by one fiber of a process at a time, and may be asked by a second process that stood still and goes on later, with what is old by
 * then. So it has to compare versions where it keeps documents: a change never takes the place of a greater version, and a deletion
 * leaves its version, so that an old change does not bring the document back. The same change may be given again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  /** What it is, such as `postgres`; for messages. */
  readonly kind: string
  /** `state`: it is given the last version of each document of a batch. `changes`: each, as far as the journal has images. */
  readonly keeps: "state" | "changes"
  /** Compares what is there with what the documents need. It changes nothing. */
  readonly plan: (shapes: ReadonlyArray<Shape>) => Effect.Effect<Plan, TargetError>
  /** Does what a plan says. What is done already is no error. */
  readonly run: (plan: Plan) => Effect.Effect<void, TargetError>
  /** Takes a batch: all of it, or it fails and takes any part. */
  readonly apply: (batch: Batch) => Effect.Effect<void, TargetError>
  /**
   * Removes the documents that have a smaller version, leaving this one as a guard, and says how many. Absent where what is there cannot
   * be told.
   */
  readonly sweep?: ((shape: Shape, version: number) => Effect.Effect<number, TargetError>) | undefined
}
