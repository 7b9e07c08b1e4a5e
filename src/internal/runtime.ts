/** The Node that is needed, and what is said on an older one: without it, that some function of Node is undefined. */

/** The least version of Node, as `engines` of the package has it: Effect's own. */
export const leastNode = "22.19"

interface Versions {
  readonly node?: string
  readonly bun?: string
  readonly deno?: string
}

const numbers = (version: string): ReadonlyArray<number> => version.split(".").map(Number)

const versions = (): Versions | undefined =>
  (globalThis as { readonly process?: { readonly versions?: Versions } }).process?.versions

/** Throws an error that says which Node is needed, on one that is too old. Other runtimes than Node are let through. */
export const requireNode = (found: Versions | undefined = versions()): void => {
  const { node, bun, deno } = found ?? {}
  if (node === undefined || bun !== undefined || deno !== undefined) return
  const [major = 0, minor = 0] = numbers(node)
  const [leastMajor = 0, leastMinor = 0] = numbers(leastNode)
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return
  throw new Error(
    `effect-s3db needs Node ${leastNode} or later, and this is Node ${node}: run it with a newer one (https://nodejs.org)`
  )
}
