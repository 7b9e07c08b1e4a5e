/**
 * How keys become paths, and names in a directory become parts of keys again.
 *
 * Keys are handled as binary strings here, one character for each UTF-8 byte, so that comparing them compares bytes.
 */

/** Segments are cut into pieces of so many bytes, so that no name is longer than 255 bytes however it is escaped. */
const chunkBytes = 80

export const toBinary = (text: string): string => Buffer.from(text, "utf8").toString("latin1")

export const fromBinary = (binary: string): string => Buffer.from(binary, "latin1").toString("utf8")

const plain = /[a-z0-9_=-]/

/** Only lower-case letters, digits, `_ = -` and inner dots stay as they are: safe on every disk, whatever its case rules. */
const escapePart = (part: string): string => {
  let name = ""
  for (let i = 0; i < part.length; i++) {
    const byte = part[i]!
    const inner = byte === "." && i > 0 && i < part.length - 1
    name += inner || plain.test(byte) ? byte : `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`
  }
  return name
}

const unescapePart = (name: string): string | undefined => {
  const part = name.replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  // Any other way of writing the same part is not ours.
  return escapePart(part) === name ? part : undefined
}

const directoryName = (segment: string): string => (segment === "" ? "%" : escapePart(segment))

/** The names from the root to the file of a key: directories, then one file, which ends in `~`. */
export const pathOf = (key: string): ReadonlyArray<string> => {
  const segments = toBinary(key).split("/")
  const names: Array<string> = []
  segments.forEach((segment, i) => {
    let rest = segment
    while (rest.length >= chunkBytes) {
      names.push(`${escapePart(rest.slice(0, chunkBytes))}+`)
      rest = rest.slice(chunkBytes)
    }
    names.push(i < segments.length - 1 ? directoryName(rest) : `${escapePart(rest)}~`)
  })
  return names
}

/** A name in a directory: `part` is what it adds to the key. In the order of `part` entries are in the order of keys. */
export interface PathEntry {
  readonly name: string
  readonly part: string
  readonly isFile: boolean
}

/** `undefined` for a name that is none of ours. */
export const entryOf = (name: string): PathEntry | undefined => {
  const last = name.at(-1)
  if (name === "%") return { name, part: "/", isFile: false }
  const part = unescapePart(last === "~" || last === "+" ? name.slice(0, -1) : name)
  if (part === undefined) return undefined
  if (last === "~") return part.length < chunkBytes ? { name, part, isFile: true } : undefined
  if (last === "+") return part.length === chunkBytes ? { name, part, isFile: false } : undefined
  return part !== "" && part.length < chunkBytes ? { name, part: `${part}/`, isFile: false } : undefined
}
