/** Expressions of the console, such as `users.where(age > 30).order(-age).limit(5)`: another way to write a command. Pure. */
import { nearest } from "../../internal/nearest.ts"

/** What is wrong, and where in the line, from 0. */
export interface Wrong {
  readonly column: number
  readonly message: string
}

/** The steps of a query, each with its flag; those without an argument are flags by themselves. */
const steps: Readonly<Record<string, readonly [flag: string, takes: boolean]>> = {
  where: ["--where", true],
  order: ["--order", true],
  limit: ["--limit", true],
  select: ["--select", true],
  partition: ["--partition", true],
  value: ["--value", true],
  from: ["--from", true],
  to: ["--to", true],
  startsWith: ["--starts-with", true],
  by: ["--by", true],
  scan: ["--scan", false],
  all: ["--all", false],
  explain: ["--explain", false]
}

/** What a chain may end in, in the place of the documents. */
const ends = new Set(["get", "count"])

/** What is said of flags, to whoever has written an expression. */
export const inSteps = (text: string): string =>
  Object.entries(steps).reduce(
    (text, [step, [flag]]) => text.replaceAll(new RegExp(`${flag}(?![\\w-])`, "g"), `.${step}()`),
    text
  )

/** Whether a line is an expression: no command has a dot in its name. */
export const isExpression = (line: string): boolean => /^\s*[\p{L}\p{N}_-]+\s*\.\s*\p{L}/u.test(line)

/** The end of an argument: the parenthesis that closes it. Parentheses in quotes and within others are part of it. */
const closing = (line: string, start: number): number => {
  let [depth, quote] = [0, ""]
  for (let i = start; i < line.length; i++) {
    const one = line[i]!
    if (quote !== "") {
      if (one === "\\") i += 1
      else if (one === quote) quote = ""
    } else if (one === '"') quote = one
    else if (one === "(") depth += 1
    else if (one === ")") {
      if (depth === 0) return i
      depth -= 1
    }
  }
  return -1
}

/** Reads an expression as the words of a command. */
export const parse = (line: string): ReadonlyArray<string> | Wrong => {
  const named = /^\s*([\p{L}\p{N}_-]+)\s*/u.exec(line)
  if (named === null) return { column: 0, message: "Expected the name of a resource" }
  const flags: Array<string> = []
  let command = "query"
  let ids: ReadonlyArray<string> = []
  let at = named[0].length
  while (at < line.length) {
    const step = /^\.\s*(\p{L}+)\s*/u.exec(line.slice(at))
    if (step === null) return { column: at, message: "Expected .where(...), .order(...) or another step" }
    const [written, name = ""] = step
    const known = Object.hasOwn(steps, name) ? steps[name] : undefined
    if (known === undefined && !ends.has(name)) {
      const near = nearest(name, [...Object.keys(steps), ...ends])
      const column = at + written.indexOf(name)
      return { column, message: `there is no step ${name}${near === undefined ? "" : `; did you mean ${near}?`}` }
    }
    const open = at + written.length
    if (line[open] !== "(") return { column: open, message: `Expected ( after ${name}` }
    const close = closing(line, open + 1)
    if (close < 0) return { column: open, message: "this parenthesis is not closed" }
    const argument = line.slice(open + 1, close).trim()
    const takes = known?.[1] ?? name === "get"
    if (takes && argument === "")
      return { column: open + 1, message: `${name} needs something between its parentheses` }
    if (!takes && argument !== "") return { column: open + 1, message: `${name} takes nothing` }
    if (known === undefined) {
      if (command !== "query") return { column: at, message: "there are two ends" }
      command = name
      if (name === "get") ids = argument.split(",").map((id) => id.trim())
    } else flags.push(known[1] ? `${known[0]}=${argument}` : known[0])
    at = close + 1
    at += /^\s*/.exec(line.slice(at))![0].length
  }
  return [command, named[1]!, ...ids, ...flags]
}
