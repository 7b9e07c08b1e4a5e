/** Every kind of attribute, with values of it and values that it refuses. */
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Attribute from "effect-s3db/schema/Attribute"

export interface Sample {
  readonly name: string
  readonly schema: Schema.Codec<unknown, unknown>
  readonly codec: string
  readonly values: ReadonlyArray<unknown>
  readonly refused: ReadonlyArray<unknown>
}

/** Text that has broken somebody's encoding before. */
export const hostileTexts: ReadonlyArray<string> = [
  "",
  " ",
  "  two  spaces ",
  "null",
  "undefined",
  "true",
  "constructor",
  "toString",
  "__proto__",
  "0",
  "-0",
  "1e-7",
  "NaN",
  '{"a":1}',
  "[1,2]",
  "d:j",
  "d:@A",
  "u:x",
  "b:AAAA",
  "w:",
  "n:",
  "s:x",
  "j:1",
  "e:",
  "o:",
  "a|b\\c|",
  "\\",
  "|",
  "font/woff",
  "font/woff2",
  "application/json",
  "failed",
  "https://api.example.com/é",
  "https://www.",
  "=?utf-8?q?x?=",
  "José",
  "李明",
  "👩‍👩‍👧 😀",
  "\u{10FFFF}\u{F0000}\u{20000}\u{1F600}\u{E000}",
  "line\nfeed\r\ntab\t",
  "\0\x01\x1f\x7f\x80\x9f",
  "\uFEFFbom",
  "\uD800",
  "a\uDC00b",
  "\u2028\u2029",
  "é".normalize("NFD"),
  "%41%",
  "$wf",
  "^w7e",
  "~4uOxP",
  "x".repeat(300),
  "ü".repeat(300),
  "user-1234567890abcdef",
  "deadbeefcafe0123",
  "V1StGXR8_Z5jdHi6B-myT",
  "The quick brown fox jumps over the lazy dog."
]

export const hostileNumbers: ReadonlyArray<number> = [
  0,
  -0,
  1,
  -1,
  61,
  62,
  1e-7,
  -1e-7,
  0.1,
  0.1 + 0.2,
  9.5,
  100.25,
  -3.14,
  Math.E,
  1e21,
  1e300,
  5e-324,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  Number.MAX_VALUE,
  2 ** 53,
  2 ** 60,
  123456789.123456,
  -0.000001234,
  0.30000000000000004
]

const sample = (
  name: string,
  schema: Schema.Top,
  codec: string,
  values: ReadonlyArray<unknown>,
  refused: ReadonlyArray<unknown> = []
): Sample => ({ name, schema: schema as unknown as Sample["schema"], codec, values, refused })

const decimal = BigDecimal.fromStringUnsafe

const spread = (length: number): ReadonlyArray<number> =>
  Array.from({ length }, (_, index) => Math.sin(index * 12.9898))

export const embedding = spread

export const samples: ReadonlyArray<Sample> = [
  sample("string", Schema.String, "string", hostileTexts, [1, null]),
  sample("number", Schema.Finite, "number", hostileNumbers, [Number.NaN, Infinity, "1"]),
  sample("any number", Schema.Number, "number", [Number.NaN, Infinity, -Infinity, ...hostileNumbers]),
  sample("integer", Schema.Int, "number", [0, -1, 1, 2 ** 53 - 1], [1.5, 2 ** 53]),
  sample("boolean", Schema.Boolean, "boolean", [true, false], [1, "true"]),
  sample("date", Attribute.Date, "date", [
    new Date(0),
    new Date(-1),
    new Date(8.64e15),
    new Date("2024-01-15T10:30:00Z")
  ]),
  sample("datetime", Attribute.DateTime, "date", [DateTime.makeUnsafe("2024-01-15T10:30:00.123Z")]),
  sample(
    "date-only",
    Attribute.DateOnly,
    "dateonly",
    ["2024-01-15", "2024-02-29", "0001-01-01", "9999-12-31"],
    ["2023-02-29", "2024-1-1", "2024-13-01", "20240115"]
  ),
  sample(
    "time-only",
    Attribute.TimeOnly,
    "timeonly",
    ["14:30", "14:30:45", "14:30:45.123", "00:00", "23:59:59.999", "00:00:00.000"],
    ["24:00", "12:60", "1:00", "12:00:00.1"]
  ),
  sample("duration", Attribute.Duration, "duration", [
    Duration.millis(1500),
    Duration.zero,
    Duration.nanos(5n),
    Duration.infinity,
    Duration.days(30)
  ]),
  sample(
    "uuid",
    Attribute.Uuid,
    "uuid",
    ["550e8400-e29b-41d4-a716-446655440000", "550E8400-E29B-41D4-A716-446655440000"],
    ["550e8400", "g50e8400-e29b-41d4-a716-446655440000"]
  ),
  sample(
    "ulid",
    Attribute.Ulid,
    "ulid",
    ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "00000000000000000000000000"],
    ["81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU".toLowerCase()]
  ),
  sample(
    "email",
    Attribute.Email,
    "string",
    ["ada@example.com", "a+b@sub.example.co"],
    ["ada", "@x.com", "a b@x.com", "a@-x.com"]
  ),
  sample(
    "url",
    Attribute.Url,
    "string",
    ["https://example.com/", "https://api.example.com/é?x=1#y", "s3://bucket/key"],
    ["example.com", "javascript:alert(1)", "https://", "http:///x", "https://a b"]
  ),
  sample(
    "ip4",
    Attribute.Ip4,
    "ip4",
    ["192.168.1.1", "10.0.0.10", "0.0.0.0", "255.255.255.255", "1.2.3.4"],
    ["999.1.1.1", "1.2.3", "01.2.3.4", "1.2.3.4.5", "::1"]
  ),
  sample(
    "ip6",
    Attribute.Ip6,
    "ip6",
    [
      "2001:db8::1",
      "::",
      "::1",
      "2001:db8:85a3:8d3:1319:8a2e:370:7348",
      "2001:DB8::1",
      "::ffff:192.168.1.1",
      "1::",
      "a::b",
      "d:0:0:1::",
      "0:0:0:0:0:0:0:0",
      "1:0:0:2::",
      "s::1".replace("s", "5")
    ],
    ["1::2::3", "12345::", "::ffff:999.1.1.1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "g::", "1:2:3:4:5:6:7::8:9"]
  ),
  sample(
    "cidr",
    Attribute.Cidr,
    "cidr",
    ["192.168.1.0/24", "0.0.0.0/0", "2001:db8::/32", "::/128"],
    ["192.168.1.0", "192.168.1.0/33", "192.168.1.0/024", "::/129"]
  ),
  sample(
    "mac",
    Attribute.Mac,
    "mac",
    ["aa:bb:cc:dd:ee:ff", "AA:BB:CC:DD:EE:FF", "00-11-22-33-44-55"],
    ["aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee-ff", "gg:bb:cc:dd:ee:ff"]
  ),
  sample(
    "semver",
    Attribute.Semver,
    "semver",
    ["2.14.3", "0.1.1000", "0.2.0", "1.0.0-alpha.1+build.5", "100.200.300"],
    ["1.2", "01.2.3", "v1.2.3", "1.2.3-"]
  ),
  sample(
    "phone",
    Attribute.Phone,
    "phone",
    ["+5511999887766", "+12025550123", "+999999999999999"],
    ["5511999887766", "+0123456789", "+123"]
  ),
  sample(
    "color",
    Attribute.Color,
    "color",
    ["#ff5733", "#FF5733", "#abc", "#abcd", "#ff573380"],
    ["ff5733", "#ff573", "#ggg"]
  ),
  sample("locale", Attribute.Locale, "string", ["pt-BR", "en", "zh-Hant-TW"], ["pt_BR", "", "e"]),
  sample("currency", Attribute.Currency, "string", ["EUR", "JPY"], ["eur", "XYZ"]),
  sample("country", Attribute.Country, "string", ["BR", "DE"], ["br", "XX", "BRA"]),
  sample(
    "ean",
    Attribute.Ean,
    "ean",
    ["5901234123457", "96385074", "036000291452", "00012345600012"],
    ["5901234123458", "123"]
  ),
  sample("cron", Attribute.CronExpression, "string", ["0 3 * * *", "*/5 0 1,15 * 1-5"], ["0 3 * *", "61 * * * *"]),
  sample(
    "money",
    Attribute.Money("EUR"),
    "money:2",
    ["19.99", "0", "-5", "0.1", "123456789012345678901234567890.12"].map(decimal),
    [decimal("1.234")]
  ),
  sample("yen", Attribute.Money("JPY"), "money:0", ["1200", "0"].map(decimal), [decimal("0.5")]),
  sample("crypto", Attribute.Crypto(18), "money:18", ["1.000000000000000001", "0.00012345"].map(decimal), [
    decimal("1e-19")
  ]),
  sample("decimal", Attribute.Decimal(3), "decimal:3", ["-1.125", "1000"].map(decimal), [decimal("0.0001")]),
  sample("latitude", Attribute.Latitude(), "lat:6", [-23.550519, 90, -90, 0, 40.7128], [91, -90.1, Number.NaN]),
  sample("longitude", Attribute.Longitude(), "lon:6", [-46.633309, 180, -180], [180.1]),
  sample(
    "point",
    Attribute.Point(5),
    "point:5",
    [{ latitude: -23.55052, longitude: -46.63331 }],
    [{ latitude: 91, longitude: 0 }]
  ),
  sample(
    "embedding",
    Attribute.Embedding(4),
    "vector:4:6",
    [
      [0.123, -0.456, 0.789, 0],
      [1.5, 0.123456, -0.823457, 1e6]
    ],
    [
      [1, 2, 3],
      [1, 2, 3, Number.NaN]
    ]
  ),
  sample(
    "embedding int8",
    Attribute.Embedding(3, { format: "int8" }),
    "vector:3:int8",
    [
      [0, 0, 0],
      [127, -127, 1]
    ],
    [[1], [1e41, 1, 0], [1e-45, 0, 0], [3e-44, 1e-45, 0]]
  ),
  sample(
    "embedding float16",
    Attribute.Embedding(3, { format: "float16" }),
    "vector:3:float16",
    [
      [0.5, -65504, 0.000030517578125],
      [0, 0, 0]
    ],
    [
      [65520, 1, 1],
      [1e9, 1, 1],
      [1e-9, 0, 0]
    ]
  ),
  sample(
    "embedding float32",
    Attribute.Embedding(2, { format: "float32" }),
    "vector:2:float32",
    [[0.5, Math.fround(0.1)]],
    [
      [1e39, 1],
      [1e-50, 0]
    ]
  ),
  sample(
    "bits",
    Attribute.Bits(12),
    "bytes",
    [Uint8Array.of(0xff, 0xf0), Uint8Array.of(0, 0)],
    [Uint8Array.of(1), Uint8Array.of(0, 1)]
  ),
  sample(
    "bytes",
    Attribute.Bytes,
    "bytes",
    [new Uint8Array(), Uint8Array.of(1, 2, 3), new Uint8Array(256).map((_, i) => i)],
    ["AQID"]
  ),
  sample(
    "json",
    Schema.Json,
    "json",
    [null, 1, "x", "", [], {}, { a: [1, { b: null }] }, "n:", "null", [-0], { "": "" }, true, false, "{}"],
    [undefined]
  ),
  sample(
    "choice",
    Schema.Literals(["active", "inactive", "completed"]),
    'choice:["active","inactive","completed"]',
    ["active", "completed"],
    ["other"]
  ),
  sample("numbers to choose", Schema.Literals([1, 2.5, -3]), "choice:[1,2.5,-3]", [1, 2.5, -3], [4]),
  sample(
    "union",
    Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]),
    "json",
    ["1", 1, true, "true", ""],
    [null]
  ),
  sample(
    "array of text",
    Schema.Array(Schema.String),
    "array:string",
    [[], [""], ["", ""], ["a", "b|c\\"], [" a ", "b "], hostileTexts, ["n:"], ["j:1"], ["e:"], ["s:"], ["|"]],
    ["x"]
  ),
  sample("array of numbers", Schema.Array(Schema.Finite), "array:number", [[], [0], [1, 2, 3], hostileNumbers]),
  sample("array of addresses", Schema.Array(Attribute.Ip4), "array:ip4", [["1.2.3.4", "192.168.1.1"]], [["x"]]),
  sample("array of structs", Schema.Array(Schema.Struct({ a: Schema.String })), "json", [[], [{ a: "x" }, { a: "" }]]),
  sample("array with null", Schema.Array(Schema.NullOr(Schema.String)), "json", [[null], ["null", null]]),
  sample("array of arrays", Schema.Array(Schema.Array(Schema.String)), "array:array:string", [
    [],
    [[]],
    [[""]],
    [["a|b"], [], ["\\"]],
    [[], []]
  ]),
  sample("record", Schema.Record(Schema.String, Schema.Finite), "json", [{}, { constructor: 1, "a.b": 2 }]),
  sample("option", Schema.Option(Schema.String), "option:string", [
    Option.none(),
    Option.some(""),
    Option.some("o:"),
    Option.some("n:"),
    Option.some("x")
  ]),
  sample("option of option", Schema.Option(Schema.Option(Schema.Finite)), "option:option:number", [
    Option.none(),
    Option.some(Option.none()),
    Option.some(Option.some(5))
  ]),
  sample("option of null", Schema.Option(Schema.NullOr(Schema.String)), "json", [
    Option.none(),
    Option.some(null),
    Option.some("x")
  ]),
  sample("date from text", Schema.DateFromString, "date", [new Date("2024-01-15T10:30:00.000Z")]),
  sample("number from text", Schema.FiniteFromString, "string", [5, 1e-7]),
  sample("bigint", Schema.BigInt, "string", [0n, -5n, 12345678901234567890n])
]

export const secretSamples: ReadonlyArray<Sample> = [
  sample(
    "secret",
    Attribute.SecretText,
    "secret",
    ["hunter2", "", "é\uD800", "\uFEFFx", "x".repeat(500)].map((text) => Redacted.make(text))
  ),
  sample(
    "secret number",
    Attribute.SecretNumber,
    "secret",
    [5, -0, 1e-7].map((number) => Redacted.make(number))
  ),
  sample(
    "secret json",
    Attribute.SecretJson,
    "secret",
    [{ a: ["hunter2", null] }, [null], "x", ""].map((json) => Redacted.make(json))
  ),
  sample("redacted", Schema.Redacted(Schema.String), "secret", [Redacted.make("hunter2")]),
  sample("secrets", Schema.Array(Attribute.SecretText), "secret", [[Redacted.make("hunter2")], []])
]
