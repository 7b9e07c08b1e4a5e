/** Values as JSON has them: objects, and what is at a path of names. */

type Path = ReadonlyArray<string>

/** Returns what is at a path: own properties only, so that `constructor` is there when somebody put it there. */
export const valueAt = (value: unknown, path: Path): unknown => {
  let at = value
  for (const name of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Record<string, unknown>)[name]
  }
  return at
}

/** Returns a value without what is at a path. */
export const without = (value: unknown, path: Path): unknown => {
  const [name, ...rest] = path
  if (name === undefined || typeof value !== "object" || value === null) return value
  const { [name]: inner, ...others } = value as Record<string, unknown>
  return rest.length === 0 ? others : { ...others, [name]: without(inner, rest) }
}

/** Tells whether two paths have the same names. */
export const samePath = (a: Path, b: Path): boolean =>
  a.length === b.length && a.every((name, index) => name === b[index])
