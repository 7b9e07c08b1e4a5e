/** Values that are made of others: choices, arrays, options, and structs without fields. */
import { isObject } from "../../../internal/json.ts"
import type { Json } from "../../Json.ts"
import { Malformed } from "../bytes.ts"
import { checkedCount, type ValueCodec } from "./codec.ts"

/** Creates the codec of a choice of a few texts, numbers or booleans: in binary, the position in the list. */
export const choice = (values: ReadonlyArray<Json>, of: ValueCodec): ValueCodec => {
  const positions = new Map(values.map((value, position) => [value, position]))
  return {
    toText: of.toText,
    fromText: of.fromText,
    write: (writer, value) => {
      const position = positions.get(value)
      // A map takes -0 for 0, and so does the list of choices in the name of the codec.
      if (position === undefined || Object.is(value, -0)) return false
      writer.uint(position)
      return true
    },
    read: (reader) => {
      const value = values[reader.uint()]
      if (value === undefined) throw new Malformed()
      return value
    }
  }
}

/** The parts of a text between `|`, where `\\` takes away the meaning of what follows it. */
const splitItems = (text: string): ReadonlyArray<string> => {
  if (!text.includes("\\")) return text.split("|")
  const parts: Array<string> = []
  let part = ""
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!
    if (character === "|") {
      parts.push(part)
      part = ""
    } else if (character === "\\") part += text[++i] ?? ""
    else part += character
  }
  return [...parts, part]
}

const isSpecial = (text: string): boolean => text.includes("|") || text.includes("\\")

/** Whether items, joined, begin like another form, or have spaces that a header would lose. */
const isMistakable = (joined: string): boolean => {
  const first = joined.charCodeAt(0)
  if (first === 0x20 || joined.charCodeAt(joined.length - 1) === 0x20 || joined.includes("  ")) return true
  return joined.charCodeAt(1) === 0x3a /* : */ && "ejns".includes(joined[0]!)
}

/**
 * Creates the codec of arrays: items joined with `|`; `e:` when there are none. An item that begins a text must not look
 * like another form.
 */
export const array = (item: ValueCodec): ValueCodec => ({
  toText: (value) => {
    if (!Array.isArray(value)) return undefined
    if (value.length === 0) return "e:"
    const parts: Array<string> = []
    for (const one of value as ReadonlyArray<Json>) {
      const text = one === null ? undefined : item.toText(one)
      if (text === undefined) return undefined
      parts.push(isSpecial(text) ? text.replace(/[\\|]/g, "\\$&") : text)
    }
    const joined = parts.join("|")
    return isMistakable(joined) ? undefined : joined
  },
  fromText: (text) => {
    if (text === "e:") return []
    const values: Array<Json> = []
    for (const part of splitItems(text)) {
      const value = item.fromText(part)
      if (value === undefined) return undefined
      values.push(value)
    }
    return values
  },
  write: (writer, value) => {
    if (!Array.isArray(value)) return false
    const start = writer.length
    writer.uint(value.length)
    for (const one of value as ReadonlyArray<Json>) {
      if (one === null || !item.write(writer, one)) {
        writer.reset(start)
        return false
      }
    }
    return true
  },
  read: (reader) => Array.from({ length: checkedCount(reader) }, () => item.read(reader)),
  ...(item.textInBody === true ? { textInBody: true } : {})
})

/** Creates the codec of Effect's JSON form of an `Option`: `o:` when there is nothing. */
export const option = (of: ValueCodec): ValueCodec => {
  const inside = (value: Json): Json | undefined =>
    isObject(value) && value["_tag"] === "Some" && Object.keys(value).length === 2 ? value["value"] : undefined
  const isNone = (value: Json): boolean =>
    isObject(value) && value["_tag"] === "None" && Object.keys(value).length === 1
  const some = (value: Json): Json => ({ _tag: "Some", value })
  return {
    toText: (value) => {
      if (isNone(value)) return "o:"
      const inner = inside(value)
      const text = inner === undefined || inner === null ? undefined : of.toText(inner)
      return text === "o:" ? undefined : text
    },
    fromText: (text) => {
      if (text === "o:") return { _tag: "None" }
      const value = of.fromText(text)
      return value === undefined ? undefined : some(value)
    },
    write: (writer, value) => {
      if (isNone(value)) {
        writer.byte(0)
        return true
      }
      const inner = inside(value)
      if (inner === undefined || inner === null) return false
      const start = writer.length
      writer.byte(1)
      if (of.write(writer, inner)) return true
      writer.reset(start)
      return false
    },
    read: (reader) => (reader.byte() === 0 ? { _tag: "None" } : some(of.read(reader))),
    ...(of.textInBody === true ? { textInBody: true } : {})
  }
}

/** Nothing but the fact that there is an empty struct. */
export const struct: ValueCodec = {
  toText: (value) => (isObject(value) && Object.keys(value).length === 0 ? "1" : undefined),
  fromText: (text) => (text === "1" ? {} : undefined),
  write: (_, value) => isObject(value) && Object.keys(value).length === 0,
  read: () => ({})
}
