/** What a text has to look like: predicates for the formats of attribute types, each after its own standard. */

const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
const ip4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`)

/** Dotted decimal without leading zeros (RFC 6943, section 3.1.1: "strict"). */
export const isIp4 = (text: string): boolean => ip4.test(text)

export const ip4Bytes = (text: string): Uint8Array => Uint8Array.from(text.split("."), Number)

export const ip4Text = (bytes: Uint8Array): string => bytes.join(".")

/** The sixteen bytes of an IPv6 address in any form of RFC 4291, without a zone; `undefined` when it is none. */
export const ip6Bytes = (text: string): Uint8Array | undefined => {
  if (text.length > 45 || !/^[0-9a-fA-F:.]+$/.test(text)) return undefined
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")))
  const words: Array<Array<number>> = []
  for (const [index, half] of groups.entries()) {
    const found: Array<number> = []
    for (const [position, group] of half.entries()) {
      if (group.includes(".")) {
        const last = index === groups.length - 1 && position === half.length - 1
        if (!last || !isIp4(group)) return undefined
        const [a, b, c, d] = ip4Bytes(group) as unknown as [number, number, number, number]
        found.push(a * 256 + b, c * 256 + d)
      } else {
        if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined
        found.push(Number.parseInt(group, 16))
      }
    }
    words.push(found)
  }
  const [head = [], tail] = words
  const missing = 8 - head.length - (tail?.length ?? 0)
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined
  const all = [...head, ...Array.from({ length: tail === undefined ? 0 : missing }, () => 0), ...(tail ?? [])]
  const bytes = new Uint8Array(16)
  for (const [index, word] of all.entries()) {
    bytes[index * 2] = word >> 8
    bytes[index * 2 + 1] = word & 0xff
  }
  return bytes
}

/** The canonical text of RFC 5952, section 4. */
export const ip6Text = (bytes: Uint8Array): string => {
  const words = Array.from({ length: 8 }, (_, index) => (bytes[index * 2]! << 8) | bytes[index * 2 + 1]!)
  let start = -1
  let length = 1
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (i + run < 8 && words[i + run] === 0) run += 1
    if (run > length) [start, length] = [i, run]
  }
  const hex = (part: ReadonlyArray<number>): string => part.map((word) => word.toString(16)).join(":")
  return start < 0 ? hex(words) : `${hex(words.slice(0, start))}::${hex(words.slice(start + length))}`
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
  /^(?:https?|wss?|ftps?|s3|ssh|git):\/\/[^\s]+$/i.test(text) && URL.canParse(text)

/** E.164: `+`, then 7 to 15 digits. */
export const isPhone = (text: string): boolean => /^\+[1-9]\d{6,14}$/.test(text)

/** The grammar that semver.org gives for version 2.0.0. */
export const isSemver = (text: string): boolean =>
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$/.test(
    text
  )

/** CSS hexadecimal notation, with 3, 4, 6 or 8 digits. */
export const isColor = (text: string): boolean => /^#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i.test(text)

/** A well-formed language tag (BCP 47). */
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
const currencies = pairs(
  "AEDAFNALLAMDAOAARSAUDAWGAZNBAMBBDBDTBHDBIFBMDBNDBOBBOVBRLBSDBTNBWPBYNBZDCADCDFCHECHFCHWCLFCLPCNYCOPCOUCRCCUPCVECZKDJFDKKDOPDZDEGPERNETBEURFJDFKPGBPGELGHSGIPGMDGNFGTQGYDHKDHNLHTGHUFIDRILSINRIQDIRRISKJMDJODJPYKESKGSKHRKMFKPWKRWKWDKYDKZTLAKLBPLKRLRDLSLLYDMADMDLMGAMKDMMKMNTMOPMRUMURMVRMWKMXNMXVMYRMZNNADNGNNIONOKNPRNZDOMRPABPENPGKPHPPKRPLNPYGQARRONRSDRUBRWFSARSBDSCRSDGSEKSGDSHPSLESOSSRDSSPSTNSVCSYPSZLTHBTJSTMTTNDTOPTRYTTDTWDTZSUAHUGXUSDUSNUYIUYUUYWUZSVEDVESVNDVUVWSTXAFXAGXAUXBAXBBXBCXBDXCDXDRXOFXPDXPFXPTXSUXTSXUAYERZARZMWZWG",
  3
)

export const isCurrency = (text: string): boolean => currencies.has(text)

const minorUnits: ReadonlyMap<string, number> = new Map([
  ...["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"].map(zero),
  ...["XAF", "XOF", "XPF"].map(zero),
  ...["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"].map((code) => [code, 3] as const),
  ...["CLF", "UYW"].map((code) => [code, 4] as const),
  ...["BTC", "LTC", "BCH", "DOGE"].map((code) => [code, 8] as const),
  ...["ETH", "BNB", "MATIC", "AVAX", "LINK", "UNI", "DAI", "BUSD"].map((code) => [code, 18] as const),
  ...["USDT", "USDC", "XRP", "ADA"].map((code) => [code, 6] as const),
  ...["SOL", "GWEI"].map((code) => [code, 9] as const),
  ["DOT", 10]
])

function zero(code: string): readonly [string, number] {
  return [code, 0]
}

/** Decimals of a currency: ISO 4217's minor unit, or those of the ledger of a crypto-currency; `undefined`: unknown. */
export const decimalsOf = (currency: string): number | undefined =>
  minorUnits.get(currency) ?? (isCurrency(currency) ? 2 : undefined)
