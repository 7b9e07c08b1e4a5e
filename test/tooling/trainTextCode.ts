/**
 * Makes the table of `src/encoding/internal/shortText.ts`: which fragments of text have a code of their own, and how
 * many bits each code has. The corpus is this project's own prose, names of countries and cities, and made-up
 * addresses, links and records, so that short texts of the kind that documents hold come out small.
 *
 * node test/tooling/trainTextCode.ts
 */
import { readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const files = (folder: string, ending: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => readFileSync(join(folder, name), "utf8"))

const prose = [...files("docs", ".md"), readFileSync("README.md", "utf8")]
  .join("\n")
  .replace(/```[\s\S]*?```/g, " ")
  .replace(/[|`*#_]+/g, " ")
  .split(/(?<=[.:;!?])\s+|\n+/)
  .filter((line) => /^[\x20-\x7e]{12,}$/.test(line))

interface Country {
  readonly name: { readonly common: string; readonly official: string }
  readonly capital: ReadonlyArray<string>
  readonly region: string
  readonly subregion: string
}
const countries = createRequire(import.meta.url)("world-countries") as ReadonlyArray<Country>
const places = countries.flatMap(({ name, capital, region, subregion }) => [
  name.common,
  name.official,
  ...capital,
  region,
  subregion
])

const firstNames =
  "Ana Maria Jose Joao Carlos Peter Paul John Mary James Robert Linda David Susan Emma Olivia Noah Liam Sofia Lucas Mia Anna Laura Marta Ivan Olga Yuki Wei Li Chen Omar Fatima Ahmed Aisha Ada Grace Alan Alice Bob Charlie Dave Erin Frank Heidi Julia Karl Marie Nina Oscar Sara Thomas Viktor".split(
    " "
  )
const lastNames =
  "Silva Santos Souza Garcia Martinez Lopez Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Taylor Moore Muller Schmidt Fischer Weber Rossi Bianchi Novak Kowalski Ivanov Petrov Tanaka Suzuki Wang Zhang Kim Park Nguyen Tran Singh Kumar Patel Khan Ali Hassan Lovelace Hopper Turing".split(
    " "
  )
const hosts =
  "gmail.com outlook.com hotmail.com yahoo.com icloud.com example.com example.org company.com mail.com web.de".split(
    " "
  )
const words =
  "users orders products images avatar profile items events sessions invoices payments reports docs blog posts search about static assets files media api v1 v2 en account settings status".split(
    " "
  )
const states =
  "active inactive pending completed cancelled failed processing shipped delivered refunded paid draft published archived open closed new admin user editor viewer owner member guest free pro premium enterprise monthly yearly credit_card checkout purchase login logout signup page_view click".split(
    " "
  )

let state = 12345
const next = (n: number): number => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}
const pick = (list: ReadonlyArray<string>): string => list[next(list.length)]!

const made: Array<string> = []
for (let i = 0; i < 160; i++) {
  const [first, last] = [pick(firstNames), pick(lastNames)]
  made.push(
    `${first} ${last}`,
    `${first.toLowerCase()}.${last.toLowerCase()}@${pick(hosts)}`,
    `${first.toLowerCase()}${next(100)}@${pick(hosts)}`,
    `https://${pick(["www.", "", "cdn.", "api."])}${pick(hosts)}/${pick(words)}/${pick(words)}`,
    `https://${pick(hosts)}/${pick(words)}/${next(100000)}.${pick(["jpg", "png", "html", "json", "pdf"])}`,
    pick(states),
    `${next(999) + 1} ${last} ${pick(["Street", "Avenue", "Road", "St.", "Ave"])}`,
    `{"${pick(words)}":"${pick(states)}","${pick(["id", "name", "type", "value", "count"])}":${next(1000)}}`,
    `{"${pick(words)}":true,"${pick(words)}":[${next(9)},${next(99)}],"${pick(words)}":"${first}"}`,
    `["${pick(states)}","${pick(words)}"]`,
    `${pick(["ORD", "INV", "SKU", "USR", "EVT"])}-${next(100000)}`
  )
}

const comments = files("src", ".ts").flatMap((source) =>
  [...source.matchAll(/^ \* ([A-Z].*)$/gm)].map((match) => match[1]!.replace(/[`*#]+/g, ""))
)

const corpus = [...prose, ...prose, ...comments, ...places, ...made].filter((text) => /^[\x20-\x7e]+$/.test(text))

const fragmentCount = 150
const longest = 14
const limit = 15

type Code = ReadonlyMap<string, number>

const parse = (text: string, code: Code): Array<string> => {
  const cost = new Float64Array(text.length + 1).fill(Infinity)
  const from = new Int32Array(text.length + 1)
  cost[0] = 0
  for (let i = 0; i < text.length; i++) {
    for (let size = 1; size <= longest && i + size <= text.length; size++) {
      const bits = code.get(text.slice(i, i + size))
      if (bits !== undefined && cost[i]! + bits < cost[i + size]!) {
        cost[i + size] = cost[i]! + bits
        from[i + size] = i
      }
    }
  }
  const tokens: Array<string> = []
  for (let end = text.length; end > 0; end = from[end]!) tokens.push(text.slice(from[end], end))
  return tokens.toReversed()
}

const lengths = (weights: ReadonlyMap<string, number>): Map<string, number> => {
  // Package-merge gives the best code whose lengths have a limit.
  const symbols = [...weights].sort((a, b) => a[1] - b[1])
  let packages: Array<{ weight: number; names: Array<string> }> = []
  for (let level = 0; level < limit; level++) {
    const merged: typeof packages = []
    for (let i = 0; i + 1 < packages.length; i += 2) {
      const [a, b] = [packages[i]!, packages[i + 1]!]
      merged.push({ weight: a.weight + b.weight, names: [...a.names, ...b.names] })
    }
    packages = [...symbols.map(([name, weight]) => ({ weight, names: [name] })), ...merged].sort(
      (a, b) => a.weight - b.weight
    )
  }
  const found = new Map<string, number>()
  for (const { names } of packages.slice(0, 2 * symbols.length - 2)) {
    for (const name of names) found.set(name, (found.get(name) ?? 0) + 1)
  }
  return found
}

/** Every printable character and the line feed can be written; the two others mark a raw byte and the padding. */
const singles = ["\n", ...Array.from({ length: 95 }, (_, index) => String.fromCharCode(index + 32))]
const specials = ["raw", "end"]

const count = (code: Code): Map<string, number> => {
  const weights = new Map<string, number>(singles.map((name) => [name, 1.5]))
  for (const text of corpus) {
    for (const token of parse(text, code)) weights.set(token, (weights.get(token) ?? 0) + 1)
  }
  return weights
}

let tokens: Code = new Map(singles.map((name) => [name, 8]))
while (tokens.size < singles.length + fragmentCount) {
  const pairs = new Map<string, number>()
  for (const text of corpus) {
    const parsed = parse(text, tokens)
    for (let i = 0; i + 1 < parsed.length; i++) {
      for (let join = parsed[i]! + parsed[i + 1]!, j = i + 1; join.length <= longest; join += parsed[++j] ?? "\0") {
        if (join.endsWith("\0")) break
        pairs.set(join, (pairs.get(join) ?? 0) + 1)
        if (j - i > 3) break
      }
    }
  }
  const best = [...pairs]
    .filter(([name]) => !tokens.has(name))
    .sort((a, b) => b[1] * (b[0].length - 0.6) - a[1] * (a[0].length - 0.6))
    .slice(0, 6)
  const code = lengths(count(tokens))
  tokens = new Map([
    ...[...tokens.keys()].map((name) => [name, code.get(name) ?? 8] as const),
    ...best.map(([name]) => [name, 9] as const)
  ])
}

let code: Map<string, number> = new Map(tokens)
for (let round = 0; round < 4; round++) {
  const weights = count(code)
  for (const name of code.keys()) {
    if (name.length > 1 && (weights.get(name) ?? 0) < 12) weights.delete(name)
  }
  for (const name of specials) weights.set(`\0${name}`, name === "raw" ? 3 : 0.001)
  code = lengths(weights)
}

const bits = corpus.reduce(
  (sum, text) => sum + parse(text, code).reduce((total, token) => total + code.get(token)!, 0),
  0
)
const characters = corpus.reduce((sum, text) => sum + text.length, 0)
console.error(`${code.size} symbols, ${(bits / characters).toFixed(2)} bits for a character`)

const byLength = new Map<number, Array<string>>()
for (const [name, length] of code) byLength.set(length, [...(byLength.get(length) ?? []), name])
console.log("export const symbolsByLength: ReadonlyArray<readonly [bits: number, symbols: ReadonlyArray<string>]> = [")
for (const [length, names] of [...byLength].sort((a, b) => a[0] - b[0])) {
  const sorted = names.sort((a, b) => (a < b ? -1 : 1))
  // The padding has to be the very last code.
  const ordered = [...sorted.filter((name) => name !== "\0end"), ...sorted.filter((name) => name === "\0end")]
  console.log(`  [${length}, ${JSON.stringify(ordered)}],`)
}
console.log("]")
