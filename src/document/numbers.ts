/**
 * The incremental ids of a resource: its sequences, and what makes a schema's defaults take their numbers from them.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Id from "../crypto/Id.ts"
import type { Definition } from "../Definition.ts"
import { isRecord } from "../internal/json.ts"
import * as Sequence from "../kernel/Sequence.ts"
import { constructorDefaults, type DocumentSchema } from "../schema/Attributes.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"

/**
 * Lets what a construction leaves out be filled with the next number, where the schema says so. Fails with what the store says
 * where no number can be had.
 *
 * @category models
 * @since 0.1.0
 */
export type Numbered = <A, E, R>(construct: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StoreError, R>

/**
 * What the engine has to know of the incremental ids of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Numbers {
  readonly numbered: Numbered
  /** Whether the document that an input makes is given the next number as its id. */
  readonly numbers: (input: unknown) => boolean
}

/**
 * How many ids that are taken already one write passes over, each for 1 PUT and 1 GET, before it says so.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostTaken = 100

/** A default cannot fail with what the store says. */
class Unnumbered {
  readonly error: StoreError
  constructor(error: StoreError) {
    this.error = error
  }
}

/**
 * Makes it for a resource. No request; what a schema without incremental ids constructs is left as it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  {
    name: resource,
    primaryKey,
    schema
  }: Pick<Definition<DocumentSchema>, "name" | "schema"> & { readonly primaryKey: string },
  store: ObjectStore["Service"]
): Numbers => {
  const incremental = [...constructorDefaults(schema)].flatMap(([field, given]) =>
    Id.incrementalOf(given) === undefined ? [] : [field]
  )
  const numbers: Numbers["numbers"] = incremental.includes(primaryKey)
    ? (input) => isRecord(input) && input[primaryKey] === undefined
    : () => false
  if (incremental.length === 0) return { numbered: (construct) => construct, numbers }
  const sequences = new Map<string, Effect.Effect<Sequence.Sequence>>()

  const sequenceOf = Effect.fnUntraced(function* ({ block, name, start, step }: Id.IncrementalOptions) {
    const key = Id.sequenceKey(resource, name)
    const known = sequences.get(key)
    if (known !== undefined) return yield* known
    const made = yield* Effect.cached(Sequence.make(store, { key, block, start, step }))
    // Another may have been first.
    const first = sequences.get(key) ?? made
    sequences.set(key, first)
    return yield* first
  })

  const take = Effect.fnUntraced(function* (options: Id.IncrementalOptions) {
    const sequence = yield* sequenceOf(options)
    return yield* Effect.catch(Sequence.incremental(sequence, options), (error) => Effect.die(new Unnumbered(error)))
  })

  const numbered = <A, E, R>(construct: Effect.Effect<A, E, R>) =>
    Effect.catchCause(
      Effect.provideService(construct, Id.Numbers, take),
      (cause): Effect.Effect<never, E | StoreError> => {
        for (const reason of cause.reasons) {
          if (Cause.isDieReason(reason) && reason.defect instanceof Unnumbered) return Effect.fail(reason.defect.error)
        }
        return Effect.failCause(cause)
      }
    )
  return { numbered, numbers }
}
