/** What TypeScript makes of wires: compiled, never run. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Definition from "effect-s3db/Definition"
import type { JsonObject } from "effect-s3db/encoding/Json"
import type * as Portable from "effect-s3db/Portable"
import type * as Query from "effect-s3db/Query"
import type * as Repository from "effect-s3db/Repository"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Wire from "effect-s3db/Wire"

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(isSame: Same<A, B>): boolean => isSame

/** What a type says, field by field. */
type Plain<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends ReadonlyArray<infer I>
    ? ReadonlyArray<Plain<I>>
    : { [K in keyof T]: Plain<T[K]> }

class Address extends Schema.Class<Address>("types/Address")({
  city: Schema.String,
  street: Schema.optionalKey(Schema.String),
  pin: Attribute.SecretText
}) {}

const schema = Schema.Struct({
  id: Schema.String,
  joined: Schema.DateTimeUtc,
  balance: Attribute.Money("EUR"),
  address: Schema.optionalKey(Address),
  contacts: Schema.Array(Schema.Struct({ name: Schema.String, phone: Schema.String })),
  rates: Schema.Record(Schema.String, Schema.Struct({ rate: Schema.Finite, internal: Schema.Finite })),
  keys: Schema.Array(Attribute.SecretText),
  alias: Schema.optionalKey(Schema.NullOr(Attribute.SecretText)),
  password: Attribute.Password,
  role: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("user"))),
  free: Schema.Json
}).pipe(Schema.encodeKeys({ joined: "joined_at" }))

const users = Resource.define("users", { schema, primaryKey: "id" })

const shown = Wire.public(users)
const some = Wire.public(users, {
  protect: ["balance", "address.street", "contacts.[].phone", "rates.{}.internal"],
  system: true
})

interface Contact {
  readonly name: string
  readonly phone: string
}

export const typed = [
  same<(typeof users)["schema"]["Type"]["role"], string>(true),
  same<Schema.Codec.Encoded<ReturnType<typeof Wire.create<typeof schema>>>, JsonObject>(true),
  same<ReturnType<typeof Wire.create<typeof schema>>["Type"], Repository.Insert<typeof schema>>(true),
  same<ReturnType<typeof Wire.patch<typeof schema>>["Type"], Repository.Patch<(typeof schema)["Type"]>>(true),
  same<
    Plain<typeof shown.Type>,
    {
      readonly id: string
      readonly joined_at: string
      readonly balance: string
      readonly address?: { readonly city: string; readonly street?: string }
      readonly contacts: ReadonlyArray<Contact>
      readonly rates: { readonly [x: string]: { readonly rate: number; readonly internal: number } }
      readonly role: string
      readonly free: Schema.Json
    }
  >(true),
  same<Plain<typeof some.Type.contacts>, ReadonlyArray<{ readonly name: string }>>(true),
  same<Plain<typeof some.Type.rates>, { readonly [x: string]: { readonly rate: number } }>(true),
  same<keyof NonNullable<typeof some.Type.address>, "city">(true),
  same<typeof some.Type.$revision, string | undefined>(true),
  // @ts-expect-error it is protected
  some.Type.balance,
  // @ts-expect-error a hash is shown to nobody
  shown.Type.password,
  // @ts-expect-error nor are secrets
  shown.Type.keys,
  // @ts-expect-error system fields are there where they are asked for
  shown.Type.$createdAt
]

/** What is decoded is what the operations take. */
export const given = (repository: Repository.Repository<typeof schema>, json: unknown) => [
  Effect.flatMap(Schema.decodeUnknownEffect(Wire.create(users))(json), repository.insert),
  Effect.flatMap(Schema.decodeUnknownEffect(Wire.patch(users))(json), (changes) => repository.patch("1", changes))
]

/** Resources in the rule notation have the types of their rules, those from the catalog those of JSON. */
const notes = Resource.fromAttributes("notes", { text: "string", at: "date|optional", code: "secret|optional" })
const listed = Wire.page(notes, { protect: ["at"] })
export const ofRules = [
  same<Plain<(typeof listed)["Type"]["items"][number]>, { readonly id: string; readonly text: string }>(true),
  same<(typeof listed)["Type"]["cursor"], string | undefined>(true)
]

export const ofCatalog = (
  definition: Definition.Definition<Portable.DynamicSchema>,
  protect: ReadonlyArray<Query.Path>
): ((json: { readonly [name: string]: Schema.Json }) => { readonly [name: string]: Schema.Json }) =>
  Wire.toPublic(definition, { protect })
