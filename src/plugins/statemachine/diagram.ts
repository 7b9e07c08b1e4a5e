/**
 * Pictures of machines: as text for Mermaid and Graphviz, and as SVG. And what can be told of a machine by looking at it.
 *
 * @since 0.1.0
 */
import { activeIn, leafOf, type State } from "./definition.ts"

/**
 * What is drawn of a machine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Drawn {
  readonly name: string
  readonly initial: string
  readonly states: ReadonlyMap<string, State>
}

/**
 * How a machine is drawn.
 *
 * @category models
 * @since 0.1.0
 */
export interface DrawOptions {
  /** How many entities are in each state, to be written beside its name. Default: none. */
  readonly counts?: Readonly<Record<string, number>> | undefined
}

/**
 * What leads from one state to another: an event, or a trigger whose event is not known before it is made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Edge {
  readonly from: string
  /** The state that is entered; that of `from` where none is. */
  readonly to: string
  readonly event: string
  readonly guarded: boolean
  /** When it comes by itself, for people. */
  readonly by: ReadonlyArray<string>
}

/**
 * Lists all that leads from one state to another, in the order of its declaration.
 *
 * @category getters
 * @since 0.1.0
 */
export const edgesOf = ({ states }: Pick<Drawn, "states">): ReadonlyArray<Edge> =>
  [...states.values()].flatMap(({ name, on }) =>
    [...on].flatMap(([event, routes]) =>
      routes.map(({ guard, target }): Edge => ({
        from: name,
        to: target ?? name,
        event,
        guarded: guard !== undefined,
        by: [...states.values()].flatMap(({ path, triggers }) =>
          path.includes(name)
            ? triggers.flatMap(({ label, sends, sendsOnMost }) => [
                ...(sends === event ? [label] : []),
                ...(sendsOnMost === event ? [`after the last ${label}`] : [])
              ])
            : []
        )
      }))
    )
  )

const labelOf = ({ by, event, guarded }: Edge): string =>
  `${event}${guarded ? " [?]" : ""}${by.length === 0 ? "" : ` (${[...new Set(by)].join(", ")})`}`

const countOf = (counts: DrawOptions["counts"], name: string): number | undefined =>
  counts !== undefined && Object.hasOwn(counts, name) ? counts[name] : undefined

const titleOf = (name: string, counts: DrawOptions["counts"]): string => {
  const count = countOf(counts, name)
  const last = name.split(".").at(-1)!
  return count === undefined ? last : `${last}: ${count}`
}

/** The states that lie directly in one, or in none. */
const inside = (states: Drawn["states"], name: string | undefined): ReadonlyArray<State> =>
  [...states.values()].filter(({ path }) => path[1] === name)

// -----------------------------------------------------------------------------
// Text
// -----------------------------------------------------------------------------

/** Text that ends no line and no label of Mermaid. */
const plain = (text: string): string => text.replaceAll(/[\s;:#"<>{}]+/g, " ").trim()

/**
 * Draws a machine as a state diagram of Mermaid.
 *
 * @category conversions
 * @since 0.1.0
 */
export const mermaid = (machine: Drawn, { counts }: DrawOptions = {}): string => {
  const { initial, states } = machine
  const ids = new Map([...states.keys()].map((name, i) => [name, `s${i}`]))
  const lines = ["stateDiagram-v2"]
  const draw = (around: string | undefined, indent: string) => {
    const first = around === undefined ? initialIn(states, initial) : states.get(around)?.initial
    if (first !== undefined) lines.push(`${indent}[*] --> ${ids.get(first)}`)
    for (const { color, description, final, name } of inside(states, around)) {
      const id = ids.get(name)!
      const title = plain(titleOf(name, undefined)) || id
      const count = countOf(counts, name)
      const label = [
        title,
        ...(count === undefined ? [] : [`(${count})`]),
        ...(description === undefined ? [] : [plain(description)])
      ]
      lines.push(`${indent}state "${label.join(" ")}" as ${id}`)
      if (color !== undefined) lines.push(`${indent}style ${id} fill:${plain(color)}`)
      if (inside(states, name).length > 0) {
        lines.push(`${indent}state ${id} {`)
        draw(name, `${indent}  `)
        lines.push(`${indent}}`)
      }
      if (final) lines.push(`${indent}${id} --> [*]`)
    }
  }
  draw(undefined, "  ")
  for (const edge of edgesOf(machine)) {
    lines.push(`  ${ids.get(edge.from)} --> ${ids.get(edge.to)} : ${plain(labelOf(edge))}`)
  }
  return lines.join("\n")
}

const initialIn = (states: Drawn["states"], initial: string): string => states.get(initial)?.path.at(-1) ?? initial

const quoted = (text: string): string =>
  `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", " ")}"`

/**
 * Draws a machine as a graph in the language of Graphviz.
 *
 * @category conversions
 * @since 0.1.0
 */
export const dot = (machine: Drawn, { counts }: DrawOptions = {}): string => {
  const { initial, name: title, states } = machine
  const lines = [
    `digraph ${quoted(title)} {`,
    "  rankdir=LR;",
    "  compound=true;",
    '  node [shape=box, style="rounded,filled", fillcolor=white];',
    '  "" [shape=point];'
  ]
  const draw = (around: string | undefined, indent: string) => {
    for (const { color, final, name } of inside(states, around)) {
      const attributes = [
        `label=${quoted(titleOf(name, counts))}`,
        ...(final ? ["peripheries=2"] : []),
        ...(color === undefined ? [] : [`fillcolor=${quoted(color)}`])
      ].join(", ")
      if (inside(states, name).length === 0) {
        lines.push(`${indent}${quoted(name)} [${attributes}];`)
        continue
      }
      lines.push(
        `${indent}subgraph ${quoted(`cluster ${name}`)} {`,
        `${indent}  label=${quoted(titleOf(name, counts))};`
      )
      draw(name, `${indent}  `)
      lines.push(`${indent}}`)
    }
  }
  draw(undefined, "  ")
  lines.push(`  "" -> ${quoted(initial)};`)
  for (const edge of edgesOf(machine)) {
    // Clusters have no edges: they go from and to what is inside, and end at the border.
    const ends = [
      `label=${quoted(labelOf(edge))}`,
      ...(leafOf(states, edge.from) === edge.from ? [] : [`ltail=${quoted(`cluster ${edge.from}`)}`]),
      ...(leafOf(states, edge.to) === edge.to ? [] : [`lhead=${quoted(`cluster ${edge.to}`)}`])
    ]
    lines.push(`  ${quoted(leafOf(states, edge.from))} -> ${quoted(leafOf(states, edge.to))} [${ends.join(", ")}];`)
  }
  lines.push("}")
  return lines.join("\n")
}

// -----------------------------------------------------------------------------
// SVG
// -----------------------------------------------------------------------------

const escaped = (text: string): string =>
  // What XML has no form for is not drawn.
  text
    .toWellFormed()
    // oxlint-disable-next-line no-control-regex
    .replaceAll(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/g, "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")

interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

const letterWidth = 7.5
const boxHeight = 44
const gapX = 150
const gapY = 34

/** How far states are from the first: the columns of the picture. What cannot be reached is in a column of its own. */
const ranksOf = (machine: Drawn): ReadonlyMap<string, number> => {
  const { initial, states } = machine
  const leaves = [...states.keys()].filter((name) => leafOf(states, name) === name)
  const edges = edgesOf(machine)
  const rank = new Map([[initial, 0]])
  let layer = [initial]
  for (let at = 1; layer.length > 0; at++) {
    const next: Array<string> = []
    for (const name of layer) {
      for (const { from, to } of edges) {
        const target = leafOf(states, to)
        if (!(states.get(name)?.path.includes(from) ?? false) || rank.has(target)) continue
        rank.set(target, at)
        next.push(target)
      }
    }
    layer = next
  }
  const last = Math.max(...rank.values()) + 1
  return new Map(leaves.map((name) => [name, rank.get(name) ?? last]))
}

/**
 * Draws a machine as an SVG picture: states in columns by how far they are from the first, those around others as part of their names.
 *
 * @category conversions
 * @since 0.1.0
 */
export const svg = (machine: Drawn, { counts }: DrawOptions = {}): string => {
  const { name: title, states } = machine
  const ranks = ranksOf(machine)
  const rows = new Map<number, number>()
  const boxes = new Map<string, Box>()
  const widest = new Map<number, number>()
  const widthOf = (name: string) => Math.max(90, (Math.max(name.length, 8) + 4) * letterWidth)
  for (const [name, rank] of ranks) widest.set(rank, Math.max(widest.get(rank) ?? 0, widthOf(name)))
  const left = (rank: number) => {
    let x = 60
    for (let i = 0; i < rank; i++) x += (widest.get(i) ?? 0) + gapX
    return x
  }
  for (const [name, rank] of ranks) {
    const row = rows.get(rank) ?? 0
    rows.set(rank, row + 1)
    boxes.set(name, { x: left(rank), y: 60 + row * (boxHeight + gapY), width: widthOf(name), height: boxHeight })
  }
  const leavesIn = (name: string) => [...ranks.keys()].filter((leaf) => states.get(leaf)!.path.includes(name))
  /** Between the same two states there is one line for all events. */
  const lines = new Map<string, { readonly from: Box; readonly to: Box; readonly labels: Array<string> }>()
  for (const edge of edgesOf(machine)) {
    for (const leaf of leavesIn(edge.from)) {
      const to = edge.to === edge.from && edge.to !== leaf ? leaf : leafOf(states, edge.to)
      const key = JSON.stringify([leaf, to])
      const line = lines.get(key) ?? { from: boxes.get(leaf)!, to: boxes.get(to)!, labels: [] }
      line.labels.push(labelOf(edge))
      lines.set(key, line)
    }
  }
  const width = Math.max(...[...boxes.values()].map((box) => box.x + box.width)) + 80
  const height = Math.max(...[...boxes.values()].map((box) => box.y + box.height)) + 60
  const texts = (x: number, y: number, labels: ReadonlyArray<string>) =>
    labels
      .map(
        (label, i) =>
          `<text x="${x}" y="${y - (labels.length - 1 - i) * 13}" text-anchor="middle" class="e">${escaped(label)}</text>`
      )
      .join("")
  const drawLine = ({
    from,
    labels,
    to
  }: {
    readonly from: Box
    readonly to: Box
    readonly labels: ReadonlyArray<string>
  }) => {
    if (from === to) {
      const [x, y] = [from.x + from.width / 2, from.y]
      return `<path d="M ${x - 16} ${y} C ${x - 24} ${y - 30}, ${x + 24} ${y - 30}, ${x + 16} ${y}"/>${texts(x, y - 25, labels)}`
    }
    const isAhead = to.x > from.x
    const [x1, y1] = [
      isAhead ? from.x + from.width : from.x + from.width / 2,
      from.y + (isAhead ? from.height / 2 : from.height)
    ]
    const [x2, y2] = [isAhead ? to.x : to.x + to.width / 2, to.y + (isAhead ? to.height / 2 : to.height)]
    // Back, and within a column, below the boxes.
    const bend = isAhead ? `C ${x1 + gapX / 2} ${y1}, ${x2 - gapX / 2} ${y2}` : `C ${x1} ${y1 + 40}, ${x2} ${y2 + 40}`
    const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2 + (isAhead ? -6 : 28)]
    return `<path d="M ${x1} ${y1} ${bend}, ${x2} ${y2}"/>${texts(x, y, labels)}`
  }
  const drawState = ([name, box]: readonly [string, Box]) => {
    const { color, description, final } = states.get(name)!
    const { height: h, width: w, x, y } = box
    const count = countOf(counts, name)
    const inner = final ? `<rect x="${x + 3}" y="${y + 3}" width="${w - 6}" height="${h - 6}" rx="7" fill="none"/>` : ""
    const middle = x + w / 2
    const texts =
      count === undefined
        ? `<text x="${middle}" y="${y + 27}" text-anchor="middle">${escaped(name)}</text>`
        : `<text x="${middle}" y="${y + 20}" text-anchor="middle">${escaped(name)}</text><text x="${middle}" y="${y + 36}" text-anchor="middle" class="n">${count}</text>`
    const hint = description === undefined ? "" : `<title>${escaped(description)}</title>`
    return `<g>${hint}<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="10" fill="${escaped(color ?? "#ffffff")}"/>${inner}${texts}</g>`
  }
  const first = boxes.get(machine.initial)!
  const start = `<circle cx="20" cy="${first.y + first.height / 2}" r="6" fill="#333333"/><path d="M 26 ${first.y + first.height / 2} L ${first.x} ${first.y + first.height / 2}"/>`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">`,
    `<defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M 0 0 L 10 5 L 0 10 z" fill="#333333" stroke="none" marker-end="none"/></marker></defs>`,
    `<style>text{font:13px sans-serif;fill:#111111}.e{font-size:11px}.n{font-weight:bold}rect{stroke:#333333}path{stroke:#333333;fill:none;marker-end:url(#a)}</style>`,
    `<rect x="0" y="0" width="${width}" height="${height}" fill="#fafafa" style="stroke:none"/>`,
    start,
    ...[...lines.values()].map(drawLine),
    ...[...boxes].map(drawState),
    "</svg>"
  ].join("\n")
}

// -----------------------------------------------------------------------------
// Analysis
// -----------------------------------------------------------------------------

/**
 * What can be told of a machine by looking at it, whatever its guards say.
 *
 * @category models
 * @since 0.1.0
 */
export interface Analysis {
  /** States that no event leads to. */
  readonly unreachable: ReadonlyArray<string>
  /** States that can be reached, are not final, and that no event leads out of, or only to one another. */
  readonly dead: ReadonlyArray<string>
  /** Final states that can be reached. */
  readonly ends: ReadonlyArray<string>
  /** For each state that can be reached the events of a shortest way from the first. */
  readonly ways: Readonly<Record<string, ReadonlyArray<string>>>
}

/**
 * Looks at a machine.
 *
 * @category getters
 * @since 0.1.0
 */
export const analyze = (machine: Drawn): Analysis => {
  const { initial, states } = machine
  const leaves = [...states.keys()].filter((name) => leafOf(states, name) === name)
  const edges = edgesOf(machine)
  const nextOf = (name: string) =>
    edges.flatMap(({ event, from, to }) =>
      activeIn(states, name).includes(from) && to !== from ? [{ event, to: leafOf(states, to) }] : []
    )
  const ways = new Map<string, ReadonlyArray<string>>([[initial, []]])
  // It grows while it is walked.
  for (const [name, way] of ways) {
    for (const { event, to } of nextOf(name)) if (!ways.has(to)) ways.set(to, [...way, event])
  }
  const isFinal = (name: string) => states.get(name)!.path.some((one) => states.get(one)!.final)
  const ends = leaves.filter((name) => ways.has(name) && isFinal(name))
  const hasFinal = [...states.values()].some(({ final }) => final)
  // Backwards from where it may end; of a machine without an end what has a way on, to another state, is alive.
  const alive = new Set(hasFinal ? ends : leaves.filter((name) => nextOf(name).some(({ to }) => to !== name)))
  for (let size = -1; size < alive.size;) {
    size = alive.size
    for (const name of leaves) if (nextOf(name).some(({ to }) => alive.has(to))) alive.add(name)
  }
  return {
    unreachable: leaves.filter((name) => !ways.has(name)),
    dead: leaves.filter((name) => ways.has(name) && !alive.has(name)),
    ends,
    ways: Object.fromEntries(ways)
  }
}
