/** What is given to a benchmark on the command line. */

/** The text of `--name=text`. */
export const optionOf = (name: string): string | undefined => {
  const option = `--${name}=`
  return process.argv.find((one) => one.startsWith(option))?.slice(option.length)
}

/** The number of `--name=number`, or the one by default. */
export const countOf = (name: string, otherwise: number, least = 1): number => {
  const given = optionOf(name)
  const count = given === undefined ? otherwise : Number(given)
  if (!Number.isSafeInteger(count) || count < least) throw new Error(`--${name} has to be a whole number from ${least}`)
  return count
}
