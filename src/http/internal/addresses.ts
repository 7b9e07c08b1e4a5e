/**
 * Addresses that secrets may be sent to, and those that a browser may be sent back to.
 *
 * @since 0.1.0
 */

/** Whether it is `https`, or `http` of this machine. */
export const isSafe = (url: string): boolean => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const isNear = parsed !== undefined && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(parsed.hostname)
  return parsed?.protocol === "https:" || (parsed?.protocol === "http:" && isNear)
}

const maxLength = 2048

/** Browsers take `\` for `/`, leave out control characters, and take what begins with `//` for another host. */
const leadsAway = (path: string): boolean => !/^\/(?![/\\])/.test(path) || /[\\\p{Cc}\p{Zl}\p{Zp}]/u.test(path)

const decoded = (path: string): string => {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/**
 * Whether it is a path of this origin, however often somebody on the way decodes it: no other host, no scheme, nothing that a browser and
 * we would read differently.
 */
export const isLocalPath = (path: string, origin: string): boolean => {
  if (path.length > maxLength || !path.isWellFormed() || leadsAway(path)) return false
  // In the query an address is nothing but a value.
  let text = path.split(/[?#]/)[0] ?? ""
  for (let i = 0; i < 4; i++) {
    const next = decoded(text)
    if (next === text) return URL.canParse(path, origin) && new URL(path, origin).origin === origin
    if (leadsAway(next)) return false
    text = next
  }
  return false
}
