/** Objects of a store in memory: found by their keys at once, and in the order of their keys where somebody lists. */
import SortedBTree from "sorted-btree"
import { compareUtf8 } from "../../internal/text.ts"

type TreeClass = typeof SortedBTree.default

/** Objects in order. */
export type Tree<A> = InstanceType<typeof SortedBTree.default<string, A>>

// It is a CommonJS module: loaders disagree on whether its default export is the class or the module.
const exported: TreeClass | { readonly default: TreeClass } = SortedBTree
const Tree: TreeClass = "default" in exported ? exported.default : exported

/**
 * Whether every key so far has only characters of which the order of UTF-16, in which the engine compares, is that of UTF-8. Most
 * have, and are compared thirty times faster.
 */
let areSimple = true

const ofOtherOrder = /[\ud800-\uffff]/

/** Before a key is put into any tree; those that are there are in one order as in the other. */
const noteOrder = (key: string): void => {
  if (areSimple && ofOtherOrder.test(key)) areSimple = false
}

const byKey = (a: string, b: string): number => (areSimple ? (a < b ? -1 : a > b ? 1 : 0) : compareUtf8(a, b))

const hashOf = (key: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

const byHash = (a: string, b: string): number => hashOf(a) - hashOf(b) || compareUtf8(a, b)

/** Objects by their keys. */
export interface Objects<A> {
  readonly get: (key: string) => A | undefined
  readonly set: (key: string, object: A) => void
  readonly delete: (key: string) => void
  /** All of them in order, as they are now: not to be changed. */
  readonly sorted: () => Tree<A>
  /** Takes the place of all of them. What is given is left as it is. */
  readonly restore: (tree: Tree<A>) => void
}

/** No objects, in the order of keys or in none that means anything. */
export const emptyTree = <A>(isOrdered: boolean): Tree<A> => new Tree<string, A>(undefined, isOrdered ? byKey : byHash)

/** Objects in order, from wherever they come. */
export const treeOf = <A>(isOrdered: boolean, objects: Iterable<readonly [string, A]>): Tree<A> => {
  const tree = emptyTree<A>(isOrdered)
  for (const [key, object] of objects) {
    noteOrder(key)
    tree.set(key, object)
  }
  return tree
}

/** So many changes are put into a tree one by one; it is made anew of more than that, and than it has. */
const fewChanges = 256

/** Makes a place for objects. */
export const makeObjects = <A>(isOrdered: boolean): Objects<A> => {
  let tree = emptyTree<A>(isOrdered)
  // All of them; of those of a tree that was given, the ones that have been asked for, and what has been put since.
  let known = new Map<string, A>()
  let isWhole = true
  // What has changed since the tree was in order. `undefined`: so much that it is made anew.
  let changed: Set<string> | undefined = new Set()

  const note = (key: string): void => {
    if (changed === undefined) return
    changed.add(key)
    if (!isWhole || changed.size <= fewChanges || changed.size <= tree.size) return
    changed = undefined
    tree = emptyTree<A>(isOrdered)
  }

  const sorted = () => {
    if (changed === undefined) tree = inOrder(isOrdered, known)
    else {
      for (const key of changed) {
        const object = known.get(key)
        if (object === undefined) tree.delete(key)
        else tree.set(key, object)
      }
    }
    changed = new Set()
    return tree
  }

  return {
    get: (key) => {
      const found = known.get(key)
      if (found !== undefined || isWhole || changed?.has(key) === true) return found
      const object = tree.get(key)
      if (object !== undefined) known.set(key, object)
      return object
    },
    set: (key, object) => {
      noteOrder(key)
      known.set(key, object)
      note(key)
    },
    delete: (key) => {
      known.delete(key)
      note(key)
    },
    sorted,
    restore: (given) => {
      tree = given.clone()
      known = new Map()
      isWhole = tree.size === 0
      changed = new Set()
    }
  }
}

/** A tree of all that is known, the keys of which have been noted. */
const inOrder = <A>(isOrdered: boolean, known: ReadonlyMap<string, A>): Tree<A> => {
  const tree = emptyTree<A>(isOrdered)
  const keys = [...known.keys()].sort(isOrdered ? byKey : byHash)
  for (const key of keys) tree.set(key, known.get(key)!)
  return tree
}
