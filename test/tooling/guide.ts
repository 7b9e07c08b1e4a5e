/**
 * What follows from `docs/index.md`: the order of the guide, with a line at the end of each page that leads to the next, and
 * `llms.txt` (llmstxt.org), which tells programs the same.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, posix } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
export const llms = "llms.txt"

export interface Entry {
  /** Below the root, such as `docs/guide/install.md`. */
  readonly path: string
  readonly note: string
}

export interface Section {
  readonly title: string
  readonly entries: ReadonlyArray<Entry>
}

export interface Index {
  readonly title: string
  /** The paragraph below the title. */
  readonly summary: string
  readonly sections: ReadonlyArray<Section>
}

const read = (path: string): string => readFileSync(join(root, path), "utf8")

/** An index has sections of entries: `- [title](path): note`. */
export const parseIndex = (text: string): Index => {
  const [head = "", ...parts] = text.split(/^## /m)
  const [title = "", ...paragraphs] = head.trim().split("\n\n")
  return {
    title: title.replace(/^# /, ""),
    summary: (paragraphs[0] ?? "").replaceAll("\n", " "),
    sections: parts.map((part) => ({
      title: part.slice(0, part.indexOf("\n")),
      entries: [...part.matchAll(/^- \[[^\]]+\]\(([^)#]+)\): (.+(?:\n  .+)*)/gm)].map(([, path, note]) => ({
        path: posix.normalize(`docs/${path!}`),
        note: note!.replaceAll(/\n +/g, " ")
      }))
    }))
  }
}

export const index = (): Index => parseIndex(read("docs/index.md"))

/** The first heading of a page. */
export const titleOf = (text: string): string => /^# (.+)$/m.exec(text)?.[1] ?? ""

const isGuide = (path: string): boolean => path.startsWith("docs/guide/")

/** The pages of the guide in their order. */
export const guide = ({ sections }: Index): ReadonlyArray<string> =>
  sections.flatMap(({ entries }) => entries.map(({ path }) => path)).filter(isGuide)

/** The pages that have to be in the index. */
const pages = (): ReadonlyArray<string> =>
  ["guide", "design", "decisions", "examples"].flatMap((folder) =>
    readdirSync(join(root, "docs", folder))
      .filter((name) => /\.(?:md|ts)$/.test(name))
      .map((name) => `docs/${folder}/${name}`)
  )

const footer = /\n+Next: \[[^\]]*\]\([^)]*\)\s*$/

/** A page with the line at its end that leads to the page after it, or back to the index. */
export const withFooter = (text: string, next: string | undefined): string => {
  const line =
    next === undefined
      ? "Next: [the index](../index.md)"
      : `Next: [${titleOf(read(next))}](${next.slice("docs/guide/".length)})`
  return `${text.trimEnd().replace(footer, "")}\n\n${line}\n`
}

/** Each page of the guide as it should be; of some the text is given. */
export const footed = (
  of: Index,
  given: ReadonlyMap<string, string> = new Map()
): ReadonlyArray<{ readonly path: string; readonly text: string }> => {
  const pages = guide(of)
  return pages.map((path, i) => ({ path, text: withFooter(given.get(path) ?? read(path), pages[i + 1]) }))
}

/** What the index leads to and is not there, and the pages that it does not lead to. */
export const missing = () => {
  const listed = index().sections.flatMap(({ entries }) => entries.map(({ path }) => path))
  return {
    notThere: listed.filter((path) => !existsSync(join(root, path))),
    unlisted: pages().filter((path) => !listed.includes(path))
  }
}

/** Sections of which a program that has little room needs nothing. */
const optional = new Set(["Design", "Decisions"])

/** Links in a note are told by their text. */
const plain = (note: string): string => note.replaceAll(/\[([^\]]+)\]\([^)]*\)/g, "$1")

export const makeLlms = ({ sections, summary, title }: Index): string => {
  const line = ({ note, path }: Entry) => {
    const name = path.endsWith(".md") ? titleOf(read(path)) : posix.basename(path)
    return `- [${name}](${path}): ${plain(note)}`
  }
  const needed = sections.filter((section) => !optional.has(section.title))
  const others = sections.filter((section) => optional.has(section.title))
  return [
    `# ${title}`,
    "",
    `> ${plain(summary)}`,
    "",
    "The paths are those of the repository and of the package. Examples in these pages are type-checked and run by the tests. Effect is version 4: its modules and signatures differ from those of version 3.",
    "",
    ...needed.flatMap((section) => [`## ${section.title}`, "", ...section.entries.map(line), ""]),
    "## Optional",
    "",
    ...others.flatMap((section) => section.entries.map(line)),
    ""
  ].join("\n")
}
