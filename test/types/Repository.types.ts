/** What TypeScript knows of the names in a declaration: compiled, never run. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Model from "effect/schema/Model"
import type * as Definition from "effect-s3db/Definition"
import * as Pipeline from "effect-s3db/Pipeline"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"

const UserId = Schema.String.pipe(Schema.brand("UserId"))
type UserId = typeof UserId.Type

class User extends Schema.Class<User>("types/User")({
  id: UserId,
  email: Schema.String,
  country: Schema.String,
  age: Schema.Int,
  placed: Schema.DateTimeUtcFromString,
  address: Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) }),
  createdAt: Schema.DateTimeUtcFromString,
  updatedAt: Schema.DateTimeUtcFromString,
  doubled: Schema.Number
}) {
  get label() {
    return `${this.email} ${this.country}`
  }
  greeting(name: string) {
    return `${this.label} ${name}`
  }
}

class Users extends Resource.Service<Users>()("types/users", {
  schema: User,
  primaryKey: "id",
  partitions: {
    byCountry: ["country"],
    byCity: { fields: ["address.city", "country"], covering: ["email"] },
    byMonth: { fields: { placed: "month" } }
  },
  unique: { email: ["email"] },
  history: true,
  counters: { partitions: ["byCountry"] },
  timestamps: true,
  computed: { doubled: (user) => user.age * 2 }
}) {}

class Plain extends Resource.Service<Plain>()("types/plain", {
  schema: Schema.Struct({ id: Schema.String, n: Schema.Int }),
  primaryKey: "id",
  content: true
}) {}

declare const id: UserId
declare const one: User
declare const effect: Effect.Effect<number, "down", "service">

export const names = (users: Users["Service"], plain: Plain["Service"]) => [
  users.scan({ partition: "byCountry", values: { country: "BR" } }),
  users.scan({ partition: "byMonth", values: { placed: "2026-11" } }),
  users.scan({ partition: "byMonth", values: { placed: one.placed } }),
  users.scan({ partition: "byCreatedDate" }),
  users.getByUnique("email", { email: "a@x" }),
  users.covered({ partition: "byCity", values: { "address.city": "Recife" } }),
  users.estimatedCount({ partition: "byCountry" }),
  users.history(id),
  plain.getContent("a"),
  // @ts-expect-error no such partition
  users.scan({ partition: "byContry" }),
  // @ts-expect-error no such field in it
  users.scan({ partition: "byCountry", values: { contry: "BR" } }),
  // @ts-expect-error another type
  users.scan({ partition: "byCountry", values: { country: 3 } }),
  // @ts-expect-error no such unique key
  users.getByUnique("mail", { email: "a@x" }),
  // @ts-expect-error no such field in it
  users.getByUnique("email", { mail: "a@x" }),
  // @ts-expect-error it covers nothing
  users.covered({ partition: "byCountry" }),
  // @ts-expect-error it is not counted
  users.estimatedCount({ partition: "byCity" }),
  // @ts-expect-error it has no content
  users.getContent(id),
  // @ts-expect-error it keeps no history
  plain.history("a"),
  // @ts-expect-error it has no counters
  plain.estimatedCount(),
  // @ts-expect-error it has no partitions
  plain.scan({ partition: "byCountry" }),
  // @ts-expect-error it has no unique keys
  plain.getByUnique("email", {})
]

export const ids = (users: Users["Service"]) => [
  users.get(id) satisfies Effect.Effect<User, unknown>,
  users.listIds() satisfies Stream.Stream<UserId, unknown>,
  // @ts-expect-error the brand is kept
  users.get("a"),
  // @ts-expect-error in inputs, too
  users.insert({ id: "a", email: "a@x", country: "BR", age: 3, placed: one.placed, address: { city: "Recife" } })
]

export const inputs = (users: Users["Service"]) => [
  // What is filled in need not be given.
  users.insert({ id, email: "a@x", country: "BR", age: 3, placed: one.placed, address: { city: "Recife" } }),
  // And is there in what comes out.
  Effect.map(users.get(id), (user) => user.doubled + user.createdAt.epochMilliseconds),
  // @ts-expect-error a field that is not filled in
  users.insert({ id, email: "a@x", country: "BR", placed: one.placed, address: { city: "Recife" } })
]

export const updates = (users: Users["Service"]) => [
  users.update(id, { age: 3, "address.city": "Natal" }),
  users.update(id, (user) => ({ age: user.age + 1 })),
  users.update(id, (user) => ({ address: { ...user.address, city: user.label } })),
  users.update(id, (user) => (user.age > 3 ? {} : { age: 4 })),
  users.update(id, () => Effect.map(effect, (age) => ({ age }))) satisfies Effect.Effect<User, unknown, "service">,
  // @ts-expect-error no such field
  users.update(id, { wrong: 1 }),
  // @ts-expect-error no such field
  users.update(id, () => ({ wrong: 1 })),
  // @ts-expect-error no such field beside one
  users.update(id, () => ({ age: 3, wrong: 1 })),
  // @ts-expect-error no such nested field
  users.update(id, () => ({ "address.wrong": 1 })),
  // @ts-expect-error by an effect
  users.update(id, () => Effect.map(effect, (age) => ({ age, wrong: 1 }))),
  // @ts-expect-error a getter is no field
  users.update(id, { label: "x" }),
  // @ts-expect-error nor in a patch
  users.patch(id, { label: "x" }),
  // @ts-expect-error nor in conditions
  users.query({ where: { label: "x" } }),
  // @ts-expect-error nor a method
  users.query({ where: { greeting: "x" } }),
  // @ts-expect-error nor in an order
  users.query({ order: "label" }),
  // @ts-expect-error nor in a selection
  users.queryJson({ select: ["label"] })
]

// What is selected has the type of its JSON form.
export const selected = (users: Users["Service"], read: Read) => [
  read(users.queryJson({ select: ["email", "address.city", "$updatedAt"], allowStale: true }), (one) => {
    const known: readonly [string | undefined, string | undefined, string | undefined] = [
      one.email,
      one.address?.city,
      one.$updatedAt
    ]
    return known
  }),
  // @ts-expect-error a field that was not selected
  read(users.queryJson({ select: ["email"] }), (one) => one.age),
  // @ts-expect-error nor one of a nested object
  read(users.queryJson({ select: ["address.city"] }), (one) => one.address?.zip),
  // @ts-expect-error whole documents are read
  users.query({ where: { email: "x" }, allowStale: true })
]

type Read = <A>(stream: Stream.Stream<A, unknown>, use: (one: A) => unknown) => void

const Sealed = Schema.Struct({
  id: Schema.String,
  token: Attribute.SecretText,
  s: Schema.Struct({ token: Schema.optionalKey(Attribute.Password), other: Schema.String })
})

export const declarations = [
  // @ts-expect-error a partition by a field that there is not
  Resource.define("wrong", { schema: User, primaryKey: "id", partitions: { byContry: ["contry"] } }),
  // @ts-expect-error a unique key by a field that there is not
  Resource.define("wrong", { schema: User, primaryKey: "id", unique: { mail: ["mail"] } }),
  Resource.define("fine", { schema: Sealed, primaryKey: "id", partitions: { byOther: ["s.other"] } }),
  // @ts-expect-error a partition by a secret
  Resource.define("wrong", { schema: Sealed, primaryKey: "id", partitions: { byToken: ["token"] } }),
  Resource.define("wrong", {
    schema: Sealed,
    primaryKey: "id",
    // @ts-expect-error a partition that covers what holds a secret
    partitions: { p: { fields: ["id"], covering: ["s"] } }
  }),
  // @ts-expect-error a unique key by a secret in a struct
  Resource.define("wrong", { schema: Sealed, primaryKey: "id", unique: { token: ["s.token"] } }),
  Resource.define("fine", {
    schema: Sealed,
    primaryKey: "id",
    unique: { byToken: { fields: ["token"], blind: true }, both: { fields: ["s.other", "token"], blind: true } }
  }),
  // @ts-expect-error a secret, where the key does not say that it is blind
  Resource.define("wrong", { schema: Sealed, primaryKey: "id", unique: { u: { fields: ["token"], blind: false } } }),
  // @ts-expect-error a password, blind or not
  Resource.define("wrong", { schema: Sealed, primaryKey: "id", unique: { u: { fields: ["s.token"], blind: true } } }),
  // @ts-expect-error a counted partition that there is not
  Resource.define("wrong", { schema: User, primaryKey: "id", counters: { partitions: ["byCountry"] } }),
  Resource.define("wrong", {
    // @ts-expect-error a document is one struct: a union of them is refused, and says so
    schema: Schema.Union([
      Schema.Struct({ _tag: Schema.tag("A"), id: Schema.String }),
      Schema.Struct({ _tag: Schema.tag("B"), id: Schema.String, n: Schema.Int })
    ]),
    primaryKey: "id"
  })
]

/** By the rule notation, too. */
const parcels = Resource.fromAttributes(
  "parcels",
  { city: "string", weight: "number" },
  { partitions: { byCity: ["city"] }, unique: { weight: ["weight"] }, history: true }
)

export const rules = (repository: Resource.RepositoryOf<typeof parcels>) => [
  repository.scan({ partition: "byCity", values: { city: "Recife" } }),
  repository.history("1"),
  repository.getMany(["1"]),
  repository.deleteMany(new Set(["1"])),
  // @ts-expect-error one id is no list of ids, although a text is a sequence of letters
  repository.deleteMany("12"),
  // @ts-expect-error nor is it here
  repository.getMany("12"),
  // @ts-expect-error no such partition
  repository.scan({ partition: "byTown" }),
  // @ts-expect-error no such unique key
  repository.getByUnique("size", {}),
  // @ts-expect-error it has no content
  repository.getContent("1"),
  // @ts-expect-error a partition by a field that there is not
  Resource.fromAttributes("wrong", { city: "string" }, { partitions: { byTown: ["town"] } })
]

/** Passwords are given redacted, or as the hash that there is. */
const logins = Resource.define("logins", {
  schema: Schema.Struct({ id: Schema.String, name: Schema.String, password: Attribute.Password }),
  primaryKey: "id"
})
const ruled = Resource.fromAttributes("logins", { name: "string", password: "password|min:8" })

export const passwords = (
  repository: Resource.RepositoryOf<typeof logins>,
  other: Resource.RepositoryOf<typeof ruled>,
  hash: Attribute.PasswordHash
) => [
  repository.insert({ id: "1", name: "a", password: Redacted.make("text") }),
  repository.insert({ id: "1", name: "a", password: hash }),
  repository.insertJson({ id: "1", name: "a", password: "text" }),
  other.insert({ name: "a", password: Redacted.make("text") }),
  // @ts-expect-error a text in clear
  repository.insert({ id: "1", name: "a", password: "text" }),
  // @ts-expect-error a text in clear
  repository.replace({ id: "1", name: "a", password: "text" }),
  // @ts-expect-error a text in clear
  repository.upsert({ id: "1", name: "a", password: "text" }),
  // @ts-expect-error a text in clear
  repository.update("1", { password: "text" }),
  // @ts-expect-error a text in clear
  repository.patch("1", { password: "text" }),
  // @ts-expect-error a text in clear
  other.insert({ name: "a", password: "text" }),
  // @ts-expect-error a hash is no text
  Effect.map(repository.get("1"), ({ password }) => password.length),
  // @ts-expect-error and no redacted one, which would be hashed
  Effect.map(repository.get("1"), ({ password }) => Redacted.value(password))
]

const apiKeys = Resource.define("keys", {
  schema: Schema.Struct({ id: Schema.String, tenant: Schema.String, secret: Attribute.SecretText }),
  primaryKey: "id",
  unique: { bySecret: { fields: ["tenant", "secret"], blind: true } }
})

export const blind = (repository: Resource.RepositoryOf<typeof apiKeys>) => [
  repository.getByUnique("bySecret", { tenant: "t", secret: Redacted.make("s") }),
  // @ts-expect-error a secret in clear
  repository.getByUnique("bySecret", { tenant: "t", secret: "s" })
]

/** A model and its variants. */
class Group extends Model.Class<Group>("types/Group")({
  id: Model.GeneratedByApp(Schema.String),
  name: Schema.String,
  password: Model.Sensitive(Schema.String)
}) {}

class Groups extends Resource.Service<Groups>()("types/groups", { schema: Group, primaryKey: "id" }) {}

export const models = (groups: Groups["Service"]) => [
  groups.insert({ id: "1", name: "a", password: "b" }),
  groups.insert(Group.make({ id: "1", name: "a", password: "b" })),
  Effect.map(groups.get("1"), (group) => Schema.encodeSync(Group.json)(group)),
  // @ts-expect-error the model says what there is
  groups.insert({ id: "1", name: "a" })
]

/** Of a program's own. */
const orders = Resource.define("orders", {
  schema: Schema.Struct({ id: Schema.String, state: Schema.Literals(["open", "paid"]) }),
  primaryKey: "id",
  partitions: { byState: ["state"] }
})

export const open = (repository: Resource.RepositoryOf<typeof orders>) =>
  repository.scan({ partition: "byState", values: { state: "open" } })

export const opened = Effect.flatMap(Resource.make(orders), (repository) => Effect.succeed(open(repository)))

export const tagged = Pipeline.interceptor<Resource.OperationsOf<typeof orders>>()({
  name: "tagged",
  operations: "insert",
  before: ({ input, reject }) => (input.input.state === "paid" ? Effect.fail(reject("not yet")) : Effect.void)
})

const numbered = Schema.Struct({ n: Schema.Int })

export const noKey = {
  "unsupported schema":
    "a primary key is a required field that is a string, and the schema has none: add one, such as id: Id.Random"
} satisfies Definition.NoPrimaryKey<typeof numbered>

export const keys = [
  // @ts-expect-error says what a primary key is
  Resource.define("numbered", { schema: numbered, primaryKey: "n" }),
  // @ts-expect-error another field can be it
  Resource.define("orders", { schema: Schema.Struct({ id: Schema.String, n: Schema.Int }), primaryKey: "n" })
]

// A schema without a constructor of its own.

class Settings extends Resource.Service<Settings>()("types/settings", {
  schema: Schema.Struct({ id: Schema.String, data: Schema.Json, more: Schema.optionalKey(Schema.Json) }),
  primaryKey: "id"
}) {}

export const holdsJson = (settings: Settings["Service"]) => [
  settings.insert({ id: "1", data: { a: [1, null] } }),
  settings.insert({ id: "1", data: null, more: [true] }),
  // @ts-expect-error no JSON
  settings.insert({ id: "1", data: () => 1 }),
  // @ts-expect-error no JSON, in an optional field
  settings.insert({ id: "1", data: 1, more: new Map() }),
  // @ts-expect-error required
  settings.insert({ id: "1" })
]
