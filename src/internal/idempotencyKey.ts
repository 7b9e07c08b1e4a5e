import { percentEncode } from "./text.ts"

/** A lone half of a surrogate pair, which percent-encoding has no form for, by its number. */
const encoded = (text: string): string =>
  text.isWellFormed()
    ? percentEncode(text)
    : Array.from(text, (one) => (one.isWellFormed() ? percentEncode(one) : `%u${one.charCodeAt(0).toString(16)}`)).join(
        ""
      )

/**
 * What tells something from everything else that is handled in the same way: its parts, each percent-encoded, with `/` between them.
 * Other parts, or as many in another order, are another key.
 */
export const idempotencyKey = (...parts: readonly [string, ...Array<string | number>]): string =>
  parts.map((part) => encoded(String(part))).join("/")
