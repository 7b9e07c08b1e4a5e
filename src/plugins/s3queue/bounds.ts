/**
 * How much the object of a queue and its parts hold, and what ids and times become in them.
 *
 * @since 0.1.0
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Hex from "effect/encoding/Hex"
import { sha256 } from "../../internal/sha256.ts"
import { utf8Length } from "../../internal/text.ts"
import type * as State from "./state.ts"

/**
 * Of what is offered at once this many bytes of payloads are put into the object itself.
 *
 * @category constants
 * @since 0.1.0
 */
export const inlineBytes = 16_384

/**
 * The object holds no more messages for long.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostInline = 256

/**
 * The object holds no more bytes of messages for long.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostInlineBytes = 65_536

/** Parts of messages have no more messages, or bytes. */
const partMessages = 1000
const partBytes = 1_048_576

/**
 * More parts of messages than these are put together.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostParts = 64

/**
 * So many parts of messages are put together at once.
 *
 * @category constants
 * @since 0.1.0
 */
export const mergedParts = 32

/**
 * More ids than these are put into a part.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostIds = 512

/**
 * More parts of ids than these are put together.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostIdParts = 16

/**
 * So many parts of ids are put together at once.
 *
 * @category constants
 * @since 0.1.0
 */
export const mergedIdParts = 8

/**
 * Parts of more ids are left as they are.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostMergedIds = 20_000

/**
 * Parts are collected after so many changes.
 *
 * @category constants
 * @since 0.1.0
 */
export const collectEvery = 1000

/**
 * Bytes of parts that are kept in memory.
 *
 * @category constants
 * @since 0.1.0
 */
export const cacheBytes = 33_554_432

/**
 * How often it is tried to read a state whose parts are there.
 *
 * @category constants
 * @since 0.1.0
 */
export const staleRetries = 5

/**
 * How often a change is tried again on what others have written.
 *
 * @category constants
 * @since 0.1.0
 */
export const retries = 60

/**
 * Returns the bytes that a message takes in an object, about.
 *
 * @category getters
 * @since 0.1.0
 */
export const sizeOf = ({ g = "", i, x = "" }: Pick<State.Message, "g" | "i" | "x">): number =>
  utf8Length(x) + utf8Length(i) + utf8Length(g) + 60

/**
 * Returns lists of messages that fit into a part each.
 *
 * @category getters
 * @since 0.1.0
 */
export const inParts = <A>(all: ReadonlyArray<A>, sizeOf: (one: A) => number): ReadonlyArray<ReadonlyArray<A>> => {
  const groups: Array<Array<A>> = []
  let bytes = 0
  for (const one of all) {
    const size = sizeOf(one)
    const group = groups.at(-1)
    bytes += size
    if (group === undefined || group.length >= partMessages || bytes > partBytes) {
      groups.push([one])
      bytes = size
    } else group.push(one)
  }
  return groups
}

/**
 * Returns the digest under which an id is remembered.
 *
 * @category getters
 * @since 0.1.0
 */
export const digestOf = (key: string): string => Base64Url.encode(sha256(new TextEncoder().encode(key))).slice(0, 16)

/**
 * Returns the digest of a text in hexadecimal digits, 24 of them.
 *
 * @category getters
 * @since 0.1.0
 */
export const hexOf = (text: string): string => Hex.encode(sha256(new TextEncoder().encode(text))).slice(0, 24)

/**
 * Returns the key under which the id of a message is remembered.
 *
 * @category getters
 * @since 0.1.0
 */
export const keyOfId = (id: string): string => `m/${id}`

/** As long as a message may wait: a century of milliseconds. */
const century = 3_155_760_000_000

/**
 * Returns a time that a message can wait for: whole milliseconds, none for what is no time, a century at most.
 *
 * @category getters
 * @since 0.1.0
 */
export const waitOf = (millis: number): number => (millis > 0 ? Math.min(century, Math.ceil(millis)) : 0)
