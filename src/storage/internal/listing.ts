/** Whether a page of a listing is a page of what was asked for, and leads on. */
import { compareUtf8 } from "../../internal/text.ts"
import { Unexpected } from "../StoreError.ts"

/** The part of a page that is looked at. */
interface Page {
  readonly entries: ReadonlyArray<{ readonly key: string }>
  readonly commonPrefixes: ReadonlyArray<string>
}

const shown = 3

/** What is wrong with a page: keys that were not asked for. A listing that is not what was asked must never look like an empty one. */
export const checkPage = (
  { prefix = "", startAfter }: { readonly prefix?: string | undefined; readonly startAfter?: string | undefined },
  { commonPrefixes, entries }: Page
): Unexpected | undefined => {
  const isStrange = (key: string): boolean => key === "" || !key.startsWith(prefix)
  if (entries.some(({ key }) => isStrange(key)) || commonPrefixes.some(isStrange)) {
    const strange = [...entries.map((entry) => entry.key), ...commonPrefixes].filter(isStrange)
    const some = strange.slice(0, shown).map((key) => JSON.stringify(key.slice(0, 200)))
    const description =
      `the store was asked for keys that begin with ${JSON.stringify(prefix)} and listed ${strange.length} others, such as ` +
      `${some.join(", ")}: it, or a proxy before it, alters or encodes keys otherwise than it says`
    return new Unexpected({ description })
  }
  if (startAfter === undefined || startAfter === "") return undefined
  // Where there is nothing above U+D7FF on one side, UTF-16 has the same order.
  const isBefore = /[\ud800-\uffff]/.test(startAfter)
    ? (key: string) => compareUtf8(key, startAfter) <= 0
    : (key: string) => key <= startAfter
  return entries.some(({ key }) => isBefore(key))
    ? new Unexpected({ description: "the store was asked for keys after another one and listed some before it" })
    : undefined
}

/** What is wrong with the order of a page, on a store that lists in order: keys must rise, from page to page as well. */
export const checkOrder = (after: string | undefined, { entries }: Pick<Page, "entries">): Unexpected | undefined => {
  let before = after
  for (const { key } of entries) {
    if (before !== undefined && compareUtf8(before, key) >= 0) {
      const description = `the listing does not get on: the store lists in order, and gave ${JSON.stringify(key.slice(0, 200))} ${before === key ? "twice" : "after a greater key"}; its pages cannot be relied on`
      return new Unexpected({ description })
    }
    before = key
  }
  return undefined
}

/** What identifies a page: where it leads, and the key it begins with. */
interface Mark {
  readonly token: string
  readonly first: string | undefined
}

/**
 * How far a listing has come, in constant space: one page that is remembered, and when another one is remembered instead
 * (Brent's search for a cycle). Whatever the length of the circle, it is noticed, at the latest the third time round; a token
 * that leads to itself at once.
 */
export interface Progress {
  readonly mark: Mark
  readonly steps: number
  readonly room: number
  /** Pages in a row that had nothing in them. */
  readonly empty: number
  /** The last key so far. */
  readonly last: string | undefined
}

/** S3 sends pages with nothing in them where many keys were deleted in a bucket with versions: 1,000 keys a page. */
const mostEmpty = 1000

const circle = () =>
  new Unexpected({
    description:
      "the listing does not get on: the store gave a continuation token, or a page, that it had given before; its pages cannot be relied on"
  })

const desert = () =>
  new Unexpected({
    description: `the listing does not get on: the store sent ${mostEmpty} pages in a row with nothing in them, and says that there is more; if the bucket keeps versions, have a lifecycle rule remove the delete markers`
  })

/** Takes a page in that leads to another one, or tells that it leads nowhere. */
export const advance = (
  before: Progress | undefined,
  token: string,
  { commonPrefixes, entries }: Page
): Progress | Unexpected => {
  const mark: Mark = { token, first: entries[0]?.key }
  const isEmpty = entries.length + commonPrefixes.length === 0
  const last = entries.at(-1)?.key ?? before?.last
  if (before === undefined) return { mark, steps: 0, room: 1, empty: isEmpty ? 1 : 0, last }
  const isSame = token === before.mark.token || (mark.first !== undefined && mark.first === before.mark.first)
  if (isSame) return circle()
  const empty = isEmpty ? before.empty + 1 : 0
  if (empty > mostEmpty) return desert()
  const steps = before.steps + 1
  return steps === before.room
    ? { mark, steps: 0, room: before.room * 2, empty, last }
    : { ...before, steps, empty, last }
}

/** Where a listing goes on, and how far it has come. */
export const seal = (token: string, { empty, last, mark, room, steps }: Progress): string =>
  JSON.stringify([token, mark.token, mark.first ?? null, steps, room, empty, last ?? null])

export const unseal = (sealed: string): { readonly token: string; readonly progress: Progress } | undefined => {
  const parts: unknown = JSON.parse(sealed)
  if (!Array.isArray(parts) || parts.length !== 7) return undefined
  const [token, marked, first, steps, room, empty, last]: Array<unknown> = parts
  return typeof token === "string" &&
    typeof marked === "string" &&
    (first === null || typeof first === "string") &&
    typeof steps === "number" &&
    typeof room === "number" &&
    typeof empty === "number" &&
    (last === null || typeof last === "string")
    ? {
        token,
        progress: { mark: { token: marked, first: first ?? undefined }, steps, room, empty, last: last ?? undefined }
      }
    : undefined
}
