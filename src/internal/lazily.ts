/** What is made when it is first asked for: a program opens more than it uses. */

/** Makes a value at the first call, and gives it at each. */
export const lazy = <A>(make: () => A): (() => A) => {
  let made: { readonly value: A } | undefined
  return () => (made ??= { value: make() }).value
}

/** An object that is made as soon as anything of it is asked for. */
export const lazily = <A extends object>(make: () => A): A => {
  const made = lazy(make)
  return new Proxy({} as A, {
    get: (_, member) => Reflect.get(made(), member),
    has: (_, member) => Reflect.has(made(), member),
    ownKeys: () => Reflect.ownKeys(made()),
    getOwnPropertyDescriptor: (_, member) => Reflect.getOwnPropertyDescriptor(made(), member)
  })
}
