/** Random values of every attribute type, from a seed. */
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { eanCheckDigit, ip6Text } from "../../src/internal/formats.ts"

export interface Random {
  /** From 0 to below n. */
  readonly int: (n: number) => number
  readonly unit: () => number
  readonly pick: <A>(items: ReadonlyArray<A>) => A
  readonly many: <A>(most: number, one: () => A) => Array<A>
}

/** mulberry32 (T. Ettinger). */
export const random = (seed: number): Random => {
  let state = seed >>> 0
  const unit = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (n: number): number => Math.floor(unit() * n)
  return {
    int,
    unit,
    pick: (items) => items[int(items.length)]!,
    many: (most, one) => Array.from({ length: int(most + 1) }, one)
  }
}

const planes = [
  [0x20, 0x7e],
  [0, 0x1f],
  [0x7f, 0xff],
  [0x100, 0x7ff],
  [0x800, 0xd7ff],
  [0xd800, 0xdfff],
  [0xe000, 0xffff],
  [0x10000, 0x1ffff],
  [0x20000, 0x2ffff],
  [0xe0000, 0xeffff],
  [0xf0000, 0x10ffff]
] as const

const marks = [
  "n:",
  "s:",
  "j:",
  "u:",
  "b:",
  "w:",
  "d:",
  "e:",
  "o:",
  "|",
  "\\",
  "%",
  "null",
  " ",
  "  ",
  "=?",
  "$",
  "^",
  "~",
  "#"
]

export const text = (r: Random): string => {
  const kind = r.int(6)
  if (kind === 0) return r.many(20, () => r.pick("0123456789abcdef".split(""))).join("")
  if (kind === 1)
    return r
      .many(30, () => r.pick("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".split("")))
      .join("")
  if (kind === 2) return r.many(8, () => r.pick([...marks, "the ", "user", ".com"])).join("")
  const ranges = kind === 3 ? planes.slice(0, 1) : planes
  return r
    .many(kind === 3 ? 60 : 20, () => {
      const [from, to] = r.pick(ranges)
      return String.fromCodePoint(from + r.int(to - from + 1))
    })
    .join("")
}

export const number = (r: Random): number => {
  switch (r.int(7)) {
    case 0:
      return r.int(1000) - 500
    case 1:
      return Math.round((r.unit() - 0.5) * 2 ** 53)
    case 2:
      return (r.int(2_000_001) - 1_000_000) / 10 ** r.int(8)
    case 3:
      return (r.unit() - 0.5) * 10 ** (r.int(600) - 300)
    case 4:
      return new Float64Array(new Uint32Array([r.int(2 ** 32), r.int(0x7ff00000)]).buffer)[0]!
    case 5:
      return -0
    default:
      return r.unit()
  }
}

export const json = (r: Random, depth = 0): null | number | string | boolean | Array<unknown> | object => {
  switch (r.int(depth > 2 ? 4 : 6)) {
    case 0:
      return null
    case 1:
      return number(r)
    case 2:
      return text(r)
    case 3:
      return r.int(2) === 0
    case 4:
      return r.many(4, () => json(r, depth + 1))
    default:
      return Object.fromEntries(
        r.many(4, () => [text(r), json(r, depth + 1)] as const).filter(([key]) => key !== "__proto__")
      )
  }
}

const digits = (r: Random, length: number): string => Array.from({ length }, () => r.int(10)).join("")
const hex = (r: Random, length: number): string => Array.from({ length }, () => r.int(16).toString(16)).join("")
const pad = (value: number, width: number): string => String(value).padStart(width, "0")
const bytes = (r: Random, length: number): Uint8Array => Uint8Array.from({ length }, () => r.int(256))
const date = (r: Random): Date => new Date(Math.round((r.unit() - 0.3) * r.pick([1e6, 1e12, 4e12, 8.64e15])))
const decimal = (r: Random, scale: number): BigDecimal.BigDecimal =>
  BigDecimal.make((BigInt(digits(r, 1 + r.int(25))) * (r.int(2) === 0 ? 1n : -1n)) % 10n ** 24n, r.int(scale + 1))
const ip4 = (r: Random): string => Array.from({ length: 4 }, () => r.int(256)).join(".")
const ip6 = (r: Random): string => {
  const value = bytes(r, 16)
  for (let i = 0; i < 16; i += 2) if (r.int(2) === 0) value[i] = value[i + 1] = 0
  const canonical = ip6Text(value)
  return r.int(4) === 0 ? canonical.toUpperCase() : canonical
}

/** By the name of the sample. Types that are not here have enough samples of their own. */
export const generators: Readonly<Record<string, (r: Random) => unknown>> = {
  string: text,
  number,
  integer: (r) => Math.round((r.unit() - 0.5) * 2 * Number.MAX_SAFE_INTEGER),
  date,
  datetime: (r) => DateTime.makeUnsafe(date(r)),
  "date-only": (r) => {
    const at = new Date(Date.UTC(r.int(10_000), r.int(12), 1 + r.int(28)))
    at.setUTCFullYear(r.int(10_000))
    return at.toISOString().slice(0, 10)
  },
  "time-only": (r) => {
    const time = `${pad(r.int(24), 2)}:${pad(r.int(60), 2)}`
    return r.pick([time, `${time}:${pad(r.int(60), 2)}`, `${time}:${pad(r.int(60), 2)}.${pad(r.int(1000), 3)}`])
  },
  duration: (r) => r.pick([Duration.millis(r.int(1e9)), Duration.nanos(BigInt(r.int(1e9)))]),
  uuid: (r) => `${hex(r, 8)}-${hex(r, 4)}-${hex(r, 4)}-${hex(r, 4)}-${hex(r, 12)}`,
  ulid: (r) => r.int(8) + Array.from({ length: 25 }, () => "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[r.int(32)]).join(""),
  ip4,
  ip6,
  cidr: (r) => (r.int(2) === 0 ? `${ip4(r)}/${r.int(33)}` : `${ip6(r)}/${r.int(129)}`),
  mac: (r) => Array.from({ length: 6 }, () => hex(r, 2)).join(r.pick([":", "-"])),
  semver: (r) => `${r.int(100)}.${r.int(1000)}.${r.int(70)}${r.pick(["", "", "-rc.1"])}`,
  phone: (r) => `+${1 + r.int(9)}${digits(r, 6 + r.int(9))}`,
  color: (r) => `#${hex(r, r.pick([3, 4, 6, 8]))}`,
  ean: (r) => {
    const body = digits(r, r.pick([7, 11, 12, 13]))
    return body + eanCheckDigit(body)
  },
  money: (r) => decimal(r, 2),
  crypto: (r) => decimal(r, 18),
  decimal: (r) => decimal(r, 3),
  latitude: (r) => Math.round((r.unit() - 0.5) * 180e6) / 1e6,
  longitude: (r) => (r.unit() - 0.5) * 360,
  point: (r) => ({ latitude: Math.round((r.unit() - 0.5) * 180e5) / 1e5, longitude: (r.unit() - 0.5) * 360 }),
  embedding: (r) => Array.from({ length: 4 }, () => Math.round((r.unit() - 0.5) * 4e6) / 1e6 + 0),
  bytes: (r) => bytes(r, r.int(40)),
  bits: (r) => Uint8Array.of(r.int(256), r.int(16) * 16),
  json,
  "array of text": (r) => r.many(5, () => text(r)),
  "array of numbers": (r) => r.many(5, () => number(r)),
  "array of arrays": (r) => r.many(3, () => r.many(3, () => text(r))),
  record: (r) =>
    Object.fromEntries(r.many(4, () => [text(r), number(r)] as const).filter(([key]) => key !== "__proto__")),
  option: (r) => r.pick([Option.none(), Option.some(text(r))]),
  secret: (r) => Redacted.make(text(r)),
  "secret json": (r) => Redacted.make(json(r) ?? [null])
}
