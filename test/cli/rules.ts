/** Rules of every type with every modifier, and with two of them. */
import { families, type Family, modifiers } from "../../src/schema/internal/ruleTypes.ts"

const types: Readonly<Record<string, string>> = {
  geo: "geo:lat:4",
  embedding: "embedding:3:int8",
  bits: "bits:64",
  money: "money:EUR",
  enum: "enum|values:a,b"
}

const written: Readonly<Record<string, string>> = {
  min: "min:1",
  max: "max:9",
  length: "length:4",
  pattern: "pattern:/^[a-z]+$/i",
  enum: "enum:1,2",
  values: "values:1,2",
  empty: "empty:false",
  items: "items:string"
}

const rulesOf = (family: Family, withPairs: boolean): ReadonlyArray<string> =>
  families[family].split(" ").flatMap((type) => {
    const base = types[type] ?? type
    const names = modifiers[family].split(" ").filter((name) => name !== "")
    const text = (name: string) => written[name] ?? name
    const pairs = names.flatMap((one) =>
      names
        .filter((other) => other !== one)
        // A pattern takes the rest.
        .map((other) =>
          one === "pattern" ? `${base}|${text(other)}|${text(one)}` : `${base}|${text(one)}|${text(other)}`
        )
    )
    return [
      ...["", "|optional", "|nullable", "|nullable|optional"].map((presence) => `${base}${presence}`),
      ...names.map((name) => `${base}|${text(name)}`),
      ...(withPairs ? pairs : [])
    ]
  })

/** What a text says. */
export const texts = (withPairs: boolean): ReadonlyArray<string> => [
  ...(Object.keys(families) as ReadonlyArray<Family>).flatMap((family) => rulesOf(family, withPairs)),
  "string|default:a b",
  "string|default:a!b",
  "string|default:",
  "string|default:7",
  "string|nullable|default:x",
  "number|default:-1.5",
  "number|nullable|default:null",
  "boolean|default:false",
  "date|default:2020-01-01",
  "money:EUR|default:1.50",
  "geo:lat",
  "geo:lon:3",
  "geo:point:5",
  "embedding:3",
  "embedding:3:float16",
  "embedding:3:4",
  "password:bcrypt|min:8|max:20",
  "crypto:18",
  "decimal",
  "money:3",
  "string|alpha|pattern:/x|y/",
  "string|trim|convert|lowercase",
  "string|min:2|min:3|optional"
]

/** What only explicit definitions and nested objects say. */
export const objects: ReadonlyArray<object> = [
  { type: "array", items: "number|positive", unique: true, length: 3 },
  { type: "array", items: { type: "array", items: "string" }, optional: true },
  { type: "array", items: { a: "string|optional" } },
  { type: "array", items: "string", default: ["a", "null"] },
  { type: "record", items: "string", length: 2, min: 1 },
  { type: "record", items: { a: "string", b: { c: "integer|positive" } } },
  { type: "object", props: { a: "string" }, strict: true },
  { type: "object|optional|nullable", props: { a: "string" }, strict: true },
  { type: "string", min: 2, messages: { min: "too short | or so", required: "give it", type: "text!" } },
  { type: "number", positive: true, optional: true, messages: { positive: "above 0\n" } },
  { type: "string", pattern: "a|b", min: 1 },
  { type: "string", pattern: /^x\//u, trim: true },
  { type: "enum", values: ["a|b", "c,d"] },
  { type: "enum", values: ["a", 1] },
  { type: "number", enum: [1, 2.5] },
  { type: "json", default: { a: [1, null] } },
  { $$type: "object|nullable", a: "string", b: { c: "ip4" } }
]
