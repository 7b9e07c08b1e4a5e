/** A page of a listing, as S3 writes it. */
import type { Listed } from "./s3Port.ts"
import { decodeText, type OnBegin, readXml } from "./s3Xml.ts"

type Entry = Listed["entries"][number]

/** A whole number in digits. */
export const numberIn = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined

/** Milliseconds of a time in any form of S3. */
export const timeIn = (text: string | undefined): number | undefined => {
  const time = Date.parse(text ?? "")
  return Number.isNaN(time) ? undefined : time
}

/** Two digits of a text, below a limit; `NaN` for anything else. */
const digits = (text: string, at: number, below: number): number => {
  const tens = text.charCodeAt(at) - 48
  const ones = text.charCodeAt(at + 1) - 48
  const value = tens * 10 + ones
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 && value < below ? value : Number.NaN
}

const length = "2026-11-26T10:00:00.000Z".length

/** Reads times of which many are of one day, which alone is looked up in the calendar: `2026-11-26T`. */
const timesOfDays = () => {
  let day = ""
  let start = Number.NaN
  return (text: string): number | undefined => {
    const isUsual =
      text.length === length && text[13] === ":" && text[16] === ":" && text[19] === "." && text[23] === "Z"
    if (!isUsual) return timeIn(text)
    if (day === "" || !text.startsWith(day)) {
      day = text.slice(0, 11)
      start = Date.parse(`${day}00:00:00.000Z`)
    }
    const seconds = (digits(text, 11, 24) * 60 + digits(text, 14, 60)) * 60 + digits(text, 17, 60)
    const thousandth = text.charCodeAt(22) - 48
    const time = start + seconds * 1000 + digits(text, 20, 100) * 10 + thousandth
    return thousandth >= 0 && thousandth <= 9 && !Number.isNaN(time) ? time : timeIn(text)
  }
}

const word = /^\w+$/

/**
 * Reads an entry whose elements follow upon each other, without attributes, and hold nothing but text: the way in which every server
 * that is known writes them. What is written otherwise is left to `readXml`.
 */
const entryReader = (onEntry: (entry: Entry) => void): OnBegin => {
  const readTime = timesOfDays()
  return (document, from, name, depth) => {
    if (depth !== 1 || name !== "Contents") return undefined
    let key = ""
    let etag: string | undefined
    let size: number | undefined
    let lastModified: number | undefined
    let at = from
    for (;;) {
      if (document.charCodeAt(at) !== 0x3c) return undefined
      if (document.charCodeAt(at + 1) === 0x2f) {
        if (!document.startsWith("Contents>", at + 2)) return undefined
        onEntry({ key, etag, size, lastModified })
        return at + 11
      }
      const close = document.indexOf(">", at)
      const open = close < 0 ? -1 : document.indexOf("<", close)
      if (open < 0) return undefined
      const field = document.slice(at + 1, close)
      const isEnded =
        document.charCodeAt(open + 1) === 0x2f &&
        document.startsWith(field, open + 2) &&
        document.charCodeAt(open + 2 + field.length) === 0x3e
      if (!isEnded) return undefined
      const text = decodeText(document.slice(close + 1, open))
      if (field === "Key") key = text
      else if (field === "ETag") etag = text
      else if (field === "Size") size = numberIn(text)
      else if (field === "LastModified") lastModified = readTime(text)
      else if (!word.test(field)) return undefined
      at = open + 3 + field.length
    }
  }
}

/** Reads a page. Throws `NotXml` on what is not a whole document. */
export const readListing = (document: string): Listed => {
  const entries: Array<Entry> = []
  const commonPrefixes: Array<string> = []
  const fields: Record<string, string> = Object.create(null)
  let key = ""
  let etag: string | undefined
  let size: number | undefined
  let lastModified: number | undefined
  let group = ""
  const onEntry = (entry: Entry) => void entries.push(entry)
  readXml(
    document,
    (name, text, depth, parent) => {
      if (depth === 2) {
        if (parent === "Contents") {
          if (name === "Key") key = text
          else if (name === "ETag") etag = text
          else if (name === "Size") size = numberIn(text)
          else if (name === "LastModified") lastModified = timeIn(text)
        } else if (name === "Prefix") group = text
      } else if (depth === 1) {
        if (name === "Contents") {
          onEntry({ key, etag, size, lastModified })
          key = ""
          etag = size = lastModified = undefined
        } else if (name === "CommonPrefixes") {
          commonPrefixes.push(group)
          group = ""
        } else fields[name] = text
      }
    },
    entryReader(onEntry)
  )
  return {
    entries,
    commonPrefixes,
    encodingType: fields["EncodingType"],
    isTruncated: fields["IsTruncated"] === undefined ? undefined : fields["IsTruncated"] === "true",
    nextToken: fields["NextContinuationToken"]
  }
}
