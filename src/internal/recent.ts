/**
 * What was made of texts that come again and again, such as the URL of a list.
 */

/** So many are kept; then all of them are forgotten. A program has some of these for each resource. */
const most = 64

/** Longer ones come once. */
const longest = 512

export interface Recent<A> {
  readonly get: (text: string) => A | undefined
  /** Keeps what was made, and gives it. */
  readonly keep: (text: string, made: A) => A
}

export const make = <A>(): Recent<A> => {
  const known = new Map<string, A>()
  return {
    get: (text) => known.get(text),
    keep: (text, made) => {
      if (text.length > longest) return made
      if (known.size >= most) known.clear()
      known.set(text, made)
      return made
    }
  }
}
