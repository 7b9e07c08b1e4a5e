/**
 * Writes objects as s3db.js 16.2 does, by what is known of its layout (it cannot be installed): by hand, and by none of the code that reads
 * them.
 */
import { createCipheriv, pbkdf2Sync, randomBytes } from "node:crypto"
import { passphrase } from "./passphrase.ts"
import type { StoredObject } from "./stored.ts"

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

export const base62 = (value: number): string => {
  if (value < 0) return `-${base62(-value)}`
  return value < 62 ? alphabet[value]! : base62(Math.floor(value / 62)) + alphabet[value % 62]!
}

/** The integer in base 62, its decimals in base 10. */
export const decimal62 = (value: number): string => {
  const [whole, decimals] = String(Math.abs(value)).split(".")
  return `${value < 0 ? "-" : ""}${base62(Number(whole))}${decimals === undefined ? "" : `.${decimals}`}`
}

export const sealed = (text: string, by = passphrase): string => {
  const salt = randomBytes(16)
  const iv = randomBytes(12)
  const cipher = createCipheriv("aes-256-gcm", pbkdf2Sync(by, salt, 100_000, 32, "sha256"), iv)
  const content = Buffer.concat([cipher.update(text, "utf8"), cipher.final()])
  return Buffer.concat([salt, iv, content, cipher.getAuthTag()]).toString("base64")
}

/** What becomes of a text in metadata. */
const inMetadata = (text: string): string => {
  if (/^[dub]:/.test(text)) return `b:${Buffer.from(text).toString("base64")}`
  if (text === "completed") return "d:c"
  if (text.startsWith("/users/")) return `d:@u${text.slice("/users/".length)}`
  if (/^[\x20-\x7e]*$/.test(text)) return text
  const isWide = [...text].filter((one) => one.codePointAt(0)! > 0xff || one < " ").length / [...text].length > 0.3
  return isWide ? `b:${Buffer.from(text).toString("base64")}` : `u:${encodeURIComponent(text)}`
}

export interface Resource {
  readonly name: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly behavior?: string
  readonly partitions?: Readonly<Record<string, unknown>>
  readonly timestamps?: boolean
  /** Other versions than v1, which is what `attributes` are, unless they say otherwise. */
  readonly versions?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export const catalog = (resources: ReadonlyArray<Resource>): StoredObject => {
  const entries = resources.map(
    ({ attributes, behavior = "user-managed", name, partitions = {}, timestamps = false, versions }) => {
      const all = Object.entries(versions ?? { v1: attributes }).map(([version, attributes]) => [
        version,
        {
          hash: "sha256:0",
          attributes,
          behavior,
          timestamps,
          partitions,
          paranoid: true,
          allNestedObjectsOptional: true,
          hooks: {}
        }
      ])
      const currentVersion = String(all.at(-1)![0])
      return [name, { currentVersion, partitions, createdBy: "user", versions: Object.fromEntries(all) }]
    }
  )
  const text = JSON.stringify(
    {
      version: "1",
      s3dbVersion: "16.2.0",
      lastUpdated: "2026-01-01T00:00:00.000Z",
      resources: Object.fromEntries(entries)
    },
    null,
    2
  )
  return { key: "s3db.json", metadata: {}, contentType: "application/json", body: Buffer.from(text).toString("base64") }
}

/** Names of leaves in the order of their declaration, then those of objects. */
const namesOf = (attributes: Readonly<Record<string, unknown>>): ReadonlyArray<string> => {
  const leaves: Array<string> = []
  const objects: Array<string> = []
  const walk = (given: Readonly<Record<string, unknown>>, before: string) => {
    for (const [name, rule] of Object.entries(given)) {
      if (name === "$$type") continue
      const path = `${before}${name}`
      if (typeof rule === "object" && rule !== null && !("type" in rule)) {
        objects.push(path)
        walk(rule as Readonly<Record<string, unknown>>, `${path}.`)
      } else leaves.push(path)
    }
  }
  walk(attributes, "")
  return [...leaves, ...objects]
}

const overflowing = new Set(["body-overflow", "truncate-data", "enforce-limits", "user-managed"])

/**
 * One record. `texts` are its fields by path, as the type of each is stored; how they lie in the object is the behavior's.
 */
export const record = (
  { attributes, behavior = "user-managed", name }: Resource,
  id: string,
  texts: Readonly<Record<string, string>>,
  version = "v1"
): StoredObject => {
  const names = namesOf(attributes)
  const mapped = Object.entries(texts).map(([path, text]) => [base62(names.indexOf(path)), text] as const)
  const key = `resource=${name}/data/id=${id}`
  const object = (
    fields: ReadonlyArray<readonly [string, string]>,
    more: Readonly<Record<string, string>> = {},
    body?: unknown
  ): StoredObject => ({
    key,
    metadata: { ...Object.fromEntries(fields.map(([code, text]) => [code, inMetadata(text)])), _v: version, ...more },
    contentType: body === undefined ? "application/octet-stream" : "application/json",
    body: body === undefined ? "" : Buffer.from(JSON.stringify(body)).toString("base64")
  })
  if (behavior === "body-only") {
    const map = Object.fromEntries(names.map((path, i) => [path, base62(i)]))
    return object([], { _map: JSON.stringify(map) }, { ...Object.fromEntries(mapped), _v: version })
  }
  const bytes = (fields: ReadonlyArray<readonly [string, string]>) =>
    fields.reduce((sum, [, text]) => sum + Buffer.byteLength(text), 0)
  const limit = 1900
  if (bytes(mapped) <= limit || !overflowing.has(behavior)) return object(mapped)
  if (behavior === "user-managed") return object([], {}, { ...Object.fromEntries(mapped), _v: version })
  const bySize = mapped.toSorted(([, a], [, b]) => Buffer.byteLength(a) - Buffer.byteLength(b))
  const fitting: Array<readonly [string, string]> = []
  while (fitting.length < bySize.length && bytes([...fitting, bySize[fitting.length]!]) <= limit) {
    fitting.push(bySize[fitting.length]!)
  }
  const rest = bySize.slice(fitting.length)
  return behavior === "body-overflow"
    ? object(fitting, { _overflow: "true" }, Object.fromEntries(rest))
    : object([...fitting, [rest[0]![0], ""]], { _truncated: "true" })
}
