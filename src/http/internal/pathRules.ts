/**
 * Rules by path, of which the most specific one counts.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"

export interface Pattern {
  /** Such as `/api/books/*`, `/admin/**`. */
  readonly path: string
  /** Default: all. */
  readonly methods?: readonly [string, ...Array<string>] | undefined
}

/** What a segment of a pattern takes: a text, one segment, or the rest. */
const kindOf = (segment: string): "text" | "one" | "rest" =>
  segment === "**" ? "rest" : segment === "*" || segment.startsWith(":") ? "one" : "text"

const ranks = { text: 2, one: 1, rest: 0 } as const

/** The most specific first: from the left a text before one segment, that before the rest; and `/a` before `/a/**`. */
const compare = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): number => {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [left, right] = [a[i], b[i]].map((segment) => (segment === undefined ? 3 : ranks[kindOf(segment)]))
    if (left !== right) return right! - left!
  }
  return 0
}

const matches = (pattern: ReadonlyArray<string>, path: ReadonlyArray<string>): boolean => {
  const hasRest = pattern.at(-1) === "**"
  const fixed = hasRest ? pattern.slice(0, -1) : pattern
  return (
    (hasRest ? path.length >= fixed.length : path.length === fixed.length) &&
    fixed.every((segment, i) => kindOf(segment) === "one" || segment === path[i])
  )
}

/** The same for two patterns that no path tells apart. */
const signatureOf = (segments: ReadonlyArray<string>): string =>
  JSON.stringify(segments.map((segment) => (kindOf(segment) === "one" ? "*" : segment)))

const strange = /[\p{Cc} ;\\]/u
const control = /\p{Cc}/u

/** The segments of a path as the router sees them; `undefined`: a path that somebody may take for another. */
export const segmentsOf = (url: string): ReadonlyArray<string> | undefined => {
  const [path = ""] = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "").split(/[?#]/, 1)
  if (strange.test(path)) return undefined
  const segments: Array<string> = []
  for (const raw of path.split("/")) {
    if (raw === "") continue
    let segment: string
    try {
      segment = decodeURIComponent(raw)
    } catch {
      return undefined
    }
    if (segment === "." || segment === ".." || control.test(segment)) return undefined
    segments.push(segment)
  }
  return segments
}

const problemOf = ({ methods, path }: Pattern): string | undefined => {
  const segments = path.split("/").slice(1)
  if (!path.startsWith("/") || strange.test(path) || /[?#%]/.test(path))
    return "a path begins with / and is not encoded"
  if (path !== "/" && segments.some((one) => one === "" || one === "." || one === "..")) {
    return "a path has no empty segments, and none that is . or .."
  }
  if (
    segments.some(
      (one, i) =>
        (one.includes("**") && (one !== "**" || i < segments.length - 1)) || /.\*$|^\*./.test(one.replace(/^\*\*$/, ""))
    )
  ) {
    return "* is a whole segment, and ** the last one"
  }
  return methods?.some((method) => !/^[A-Z]+$/.test(method)) === true ? "methods are in capital letters" : undefined
}

/** A table to look a rule up in. */
export const make = <Rule extends Pattern>(
  rules: ReadonlyArray<Rule>
): Result.Result<(method: string, url: string) => Rule | undefined, string> => {
  const byPath = new Map<string, { readonly segments: ReadonlyArray<string>; readonly rules: Array<Rule> }>()
  for (const rule of rules) {
    const problem = problemOf(rule)
    if (problem !== undefined) return Result.fail(`${JSON.stringify(rule.path)}: ${problem}`)
    const segments = rule.path.split("/").filter((segment) => segment !== "")
    const signature = signatureOf(segments)
    const known = byPath.get(signature) ?? { segments, rules: [] }
    const isTwice = known.rules.some(
      ({ methods }) =>
        methods === rule.methods || (methods?.some((method) => rule.methods?.includes(method) === true) ?? false)
    )
    if (isTwice) return Result.fail(`${JSON.stringify(rule.path)}: two rules have this path and one method`)
    known.rules.push(rule)
    byPath.set(signature, known)
  }
  const sorted = [...byPath.values()].toSorted((a, b) => compare(a.segments, b.segments))
  return Result.succeed((method, url) => {
    const path = segmentsOf(url)
    if (path === undefined) return undefined
    const name = method === "HEAD" ? "GET" : method
    const found = sorted.find(({ segments }) => matches(segments, path))
    return (
      found?.rules.find(({ methods }) => methods?.includes(name) === true) ??
      found?.rules.find(({ methods }) => methods === undefined)
    )
  })
}
