/**
 * Notes about objects of others, which nobody sees: neither among their keys nor when they are copied or compared.
 *
 * A private field that is put on an object does what a `WeakMap` does, at a thirtieth of its cost: the collector has to look at each
 * entry of a map again, and a value that is read seldom lives long.
 */

/** Gives out the object that it is given, so that the fields of a class below are put on that. */
const Given = function (object: object) {
  return object
} as unknown as new (object: object) => object

class Stamp extends Given {
  #owner: object
  #note: unknown

  constructor(object: object, owner: object, note: unknown) {
    super(object)
    this.#owner = owner
    this.#note = note
  }

  /** Whether it could be noted: an object has room for the notes of one owner. */
  static put(object: object, owner: object, note: unknown): boolean {
    if (!(#owner in object)) return #owner in new Stamp(object, owner, note)
    if (object.#owner !== owner) return false
    object.#note = note
    return true
  }

  static noteOf(object: object, owner: object): unknown {
    return #owner in object && object.#owner === owner ? object.#note : undefined
  }
}

/** The notes of one owner. */
export interface Notes<A> {
  readonly set: (object: object, note: A) => void
  readonly get: (object: object) => A | undefined
}

/** Makes notes of one's own about objects, each of which is kept as long as its object is. */
export const makeNotes = <A>(): Notes<A> => {
  const owner = {}
  // Of objects that have notes of somebody else, or may not have any.
  const others = new WeakMap<object, A>()
  const put = (object: object, note: A): boolean => {
    try {
      return Stamp.put(object, owner, note)
    } catch {
      return false
    }
  }
  return {
    set: (object, note) => {
      if (!put(object, note)) others.set(object, note)
    },
    get: (object) =>
      typeof object === "object" && object !== null
        ? ((Stamp.noteOf(object, owner) as A | undefined) ?? others.get(object))
        : undefined
  }
}
