/**
 * The companions of a resource that this program knows: those that it declares, and those that plugins have added.
 *
 * @since 0.1.0
 */
import { isSameDefinition } from "../Catalog.ts"
import type * as Companion from "../Companion.ts"

/**
 * The companions of a resource that this program knows, whether the catalog lists them or not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Companions {
  /** It grows whenever one is added. */
  readonly revision: () => number
  /** The definition under a name, if there is one. */
  readonly get: (name: string) => Companion.Definition | undefined
  /** The function of a companion of which the catalog says this; `undefined`: it is another one, or none is known. */
  readonly keysOf: (name: string, definition: Companion.Definition) => Companion.Options["keys"] | undefined
  /** Adds companions; one of the same name that is defined otherwise gives way. */
  readonly add: (name: string, definition: Companion.Definition, keys: Companion.Options["keys"]) => void
  /** Takes one out. */
  readonly remove: (name: string) => void
}

/**
 * Makes the companions of a resource that is being opened: none. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Companions => {
  const known = new Map<
    string,
    { readonly definition: Companion.Definition; readonly keys: Companion.Options["keys"] }
  >()
  let revision = 0
  return {
    revision: () => revision,
    get: (name) => known.get(name)?.definition,
    keysOf: (name, definition) => {
      const one = known.get(name)
      return one !== undefined && isSameDefinition(one.definition, definition) ? one.keys : undefined
    },
    add: (name, definition, keys) => {
      known.set(name, { definition, keys })
      revision += 1
    },
    remove: (name) => {
      known.delete(name)
      revision += 1
    }
  }
}
