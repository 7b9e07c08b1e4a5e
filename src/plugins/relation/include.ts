/**
 * What is to be included, checked and worked out: a tree of relations with their conditions.
 *
 * @since 0.1.0
 */
import type * as Definition from "../../Definition.ts"
import { isRecord } from "../../internal/json.ts"
import { fieldsOf, type Relation, type Relations } from "./declaration.ts"

/**
 * An include in any notation.
 *
 * @category models
 * @since 0.1.0
 */
export type Given = Readonly<Record<string, boolean | Options | undefined>>

/**
 * The options of one relation in an include.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly where?: object | undefined
  readonly order?: unknown
  readonly limit?: number | undefined
  readonly select?: ReadonlyArray<string> | undefined
  readonly include?: Given | undefined
}

/**
 * One relation that is to be included.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node extends Omit<Options, "include"> {
  readonly relation: Relation
  /** The names that lead here, joined with `.`. */
  readonly path: string
  readonly children: ReadonlyArray<Node>
}

/**
 * What is wrong with an include, and where in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  readonly path: string
  readonly problem: string
}

/**
 * The most relations that lie within each other.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostLevels = 8

/**
 * The most documents that one relation of one document can have by an order that is made in memory.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostOrdered = 10_000

/**
 * Works an include of a resource out, or tells the first problem of it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resolve = (
  resources: Readonly<Record<string, Definition.Any>>,
  relations: Relations,
  source: string,
  given: Given
): ReadonlyArray<Node> | Problem => {
  const visit = (
    resource: string,
    one: Given,
    above: ReadonlyArray<Relation>,
    path: ReadonlyArray<string>
  ): ReadonlyArray<Node> | Problem => {
    const nodes: Array<Node> = []
    for (const [name, asked] of Object.entries(one)) {
      if (asked === undefined || asked === false) continue
      const here = [...path, name]
      const problem = (text: string): Problem => ({ path: here.join("."), problem: text })
      const known = relations.get(resource)!
      const relation = known.get(name)
      if (relation === undefined) {
        const names = [...known.keys()]
        const which = names.length === 0 ? "it has none" : `it has ${names.join(", ")}`
        return problem(`Expected a relation of ${JSON.stringify(resource)}: ${which}`)
      }
      // A relation of a resource to itself is a tree or a graph, which the levels bound.
      if (above.includes(relation) && relation.source !== relation.target) {
        return problem("Expected no relation that leads here: an include does not come back to where it has been")
      }
      if (here.length > mostLevels) return problem(`Expected at most ${mostLevels} levels`)
      if (asked !== true && !isRecord(asked))
        return problem("Expected true, or an object with where, order, limit, select and include")
      const { include = {}, limit, order, select, where }: Options = asked === true ? {} : asked
      if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 1)) {
        return problem("Expected a limit that is a whole number from 1")
      }
      if (!isRecord(include)) return problem("Expected an object with names of relations in include")
      const fields = fieldsOf(resources[relation.target]!)
      const isKnown = (names: unknown): boolean => Array.isArray(names) && names.every((field) => fields.has(field))
      if (select !== undefined && !isKnown(select))
        return problem(`Expected fields of ${JSON.stringify(relation.target)} in select`)
      const children = visit(relation.target, include, [...above, relation], here)
      if ("problem" in children) return children
      nodes.push({ relation, path: here.join("."), where, order, limit, select, children })
    }
    return nodes
  }
  return visit(source, given, [], [])
}

/**
 * Lists the resources that nodes show documents of.
 *
 * @category getters
 * @since 0.1.0
 */
export const targetsOf = (nodes: ReadonlyArray<Node>): ReadonlyArray<string> =>
  nodes.flatMap(({ children, relation }) => [relation.target, ...targetsOf(children)])

/**
 * Reads an include from a text, such as `posts.comments,profile`: names with dots for those within others. `undefined` where a name is
 * empty.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Given | undefined => {
  const root: Tree = new Map()
  for (const path of text.split(",").map((part) => part.trim())) {
    if (path === "") {
      if (text.trim() === "") break
      return undefined
    }
    let node = root
    // One more than there may be says that there are too many.
    for (const name of path.split(".", mostLevels + 1)) {
      if (name === "") return undefined
      let next = node.get(name)
      if (next === undefined) node.set(name, (next = new Map()))
      node = next
    }
  }
  return toGiven(root)
}

interface Tree extends Map<string, Tree> {}

const toGiven = (tree: Tree): Given =>
  Object.fromEntries([...tree].map(([name, inner]) => [name, inner.size === 0 ? true : { include: toGiven(inner) }]))
