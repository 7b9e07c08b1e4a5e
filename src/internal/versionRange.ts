/** Versions of packages and the ranges that npm writes, as far as plugins need them. */

type Version = readonly [major: number, minor: number, patch: number]

const pattern = /^(\^|~|>=)?\s*v?(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?(-[\w.-]+)?(?:\+[\w.-]+)?$/

const numberOf = (text: string | undefined): number | undefined => {
  const number = Number(text)
  return text === undefined || Number.isNaN(number) ? undefined : number
}

const compare = (a: Version, b: Version): number => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]

/** Tells whether a version is one of a range; one that cannot be read is, since nobody can tell. */
export const satisfies = (version: string, range: string): boolean => {
  const parts = pattern.exec(version.trim())
  if (parts === null || parts[1] !== undefined) return true
  const found: Version = [Number(parts[2]), numberOf(parts[3]) ?? 0, numberOf(parts[4]) ?? 0]
  return range.split("||").some((one) => isWithin(found, one.trim()))
}

const isWithin = (found: Version, range: string): boolean => {
  if (range === "*" || range === "") return true
  const parts = pattern.exec(range)
  if (parts === null) return true
  const [, operator, major, minor, patch] = parts
  const least: Version = [Number(major), numberOf(minor) ?? 0, numberOf(patch) ?? 0]
  if (operator === ">=") return compare(found, least) >= 0
  return compare(found, least) >= 0 && compare(found, above(operator, least, numberOf(minor), numberOf(patch))) < 0
}

/** The least version that is too new. */
const above = (
  operator: string | undefined,
  [major, minor, patch]: Version,
  hasMinor: number | undefined,
  hasPatch: number | undefined
): Version => {
  if (hasMinor === undefined) return [major + 1, 0, 0]
  if (operator === "^") {
    if (major > 0) return [major + 1, 0, 0]
    if (minor > 0 || hasPatch === undefined) return [0, minor + 1, 0]
    return [0, 0, patch + 1]
  }
  return operator === "~" || hasPatch === undefined ? [major, minor + 1, 0] : [major, minor, patch + 1]
}
