/** Queries: as they are asked, as they are looked up, and what they come to for documents. */
import { compareUtf8 } from "../../../internal/text.ts"
import type { Token } from "./analysis.ts"
import { near } from "./edits.ts"
import * as ranking from "./ranking.ts"
import type { Occurrences, Posting } from "./segmentFile.ts"
import { type Field, termKey, wordKey, type Worded } from "./terms.ts"

/**
 * What is looked for. A text is its words: any of them, or all of them by `match` of the request.
 *
 * - `all`: each of these; those that are `not` leave out what they find
 * - `any`: at least one of these
 * - `phrase`: the words beside each other, in this order, in one field
 * - `prefix`: words that begin so; of several words the last one does, and the others are all there
 * - `fuzzy`: words that differ by `edits` letters at most, 1 or 2, by default 1: each put in, left out, or another one
 * - `in`: in these fields only
 */
export type Query<Name extends string = string> =
  | string
  | { readonly all: ReadonlyArray<Query<Name> | { readonly not: Query<Name> }> }
  | { readonly any: ReadonlyArray<Query<Name>> }
  | { readonly phrase: string }
  | { readonly prefix: string }
  | { readonly fuzzy: string; readonly edits?: 1 | 2 | undefined }
  | { readonly in: ReadonlyArray<Name>; readonly query: Query<Name> }

/** A term in some fields. */
export interface Wanted {
  readonly key: string
  /** Their numbers, ascending. */
  readonly fields: ReadonlyArray<number>
}

/** What is looked up in an index: documents have it by any of `wanted`. */
export type Leaf =
  | { readonly _tag: "Term"; readonly wanted: ReadonlyArray<Wanted> }
  | { readonly _tag: "Prefix"; readonly wanted: ReadonlyArray<Wanted> }
  | { readonly _tag: "Fuzzy"; readonly wanted: ReadonlyArray<Wanted>; readonly edits: number }
  | {
      readonly _tag: "Phrase"
      /** In the fields of one analyser: each word, by any of its terms, so far behind the first. */
      readonly groups: ReadonlyArray<{
        readonly fields: ReadonlyArray<number>
        readonly words: ReadonlyArray<{ readonly keys: ReadonlyArray<string>; readonly distance: number }>
      }>
    }

export type Node =
  | { readonly _tag: "Leaf"; readonly leaf: Leaf }
  | { readonly _tag: "Any"; readonly nodes: ReadonlyArray<Node> }
  | { readonly _tag: "All"; readonly nodes: ReadonlyArray<Node>; readonly without: ReadonlyArray<Node> }

/** Where in a query something is wrong, and what. */
export class Problem {
  readonly path: string
  readonly problem: string
  constructor(path: string, problem: string) {
    this.path = path
    this.problem = problem
  }
}

/** The longest query, in UTF-16 units of its texts, and the deepest. */
const longestText = 10_000
const mostLevels = 20

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Works a query out, which may be anything. */
export const compile = (
  query: unknown,
  fields: ReadonlyArray<Field>,
  match: "any" | "all",
  within: ReadonlyArray<number> = fields.map((_, i) => i)
): Node | Problem => {
  let length = 0

  /** The fields that are meant, in groups with one analyser each. */
  const groupsOf = (numbers: ReadonlyArray<number>) => {
    const groups = new Map<number, Array<number>>()
    for (const number of numbers) {
      const { group } = fields[number]!
      const members = groups.get(group)
      if (members === undefined) groups.set(group, [number])
      else members.push(number)
    }
    return [...groups.values()].map((members) => ({ members, field: fields[members[0]!]! }))
  }

  const leaf = (one: Leaf): Node => ({ _tag: "Leaf", leaf: one })

  /** The words of a text as each analyser sees them, those that begin at the same place together. */
  const wordsOf = (text: string, numbers: ReadonlyArray<number>) => {
    const words = new Map<number, Array<{ readonly token: Token; readonly members: ReadonlyArray<number> }>>()
    const stops = new Set<number>()
    for (const { field, members } of groupsOf(numbers)) {
      const analysed = field.analyse(text)
      for (const stop of analysed.stops) stops.add(stop)
      for (const token of analysed.tokens) {
        const same = words.get(token.start)
        if (same === undefined) words.set(token.start, [{ token, members }])
        else same.push({ token, members })
      }
    }
    return [...words].sort(([a], [b]) => a - b).map(([start, tokens]) => ({ tokens, isStop: stops.has(start) }))
  }

  type Word = ReturnType<typeof wordsOf>[number]

  const termOf = ({ tokens }: Word): Node =>
    leaf({
      _tag: "Term",
      wanted: tokens.flatMap(({ members, token }) =>
        token.terms.map((term) => ({ key: termKey(term), fields: members }))
      )
    })

  /** Keys of a word by which words themselves are found: where they are indexed as something else they are apart. */
  const selfOf = ({ tokens }: Word): ReadonlyArray<Wanted> =>
    tokens.flatMap(({ members, token }) => {
      const stemmed = members.filter((number) => fields[number]!.isStemmed)
      const plain = members.filter((number) => !fields[number]!.isStemmed)
      return [
        ...(stemmed.length > 0 ? [{ key: wordKey(token.word), fields: stemmed }] : []),
        ...(plain.length > 0 ? [{ key: termKey(token.word), fields: plain }] : [])
      ]
    })

  const all = (nodes: ReadonlyArray<Node>, without: ReadonlyArray<Node> = []): Node =>
    nodes.length === 1 && without.length === 0 ? nodes[0]! : { _tag: "All", nodes, without }
  const any = (nodes: ReadonlyArray<Node>): Node => (nodes.length === 1 ? nodes[0]! : { _tag: "Any", nodes })

  /** Of several words as `match` says; what an analyser leaves out nobody has to have. */
  const joined = (given: ReadonlyArray<Word>, nodeOf: (word: Word) => Node): Node => {
    // A word that is there twice is looked for once.
    const words = [
      ...new Map(
        given.map((word) => [
          JSON.stringify(word.tokens.map(({ members, token }) => [members, token.word, token.terms])),
          word
        ])
      ).values()
    ]
    if (match === "any") return any(words.map(nodeOf))
    const needed = words.filter(({ isStop }) => !isStop)
    return needed.length === 0 ? any(words.map(nodeOf)) : all(needed.map(nodeOf))
  }

  const textIn = (value: unknown, path: string): string | Problem => {
    if (typeof value !== "string") return new Problem(path, "Expected a text")
    length += value.length
    return length > longestText
      ? new Problem(path, `Expected texts of ${longestText} characters at most in one query`)
      : value
  }

  const listOf = (value: unknown, path: string): ReadonlyArray<unknown> | Problem =>
    Array.isArray(value) && value.length > 0 ? value : new Problem(path, "Expected a list with something in it")

  const nodesOf = (values: ReadonlyArray<unknown>, path: string, numbers: ReadonlyArray<number>, level: number) => {
    const nodes: Array<Node> = []
    for (const [i, value] of values.entries()) {
      const node = nodeOf(value, `${path}.${i}`, numbers, level + 1)
      if (node instanceof Problem) return node
      nodes.push(node)
    }
    return nodes
  }

  const nodeOf = (value: unknown, path: string, numbers: ReadonlyArray<number>, level: number): Node | Problem => {
    if (level > mostLevels) return new Problem(path, `Expected ${mostLevels} levels at most`)
    if (typeof value === "string") {
      const text = textIn(value, path)
      return text instanceof Problem ? text : joined(wordsOf(text, numbers), termOf)
    }
    const kinds = ["all", "any", "phrase", "prefix", "fuzzy", "in"] as const
    const named = isRecord(value) ? kinds.filter((kind) => Object.hasOwn(value, kind)) : []
    const [kind] = named
    if (!isRecord(value) || kind === undefined || named.length > 1) {
      return new Problem(path, `Expected a text, or an object with one of ${kinds.join(", ")}`)
    }
    if (kind === "all" || kind === "any") {
      const list = listOf(value[kind], `${path}.${kind}`)
      if (list instanceof Problem) return list
      const isNot = (one: unknown): one is { readonly not: unknown } => isRecord(one) && Object.hasOwn(one, "not")
      const found = list.filter((one) => kind === "any" || !isNot(one))
      if (found.length === 0) {
        return new Problem(`${path}.all`, "Expected something that is to be found beside what is not")
      }
      const nodes = nodesOf(found, `${path}.${kind}`, numbers, level)
      if (nodes instanceof Problem) return nodes
      if (kind === "any") return any(nodes)
      const without = nodesOf(
        list.filter(isNot).map(({ not }) => not),
        `${path}.not`,
        numbers,
        level
      )
      return without instanceof Problem ? without : all(nodes, without)
    }
    if (kind === "in") {
      const list = listOf(value["in"], `${path}.in`)
      if (list instanceof Problem) return list
      const chosen: Array<number> = []
      for (const name of list) {
        const number = fields.findIndex((field) => field.name === name)
        if (number < 0) {
          return new Problem(
            `${path}.in`,
            `Expected fields of the index: ${fields.map((field) => field.name).join(", ")}`
          )
        }
        if (numbers.includes(number)) chosen.push(number)
      }
      return nodeOf(value["query"], `${path}.query`, chosen, level + 1)
    }
    const text = textIn(value[kind], `${path}.${kind}`)
    if (text instanceof Problem) return text
    const words = wordsOf(text, numbers)
    if (kind === "phrase") {
      const groups = groupsOf(numbers).flatMap(({ field, members }) => {
        const { tokens } = field.analyse(text)
        const [first] = tokens
        if (first === undefined) return []
        const words = tokens.map(({ position, terms }) => ({
          keys: terms.map(termKey),
          distance: position - first.position
        }))
        return [{ fields: members, words }]
      })
      return leaf({ _tag: "Phrase", groups })
    }
    if (kind === "prefix") {
      const last = words.at(-1)
      if (last === undefined) return any([])
      const before = words.slice(0, -1).filter(({ isStop }) => !isStop)
      return all([...before.map(termOf), leaf({ _tag: "Prefix", wanted: selfOf(last) })])
    }
    const edits = value["edits"] ?? 1
    if (edits !== 1 && edits !== 2) return new Problem(`${path}.edits`, "Expected 1 or 2")
    return joined(words, (word) => leaf({ _tag: "Fuzzy", wanted: selfOf(word), edits }))
  }

  return nodeOf(query, "query", within, 0)
}

/** Every leaf of a query. */
export const leavesOf = (node: Node): ReadonlyArray<Leaf> =>
  node._tag === "Leaf"
    ? [node.leaf]
    : node._tag === "Any"
      ? node.nodes.flatMap(leavesOf)
      : [...node.nodes, ...node.without].flatMap(leavesOf)

// -----------------------------------------------------------------------------
// Lookups
// -----------------------------------------------------------------------------

/** A term that was found for a leaf, and the documents that have it. */
export interface Found {
  readonly key: string
  readonly fields: ReadonlyArray<number>
  /** 1 for what was asked for, less for what is only like it. */
  readonly likeness: number
  readonly postings: ReadonlyArray<Posting>
}

/** Which terms a leaf stands for in a sorted dictionary. */
export const namesOf = (leaf: Leaf): ReadonlyArray<Wanted> =>
  leaf._tag === "Phrase"
    ? leaf.groups.flatMap(({ fields, words }) =>
        [...new Set(words.flatMap(({ keys }) => keys))].map((key) => ({ key, fields }))
      )
    : leaf.wanted

/** How much less a word counts that only begins as was asked. */
const beginning = 0.8

export const likenessOf = (leaf: Leaf, wanted: string, key: string, edits: number): number =>
  leaf._tag === "Fuzzy" ? 1 / (1 + edits) : leaf._tag === "Prefix" && key !== wanted ? beginning : 1

/** What the leaves of a query find among the terms of one document. */
export const lookupIn = (leaves: ReadonlyArray<Leaf>, { terms }: Worded): ReadonlyMap<Leaf, ReadonlyArray<Found>> => {
  const sorted = leaves.some(({ _tag }) => _tag === "Fuzzy") ? [...terms.keys()].sort(compareUtf8) : []
  const postingsOf = (key: string): ReadonlyArray<Posting> => {
    const fields = terms.get(key)
    return fields === undefined ? [] : [{ document: 0, fields }]
  }
  return new Map(
    leaves.map((leaf) => {
      const found = namesOf(leaf).flatMap(({ fields, key }): ReadonlyArray<Found> => {
        if (leaf._tag === "Prefix") {
          return [...terms.keys()]
            .filter((one) => one.startsWith(key))
            .map((one) => ({ key: one, fields, likeness: likenessOf(leaf, key, one, 0), postings: postingsOf(one) }))
        }
        if (leaf._tag === "Fuzzy") {
          const space = key[0]!
          const words = sorted.filter((one) => one[0] === space).map((one) => one.slice(1))
          return near(key.slice(1), leaf.edits, words).map(({ edits, term }) => ({
            key: space + term,
            fields,
            likeness: likenessOf(leaf, key, term, edits),
            postings: postingsOf(space + term)
          }))
        }
        return terms.has(key) ? [{ key, fields, likeness: 1, postings: postingsOf(key) }] : []
      })
      return [leaf, found]
    })
  )
}

// -----------------------------------------------------------------------------
// Evaluation
// -----------------------------------------------------------------------------

/** What scores are made of, of the whole index. */
export interface Statistics {
  readonly documents: number
  readonly fields: ReadonlyArray<ranking.Field>
  /** How many documents have a term in some fields. */
  readonly having: (key: string, fields: ReadonlyArray<number>) => number
}

/** Names a term in some fields. */
export const nameOf = (key: string, fields: ReadonlyArray<number>): string => `${fields.join()} ${key}`

const inFields = ({ fields }: Posting, wanted: ReadonlyArray<number>): ReadonlyArray<Occurrences> =>
  fields.length === 1 && wanted.includes(fields[0]!.field)
    ? fields
    : fields.filter(({ field }) => wanted.includes(field))

/** How many documents have a term in some fields. */
export const havingIn = ({ fields, postings }: Found, isLive: (document: number) => boolean): number => {
  let count = 0
  for (const posting of postings) {
    if (isLive(posting.document) && inFields(posting, fields).length > 0) count += 1
  }
  return count
}

/**
 * The documents that a query finds, by what its leaves have found among some, with their scores.
 */
export const evaluate = (
  node: Node,
  found: ReadonlyMap<Leaf, ReadonlyArray<Found>>,
  statistics: Statistics,
  isLive: (document: number) => boolean
): Map<number, number> => {
  /** Of terms in the same fields the best one counts; what different fields have comes together. */
  const ofTerms = (terms: ReadonlyArray<Found>): Map<number, number> => {
    const groups = new Map<string, Map<number, number>>()
    for (const { fields, key, likeness, postings } of terms) {
      const group = fields.join()
      const scores = groups.get(group) ?? new Map<number, number>()
      groups.set(group, scores)
      const idf = ranking.rarity(statistics.documents, statistics.having(key, fields))
      for (const posting of postings) {
        if (!isLive(posting.document)) continue
        const occurrences = inFields(posting, fields)
        if (occurrences.length === 0) continue
        const score = likeness * ranking.score(occurrences, statistics.fields, idf)
        const before = scores.get(posting.document)
        if (before === undefined || before < score) scores.set(posting.document, score)
      }
    }
    const [first = new Map<number, number>(), ...rest] = groups.values()
    for (const more of rest) {
      for (const [document, score] of more) first.set(document, (first.get(document) ?? 0) + score)
    }
    return first
  }

  const ofPhrase = (groups: (Leaf & { readonly _tag: "Phrase" })["groups"], terms: ReadonlyArray<Found>) => {
    const scores = new Map<number, number>()
    for (const { fields, words } of groups) {
      /** What a word has found, which is worked out once, however often it is in the phrase. */
      const byWord = new Map<string, ReturnType<typeof havingAny>>()
      const havingAny = (keys: ReadonlyArray<string>) => {
        const chosen = terms.filter((one) => keys.includes(one.key) && one.fields === fields)
        const postings = new Map<number, Array<Posting>>()
        for (const one of chosen) {
          for (const posting of one.postings) {
            const same = postings.get(posting.document)
            if (same === undefined) postings.set(posting.document, [posting])
            else same.push(posting)
          }
        }
        return { postings, scores: ofTerms(chosen) }
      }
      const of = words.map(({ distance, keys }) => {
        const name = keys.join("\n")
        let having = byWord.get(name)
        if (having === undefined) byWord.set(name, (having = havingAny(keys)))
        return { distance, having, ...having }
      })
      const [first] = of
      for (const document of first?.scores.keys() ?? []) {
        const stands = fields.some((field) => {
          const placesOf = new Map(
            [...byWord.values()].map((having) => {
              const all = (having.postings.get(document) ?? []).flatMap((posting) =>
                posting.fields.flatMap((one) => (one.field === field ? one.positions : []))
              )
              return [having, new Set(all)]
            })
          )
          const places = of.map(({ distance, having }) => ({ distance, at: placesOf.get(having)! }))
          // The one with the fewest places leaves the fewest to look at.
          const start = places.reduce((least, one) => (one.at.size < least.at.size ? one : least))
          return [...start.at].some((position) =>
            places.every(({ at, distance }) => at.has(position - start.distance + distance))
          )
        })
        if (!stands) continue
        const sum = of.reduce((total, one) => total + (one.scores.get(document) ?? 0), 0)
        scores.set(document, Math.max(sum, scores.get(document) ?? 0))
      }
    }
    return scores
  }

  const of = (one: Node): Map<number, number> => {
    if (one._tag === "Leaf") {
      const terms = found.get(one.leaf) ?? []
      return one.leaf._tag === "Phrase" ? ofPhrase(one.leaf.groups, terms) : ofTerms(terms)
    }
    if (one._tag === "Any") {
      const sums = new Map<number, number>()
      for (const node of one.nodes) {
        for (const [document, score] of of(node)) sums.set(document, (sums.get(document) ?? 0) + score)
      }
      return sums
    }
    const [first = new Map<number, number>(), ...rest] = one.nodes.map(of)
    for (const other of rest) {
      for (const [document, score] of first) {
        const more = other.get(document)
        if (more === undefined) first.delete(document)
        else first.set(document, score + more)
      }
    }
    for (const node of one.without) for (const document of of(node).keys()) first.delete(document)
    return first
  }

  return of(node)
}

/** Tells whether a word of a text is one that was looked for, in a field. */
export const meantIn = (leaves: ReadonlyArray<Leaf>, field: number): ((token: Token) => boolean) => {
  const all = leaves.flatMap((leaf) =>
    namesOf(leaf)
      .filter(({ fields }) => fields.includes(field))
      .map(({ key }) => ({ leaf, key }))
  )
  const whole = new Set(all.filter(({ leaf }) => leaf._tag === "Term" || leaf._tag === "Phrase").map(({ key }) => key))
  const others = all.filter(({ leaf }) => leaf._tag === "Prefix" || leaf._tag === "Fuzzy")
  const isLike = (own: string) =>
    others.some(
      ({ key, leaf }) =>
        key[0] === own[0] &&
        (leaf._tag === "Fuzzy" ? near(key.slice(1), leaf.edits, [own.slice(1)]).length > 0 : own.startsWith(key))
    )
  // A word is looked at once, however often it is there.
  const known = new Map<string, boolean>()
  return ({ terms, word }) =>
    [`w${word}`, ...terms.map((term) => `s${term}`)].some((own) => {
      if (whole.has(own)) return true
      if (others.length === 0) return false
      const before = known.get(own)
      if (before !== undefined) return before
      const is = isLike(own)
      known.set(own, is)
      return is
    })
}

/** The leaves that find something, and not those that leave it out. */
export const findingIn = (node: Node): ReadonlyArray<Leaf> =>
  node._tag === "Leaf" ? [node.leaf] : node.nodes.flatMap(findingIn)
