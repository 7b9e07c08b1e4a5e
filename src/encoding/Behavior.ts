/**
 * Behaviors: what becomes of a document whose fields do not fit into the metadata of an object.
 *
 * - `"body-overflow"`, the default: as many fields as possible in metadata, the smallest first; the rest in the body.
 * - `"body-only"`: everything in the body.
 * - `"enforce-limits"`: the write fails with `MetadataLimit`; nothing is sent.
 * - `"truncate-data"`: the first text that does not fit is cut, later optional fields are left out, and the document says
 *   which fields it lost. What is left has to fit the schema, else the write fails with `MetadataLimit`.
 * - `userManaged(decide)`: a function decides, which is also told by how much.
 *
 * Changing the behavior of a resource leaves every document readable.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Entry, Excess, FieldsCodec, JsonObject, Limits, Measure } from "./Encoding.ts"

/**
 * The name of a behavior that needs no function.
 *
 * @category models
 * @since 0.1.0
 */
export type Simple = "body-overflow" | "body-only" | "enforce-limits" | "truncate-data"

/**
 * A document that does not fit. Sizes are bytes of metadata, names and values, unless `measure` says otherwise: `"headers"`: bytes
 * of the request headers that carry them, which many small fields exceed first; `"entry"`: bytes of the largest entry;
 * `"entries"`: their number.
 *
 * @category models
 * @since 0.1.0
 */
export interface Overflow {
  readonly resource: string
  readonly id: string
  /** The limit that is exceeded. */
  readonly measure: Measure
  /** What all fields together take. */
  readonly totalBytes: number
  /** What there is room for. */
  readonly limitBytes: number
  readonly excessBytes: number
  /** What each field takes by itself, in the encoding's own unit, by its path joined with `.`. */
  readonly fields: ReadonlyArray<{ readonly path: string; readonly size: number }>
}

/**
 * The fate of a document that does not fit: one of the other behaviors, or the paths of the fields that go to the body.
 * `"enforce-limits"` refuses it; so does a list that does not free enough room.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision = Simple | { readonly body: ReadonlyArray<string> }

/**
 * The behavior of a resource that decides about each document that does not fit.
 *
 * @category models
 * @since 0.1.0
 */
export interface UserManaged {
  readonly _tag: "UserManaged"
  readonly decide: (overflow: Overflow) => Effect.Effect<Decision>
}

/**
 * The treatment of documents that do not fit into metadata.
 *
 * @category models
 * @since 0.1.0
 */
export type Behavior = Simple | UserManaged

/**
 * Creates a behavior that asks a function about each document that does not fit. Without one, such a document goes to
 * the body as a whole and a warning with the sizes is logged.
 *
 * @category constructors
 * @since 0.1.0
 */
export const userManaged = (decide?: (overflow: Overflow) => Effect.Effect<Decision>): UserManaged => ({
  _tag: "UserManaged",
  decide:
    decide ??
    ((overflow) =>
      Effect.as(
        Effect.logWarning(
          `a document of ${overflow.resource} exceeds the limit of metadata by ${overflow.excessBytes} bytes`
        ),
        "body-only" as const
      ))
})

/**
 * The places of the fields of one document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Placement {
  readonly metadata: ReadonlyArray<Entry>
  readonly body: ReadonlyArray<Entry>
  /** Those in metadata that may as well go to the body with the rest: neither the definition nor the program wants them there. */
  readonly movable: ReadonlyArray<Entry>
  /** Ids of attributes that were cut or left out. */
  readonly truncated: ReadonlyArray<string>
  /** By how much the whole was too large, where something was cut or left out. */
  readonly exceeded: Exceeded | undefined
}

/**
 * Fields that have their place whatever their size, by path.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pins {
  readonly metadata: ReadonlySet<string>
  readonly body: ReadonlySet<string>
}

/**
 * A document that the behavior does not allow.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exceeded {
  readonly measure: Measure
  readonly totalBytes: number
  readonly limitBytes: number
  readonly excessBytes: number
}

/**
 * The places of the fields, or by how much the document is too large.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Placed"; readonly placement: Placement }
  | { readonly _tag: "Exceeded"; readonly exceeded: Exceeded }

/**
 * The bytes of metadata up to which the fields of a document stay there in any case: three quarters of what S3 allows.
 *
 * @category constants
 * @since 0.1.0
 */
export const comfortableBytes = 1536

interface Request {
  readonly codec: FieldsCodec
  readonly entries: ReadonlyArray<Entry>
  /** What fields may take of the metadata. */
  readonly limits: Limits
  readonly pins: Pins
  readonly isOptional: (path: ReadonlyArray<string>) => boolean
  /** Whether an attribute, by its id, must not be cut or left out: who writes does not know it. */
  readonly isKept: (attribute: string) => boolean
}

const placed = (
  metadata: ReadonlyArray<Entry>,
  body: ReadonlyArray<Entry>,
  truncated: ReadonlyArray<string> = none,
  excess?: Excess,
  movable: ReadonlyArray<Entry> = none
): Outcome => ({
  _tag: "Placed",
  placement: { metadata, body, movable, truncated, exceeded: excess === undefined ? undefined : sizesOf(excess) }
})

const none: ReadonlyArray<never> = []

const sizesOf = ({ limit, measure, total }: Excess): Exceeded => ({
  measure,
  totalBytes: total,
  limitBytes: limit,
  excessBytes: total - limit
})

const exceeded = (excess: Excess): Outcome => ({ _tag: "Exceeded", exceeded: sizesOf(excess) })

const bySize = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry> => entries.toSorted((a, b) => a.size - b.size)

/**
 * Decides where each field goes.
 *
 * @category encoding
 * @since 0.1.0
 */
export const place = (
  behavior: Behavior,
  request: Request & { readonly resource: string; readonly id: string }
): Effect.Effect<Outcome> =>
  typeof behavior === "string" ? Effect.succeed(placeSimply(behavior, request)) : decide(behavior, request)

const decide = Effect.fnUntraced(function* (
  behavior: Exclude<Behavior, string>,
  request: Request & { readonly resource: string; readonly id: string }
): Effect.fn.Return<Outcome> {
  const { codec, entries, limits, resource, id } = request
  const pinnedToBody = (entry: Entry): boolean => request.pins.body.has(entry.path.join("."))
  const free = entries.filter((entry) => !pinnedToBody(entry))
  const excess = codec.excess(free, limits)
  if (excess === undefined) return placed(free, entries.filter(pinnedToBody))
  const decision = yield* behavior.decide({
    resource,
    id,
    ...sizesOf(excess),
    fields: entries.map((entry) => ({ path: entry.path.join("."), size: entry.size }))
  })
  if (typeof decision === "string") return placeSimply(decision, request)
  const chosen = new Set(decision.body)
  const isForBody = (entry: Entry): boolean => {
    for (let depth = 1; depth <= entry.path.length; depth++) {
      if (chosen.has(entry.path.slice(0, depth).join("."))) return true
    }
    return pinnedToBody(entry)
  }
  const kept = entries.filter((entry) => !isForBody(entry))
  const left = codec.excess(kept, limits)
  return left === undefined ? placed(kept, entries.filter(isForBody)) : exceeded(left)
})

const placeSimply = (behavior: Simple, { codec, entries, limits, pins, isKept, isOptional }: Request): Outcome => {
  const pinnedTo = (pinned: ReadonlySet<string>) => (entry: Entry) =>
    pinned.size > 0 && pinned.has(entry.path.join("."))
  const toBody = pinnedTo(pins.body)
  const toMetadata = pinnedTo(pins.metadata)
  const free = pins.body.size === 0 ? entries : entries.filter((entry) => !toBody(entry))
  const pinnedBody = pins.body.size === 0 ? [] : entries.filter(toBody)
  if (behavior === "body-only") {
    const kept = free.filter(toMetadata)
    const excess = codec.excess(kept, limits)
    return excess !== undefined
      ? exceeded(excess)
      : placed(
          kept,
          entries.filter((entry) => !kept.includes(entry))
        )
  }
  const excess = codec.excess(free, limits)
  if (excess === undefined) {
    const isRoomy = behavior !== "body-overflow" || codec.metadataBytes(free) <= comfortableBytes
    return placed(free, pinnedBody, none, undefined, isRoomy ? none : free.filter((entry) => !toMetadata(entry)))
  }
  if (behavior === "enforce-limits") return exceeded(excess)
  const isFirst = (entry: Entry) => toMetadata(entry) || (behavior === "truncate-data" && isKept(entry.id))
  const first = free.filter(isFirst)
  const tooMuch = codec.excess(first, limits)
  if (tooMuch !== undefined) return exceeded(tooMuch)
  const room = codec.room(limits)
  for (const entry of first) room.take(entry)
  const metadata = [...first]
  const body: Array<Entry> = [...pinnedBody]
  const truncated: Array<string> = []
  for (const entry of bySize(first.length === 0 ? free : free.filter((one) => !isFirst(one)))) {
    const most = room.sizeFor(entry)
    if (entry.size <= most) {
      metadata.push(entry)
      room.take(entry)
    } else if (behavior === "body-overflow") body.push(entry)
    else {
      const cut = codec.cut(entry, most)
      if (cut !== undefined) {
        metadata.push(cut)
        room.take(cut)
      } else if (!isOptional(entry.path)) return exceeded(excess)
      truncated.push(entry.id)
    }
  }
  if (truncated.length > 0) return placed(metadata, body, truncated, excess)
  return placed(metadata, body, none, undefined, behavior === "body-overflow" ? metadata.slice(first.length) : none)
}

/**
 * Returns the values of entries for the body: as JSON, and as text where that is shorter.
 *
 * @category encoding
 * @since 0.1.0
 */
export const bodyOf = (
  entries: ReadonlyArray<Entry>
): { readonly spilled: JsonObject | undefined; readonly spilledText: Readonly<Record<string, string>> | undefined } => {
  const spilled: Record<string, JsonObject[string]> = {}
  const spilledText: Record<string, string> = {}
  for (const entry of entries) {
    if (entry.bodyText === undefined) spilled[entry.id] = entry.value
    else spilledText[entry.id] = entry.bodyText
  }
  return {
    spilled: Object.keys(spilled).length === 0 ? undefined : spilled,
    spilledText: Object.keys(spilledText).length === 0 ? undefined : spilledText
  }
}
