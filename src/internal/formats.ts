/** What a text has to look like: predicates for the formats of attribute types, each after its own standard. */

/** Dotted decimal without leading zeros (RFC 6943, section 3.1.1: "strict"). */
export const isIp4 = (text: string): boolean => ip4Bytes(text) !== undefined

/** The four bytes of an address, or `undefined` when it is none. */
export const ip4Bytes = (text: string): Uint8Array | undefined => {
  const bytes = new Uint8Array(4)
  let at = 0
  let value = -1
  for (let i = 0; i <= text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit >= 0 && digit <= 9) {
      // No number begins with 0 and goes on.
      if (value === 0) return undefined
      value = value < 0 ? digit : value * 10 + digit
      if (value > 255) return undefined
    } else {
      if (value < 0 || at > 3 || (i < text.length && digit !== -2) /* . */) return undefined
      bytes[at++] = value
      value = -1
    }
  }
  return at === 4 ? bytes : undefined
}

export const ip4Text = (bytes: Uint8Array): string => `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`

/** The sixteen bytes of an IPv6 address in any form of RFC 4291, without a zone; `undefined` when it is none. */
export const ip6Bytes = (text: string): Uint8Array | undefined => {
  const { length } = text
  if (length < 2 || length > 45) return undefined
  const bytes = new Uint8Array(16)
  let size = 0
  /** Where `::` stands, in bytes. */
  let gap = -1
  let i = 0
  if (text.charCodeAt(0) === 0x3a) {
    if (text.charCodeAt(1) !== 0x3a) return undefined
    gap = 0
    i = 2
  }
  while (i < length) {
    const start = i
    let value = 0
    for (; i < length; i++) {
      const digit = hexValue(text.charCodeAt(i))
      if (digit < 0) break
      value = value * 16 + digit
    }
    const next = text.charCodeAt(i)
    if (next === 0x2e /* . */) {
      const tail = size <= 12 ? ip4Bytes(text.slice(start)) : undefined
      if (tail === undefined) return undefined
      bytes.set(tail, size)
      size += 4
      break
    }
    if (i === start || i - start > 4 || size > 14) return undefined
    bytes[size++] = value >> 8
    bytes[size++] = value & 0xff
    if (i === length) break
    if (next !== 0x3a) return undefined
    i += 1
    if (text.charCodeAt(i) === 0x3a) {
      if (gap >= 0) return undefined
      gap = size
      i += 1
    } else if (i === length) return undefined
  }
  if (gap < 0) return size === 16 ? bytes : undefined
  if (size > 14) return undefined
  bytes.copyWithin(16 - (size - gap), gap, size)
  bytes.fill(0, gap, 16 - (size - gap))
  return bytes
}

const hexValue = (unit: number): number => {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30
  const lower = unit | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

/** The canonical text of RFC 5952, section 4. */
export const ip6Text = (bytes: Uint8Array): string => {
  let start = -1
  let longest = 1
  for (let i = 0, run = 0; i < 8; i++) {
    run = bytes[i * 2] === 0 && bytes[i * 2 + 1] === 0 ? run + 1 : 0
    if (run > longest) {
      longest = run
      start = i - run + 1
    }
  }
  let text = ""
  for (let i = 0; i < 8; i++) {
    if (i === start) {
      text += "::"
      i += longest - 1
    } else {
      if (text !== "" && !text.endsWith(":")) text += ":"
      text += ((bytes[i * 2]! << 8) | bytes[i * 2 + 1]!).toString(16)
    }
  }
  return text
}

export const isIp6 = (text: string): boolean => ip6Bytes(text) !== undefined

/** An address and the length of its prefix (RFC 4632, RFC 4291). Host bits may be set. */
export const isCidr = (text: string): boolean => {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text)
  if (match === null) return false
  return (isIp4(match[1]!) && Number(match[2]) <= 32) || (isIp6(match[1]!) && Number(match[2]) <= 128)
}

/** Six bytes in hexadecimal, all separated by `:` or all by `-` (IEEE 802). */
export const isMac = (text: string): boolean => /^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(text)

const label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
const email = new RegExp(`^[a-zA-Z0-9.!#$%&'*+/=?^_\`{|}~-]+@${label}(?:\\.${label})*$`)

/** The rule of the HTML standard for `<input type=email>`, and the length limit of RFC 5321. */
export const isEmail = (text: string): boolean => text.length <= 254 && text.indexOf("@") <= 64 && email.test(text)

/** An absolute URL (WHATWG) with an authority. */
export const isUrl = (text: string): boolean =>
  /^(?:https?|wss?|ftps?|s3|ssh|git):\/\/[^\s/][^\s]*$/i.test(text) && URL.canParse(text)

/** E.164: `+`, then 7 to 15 digits. */
export const isPhone = (text: string): boolean => /^\+[1-9]\d{6,14}$/.test(text)

/** The grammar that semver.org gives for version 2.0.0. */
export const isSemver = (text: string): boolean =>
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$/.test(
    text
  )

/** CSS hexadecimal notation, with 3, 4, 6 or 8 digits. */
export const isColor = (text: string): boolean => /^#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i.test(text)

/** A language tag of BCP 47 that `Intl` takes: none that is private or grandfathered. */
export const isLocale = (text: string): boolean => {
  try {
    return Intl.getCanonicalLocales(text).length === 1
  } catch {
    return false
  }
}

/** RFC 9562, any version, either case. */
export const isUuid = (text: string): boolean =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)

/** Crockford's base 32, 128 bits, in capitals. */
export const isUlid = (text: string): boolean => /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(text)

/** A day of the Gregorian calendar, `YYYY-MM-DD`. */
export const isDateOnly = (text: string): boolean => {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false
  const time = Date.parse(`${text}T00:00:00.000Z`)
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}

/** A time of day, `HH:MM`, `HH:MM:SS` or `HH:MM:SS.mmm`. */
export const isTimeOnly = (text: string): boolean => /^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{3})?)?$/.test(text)

/** EAN-8, UPC-A, EAN-13 or GTIN-14 with a right check digit (GS1 General Specifications, section 7.9). */
export const isEan = (text: string): boolean =>
  /^(?:\d{8}|\d{12,14})$/.test(text) && eanCheckDigit(text.slice(0, -1)) === text.at(-1)

/** The digit that belongs at the end of these. */
export const eanCheckDigit = (digits: string): string => {
  let sum = 0
  for (let i = 0; i < digits.length; i++) {
    sum += (digits.charCodeAt(digits.length - 1 - i) - 48) * (i % 2 === 0 ? 3 : 1)
  }
  return String((10 - (sum % 10)) % 10)
}

const pairs = (text: string, size: number): ReadonlySet<string> =>
  new Set(Array.from({ length: text.length / size }, (_, index) => text.slice(index * size, (index + 1) * size)))

/** ISO 3166-1 alpha-2, officially assigned codes. */
const countries = pairs(
  "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW",
  2
)

export const isCountry = (text: string): boolean => countries.has(text)

/** ISO 4217, active codes. */
export const currencyCodes =
  "AEDAFNALLAMDAOAARSAUDAWGAZNBAMBBDBDTBHDBIFBMDBNDBOBBOVBRLBSDBTNBWPBYNBZDCADCDFCHECHFCHWCLFCLPCNYCOPCOUCRCCUPCVECZKDJFDKKDOPDZDEGPERNETBEURFJDFKPGBPGELGHSGIPGMDGNFGTQGYDHKDHNLHTGHUFIDRILSINRIQDIRRISKJMDJODJPYKESKGSKHRKMFKPWKRWKWDKYDKZTLAKLBPLKRLRDLSLLYDMADMDLMGAMKDMMKMNTMOPMRUMURMVRMWKMXNMXVMYRMZNNADNGNNIONOKNPRNZDOMRPABPENPGKPHPPKRPLNPYGQARRONRSDRUBRWFSARSBDSCRSDGSEKSGDSHPSLESOSSRDSSPSTNSVCSYPSZLTHBTJSTMTTNDTOPTRYTTDTWDTZSUAHUGXUSDUSNUYIUYUUYWUZSVEDVESVNDVUVWSTXADXAFXAGXAUXBAXBBXBCXBDXCDXCGXDRXOFXPDXPFXPTXSUXTSXUAYERZARZMWZWG"

const currencies = pairs(currencyCodes, 3)

export const isCurrency = (text: string): boolean => currencies.has(text)

/** Decimals of the ledgers of the larger crypto-currencies. */
export const cryptoUnits = {
  6: "USDT USDC XRP ADA",
  8: "BTC LTC BCH DOGE",
  9: "SOL GWEI",
  10: "DOT",
  18: "ETH BNB MATIC AVAX LINK UNI DAI BUSD"
} as const

const minorUnits: ReadonlyMap<string, number> = new Map([
  ...["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"].map(zero),
  ...["XAF", "XOF", "XPF"].map(zero),
  ...["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"].map((code) => [code, 3] as const),
  ...["CLF", "UYW"].map((code) => [code, 4] as const),
  ...Object.entries(cryptoUnits).flatMap(([decimals, codes]) =>
    codes.split(" ").map((code) => [code, Number(decimals)] as const)
  )
])

function zero(code: string): readonly [string, number] {
  return [code, 0]
}

/** Decimals of a currency: ISO 4217's minor unit, or those of the ledger of a crypto-currency; `undefined`: unknown. */
export const decimalsOf = (currency: string): number | undefined =>
  minorUnits.get(currency) ?? (isCurrency(currency) ? 2 : undefined)
