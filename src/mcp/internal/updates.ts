/** Which pages have changed: those of resources whose definition a call has found to be another one than before. No request of its own. */
import type { Database } from "../../Database.ts"

type Info = {
  readonly name: string
  readonly version: number
  readonly definition?: unknown
}

interface Watched {
  /** By name, what was seen last; `undefined`: nothing yet. */
  seen: ReadonlyMap<string, string> | undefined
  readonly listeners: Set<(uri: string) => void>
}

const all = new WeakMap<Database["Service"], Watched>()

const watchedOf = (database: Database["Service"]): Watched => {
  const found = all.get(database) ?? { seen: undefined, listeners: new Set() }
  all.set(database, found)
  return found
}

export const overview = "s3db://overview"

export const uriOfResource = (name: string): string => `s3db://resource/${encodeURIComponent(name)}`

/** Tells of what is different in the resources that a server shows. */
export const notice = (database: Database["Service"], resources: ReadonlyArray<Info>): void => {
  const watched = watchedOf(database)
  if (watched.listeners.size === 0) return
  const before = watched.seen
  const now = new Map(
    resources.map(({ definition, name, version }) => [name, JSON.stringify([version, definition ?? null])])
  )
  watched.seen = now
  if (before === undefined) return
  const changed = [...new Set([...before.keys(), ...now.keys()])].filter((name) => before.get(name) !== now.get(name))
  for (const uri of changed.length === 0 ? [] : [overview, ...changed.map(uriOfResource)]) {
    for (const listener of watched.listeners) listener(uri)
  }
}

/** Listens until the function that it gives is called. */
export const listen = (database: Database["Service"], listener: (uri: string) => void): (() => void) => {
  const { listeners } = watchedOf(database)
  listeners.add(listener)
  return () => listeners.delete(listener)
}
