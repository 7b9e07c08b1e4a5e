/**
 * The work of `insert`, `get`, `update` and `replace` on the document of the benchmarks, written out for that one schema: the same checks,
 * bytes, key, write id and conditions, in plain synchronous functions around a store, with one effect for each request. What a resource takes
 * more is the price of doing it for any schema, and of all that may take part and does not.
 */
import * as Effect from "effect/Effect"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as base62 from "../../src/encoding/internal/base62.ts"
import * as plainText from "../../src/encoding/internal/plainText.ts"
import type { user } from "./documents.ts"

type User = ReturnType<typeof user>
type Store = ObjectStore["Service"]

const isTexts = (value: unknown): value is ReadonlyArray<string> =>
  Array.isArray(value) && value.every((one) => typeof one === "string")

const fields = new Set(["id", "name", "email", "age", "active", "joined", "tags", "address"])
const addressFields = new Set(["city", "zip"])

const isPlain = (value: object): boolean =>
  Object.getPrototypeOf(value) === Object.prototype && Object.getOwnPropertySymbols(value).length === 0

/** A copy of an input, if it is a document and nothing more. */
const checked = (input: User): User => {
  const { active, address, age, email, id, joined, name, tags } = input
  if (!isPlain(input) || !isPlain(address)) throw new TypeError("no document")
  for (const field in input) if (!fields.has(field)) throw new TypeError(field)
  for (const field in address) if (!addressFields.has(field)) throw new TypeError(field)
  const isValid =
    typeof id === "string" &&
    typeof name === "string" &&
    typeof email === "string" &&
    Number.isSafeInteger(age) &&
    typeof active === "boolean" &&
    joined instanceof Date &&
    !Number.isNaN(joined.getTime()) &&
    isTexts(tags) &&
    typeof address.city === "string" &&
    typeof address.zip === "string"
  if (!isValid) throw new TypeError("no document")
  return { id, name, email, age, active, joined, tags: [...tags], address: { city: address.city, zip: address.zip } }
}

const separators = /[\\|]/g

const metadataOf = ({ active, address, age, email, joined, name, tags }: User): Record<string, string> => {
  const metadata: Record<string, string> = {
    "0": plainText.encode(name),
    "1": plainText.encode(email),
    "2": base62.encode(age),
    "3": active ? "1" : "0",
    "4": base62.encode(joined.getTime()),
    "5": tags.length === 0 ? "e:" : tags.map((tag) => plainText.encode(tag).replace(separators, "\\$&")).join("|"),
    "7": plainText.encode(address.city),
    "8": plainText.encode(address.zip),
    "s-": "t1"
  }
  let bytes = 0
  for (const entry in metadata) bytes += entry.length + metadata[entry]!.length
  if (bytes > 2048) throw new RangeError("too large")
  return metadata
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const numbers = new Uint8Array(128)
for (let i = 0; i < 64; i++) numbers[alphabet.charCodeAt(i)] = i
const most = 8
const idBytes = 12

const pool = new Uint8Array(8192)
let used = pool.length
const random = (): string => {
  if (used === pool.length) {
    crypto.getRandomValues(pool)
    used = 0
  }
  let id = ""
  for (let i = 0; i < 16; i++) id += alphabet[pool[used++]! & 63]
  return id
}

/** The system's part of a version: the write id, when, and what it was built upon. */
interface Version {
  readonly writeId: string
  readonly writtenAt: number
  readonly createdAt: number
  readonly number: number
  readonly ancestors: ReadonlyArray<string>
}

const putId = (bytes: Uint8Array, start: number, id: string): number => {
  let to = start
  for (let at = 0; at < 16; at += 4) {
    const bits =
      (numbers[id.charCodeAt(at)]! << 18) |
      (numbers[id.charCodeAt(at + 1)]! << 12) |
      (numbers[id.charCodeAt(at + 2)]! << 6) |
      numbers[id.charCodeAt(at + 3)]!
    bytes[to++] = bits >> 16
    bytes[to++] = bits >> 8
    bytes[to++] = bits
  }
  return to
}

const putNumber = (bytes: Uint8Array, start: number, value: number): number => {
  let to = start
  let rest = value
  while (rest >= 128) {
    bytes[to++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  bytes[to++] = rest
  return to
}

const scratch = new Uint8Array(256)

const bodyOf = ({ ancestors, createdAt, number, writeId, writtenAt }: Version): Uint8Array => {
  const isChanged = number > 1
  scratch[0] = 1
  scratch[1] = (isChanged ? 4 : 0) | (ancestors.length > 0 ? 8 : 0)
  let to = putId(scratch, 2, writeId)
  const high = Math.floor(writtenAt / 2 ** 32)
  const low = writtenAt - high * 2 ** 32
  scratch[to++] = high >> 8
  scratch[to++] = high
  scratch[to++] = Math.floor(low / 2 ** 24)
  scratch[to++] = low >> 16
  scratch[to++] = low >> 8
  scratch[to++] = low
  if (isChanged) {
    to = putNumber(scratch, to, (writtenAt - createdAt) * 2)
    to = putNumber(scratch, to, number)
  }
  if (ancestors.length > 0) {
    to = putNumber(scratch, to, ancestors.length)
    for (const id of ancestors) to = putId(scratch, to, id)
  }
  return scratch.slice(0, to)
}

const idAt = (bytes: Uint8Array, from: number): string => {
  let id = ""
  for (let at = from; at < from + idBytes; at += 3) {
    const bits = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
    id += alphabet[bits >> 18]! + alphabet[(bits >> 12) & 63]! + alphabet[(bits >> 6) & 63]! + alphabet[bits & 63]!
  }
  return id
}

const versionOf = (bytes: Uint8Array): Version => {
  if (bytes[0] !== 1 || bytes.length < 20) throw new TypeError("no document")
  const parts = bytes[1]!
  const writeId = idAt(bytes, 2)
  let at = 14
  const high = (bytes[at]! << 8) | bytes[at + 1]!
  const writtenAt =
    high * 2 ** 32 + bytes[at + 2]! * 2 ** 24 + ((bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!)
  at += 6
  const next = () => {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++]!
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }
  const since = (parts & 4) === 0 ? 0 : next() / 2
  const number = (parts & 4) === 0 ? 1 : next()
  const ancestors: Array<string> = []
  for (let left = (parts & 8) === 0 ? 0 : next(); left > 0; left--) {
    ancestors.push(idAt(bytes, at))
    at += idBytes
  }
  return { writeId, writtenAt, createdAt: writtenAt - since, number, ancestors }
}

const text = (stored: string | undefined): string => {
  const found = stored === undefined ? undefined : plainText.decode(stored)
  if (found === undefined) throw new TypeError("no text")
  return found
}

const integer = (stored: string | undefined): number => {
  const found = stored === undefined ? undefined : base62.decode(stored)
  if (found === undefined) throw new TypeError("no number")
  return found
}

const userOf = (id: string, metadata: Readonly<Record<string, string>>): User => {
  if (metadata["s-"] !== "t1" || Object.keys(metadata).length !== 9) throw new TypeError("no document")
  const tags = metadata["5"]!
  return {
    id,
    name: text(metadata["0"]),
    email: text(metadata["1"]),
    age: integer(metadata["2"]),
    active: metadata["3"] === "1",
    joined: new Date(integer(metadata["4"])),
    // None of the benchmark's has a separator within.
    tags: tags === "e:" ? [] : tags.split("|").map(text),
    address: { city: text(metadata["7"]), zip: text(metadata["8"]) }
  }
}

const prefix = "resource=users/data/id="
const keyOf = (id: string): string => {
  if (id === "" || id.length > 900) throw new RangeError("no key")
  return /^[\w.~-]+$/.test(id) ? prefix + id : prefix + encodeURIComponent(id)
}

const contentType = "application/octet-stream"

/** The four operations on a store. */
export const make = (store: Store) => ({
  insert: (input: User) =>
    Effect.suspend(() => {
      const value = checked(input)
      const now = Date.now()
      const body = bodyOf({ writeId: random(), writtenAt: now, createdAt: now, number: 1, ancestors: [] })
      const request = {
        key: keyOf(value.id),
        body,
        contentType,
        metadata: metadataOf(value),
        ifNoneMatch: "*"
      } as const
      return Effect.map(store.put(request), () => value)
    }),
  replace: (input: User) =>
    Effect.suspend(() => {
      const value = checked(input)
      const now = Date.now()
      const body = bodyOf({ writeId: random(), writtenAt: now, createdAt: now, number: 1, ancestors: [] })
      return Effect.map(
        store.put({ key: keyOf(value.id), body, contentType, metadata: metadataOf(value) }),
        () => value
      )
    }),
  get: (id: string) =>
    Effect.suspend(() =>
      Effect.map(store.get(keyOf(id)), ({ body, metadata }) => {
        versionOf(body)
        return userOf(id, metadata)
      })
    ),
  update: (id: string, change: Partial<User>) =>
    Effect.suspend(() => {
      const key = keyOf(id)
      return Effect.flatMap(store.get(key), ({ body, etag, metadata }) => {
        const before = versionOf(body)
        const value = checked({ ...userOf(id, metadata), ...change })
        const next = bodyOf({
          writeId: random(),
          writtenAt: Date.now(),
          createdAt: before.createdAt,
          number: before.number + 1,
          ancestors: [before.writeId, ...before.ancestors].slice(0, most)
        })
        const request = { key, body: next, contentType, metadata: metadataOf(value), ifMatch: etag }
        return Effect.map(store.put(request), () => value)
      })
    })
})
