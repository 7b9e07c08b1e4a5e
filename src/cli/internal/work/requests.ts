/** Queries as the flags ask for them. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as DbError from "../../../DbError.ts"
import type { Json } from "../../../encoding/Json.ts"
import * as Query from "../../../Query.ts"
import { Usage } from "../failure.ts"
import { didYouMean } from "../../../internal/nearest.ts"
import * as notation from "../notation.ts"
import type { resource } from "./opening.ts"

export type Opened = Effect.Success<ReturnType<typeof resource>>

export interface Part {
  readonly partition: Option.Option<string>
  readonly value: ReadonlyArray<string>
  readonly from: Option.Option<string>
  readonly to: Option.Option<string>
  readonly startsWith: Option.Option<string>
}

export interface Within {
  readonly partition?: string
  readonly values?: Readonly<Record<string, Json>>
  readonly from?: Json
  readonly to?: Json
  readonly startsWith?: string
}

export interface Asked extends Part {
  readonly where: ReadonlyArray<string>
  readonly scan: boolean
  readonly allowStale?: boolean
}

const codecOf = ({ definition }: Opened, path: string): string | undefined =>
  path === definition.primaryKey
    ? "string"
    : definition.attributes.find((attribute) => attribute.path.join(".") === path)?.codec

/** A value for a field that is given as `path=value`, in its JSON form. */
export const assignments = Effect.fnUntraced(function* (opened: Opened, texts: ReadonlyArray<string>, flag: string) {
  const found: Record<string, Json> = {}
  for (const text of texts) {
    const parsed = notation.assignment(text)
    if (parsed === undefined) return yield* new Usage({ description: `${flag} has to be field=value` })
    const [path, value] = parsed
    if (notation.isForbidden(path)) {
      return yield* new Usage({ description: `${flag} ${path}: no field can have this name` })
    }
    if (Object.hasOwn(found, path)) return yield* new Usage({ description: `${flag} has ${path} twice` })
    found[path] = notation.valueFor(codecOf(opened, path), value)
  }
  return found
})

/** The part of a resource that is meant. */
export const within = Effect.fnUntraced(function* (opened: Opened, part: Part): Effect.fn.Return<Within, Usage> {
  const { partitions, name: resource } = opened.definition
  if (Option.isNone(part.partition)) {
    if (part.value.length > 0 || [part.from, part.to, part.startsWith].some(Option.isSome)) {
      return yield* new Usage({ description: "--value, --from, --to and --starts-with go with --partition" })
    }
    return {}
  }
  const name = part.partition.value
  const names = Object.keys(partitions)
  const definition = Object.hasOwn(partitions, name) ? partitions[name] : undefined
  if (definition === undefined) {
    const there = names.length === 0 ? "there is none" : `there are ${names.join(", ")}`
    return yield* new Usage({
      description: `${resource} has no partition called ${JSON.stringify(name)}: ${there}${didYouMean(name, names)}`
    })
  }
  const values = yield* assignments(opened, part.value, "--value")
  // The bounds are of the field that follows.
  const next = definition.fields.map(({ path }) => path.join(".")).find((path) => !Object.hasOwn(values, path))
  const bound = (text: string): Json => notation.valueFor(next === undefined ? undefined : codecOf(opened, next), text)
  return {
    partition: name,
    values,
    ...Option.match(part.from, { onNone: () => ({}), onSome: (text) => ({ from: bound(text) }) }),
    ...Option.match(part.to, { onNone: () => ({}), onSome: (text) => ({ to: bound(text) }) }),
    ...Option.match(part.startsWith, { onNone: () => ({}), onSome: (startsWith) => ({ startsWith }) })
  }
})

/** The conditions, all of which have to be met. */
export const predicate = Effect.fnUntraced(function* ({ repository }: Opened, texts: ReadonlyArray<string>) {
  const all: Array<Query.Predicate> = []
  for (const text of texts) {
    const twice = /^\s*([^\s=<>!~^?{]+)\s*={2,}\s*([\s\S]*)$/.exec(text)
    if (twice !== null) {
      return yield* new Usage({
        description: `--where ${JSON.stringify(text)}: one = compares, ${twice[1]}=${twice[2]}; a text that begins with = stands in quotes, ${twice[1]}="=..."`
      })
    }
    const forms = notation.condition(text)
    if (forms === undefined) {
      return yield* new Usage({
        description: `--where ${JSON.stringify(text)} is no condition: write ${notation.conditionHelp}`
      })
    }
    let first: DbError.InvalidInput | undefined
    let found: Query.Predicate | undefined
    for (const form of forms) {
      if (found !== undefined) break
      found = yield* repository.parseWhere(form).pipe(
        Effect.catchTag("InvalidInput", (error) => {
          first ??= error
          return Effect.succeed(undefined)
        })
      )
    }
    if (found !== undefined) all.push(found)
    else if (first !== undefined) return yield* first
  }
  return all.length < 2 ? all[0] : Query.and(...all)
})

/** A request: where, in which partition. */
export const request = Effect.fnUntraced(function* (opened: Opened, asked: Asked) {
  return {
    ...(yield* within(opened, asked)),
    predicate: yield* predicate(opened, asked.where),
    ...(asked.scan ? { scan: true } : {}),
    ...(asked.allowStale === true ? { allowStale: true } : {})
  }
})

/** The names of a list with commas. */
export const listed = (text: Option.Option<string>): ReadonlyArray<string> | undefined =>
  Option.match(text, {
    onNone: () => undefined,
    onSome: (names) =>
      names
        .split(",")
        .map((name) => name.trim())
        .filter((name) => name !== "")
  })
