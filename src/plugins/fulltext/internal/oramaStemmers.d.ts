/** An optional package: who does not have it can compile all the same. */
declare module "@orama/stemmers/*" {
  export const stemmer: (word: string) => string
}
