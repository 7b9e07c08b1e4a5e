/** Deleting many objects at once, on servers that can do it in their own ways, or cannot. */
import { createHash } from "node:crypto"
import type * as S3 from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { type Reason, type StoreError, Unexpected } from "../StoreError.ts"
import { reasonOfDeletion } from "./s3Errors.ts"

/** Single requests at once, where a request is needed for each key. */
const singleConcurrency = 16

/**
 * How this server deletes many objects: in one request with a checksum of today, in one with `Content-MD5`, which older servers
 * ask for, or one by one.
 */
type Way = "checksum" | "md5" | "single"

/** Each is tried where the one before is declined. */
const ways: ReadonlyArray<Way> = ["checksum", "md5", "single"]

interface Parts {
  readonly sdk: Pick<typeof S3, "DeleteObjectsCommand">
  readonly bucket: string
  /** One DeleteObjects request, `key` being one of those that it is about. */
  readonly send: (
    command: S3.DeleteObjectsCommand,
    key: string
  ) => Effect.Effect<S3.DeleteObjectsCommandOutput, StoreError>
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

/** Replaces the checksums of the SDK by the one that S3 had first. */
const withMd5 = (command: S3.DeleteObjectsCommand): S3.DeleteObjectsCommand => {
  command.middlewareStack.add(
    (next) => (args) => {
      const { request } = args
      if (!isRequest(request)) return next(args)
      for (const name of Object.keys(request.headers)) {
        if (/^x-amz-(checksum-|sdk-checksum-)/i.test(name)) delete request.headers[name]
      }
      request.headers["content-md5"] = createHash("md5").update(request.body).digest("base64")
      return next(args)
    },
    { step: "build", priority: "low", name: "effect-s3db-md5" }
  )
  return command
}

const isRequest = (
  request: unknown
): request is { readonly headers: Record<string, string>; readonly body: string | Uint8Array } =>
  typeof request === "object" &&
  request !== null &&
  "headers" in request &&
  "body" in request &&
  (typeof request.body === "string" || request.body instanceof Uint8Array)

/** The server does not want a request of this form, and has done nothing. */
const isDeclined = ({ reason }: StoreError): boolean =>
  reason._tag === "Unsupported" ||
  (reason._tag === "InvalidArgument" && reason.argument !== "region" && reason.argument !== "bucket")

const untold = new Unexpected({
  description: "the store did not say what became of the object, which is still there"
})

export const make = ({ bucket, isGone, remove, sdk, send }: Parts): Effect.Effect<DeleteBatch> =>
  Effect.map(Ref.make<Way>("checksum"), (way) => {
    const learn = (form: Way) => Ref.update(way, (known) => (ways.indexOf(known) < ways.indexOf(form) ? form : known))

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

    const atOnce = Effect.fnUntraced(function* (keys: ReadonlyArray<string>, form: Exclude<Way, "single">) {
      const command = new sdk.DeleteObjectsCommand({
        Bucket: bucket,
        // Not in quiet mode, in which silence is all there is to see of a key that was deleted.
        Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: false }
      })
      const output = yield* send(form === "md5" ? withMd5(command) : command, keys[0]!)
      const { refused, untold: unclear } = account(output, keys)
      if (unclear.length === 0) return refused
      // Quiet in any mode: then what became of each key is better asked key by key from the start.
      if (unclear.length === keys.length && (output.Deleted ?? []).length === 0) yield* learn("single")
      const left = yield* each(unclear, (key) => Effect.map(isGone(key), (gone) => (gone ? undefined : untold)))
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

    return (keys) => Effect.flatMap(Ref.get(way), (form) => from(form)(keys))
  })

/** What the answer says of each key that was asked for. A failure that names no key of ours could be any that it does not name. */
const account = (output: S3.DeleteObjectsCommandOutput, keys: ReadonlyArray<string>) => {
  const told = new Set((output.Deleted ?? []).map(({ Key }) => Key))
  const asked = new Set(keys)
  const refused = new Map<string, Reason>()
  let stray: Reason | undefined
  for (const { Code, Key = "" } of output.Errors ?? []) {
    told.add(Key)
    if (Code === "NoSuchKey") continue
    if (asked.has(Key)) refused.set(Key, reasonOfDeletion(Code))
    else stray = reasonOfDeletion(Code)
  }
  const untold = keys.filter((key) => !told.has(key))
  if (stray === undefined) return { refused, untold }
  for (const key of untold) refused.set(key, stray)
  return { refused, untold: [] }
}
