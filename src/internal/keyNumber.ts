/** Numbers as a part of a key that sorts as they do: `!` and 13 characters. No percent-encoded text begins with `!`. */

const toBase32 = (value: number): string => {
  const view = new DataView(new ArrayBuffer(8))
  // -0 is 0.
  view.setFloat64(0, value + 0)
  const bits = view.getBigUint64(0)
  const sortable = bits >> 63n === 1n ? ~bits & 0xffff_ffff_ffff_ffffn : bits | (1n << 63n)
  return sortable.toString(32).padStart(13, "0")
}

const fromBase32 = (text: string): number => {
  let sortable = 0n
  for (const character of text) sortable = sortable * 32n + BigInt(Number.parseInt(character, 32))
  const bits = sortable >> 63n === 1n ? sortable & ~(1n << 63n) : ~sortable & 0xffff_ffff_ffff_ffffn
  const view = new DataView(new ArrayBuffer(8))
  view.setBigUint64(0, bits)
  return view.getFloat64(0)
}

/** The bits of the double, those of negative ones inverted, in base 32. The number has to be finite. */
export const encodeNumber = (value: number): string => `!${toBase32(value)}`

/** `undefined` for what no number is encoded as. */
export const decodeNumber = (text: string): number | undefined =>
  /^![0-9a-v]{13}$/.test(text) ? fromBase32(text.slice(1)) : undefined
