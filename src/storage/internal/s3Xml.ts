/**
 * The part of XML in which S3 answers, read in one pass: elements, their text, entities, CDATA; declarations and comments are
 * passed over. There is no document type in it, and so nothing that could be expanded or fetched.
 */

/** What is told of each element, in the order in which they end. */
export type OnElement = (
  /** Its name without a prefix. */
  name: string,
  /** Its own text, entities decoded, without that of the elements in it. */
  text: string,
  /** How many elements are around it: 0 for the root. */
  depth: number,
  /** The name of the element around it; empty for the root. */
  parent: string
) => void

/** Text that is no XML document, or one with a document type. */
export class NotXml extends Error {
  override readonly name = "NotXml"
}

const named: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" }

const decodeEntity = (whole: string, name: string): string => {
  if (!name.startsWith("#")) {
    const found = Object.hasOwn(named, name) ? named[name] : undefined
    if (found === undefined) throw new NotXml(`there is no entity ${whole}`)
    return found
  }
  const code = name.startsWith("#x") ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10)
  if (!(code <= 0x10ffff)) throw new NotXml(`there is no character ${whole}`)
  return String.fromCodePoint(code)
}

const quote = "&quot;"

/** The text of an element as it means it. Line ends that are not escaped count as one line feed. Throws `NotXml`. */
export const decodeText = (raw: string): string => {
  const text = raw.includes("\r") ? raw.replace(/\r\n?/g, "\n") : raw
  if (!text.includes("&")) return text
  // The quotes around ETags are most of them.
  if (
    text.startsWith(quote) &&
    text.endsWith(quote) &&
    text.indexOf("&", quote.length) === text.length - quote.length
  ) {
    return `"${text.slice(quote.length, -quote.length)}"`
  }
  return text.replace(/&(#x[0-9a-fA-F]+|#\d+|\w+);/g, decodeEntity)
}

const space = /\s/

const localName = (name: string): string => {
  const colon = name.indexOf(":")
  return colon < 0 ? name : name.slice(colon + 1)
}

/**
 * Reads an element without attributes by itself, from what is behind its tag. Gives what is behind its end, or nothing where it is
 * written otherwise than expected: then it is told of as all others are.
 */
export type OnBegin = (document: string, from: number, name: string, depth: number) => number | undefined

/**
 * Reads a document, telling of each element as it ends. Throws `NotXml` on what is not a whole document; what has been told
 * by then is worth nothing.
 */
export const readXml = (document: string, onElement: OnElement, onBegin?: OnBegin): void => {
  const names: Array<string> = []
  const raw: Array<string> = []
  const texts: Array<string> = []
  let at = document.charCodeAt(0) === 0xfeff ? 1 : 0
  let isDone = false

  const end = (mark: string, from: number): number => {
    const found = document.indexOf(mark, from)
    if (found < 0) throw new NotXml("the document ends within a tag")
    return found
  }

  for (;;) {
    const open = document.indexOf("<", at)
    if (open < 0) break
    if (open > at) {
      const depth = texts.length
      if (depth > 0) {
        const text = decodeText(document.slice(at, open))
        texts[depth - 1] = texts[depth - 1] === "" ? text : texts[depth - 1]! + text
      } else if (document.slice(at, open).trim() !== "") throw new NotXml("there is text outside of the document")
    }
    const next = document.charCodeAt(open + 1)
    if (next === 0x2f) {
      // </name>
      const close = end(">", open)
      const depth = names.length - 1
      const name = document.slice(open + 2, close)
      if (depth < 0 || raw[depth] !== name.trimEnd()) throw new NotXml("an element ends that was not begun")
      raw.pop()
      onElement(names.pop()!, texts.pop()!, depth, depth === 0 ? "" : names[depth - 1]!)
      isDone = depth === 0
      at = close + 1
    } else if (next === 0x21) {
      // <!-- -->, <![CDATA[ ]]>, <!DOCTYPE
      if (document.startsWith("<!--", open)) at = end("-->", open + 4) + 3
      else if (document.startsWith("<![CDATA[", open) && texts.length > 0) {
        const close = end("]]>", open)
        texts[texts.length - 1] += document.slice(open + 9, close)
        at = close + 3
      } else throw new NotXml("there is a declaration that S3 does not use")
    } else if (next === 0x3f) at = end("?>", open) + 2
    else {
      if (isDone) throw new NotXml("there are two documents")
      let close = end(">", open)
      const isEmpty = document.charCodeAt(close - 1) === 0x2f
      let name = document.slice(open + 1, isEmpty ? close - 1 : close)
      const blank = name.search(space)
      if (blank >= 0) {
        close = endOfTag(document, open + 1 + blank)
        name = name.slice(0, blank)
      }
      if (name === "" || name.includes("<")) throw new NotXml("there is a tag without a name")
      at = close + 1
      const local = localName(name)
      if (document.charCodeAt(close - 1) === 0x2f) {
        const depth = names.length
        onElement(local, "", depth, depth === 0 ? "" : names[depth - 1]!)
        isDone = depth === 0
      } else {
        const behind = blank >= 0 ? undefined : onBegin?.(document, at, name, names.length)
        if (behind !== undefined) {
          at = behind
          continue
        }
        names.push(local)
        raw.push(name)
        texts.push("")
      }
    }
  }
  if (!isDone || names.length > 0) throw new NotXml("the document ends before its root does")
  if (document.slice(at).trim() !== "") throw new NotXml("there is text outside of the document")
}

/** Where a tag with attributes ends: `>` may be in their values. */
const endOfTag = (document: string, from: number): number => {
  let quote = ""
  for (let i = from; i < document.length; i++) {
    const one = document[i]!
    if (quote !== "") {
      if (one === quote) quote = ""
    } else if (one === '"' || one === "'") quote = one
    else if (one === ">") return i
  }
  throw new NotXml("the document ends within a tag")
}

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
  // What is not escaped comes out as a line feed, or as a space.
  "\r": "&#13;",
  "\n": "&#10;",
  "\t": "&#9;"
}

/** Text as an element holds it. */
export const escapeXml = (text: string): string => text.replace(/[&<>"'\r\n\t]/g, (one) => escapes[one]!)
