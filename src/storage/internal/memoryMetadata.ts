/**
 * What a store in memory keeps of metadata: the values as one text, and the names, which objects of one kind share. An object of its own with
 * nine short texts takes some 400 bytes, this about 100.
 */
import type { Metadata } from "../ObjectStore.ts"

export interface MemoryMetadata {
  readonly names: ReadonlyArray<string>
  readonly values: string
}

/** No value has one: they are those of headers. */
const separator = "\n"

const noNames: ReadonlyArray<string> = []

/** What objects without metadata keep. */
export const none: MemoryMetadata = { names: noNames, values: "" }

/** Names that were kept: few, but a program may make any number. */
const known = new Map<string, ReadonlyArray<string>>()
const most = 10_000
let last = noNames
/** Those of the last request with metadata, few and short ones, whose names are as S3 keeps them. */
let asked = noNames
/** The same as they are looked up soonest: an index as a number. */
let askedKeys: ReadonlyArray<string | number> = noNames

const namesOf = (metadata: Metadata): ReadonlyArray<string> => {
  // Objects of one kind tend to be put together.
  let count = 0
  for (const name in metadata) {
    if (last[count] !== name) return namesFor(Object.keys(metadata))
    count += 1
  }
  return count === last.length ? last : namesFor(Object.keys(metadata))
}

const namesFor = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const text = names.join(separator)
  const found = known.get(text)
  if (found === undefined) {
    if (known.size >= most) known.clear()
    known.set(text, names)
  }
  return (last = found ?? names)
}

/** Whether metadata that no request has brought can be kept. */
export const isPackable = (metadata: Metadata): boolean =>
  Object.entries(metadata).every(([name, value]) => !name.includes(separator) && !value.includes(separator))

/** Of metadata that a request may have. */
export const packed = (metadata: Metadata): MemoryMetadata => {
  const names = namesOf(metadata)
  if (names.length === 0) return none
  const values: Array<string> = []
  for (let i = 0; i < names.length; i++) values.push(metadata[names[i]!]!)
  // One flat text, which is not made of others.
  return { names, values: values.join(separator) }
}

/** Whether a text is so many values of headers with separators between them: printable ASCII, without a space at either end. */
const areValues = (text: string, count: number): boolean => {
  let left = count - 1
  let isStart = true
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 0x20 && unit < 0x7f) isStart = false
    else if (unit === 0x20) {
      if (isStart || i === text.length - 1 || text.charCodeAt(i + 1) === 0x0a) return false
    } else if (unit === 0x0a) {
      left -= 1
      isStart = true
    } else return false
  }
  return left === 0
}

/** Of names and of values, in characters: no store has a limit that is nearer. Above, the engine looks at values faster, one by one. */
const few = 512
const mostNames = 64
/** A longer key could be in the headers of a request in such a way that they are too large. */
const mostKey = 256

/** Metadata that a request has brought and that nothing is wrong with. */
export const packedAsked = (metadata: Metadata): MemoryMetadata => {
  const made = packed(metadata)
  const { names } = made
  asked = names.length <= mostNames && names.join("").length <= few ? names : noNames
  askedKeys = asked.map((name) => (/^(?:0|[1-9]\d{0,8})$/.test(name) ? Number(name) : name))
  return made
}

/**
 * Checks and packs metadata in one pass, where its names are those of the request before; `undefined`: something may be wrong with it. Names that
 * are indexes take long to list, and values do not: so many that are those of so many names are all that there are.
 */
export const packedAgain = (
  key: string,
  metadata: Readonly<Record<string | number, string>>
): MemoryMetadata | undefined => {
  const values = Object.values(metadata)
  const count = values.length
  const isUsual = key.length <= mostKey && Object.getPrototypeOf(metadata) === Object.prototype
  if (count === 0 || count !== asked.length || !isUsual) return undefined
  for (let i = 0; i < count; i++) {
    if (typeof values[i] !== "string" || metadata[askedKeys[i]!] !== values[i]) return undefined
  }
  const text = values.join(separator)
  return text.length <= few && areValues(text, count) ? { names: asked, values: text } : undefined
}

const nothing: Metadata = Object.freeze({})

export const unpacked = ({ names, values }: MemoryMetadata): Metadata => {
  if (names.length === 0) return nothing
  const metadata: Record<string, string> = {}
  let from = 0
  for (let i = 0; i < names.length; i++) {
    const end = i === names.length - 1 ? values.length : values.indexOf(separator, from)
    metadata[names[i]!] = values.slice(from, end)
    from = end + 1
  }
  return metadata
}
