/**
 * Documents by the values of their unique keys.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as DbError from "../DbError.ts"
import type { Base } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import { unknownKey } from "../document/indexes.ts"
import type { ReadFailure } from "../document/read.ts"
import type { Json } from "../encoding/Json.ts"
import type { OperandCodecs } from "../query/operandCodecs.ts"
import { hiddenAt } from "../schema/Attributes.ts"
import type { Source } from "./source.ts"

/**
 * Look-ups by unique keys.
 *
 * @category models
 * @since 0.1.0
 */
export interface Uniques<A> {
  /**
   * The document that has values of a unique key for itself, absence being `None`. 2 GET. `InvalidInput`: there is no such
   * key, or a value is missing or does not fit; `Incomplete`: the key is; `Unsupported`: it is blind and under a key that the
   * `KeyRing` has not.
   */
  readonly find: (
    unique: string,
    values: Readonly<Record<string, unknown>>
  ) => Effect.Effect<Option.Option<Base<A>>, DbError.InvalidInput | ReadFailure>
}

/**
 * Makes what finds the documents of a resource by their unique keys. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, indexes }: Documents<A>,
  { operands, source }: { readonly operands: OperandCodecs; readonly source: Pick<Source<A>, "reader"> }
): Uniques<A> => {
  const { invalid, name, settings } = context

  /** A value in the form in which the digest is made of it. */
  const fit = (path: ReadonlyArray<string>, value: unknown) =>
    hiddenAt(settings.attributes, path) === undefined
      ? Effect.succeed(operands.fromValue(path, value, "equal"))
      : operands.ofSecret(path, value)

  return {
    find: Effect.fnUntraced(function* (label, values) {
      const { uniques } = yield* indexes.fresh
      const all = [...uniques.values()].filter((one) => one.label === label)
      // One that moves to another key is looked up by the former one until it has come there.
      const unique = all.find(({ isReady }) => isReady) ?? all[0]
      if (unique === undefined) {
        const names = [...new Set([...uniques.values()].map((one) => one.label))].join(", ")
        return yield* invalid(["unique"], `Expected a unique key of ${name}: ${names === "" ? "it has none" : names}`)
      }
      const unknown = Object.keys(values).find((path) => !unique.fields.includes(path))
      if (unknown !== undefined) {
        return yield* invalid([unknown], `Expected a field of unique key ${label}: ${unique.fields.join(", ")}`)
      }
      const stored = new Map<string, Json>()
      for (const path of unique.definition.fields) {
        const value = values[path.join(".")]
        if (value === undefined || value === null) continue
        const fitted = yield* fit(path, value)
        if (Result.isFailure(fitted)) return yield* invalid(path, fitted.failure)
        stored.set(path.join("."), fitted.success)
      }
      if (!unique.isKnown) return yield* unknownKey(name, unique)
      const digest = unique.digest((path) => stored.get(path.join(".")))
      if (digest === undefined) {
        return yield* invalid([unique.fields[0]!], `Expected values of ${unique.fields.join(", ")}`)
      }
      if (!unique.isReady) {
        const index = `unique key ${label}`
        const description = unique.lack ?? `${index} of ${name} is by a field that is secret here`
        return yield* new DbError.Incomplete({ index, description })
      }
      return yield* source.reader.byUnique(unique.name, digest)
    })
  }
}
