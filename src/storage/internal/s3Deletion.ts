/** Deleting many objects at once, on servers that can do it in their own ways, or cannot. */
import * as Effect from "effect/Effect"
import { type Reason, type StoreError, Unexpected } from "../StoreError.ts"
import { reasonOfDeletion } from "./s3Errors.ts"

/** Single requests at once, where a request is needed for each key. */
const singleConcurrency = 16

/**
 * How this server deletes many objects: in one request with a checksum of today, in one with `Content-MD5`, which older servers
 * ask for, or one by one.
 */
type Way = Form | "single"

/** How the body of a DeleteObjects request is vouched for. */
export type Form = "checksum" | "md5"

/** Each is tried where the one before is declined. */
const ways: ReadonlyArray<Way> = ["checksum", "md5", "single"]

/** What a DeleteObjects answer says, key by key. */
export interface Told {
  readonly deleted: ReadonlyArray<string>
  readonly errors: ReadonlyArray<{ readonly key: string; readonly code: string | undefined }>
}

interface Parts {
  /** One DeleteObjects request, not in quiet mode, in which silence is all there is to see of a key that was deleted. */
  readonly send: (keys: ReadonlyArray<string>, form: Form) => Effect.Effect<Told, StoreError>
  readonly remove: (key: string) => Effect.Effect<void, StoreError>
  readonly isGone: (key: string) => Effect.Effect<boolean, StoreError>
}

/** What became of keys that were not deleted. */
type Refused = ReadonlyMap<string, Reason>

/**
 * Deletes a batch of at most 1,000 keys that XML can hold, and accounts for each. Learns once, for all batches after, what the
 * server understands.
 */
export type DeleteBatch = (keys: ReadonlyArray<string>) => Effect.Effect<Refused, StoreError>

/** The server does not want a request of this form, and has done nothing. */
const isDeclined = ({ reason }: StoreError): boolean =>
  reason._tag === "Unsupported" ||
  (reason._tag === "InvalidArgument" && reason.argument !== "region" && reason.argument !== "bucket")

const untold = () =>
  new Unexpected({ description: "the store did not say what became of the object, which is still there" })

export const make = ({ isGone, remove, send }: Parts): DeleteBatch => {
  let known: Way = "checksum"
  const learn = (form: Way) =>
    Effect.sync(() => {
      if (ways.indexOf(known) < ways.indexOf(form)) known = form
    })

  /** What happened to each key by itself. */
  const each = Effect.fnUntraced(function* (
    keys: ReadonlyArray<string>,
    one: (key: string) => Effect.Effect<Reason | undefined, StoreError>
  ) {
    const outcomes = yield* Effect.forEach(
      keys,
      (key) => Effect.catch(one(key), (error) => Effect.succeed<Reason | undefined>(error.reason)),
      { concurrency: singleConcurrency }
    )
    return new Map(keys.flatMap((key, i) => (outcomes[i] === undefined ? [] : [[key, outcomes[i]] as const])))
  })

  const single = (keys: ReadonlyArray<string>) => each(keys, (key) => Effect.as(remove(key), undefined))

  const atOnce = Effect.fnUntraced(function* (keys: ReadonlyArray<string>, form: Form) {
    const told = yield* send(keys, form)
    const { refused, untold: unclear } = account(told, keys)
    if (unclear.length === 0) return refused
    // Quiet in any mode: then what became of each key is better asked key by key from the start.
    if (unclear.length === keys.length && told.deleted.length === 0) yield* learn("single")
    const left = yield* each(unclear, (key) => Effect.map(isGone(key), (gone) => (gone ? undefined : untold())))
    return new Map([...refused, ...left])
  })

  const inWay =
    (form: Way): DeleteBatch =>
    (keys) => {
      const deleting = form === "single" ? single(keys) : atOnce(keys, form)
      return Effect.tap(deleting, (refused) => (refused.size < keys.length ? learn(form) : Effect.void))
    }

  const from = (form: Way): DeleteBatch => {
    const next = ways[ways.indexOf(form) + 1]
    return next === undefined
      ? inWay(form)
      : (keys) => Effect.catchIf(inWay(form)(keys), isDeclined, () => from(next)(keys))
  }

  return (keys) => Effect.suspend(() => from(known)(keys))
}

/** What the answer says of each key that was asked for. A failure that names no key of ours could be any that it does not name. */
const account = ({ deleted, errors }: Told, keys: ReadonlyArray<string>) => {
  const told = new Set(deleted)
  const asked = new Set(keys)
  const refused = new Map<string, Reason>()
  let stray: Reason | undefined
  for (const { code, key } of errors) {
    told.add(key)
    if (code === "NoSuchKey") continue
    if (asked.has(key)) refused.set(key, reasonOfDeletion(code))
    else stray = reasonOfDeletion(code)
  }
  const untold = keys.filter((key) => !told.has(key))
  if (stray === undefined) return { refused, untold }
  for (const key of untold) refused.set(key, stray)
  return { refused, untold: [] }
}
