/**
 * An immutable segment of an index: blocks of terms with their postings, then blocks of the same terms alone, then blocks of documents.
 * In a block every 16th item stands for itself, and where those are is at its end, so that one is found without the others. Each block
 * ends with 8 bytes of its SHA-256. Where the blocks are is the directory, which the manifest of an index holds, so that a term
 * is 1 range away.
 */
import * as Result from "effect/Result"
import * as bytes from "../../../encoding/internal/bytes.ts"
import { joinBytes } from "../../../internal/bytes.ts"
import { compareUtf8 } from "../../../internal/text.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import { type Block, checksumOf, corrupt, isAnother } from "../../journalindex/internal/blocks.ts"

/** Where a term occurs in a field of a document. */
export interface Occurrences {
  /** The number of the field in the index. */
  readonly field: number
  /** How many words the field of this document has. */
  readonly length: number
  /** How often it occurs; at least once. */
  readonly count: number
  /** Ascending, `count` of them, or none where they are not kept. */
  readonly positions: ReadonlyArray<number>
}

export interface Posting {
  /** The number of the document in the segment. */
  readonly document: number
  /** By field, ascending. */
  readonly fields: ReadonlyArray<Occurrences>
}

export interface Term {
  readonly term: string
  /** By document, ascending. */
  readonly postings: ReadonlyArray<Posting>
}

/** A term, and how many documents of the segment have it, those that are no more included. */
export interface Listed {
  readonly term: string
  readonly documents: number
}

/** A document as it was when it was indexed. */
export interface Indexed {
  readonly id: string
  /** 8 bytes of the SHA-256 of its words: with another one the words were others. */
  readonly fingerprint: Uint8Array
  /** How many words each field has, by its number. */
  readonly lengths: ReadonlyArray<number>
}

/** The number of a document in its segment, and its id. */
export interface Numbered {
  readonly number: number
  readonly id: string
}

export interface Directory {
  readonly terms: ReadonlyArray<Block<string>>
  readonly list: ReadonlyArray<Block<string>>
  readonly documents: ReadonlyArray<Block<Numbered>>
  /** The last of the ids, in the order of UTF-8; empty where there is no document. */
  readonly last: string
}

export const fingerprintBytes = 8
/** Of so many items one does not depend on the one before. */
const interval = 16
const offsetBytes = 4
export const defaultBlockBytes = 64 * 1024
const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Ascending texts, each as what it shares with the one before and the rest. */
class Texts {
  private before: Uint8Array = new Uint8Array()

  write(to: bytes.Writer, value: string): void {
    const encoded = encoder.encode(value)
    let shared = 0
    while (shared < encoded.length && encoded[shared] === this.before[shared]) shared += 1
    to.uint(shared)
    to.uint(encoded.length - shared)
    to.bytes(encoded.subarray(shared))
    this.before = encoded
  }

  read(from: bytes.Reader): string {
    const shared = from.uint()
    const rest = from.bytes(from.uint())
    if (shared > this.before.length) throw new bytes.Malformed()
    const encoded = new Uint8Array(shared + rest.length)
    encoded.set(this.before.subarray(0, shared))
    encoded.set(rest, shared)
    this.before = encoded
    return decoder.decode(encoded)
  }
}

const writePostings = (to: bytes.Writer, postings: ReadonlyArray<Posting>): void => {
  to.uint(postings.length)
  let document = 0
  for (const posting of postings) {
    to.uint(posting.document - document)
    document = posting.document
    to.uint(posting.fields.length)
    for (const { count, field, length, positions } of posting.fields) {
      to.uint(field)
      to.uint(length)
      to.uint(count * 2 + (positions.length > 0 ? 1 : 0))
      let position = 0
      for (const next of positions) {
        to.uint(next - position)
        position = next
      }
    }
  }
}

const many = <A>(from: bytes.Reader, read: () => A, count = from.uint()): ReadonlyArray<A> => {
  const all: Array<A> = []
  for (let i = 0; i < count; i++) all.push(read())
  return all
}

const postingsFrom = (from: bytes.Reader, withPositions: boolean): ReadonlyArray<Posting> => {
  let document = 0
  return many(from, () => {
    document += from.uint()
    const fields = many(from, (): Occurrences => {
      const field = from.uint()
      const length = from.uint()
      const both = from.uint()
      const count = Math.floor(both / 2)
      let position = 0
      if (both % 2 === 0) return { field, length, count, positions: [] }
      if (withPositions) {
        return { field, length, count, positions: many(from, () => (position += from.uint()), count) }
      }
      for (let i = 0; i < count; i++) from.uint()
      return { field, length, count, positions: [] }
    })
    return { document, fields }
  })
}

/** A term with its postings as they are stored. */
export interface Stored {
  readonly term: string
  readonly postings: Uint8Array
}

/** Goes through stored postings, one by one, without making anything of them. */
class Walk {
  /** The number of the document that it stands at; -1: at none, which is the end. */
  document = -1
  private readonly stored: Uint8Array
  private readonly numbers: Int32Array
  private readonly reader: bytes.Reader
  private left: number
  private before = 0
  private from = 0

  /** `numbers` are those that documents get, ascending; -1: they are no more. */
  constructor(stored: Uint8Array, numbers: Int32Array) {
    this.stored = stored
    this.numbers = numbers
    this.reader = new bytes.Reader(stored)
    this.left = this.reader.uint()
    this.next()
  }

  next(): void {
    const { reader } = this
    for (;;) {
      if (this.left === 0) {
        this.document = -1
        return
      }
      this.left -= 1
      this.before += reader.uint()
      this.from = reader.at
      for (let fields = reader.uint(); fields > 0; fields--) {
        reader.uint()
        reader.uint()
        const both = reader.uint()
        if (both % 2 === 1) for (let count = Math.floor(both / 2); count > 0; count--) reader.uint()
      }
      const number = this.numbers[this.before]
      if (number === undefined) throw new bytes.Malformed()
      if (number < 0) continue
      this.document = number
      return
    }
  }

  /** Its fields, as they are stored. */
  fields(): Uint8Array {
    return this.stored.subarray(this.from, this.reader.at)
  }
}

/** Blocks as they are filled. */
class Section<A, First> {
  readonly directory: Array<Block<First>> = []
  readonly parts: Array<Uint8Array> = []
  size = 0
  private readonly writer = new bytes.Writer()
  private texts = new Texts()
  private first: { readonly value: First } | undefined
  private number = 0
  private starts: Array<number> = []
  private inBlock = 0
  private readonly blockBytes: number
  private readonly write: (to: bytes.Writer, texts: Texts, item: A) => void
  private readonly firstOf: (item: A, number: number) => First

  constructor(
    blockBytes: number,
    write: (to: bytes.Writer, texts: Texts, item: A) => void,
    firstOf: (item: A, number: number) => First
  ) {
    this.blockBytes = blockBytes
    this.write = write
    this.firstOf = firstOf
  }

  add(item: A): void {
    this.first ??= { value: this.firstOf(item, this.number) }
    this.number += 1
    if (this.inBlock % interval === 0) {
      this.texts = new Texts()
      this.starts.push(this.writer.length)
    }
    this.inBlock += 1
    this.write(this.writer, this.texts, item)
    if (this.writer.length >= this.blockBytes) this.close()
  }

  close(): void {
    if (this.first === undefined) return
    for (const start of [...this.starts, this.starts.length]) {
      for (let i = 0; i < offsetBytes; i++) this.writer.byte(Math.floor(start / 256 ** i) % 256)
    }
    const payload = this.writer.view().slice()
    const checksum = checksumOf(payload)
    this.parts.push(payload, checksum)
    const size = payload.length + checksum.length
    this.directory.push({ first: this.first.value, start: this.size, size })
    this.size += size
    this.first = undefined
    this.writer.reset()
    this.starts = []
    this.inBlock = 0
  }
}

/** Postings in bytes, and how many there are. */
interface Packed {
  readonly term: string
  readonly count: number
  readonly postings: Uint8Array
}

/** Takes terms and documents as they come, both ascending by UTF-8, and makes the object of a segment of them. */
export class Encoder {
  private readonly terms: Section<Packed, string>
  private readonly list: Section<Packed, string>
  private readonly documents: Section<Indexed, Numbered>
  private readonly own = new bytes.Writer()
  private readonly body = new bytes.Writer()
  private last = ""

  constructor(blockBytes: number = defaultBlockBytes) {
    this.terms = new Section(
      blockBytes,
      (to, texts, { postings, term }) => {
        texts.write(to, term)
        // With its length, so that others can be passed over.
        to.uint(postings.length)
        to.bytes(postings)
      },
      ({ term }) => term
    )
    this.list = new Section(
      blockBytes,
      (to, texts, { count, term }) => {
        texts.write(to, term)
        to.uint(count)
      },
      ({ term }) => term
    )
    this.documents = new Section(
      blockBytes,
      (to, texts, { fingerprint, id, lengths }) => {
        texts.write(to, id)
        to.bytes(fingerprint)
        to.uint(lengths.length)
        for (const length of lengths) to.uint(length)
      },
      ({ id }, number) => ({ number, id })
    )
  }

  term({ postings, term }: Term): void {
    this.own.reset()
    writePostings(this.own, postings)
    this.add({ term, count: postings.length, postings: this.own.view() })
  }

  /**
   * A term of several segments, with what documents of each of these are now, ascending, or -1 where they are no more. A term that no document has any more is left out.
   */
  merged(
    term: string,
    sources: ReadonlyArray<{ readonly postings: Uint8Array; readonly numbers: Int32Array }>
  ): Result.Result<void, StoreError.Corrupt> {
    try {
      const { body, own } = this
      const walks = sources.map(({ numbers, postings }) => new Walk(postings, numbers))
      body.reset()
      let count = 0
      let before = 0
      for (;;) {
        let first: Walk | undefined
        for (const walk of walks) {
          if (walk.document >= 0 && (first === undefined || walk.document < first.document)) first = walk
        }
        if (first === undefined) break
        body.uint(first.document - before)
        before = first.document
        body.bytes(first.fields())
        count += 1
        first.next()
      }
      if (count > 0) {
        own.reset()
        own.uint(count)
        own.bytes(body.view())
        this.add({ term, count, postings: own.view() })
      }
      return Result.void
    } catch (error) {
      if (error instanceof bytes.Malformed) return corrupt(isAnother)
      throw error
    }
  }

  private add(packed: Packed): void {
    this.terms.add(packed)
    this.list.add(packed)
  }

  document(document: Indexed): void {
    this.documents.add(document)
    this.last = document.id
  }

  /** Bytes of the blocks that are full. */
  get size(): number {
    return this.terms.size + this.list.size + this.documents.size
  }

  end(): { readonly body: Uint8Array; readonly directory: Directory } {
    const { documents, list, terms } = this
    for (const section of [terms, list, documents]) section.close()
    const moved = <First>(blocks: ReadonlyArray<Block<First>>, by: number) =>
      blocks.map((block) => ({ ...block, start: block.start + by }))
    return {
      body: joinBytes([...terms.parts, ...list.parts, ...documents.parts]),
      directory: {
        terms: terms.directory,
        list: moved(list.directory, terms.size),
        documents: moved(documents.directory, terms.size + list.size),
        last: this.last
      }
    }
  }
}

/** The items of a block: their bytes, and which of them can be begun with. */
interface Items {
  readonly bytes: Uint8Array
  readonly count: number
  readonly startOf: (index: number) => number
}

const itemsOf = (payload: Uint8Array): Items => {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  const end = payload.length - offsetBytes
  const count = end < 0 ? 0 : view.getUint32(end, true)
  const first = end - count * offsetBytes
  if (count === 0 || first < 0) throw new bytes.Malformed()
  return {
    bytes: payload.subarray(0, first),
    count,
    startOf: (index) => view.getUint32(first + index * offsetBytes, true)
  }
}

/** Reads of a block what `read` does, if its first item is the one that the directory says. */
const decoded = <A>(
  payload: Uint8Array,
  begins: (first: string) => boolean,
  read: (items: Items) => A
): Result.Result<A, StoreError.Corrupt> => {
  try {
    const items = itemsOf(payload)
    return begins(new Texts().read(new bytes.Reader(items.bytes)))
      ? Result.succeed(read(items))
      : corrupt("a block of a segment is another one")
  } catch (error) {
    // Beyond the end of the bytes, or no text.
    if (error instanceof bytes.Malformed || error instanceof TypeError || error instanceof RangeError) {
      return corrupt(isAnother)
    }
    throw error
  }
}

/** Reads items one after the other, until one says that it is enough. */
const each = (items: Items, from: number, read: (reader: bytes.Reader, texts: Texts) => boolean): void => {
  const reader = new bytes.Reader(items.bytes)
  reader.at = items.startOf(from)
  const texts = new Texts()
  while (!reader.done) if (!read(reader, texts)) return
}

/** The last item that can be begun with and is not behind a text. */
const beginAt = (items: Items, text: string): number => {
  let low = 0
  let high = items.count
  while (low < high) {
    const middle = (low + high) >> 1
    const reader = new bytes.Reader(items.bytes)
    reader.at = items.startOf(middle)
    if (compareUtf8(new Texts().read(reader), text) <= 0) low = middle + 1
    else high = middle
  }
  return Math.max(0, low - 1)
}

/** How terms are read. */
export interface Reading {
  /** The first that may be wanted. Default: the first of the block. */
  readonly from?: string | undefined
  /** Whether a term from there on is wanted: what comes after one that is not is not read. Default: all are. */
  readonly isWanted?: ((term: string) => boolean) | undefined
  /** Default `true`. */
  readonly withPositions?: boolean | undefined
}

/** The terms of a block with their postings, if it is the one of the directory. */
export const termsOf = (
  { first }: Block<string>,
  payload: Uint8Array,
  { from = "", isWanted = () => true, withPositions = true }: Reading = {}
): Result.Result<ReadonlyArray<Term>, StoreError.Corrupt> =>
  decoded(
    payload,
    (term) => term === first,
    (items) => {
      const all: Array<Term> = []
      each(items, from === "" ? 0 : beginAt(items, from), (reader, texts) => {
        const term = texts.read(reader)
        const own = reader.bytes(reader.uint())
        if (from !== "" && compareUtf8(term, from) < 0) return true
        if (!isWanted(term)) return false
        all.push({ term, postings: postingsFrom(new bytes.Reader(own), withPositions) })
        return true
      })
      return all
    }
  )

/** The terms of a block with their postings as they are stored, if it is the one of the directory. */
export const storedOf = (
  { first }: Block<string>,
  payload: Uint8Array
): Result.Result<ReadonlyArray<Stored>, StoreError.Corrupt> =>
  decoded(
    payload,
    (term) => term === first,
    (items) => {
      const all: Array<Stored> = []
      each(
        items,
        0,
        (reader, texts) => all.push({ term: texts.read(reader), postings: reader.bytes(reader.uint()) }) > 0
      )
      return all
    }
  )

/** The terms of a block of the list, if it is the one of the directory. */
export const listOf = (
  { first }: Block<string>,
  payload: Uint8Array
): Result.Result<ReadonlyArray<Listed>, StoreError.Corrupt> =>
  decoded(
    payload,
    (term) => term === first,
    (items) => {
      const all: Array<Listed> = []
      each(items, 0, (reader, texts) => all.push({ term: texts.read(reader), documents: reader.uint() }) > 0)
      return all
    }
  )

const documentFrom = (reader: bytes.Reader, texts: Texts): Indexed => {
  const id = texts.read(reader)
  return { id, fingerprint: reader.bytes(fingerprintBytes).slice(), lengths: many(reader, () => reader.uint()) }
}

/** The documents of a block, if it is the one of the directory. */
export const documentsOf = (
  { first }: Block<Numbered>,
  payload: Uint8Array
): Result.Result<ReadonlyArray<Indexed>, StoreError.Corrupt> =>
  decoded(
    payload,
    (id) => id === first.id,
    (items) => {
      const all: Array<Indexed> = []
      each(items, 0, (reader, texts) => all.push(documentFrom(reader, texts)) > 0)
      return all
    }
  )

/** Some documents of a block by their numbers in it, ascending, if it is the one of the directory. */
export const someDocumentsOf = (
  { first }: Block<Numbered>,
  payload: Uint8Array,
  wanted: ReadonlyArray<number>
): Result.Result<ReadonlyArray<Indexed | undefined>, StoreError.Corrupt> =>
  decoded(
    payload,
    (id) => id === first.id,
    (items) => {
      const found = new Map<number, Indexed>()
      for (let i = 0; i < wanted.length;) {
        const index = Math.floor(wanted[i]! / interval)
        if (index >= items.count) break
        let number = index * interval
        each(items, index, (reader, texts) => {
          const document = documentFrom(reader, texts)
          if (number === wanted[i]) {
            found.set(number, document)
            i += 1
          }
          number += 1
          return i < wanted.length && wanted[i]! < number + interval
        })
        // What is beyond the last one is not there.
        while (i < wanted.length && wanted[i]! < number) i += 1
      }
      return wanted.map((number) => found.get(number))
    }
  )

/** The last block that begins at or before what `compare` looks for; -1: it is before all of them. */
const lastAtMost = <First>(all: ReadonlyArray<Block<First>>, compare: (first: First) => number): number => {
  let low = 0
  let high = all.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compare(all[middle]!.first) <= 0) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** The block in which a term is, if it is anywhere. */
export const blockOfTerm = (terms: ReadonlyArray<Block<string>>, term: string): Block<string> | undefined =>
  terms[lastAtMost(terms, (first) => compareUtf8(first, term))]

/** The block in which a document is. */
export const blockOfDocument = (
  { documents }: Pick<Directory, "documents">,
  document: number
): Block<Numbered> | undefined => documents[lastAtMost(documents, ({ number }) => number - document)]

/** The block in which a document of this id is, if it is anywhere. */
export const blockOfId = (
  { documents, last }: Pick<Directory, "documents" | "last">,
  id: string
): Block<Numbered> | undefined =>
  compareUtf8(id, last) > 0 ? undefined : documents[lastAtMost(documents, (first) => compareUtf8(first.id, id))]

/** The blocks in which the terms are that begin with a prefix. */
export const blocksOfPrefix = (terms: ReadonlyArray<Block<string>>, prefix: string): ReadonlyArray<Block<string>> => {
  const from = Math.max(
    0,
    lastAtMost(terms, (first) => compareUtf8(first, prefix))
  )
  const rest = terms.slice(from)
  const end = rest.findIndex(({ first }, i) => i > 0 && !first.startsWith(prefix))
  return end < 0 ? rest : rest.slice(0, end)
}
