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
