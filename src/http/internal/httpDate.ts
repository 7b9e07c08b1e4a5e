/**
 * Times as headers have them (RFC 9110, 5.6.7): to the second, so that documents that are written together have one.
 *
 * @since 0.1.0
 */

const known = new Map<number, string>()

/** Of so many seconds the text is remembered. */
const most = 1000

/** The text of a time in milliseconds. */
export const of = (millis: number): string => {
  const second = Math.floor(millis / 1000)
  const before = known.get(second)
  if (before !== undefined) return before
  if (known.size >= most) known.clear()
  const text = new Date(second * 1000).toUTCString()
  known.set(second, text)
  return text
}
