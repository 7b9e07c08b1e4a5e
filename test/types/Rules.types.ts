/** What TypeScript makes of rules: compiled, never run. */
import type * as BigDecimal from "effect/BigDecimal"
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { KeyRing } from "effect-s3db/crypto/KeyRing"
import type { PasswordHasher } from "effect-s3db/crypto/PasswordHasher"
import type { Database } from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Rules from "effect-s3db/schema/Rules"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Equal<A, B>): void => {}

const rules = <const A extends Rules.Attributes>(attributes: A): A => attributes

const simple = rules({ name: "string|required|min:2", age: "number|optional" })
same<Rules.Type<typeof simple>, { readonly name: string; readonly age?: number }>(true)

const many = rules({
  a: "email",
  b: "boolean|nullable",
  c: "date",
  d: "datetime|optional|nullable",
  e: "money:EUR",
  f: "embedding:1536:int8",
  g: "geo:lat:6",
  h: "geo:point",
  i: "array|items:number",
  j: "array|items:string|optional",
  k: "enum|values:admin,user",
  l: "string|enum:x,y",
  m: "secret",
  n: "secretNumber",
  o: "record|items:integer",
  p: "bits:12",
  q: "integer|enum:1,2",
  r: "string|pattern:^a|b$"
})
same<
  Rules.Type<typeof many>,
  {
    readonly a: string
    readonly b: boolean | null
    readonly c: Date
    readonly e: BigDecimal.BigDecimal
    readonly f: ReadonlyArray<number>
    readonly g: number
    readonly h: Attribute.Coordinates
    readonly i: ReadonlyArray<number>
    readonly k: "admin" | "user"
    readonly l: "x" | "y"
    readonly m: Redacted.Redacted<string>
    readonly n: Redacted.Redacted<number>
    readonly o: { readonly [key: string]: number }
    readonly p: Uint8Array
    readonly q: 1 | 2
    readonly r: string
    readonly d?: DateTime.Utc | null
    readonly j?: ReadonlyArray<string>
  }
>(true)

const nested = rules({
  address: { $$type: "object|optional", city: "string", zip: "string|optional" },
  link: { type: "string", url: "url" },
  list: { type: "array", items: { sku: "string", price: { type: "number", optional: true } } },
  explicit: { type: "object", props: { a: "string" }, optional: true },
  role: { type: "enum", values: ["a", "b"] },
  n: { type: "number", default: 5 },
  s: "string|default:x"
})
same<
  Rules.Type<typeof nested>,
  {
    readonly link: { readonly type: string; readonly url: string }
    readonly list: ReadonlyArray<{ readonly sku: string; readonly price?: number }>
    readonly role: "a" | "b"
    readonly n: number
    readonly s: string
    readonly address?: { readonly city: string; readonly zip?: string }
    readonly explicit?: { readonly a: string }
  }
>(true)
same<Rules.Input<typeof nested>["n"], number | undefined>(true)

const exact = rules({
  spaced: "enum | values: admin, user | nullable",
  list: { type: "array|nullable", items: "string" },
  box: { type: "object|nullable|optional", props: { a: "string" } },
  chosen: { type: "string|nullable", values: ["a", "b"] },
  texts: { type: "enum", values: "a, b" },
  numbers: { type: "integer", enum: "1,2" },
  maybe: "string |optional",
  off: "boolean|default:false",
  said: { type: "boolean", default: false },
  here: { default: "string", other: "number" }
})
same<
  Rules.Type<typeof exact>,
  {
    readonly spaced: "admin" | "user" | null
    readonly list: ReadonlyArray<string> | null
    readonly chosen: "a" | "b" | null
    readonly texts: "a" | "b"
    readonly numbers: 1 | 2
    readonly off: boolean
    readonly said: boolean
    readonly here: { readonly default: string; readonly other: number }
    readonly box?: { readonly a: string } | null
    readonly maybe?: string
  }
>(true)
same<Rules.Input<typeof exact>["off" | "said"], boolean | undefined>(true)
same<undefined extends Rules.Input<typeof exact>["here"] ? true : false, false>(true)

// What is fine is taken by the functions themselves.
export const fine = () => {
  const schema = Rules.toSchema({
    a: { $$type: "object", x: "string" },
    b: { $$type: "object|optional", x: "string" },
    c: { $$type: "object|required", x: "string" },
    d: { $$type: "object|nullable", x: "string" },
    e: { $$type: "object | optional | nullable", x: "string" },
    f: { $$type: "optional", x: "string" },
    g: "string |optional",
    h: { type: "array|nullable", items: { type: "array", items: "geo:point:5" } },
    i: "money:BTC",
    j: "money:3",
    k: "money",
    l: "embedding:3:int8",
    m: "enum | values: admin, user",
    n: { type: "enum", values: ["a", "b"] },
    o: { type: "object|optional", props: { x: "string", id: "string" }, strict: true },
    p: "string | min:2 | pattern:^(a|b)$",
    q: "geo:lat",
    r: "crypto"
  })
  same<(typeof schema)["Type"]["b"], { readonly x: string } | undefined>(true)
  same<(typeof schema)["Type"]["d"], { readonly x: string } | null>(true)
  same<(typeof schema)["Type"]["e"], { readonly x: string } | null | undefined>(true)
  return Resource.fromAttributes("users", {
    address: { $$type: "object|optional", city: "string", at: "geo:point:5" },
    other: "string"
  })
}

type Wrong<Message extends string> = { readonly "wrong rule": Message }
const messageOf = <const A extends Rules.Attributes, Message extends string>(
  _: A,
  __: Rules.Valid<A> extends { readonly a: Wrong<Message> } ? Message : never
): void => {}
messageOf({ a: "strnig" }, 'unknown type "strnig"')
messageOf({ a: "string|minn:2" }, 'unknown rule "minn"')
messageOf({ a: "boolean|min:2" }, 'the rule "min" does not apply to boolean')
messageOf({ a: "array|items:strnig" }, 'unknown type "strnig"')
messageOf({ a: "geo" }, "geo is geo:lat, geo:lon or geo:point")
messageOf({ a: "money:XXQ" }, 'unknown currency "XXQ"')
messageOf({ a: "embedding" }, "embedding needs a number: embedding:128")
messageOf({ a: "bits:x" }, '"x" is no number')
messageOf({ a: "enum" }, "an enum needs its values: enum|values:a,b")

// A wrong rule does not compile.
export const wrong = () => {
  // @ts-expect-error in items
  Rules.toSchema({ inner: { type: "array", items: "strnig" } })
  // @ts-expect-error in props
  Rules.toSchema({ inner: { type: "object", props: { a: "strnig" } } })
  // @ts-expect-error an option that does not apply
  Rules.toSchema({ inner: { type: "boolean", min: 2 } })
  // @ts-expect-error what an object as a whole takes
  Rules.toSchema({ inner: { $$type: "object|optinal", a: "string" } })
  // @ts-expect-error there is an id already
  Rules.toSchema({ id: "string" })
  // @ts-expect-error the name is reserved
  Rules.toSchema({ _name: "string" })
  // @ts-expect-error an enum without values
  Rules.toSchema({ role: { type: "enum" } })
  // @ts-expect-error there is no such type
  Rules.toSchema({ name: "strng" })
  // @ts-expect-error there is no such rule
  Rules.toSchema({ name: "string|minn:2" })
  // @ts-expect-error nor in nested attributes
  Rules.toSchema({ inner: { name: "string|reqired" } })
  // @ts-expect-error nor in explicit ones
  Rules.toSchema({ inner: { type: "strin", min: 2 } })
  // @ts-expect-error nor in a resource
  Resource.fromAttributes("users", { name: "string|minn:2" })
  const fine: string = "string|anything"
  // What TypeScript cannot see is checked when it runs.
  return Rules.toSchema({ name: fine })
}

export const resources = () => {
  const users = Resource.fromAttributes("users", {
    name: "string|required|min:2",
    age: "number|optional",
    role: "string|default:user"
  })
  type User = (typeof users)["schema"]["Type"]
  same<User, { readonly id: string; readonly name: string; readonly role: string; readonly age?: number }>(true)
  class Users extends Resource.Service<Users>()("app/users", users) {}
  same<typeof Users.layer, Layer.Layer<Users, DbError.DbError, Database>>(true)
  const insert = (repository: Resource.Repository<(typeof users)["schema"]>) => {
    // @ts-expect-error the name is missing
    const nameless = repository.insert({ age: 5 })
    // @ts-expect-error the age is a number
    const ageless = repository.insert({ name: "Ada", age: "5" })
    const fine: Effect.Effect<User, unknown> = repository.insert({ name: "Ada" })
    return [nameless, ageless, fine]
  }

  // Secrets and passwords show in what a layer needs, at any depth.
  class Accounts extends Resource.Service<Accounts>()("app/accounts", {
    schema: Schema.Struct({
      id: Schema.String,
      inner: Schema.Struct({ token: Schema.optionalKey(Attribute.SecretText) })
    }),
    primaryKey: "id"
  }) {}
  same<typeof Accounts.layer, Layer.Layer<Accounts, DbError.DbError, Database | KeyRing>>(true)
  class Logins extends Resource.Service<Logins>()("app/logins", {
    schema: Schema.Struct({ id: Schema.String, password: Attribute.Password }),
    primaryKey: "id"
  }) {}
  same<typeof Logins.layer, Layer.Layer<Logins, DbError.DbError, Database | PasswordHasher>>(true)
  const logins = Resource.fromAttributes("logins", { password: "password|min:8", token: "secret" })
  class Both extends Resource.Service<Both>()("app/both", logins) {}
  same<typeof Both.layer, Layer.Layer<Both, DbError.DbError, Database | KeyRing | PasswordHasher>>(true)
  return insert
}
