import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import { format } from "effect/Formatter"
import * as Hash from "effect/Hash"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Catalog from "effect-s3db/Catalog"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Encoding from "effect-s3db/encoding/Encoding"
import type * as Definition from "effect-s3db/Definition"
import * as Export from "effect-s3db/Export"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import * as PasswordHash from "effect-s3db/schema/PasswordHash"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { everything, keysOf, memory, objectOf, openNew, openOn } from "./fixture.ts"
import { secretSamples } from "./schema/samples.ts"

const Account = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  token: Attribute.SecretText,
  pin: Schema.optionalKey(Attribute.SecretNumber),
  notes: Schema.optionalKey(Attribute.SecretJson),
  alias: Schema.optionalKey(Schema.NullOr(Attribute.SecretText)),
  inner: Schema.optionalKey(Schema.Struct({ key: Schema.Redacted(Schema.String) })),
  bio: Schema.optionalKey(Schema.String)
})

const options = { schema: Account, primaryKey: "id" } as const

const bytes = (fill: number) => Redacted.make(new Uint8Array(32).fill(fill))
const ringOf = (current: string, ids: ReadonlyArray<string>) =>
  KeyRing.layerKeys({ current, keys: Object.fromEntries(ids.map((id) => [id, bytes(id.charCodeAt(0))])) })
const ringA = ringOf("a", ["a"])

const secretText = "hunter2-correct-horse"
const account = {
  id: "1",
  name: "Ada",
  token: Redacted.make(secretText),
  pin: Redacted.make(471147114711.5),
  notes: Redacted.make({ deep: [secretText] }),
  inner: { key: Redacted.make(`${secretText}-inner`) }
}

const revealed = (value: typeof Account.Type) => ({
  ...value,
  token: Redacted.value(value.token),
  pin: value.pin === undefined ? undefined : Redacted.value(value.pin),
  notes: value.notes === undefined ? undefined : Redacted.value(value.notes),
  inner: value.inner === undefined ? undefined : Redacted.value(value.inner.key)
})

const reasonOf = (error: { readonly _tag: string }): string =>
  error._tag === "DbError" ? (error as DbError.DbError).reason._tag : error._tag

/** Every text that a tracer gets to see. */
const recorder = () => {
  const seen: Array<string> = []
  const tracer = Tracer.make({
    span(spanOptions) {
      const span = new Tracer.NativeSpan(spanOptions)
      seen.push(span.name)
      const attribute = span.attribute.bind(span)
      span.attribute = (key, value) => {
        seen.push(`${key}=${String(value)}`)
        attribute(key, value)
      }
      return span
    }
  })
  return { seen, tracer }
}

describe("secrets", () => {
  for (const [name, encoding] of [
    ["text", Encoding.layer],
    ["packed", Encoding.layerPacked]
  ] as const) {
    it.effect(
      `T69, ${name}: a secret is unreadable at rest, in metadata and in the body, after every kind of write`,
      () =>
        Effect.gen(function* () {
          const { store, open } = yield* openNew
          const { seen, tracer } = recorder()
          yield* Effect.gen(function* () {
            const accounts = yield* open("accounts", options)
            const inserted = yield* accounts.insert(account)
            assert.deepStrictEqual(revealed(inserted), revealed(account))
            const check = Effect.gen(function* () {
              const object = yield* objectOf(store, "accounts", "1")
              const text =
                everything(object) + Buffer.from(Object.values(object.metadata).join(""), "base64").toString()
              for (const clear of [secretText, "hunter2", "471147114711", "deep"]) assert.notInclude(text, clear)
              assert.strictEqual(Redacted.value((yield* accounts.get("1")).token), secretText)
            })
            yield* check
            yield* accounts.update("1", { name: "Ada L." })
            yield* check
            yield* accounts.patch("1", { bio: "b".repeat(2500) })
            yield* check
            yield* accounts.update("1", { bio: `${secretText.slice(0, 3)}`.repeat(900) })
            yield* accounts.replace({ ...account, bio: "c".repeat(5000), alias: null })
            assert.isNull((yield* accounts.get("1")).alias)
            const explained = yield* accounts.explain(yield* accounts.getDocument("1"))
            assert.notInclude(JSON.stringify(explained), "hunter2")
            const back = yield* accounts.get("1")
            assert.notInclude(JSON.stringify(back) + String(back.token), "hunter2")
            // What is wrong with a secret does not say what it is.
            const wrong = yield* Effect.flip(
              accounts.insert({
                ...account,
                token: Redacted.make(5 as unknown as string),
                name: 7 as unknown as string
              })
            )
            assert.deepStrictEqual(
              (wrong as DbError.InvalidInput).issues.map((issue) => issue.path.join(".")).toSorted(),
              ["name", "token"].slice(0, (wrong as DbError.InvalidInput).issues.length).toSorted()
            )
          }).pipe(Effect.withTracer(tracer))
          assert.isTrue(seen.length > 5)
          assert.notInclude(seen.join("\n"), "hunter2")
        }).pipe(Effect.provide([ringA, encoding]))
    )

    it.effect(`${name}: every kind of secret comes back as it was`, () =>
      Effect.gen(function* () {
        const { open } = yield* openNew
        for (const sample of secretSamples) {
          const schema = Schema.Struct({ id: Schema.String, field: sample.schema as Schema.Codec<unknown> })
          const things = yield* open(sample.name.replaceAll(" ", "-"), { schema, primaryKey: "id" })
          for (const [index, value] of sample.values.entries()) {
            yield* things.insert({ id: `${index}`, field: value })
            const { field } = yield* things.get(`${index}`)
            const plain = (u: unknown): unknown =>
              Redacted.isRedacted(u) ? Redacted.value(u) : Array.isArray(u) ? u.map(plain) : u
            assert.deepStrictEqual(plain(field), plain(value))
          }
        }
      }).pipe(Effect.provide([ringA, encoding]))
    )
  }

  const withRing = <A, E, R>(
    store: ObjectStore["Service"],
    ring: Layer.Layer<KeyRing.KeyRing, KeyRing.InvalidKeyRing>,
    use: (accounts: Resource.Repository<typeof Account>) => Effect.Effect<A, E, R>
  ) =>
    Effect.flatMap(openOn(store), ({ open }) => Effect.flatMap(open("accounts", options), use)).pipe(
      Effect.provide(ring)
    )

  it.effect("a ciphertext opens only where it belongs, unaltered, with its key", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* withRing(store, ringA, (accounts) =>
        Effect.andThen(
          accounts.insert(account),
          accounts.insert({ ...account, id: "2", token: Redacted.make("other") })
        )
      )
      const read = (id: string, ring = ringA) => withRing(store, ring, (accounts) => Effect.flip(accounts.get(id)))
      const wrongKey = yield* read("1", ringOf("b", ["b"]))
      assert.strictEqual(reasonOf(wrongKey), "SecretUnreadable")
      assert.include(wrongKey.message, "under a key that the ring has not: add that key to the KeyRing of this program")
      const put = (id: string, change: (metadata: Record<string, string>) => void) =>
        Effect.gen(function* () {
          const object = yield* objectOf(store, "accounts", id)
          const metadata = { ...object.metadata }
          change(metadata)
          yield* store.put({ key: object.key, body: object.body, metadata })
        })
      const one = (yield* objectOf(store, "accounts", "1")).metadata
      const names = Object.keys(one).filter((name) => (one[name]?.length ?? 0) > 40)
      assert.isAtLeast(names.length, 4)
      for (const name of names) {
        // From another field.
        const other = names.find((candidate) => candidate !== name)!
        yield* put("1", (metadata) => (metadata[name] = one[other]!))
        const moved = yield* read("1")
        assert.deepInclude((moved as DbError.DbError).reason, { _tag: "SecretUnreadable", why: "Altered" })
        // One bit of it changed, anywhere but in the two bytes that tell the key.
        const sealed = Buffer.from(one[name]!, "base64")
        for (const at of [0, 3, 20, sealed.length - 1]) {
          const altered = Buffer.from(sealed)
          altered[at]! ^= 1
          yield* put("1", (metadata) => (metadata[name] = altered.toString("base64")))
          assert.strictEqual(reasonOf(yield* read("1")), "SecretUnreadable", `${name} ${at}`)
        }
        yield* put("1", (metadata) => (metadata[name] = one[name]!.slice(0, 20)))
        assert.strictEqual(reasonOf(yield* read("1")), "SecretUnreadable")
        yield* put("1", (metadata) => (metadata[name] = one[name]!))
      }
      // From another document.
      yield* put("2", (metadata) => (metadata[names[0]!] = one[names[0]!]!))
      const elsewhere = yield* read("2")
      assert.deepInclude((elsewhere as DbError.DbError).reason, { _tag: "SecretUnreadable", why: "Altered" })
      for (const error of [wrongKey, elsewhere]) {
        assert.notInclude(JSON.stringify(error) + String(error), "hunter2")
        assert.notInclude(JSON.stringify(error) + String(error), one[names[0]!]!)
      }
    })
  )

  it.effect("a catalog that says that one secret is another opens neither", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const schema = Schema.Struct({ id: Schema.String, hint: Attribute.SecretText, key: Attribute.SecretText })
      const options = { schema, primaryKey: "id" } as const
      const { open } = yield* openOn(store)
      const before = yield* open("accounts", options)
      yield* before.insert({ id: "1", hint: Redacted.make("public"), key: Redacted.make(secretText) })
      const catalog = yield* store.get("s3db.json")
      const parts = JSON.parse(new TextDecoder().decode(catalog.body)) as {
        readonly resources: { readonly accounts: { readonly attributes: Record<string, { path: unknown }> } }
      }
      const [first, second] = Object.values(parts.resources.accounts.attributes)
      const { path } = first!
      first!.path = second!.path
      second!.path = path
      yield* store.put({ key: "s3db.json", body: new TextEncoder().encode(JSON.stringify(parts)) })
      const { open: reopen } = yield* openOn(store)
      const after = yield* reopen("accounts", options)
      assert.strictEqual(reasonOf(yield* Effect.flip(after.get("1"))), "SecretUnreadable")
    }).pipe(Effect.provide(ringA))
  )

  it.effect("a secret that a transformation makes of a plain field is in clear nowhere", () =>
    Effect.gen(function* () {
      class Login extends Schema.Class<Login>("Login")({ name: Schema.String, secret: Attribute.SecretText }) {}
      const Fields = Schema.Struct({ name: Schema.String, secret: Attribute.SecretText })
      const Plain = Schema.Struct({ name: Schema.String, key: Schema.String })
      const open = ({ name, key }: typeof Plain.Type) => ({ name, secret: Redacted.make(key) })
      const close = ({ name, secret }: typeof Fields.Encoded) => ({ name, key: Redacted.value(secret) })
      const toFields = Plain.pipe(
        Schema.decodeTo(Fields, SchemaTransformation.transform({ decode: open, encode: close }))
      )
      const toClass = Plain.pipe(
        Schema.decodeTo(Login, SchemaTransformation.transform({ decode: open, encode: close }))
      )
      const nested = Schema.Struct({ deep: toFields })
      for (const [i, login] of [toFields, toClass, nested, Schema.Array(toFields), Schema.NullOr(toClass)].entries()) {
        const schema = Schema.Struct({ id: Schema.String, login })
        const store = yield* memory
        const { open } = yield* openOn(store)
        const accounts = yield* open("accounts", { schema, primaryKey: "id", history: true })
        const one = { name: "Ada", secret: Redacted.make(secretText) }
        const values = [one, new Login(one), { deep: one }, [one], new Login(one)]
        const document = { id: "1", login: values[i] } as unknown as Parameters<typeof accounts.insert>[0]
        yield* accounts.insert(document)
        yield* accounts.replace(document)
        for (const key of yield* keysOf(store)) {
          assert.notInclude(key + everything(yield* store.get(key)), secretText, String(i))
        }
        assert.deepStrictEqual(JSON.stringify(yield* accounts.get("1")), JSON.stringify(document))
      }
      const whole = Schema.Struct({ id: Schema.String, key: Schema.String }).pipe(
        Schema.decodeTo(
          Schema.Struct({ id: Schema.String, secret: Attribute.SecretText }),
          SchemaTransformation.transform({
            decode: ({ id, key }) => ({ id, secret: Redacted.make(key) }),
            encode: ({ id, secret }) => ({ id, key: Redacted.value(secret) })
          })
        )
      )
      assert.throws(() => Resource.define("accounts", { schema: whole, primaryKey: "id" }), "stored in clear")
    }).pipe(Effect.provide(ringA))
  )

  it.effect("what JSON cannot carry is no secret, and what is inside one is read or told", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const accounts = yield* open("accounts", options)
      const notes = JSON.parse(`{"deep":{"__proto__":1}}`) as Schema.Json
      const error = yield* Effect.flip(accounts.insert({ ...account, notes: Redacted.make(notes) }))
      assert.deepStrictEqual(error._tag === "InvalidInput" && error.issues[0]?.path, ["notes"])
      assert.isFalse(yield* accounts.exists("1"))
    }).pipe(Effect.provide(ringA))
  )

  it("passwords are fields of their own", () => {
    for (const secret of [
      Schema.Array(Attribute.Password),
      Schema.Option(Attribute.Password),
      Schema.Record(Schema.String, Attribute.Password)
    ]) {
      const schema = Schema.Struct({ id: Schema.String, secret })
      assert.throws(() => Resource.define("accounts", { schema, primaryKey: "id" }), "field of its own")
    }
  })

  it.effect("a secret takes at most 45 bytes more than its text", () =>
    Effect.gen(function* () {
      const ring = yield* KeyRing.KeyRing
      const { seal } = yield* ring.unlock(new Uint8Array(16))
      const location = { resource: "r", id: "1", attribute: "0", path: ["token"] }
      for (const size of [0, 1, 15, 100, 1000]) {
        const sealed = Buffer.from(yield* seal(location, "x".repeat(size)), "base64")
        assert.strictEqual(sealed.length - size, 31)
      }
      const stored = yield* seal(location, "")
      assert.isAtMost(stored.length, 45)
    }).pipe(Effect.provide(ringA))
  )

  it.effect("rotation: new writes use the current key, old ones stay readable, and can be written again", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* withRing(store, ringA, (accounts) =>
        accounts.insertMany(Array.from({ length: 30 }, (_, i) => ({ ...account, id: `k${i + 10}` })))
      )
      const both = ringOf("b", ["a", "b"])
      const first = yield* withRing(store, both, (accounts) =>
        Effect.gen(function* () {
          assert.strictEqual(Redacted.value((yield* accounts.get("k10")).token), secretText)
          yield* accounts.update("k10", { name: "new" })
          // Ten of them, then a crash; then the rest.
          const ten = yield* Stream.runCollect(Stream.take((yield* accounts.admin).rotate({ concurrency: 2 }), 10))
          const rest = yield* Stream.runCollect((yield* accounts.admin).rotate({ after: ten.at(-1)!.id }))
          assert.deepStrictEqual(
            yield* Stream.runCollect(Stream.filter((yield* accounts.admin).rotate(), (one) => one.rewritten)),
            []
          )
          return [...ten, ...rest]
        })
      )
      assert.deepStrictEqual(
        first.map((one) => one.id),
        Array.from({ length: 30 }, (_, i) => `k${i + 10}`)
      )
      assert.isFalse(first[0]!.rewritten)
      assert.isTrue(first[1]!.rewritten)
      yield* withRing(store, ringOf("b", ["b"]), (accounts) =>
        Effect.gen(function* () {
          const all = yield* Stream.runCollect(accounts.scan())
          assert.strictEqual(all.length, 30)
          for (const one of all) assert.deepStrictEqual(revealed(one).notes, { deep: [secretText] })
        })
      )
    })
  )

  it.effect("rotation reaches earlier versions, also of documents that are no more", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const versioned = { ...options, history: true } as const
      const use = <A>(
        ring: typeof ringA,
        body: (accounts: Resource.Repository<typeof Account>) => Effect.Effect<A, unknown>
      ) =>
        Effect.flatMap(openOn(store), ({ open }) => Effect.flatMap(open("accounts", versioned), body)).pipe(
          Effect.provide(ring)
        )
      yield* use(ringA, (accounts) =>
        Effect.gen(function* () {
          for (const id of ["1", "2"]) {
            yield* accounts.insert({ ...account, id })
            yield* accounts.update(id, { name: "second", token: Redacted.make("other") })
            yield* accounts.update(id, { name: "third", bio: "x".repeat(3000) })
          }
          yield* accounts.delete("2")
        })
      )
      const past = (accounts: Resource.Repository<typeof Account>) =>
        Effect.gen(function* () {
          const all = []
          for (const id of ["1", "2"]) {
            for (const { value, ...rest } of yield* Stream.runCollect(accounts.history(id))) {
              all.push({ ...rest, revision: undefined, value: revealed(value) })
            }
          }
          return all
        })
      const before = yield* use(ringA, past)
      assert.strictEqual(before.length, 5)
      const both = ringOf("b", ["a", "b"])
      const rotated = yield* use(both, (accounts) =>
        Effect.flatMap(accounts.admin, (admin) => Stream.runCollect(admin.rotate()))
      )
      assert.deepStrictEqual(rotated, [
        { id: "1", rewritten: true, of: "document" },
        { id: "1", rewritten: true, of: "history" },
        { id: "2", rewritten: true, of: "history" }
      ])
      const again = yield* use(both, (accounts) =>
        Effect.flatMap(accounts.admin, (admin) => Stream.runCollect(admin.rotate()))
      )
      assert.isTrue(again.every(({ rewritten }) => !rewritten))
      // The old key is not needed for anything any more.
      yield* use(ringOf("b", ["b"]), (accounts) =>
        Effect.gen(function* () {
          const after = yield* past(accounts)
          assert.deepStrictEqual(after.slice(1), before)
          assert.strictEqual(Redacted.value((yield* accounts.restore("2", { version: 1 })).token), secretText)
        })
      )
    })
  )

  it.effect("secrets of fields that the program does not know stay, and rotate, too", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* withRing(store, ringA, (accounts) => accounts.insert(account))
      const Known = Schema.Struct({ id: Schema.String, name: Schema.String, token: Attribute.SecretText })
      const use = (
        ring: typeof ringA,
        body: (known: Resource.Repository<typeof Known>) => Effect.Effect<unknown, unknown>
      ) =>
        Effect.flatMap(openOn(store), ({ open }) =>
          Effect.flatMap(open("accounts", { schema: Known, primaryKey: "id" }), body)
        ).pipe(Effect.provide(ring))
      yield* use(ringA, (known) => known.update("1", { name: "x" }))
      yield* use(ringOf("b", ["a", "b"]), (known) =>
        Effect.flatMap(known.admin, (admin) => Stream.runDrain(admin.rotate()))
      )
      const back = yield* withRing(store, ringOf("b", ["b"]), (accounts) => accounts.get("1"))
      assert.deepStrictEqual(revealed(back), { ...revealed(account), name: "x" })
      // Without secrets of its own, and without a ring.
      const Plain = Schema.Struct({ id: Schema.String, name: Schema.String })
      const plain = yield* Effect.flatMap(openOn(store), ({ open }) =>
        open("accounts", { schema: Plain, primaryKey: "id" })
      )
      yield* plain.update("1", { name: "y" })
      const again = yield* withRing(store, ringOf("b", ["b"]), (accounts) => accounts.get("1"))
      assert.deepStrictEqual(revealed(again), { ...revealed(account), name: "y" })
      // A text where a secret was is told, not shown as text.
      const Clear = Schema.Struct({ id: Schema.String, token: Schema.String })
      const clear = yield* Effect.flatMap(openOn(store), ({ open }) =>
        open("accounts", { schema: Clear, primaryKey: "id" })
      )
      assert.strictEqual(reasonOf(yield* Effect.flip(clear.get("1"))), "ServiceFailed")
    })
  )

  it.effect("a value in clear where a secret belongs is refused, unless a migration leads to it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const Plain = Schema.Struct({ id: Schema.String, token: Schema.String, inner: Schema.Json })
      const Sealed = Schema.Struct({
        id: Schema.String,
        token: Attribute.SecretText,
        inner: Schema.Struct({ pin: Attribute.SecretNumber })
      })
      const plain = yield* Effect.flatMap(openOn(store), ({ open }) =>
        open("accounts", { schema: Plain, primaryKey: "id", version: 1 })
      )
      yield* plain.insert({ id: "1", token: "planted", inner: { pin: 4711 } })
      const sealed = (version: number, migrations: Record<number, Definition.Migration>) =>
        Effect.flatMap(openOn(store), ({ open }) =>
          open("accounts", { schema: Sealed, primaryKey: "id", version, migrations })
        )
      const strict = yield* sealed(2, {})
      const refused = yield* Effect.flip(strict.get("1"))
      assert.deepInclude((refused as DbError.DbError).reason, { _tag: "SecretUnreadable", why: "InClear" })
      assert.notInclude(JSON.stringify(refused) + refused.message, "planted")
      const migrating = yield* sealed(3, { 1: (document) => document })
      assert.strictEqual(Redacted.value((yield* migrating.get("1")).token), "planted")
      yield* Stream.runDrain((yield* migrating.admin).migrate())
      const object = everything(yield* objectOf(store, "accounts", "1"))
      assert.notInclude(object, "planted")
      assert.strictEqual(Redacted.value((yield* migrating.get("1")).inner.pin), 4711)
    }).pipe(Effect.provide(ringA))
  )

  it.effect("a resource with secrets does not open without a ring", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const withoutRing = open("accounts", options) as Effect.Effect<unknown, DbError.DbError>
      const error = yield* Effect.flip(withoutRing)
      assert.strictEqual(error.reason._tag, "ServiceFailed")
      assert.include(error.message, "KeyRing")
    })
  )
})

describe("KeyRing", () => {
  const failure = (layer: Layer.Layer<KeyRing.KeyRing, unknown>) =>
    Effect.map(Effect.exit(Effect.provide(KeyRing.KeyRing, layer)), (exit) =>
      Exit.isFailure(exit) ? String(exit.cause) : "none"
    )

  it.effect("says what is wrong with its keys, without showing them", () =>
    Effect.gen(function* () {
      assert.include(yield* failure(ringOf("x", ["a"])), "`current` is the id of no key of the ring")
      const short = yield* failure(KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make("c2hvcnQ=") } }))
      assert.include(short, "32 bytes")
      assert.notInclude(short, "c2hvcnQ")
      assert.include(
        yield* failure(KeyRing.layerPassphrases({ current: "1", passphrases: { 1: Redacted.make("") } })),
        "empty"
      )
      // What a short one has sealed can be opened, and sealed anew by one that is long enough.
      const passphrases = { 1: Redacted.make("short"), 2: Redacted.make("a long one") }
      const tooShort = yield* failure(KeyRing.layerPassphrases({ current: "1", passphrases }))
      assert.include(tooShort, "passphrase 1 of 2, the current one, has fewer than 8 characters")
      assert.notInclude(tooShort, 'short"')
      assert.include(yield* failure(KeyRing.layerPassphrase(Redacted.make("x"))), "fewer than 8 characters")
      yield* Effect.provide(KeyRing.KeyRing, KeyRing.layerPassphrases({ current: "2", passphrases }))
      const twins = KeyRing.layerKeys({ current: "a", keys: { a: bytes(1), b: bytes(1) } })
      const ring = yield* Effect.provide(KeyRing.KeyRing, twins)
      assert.include((yield* Effect.flip(ring.unlock(new Uint8Array(16)))).message, "cannot be told apart")
    })
  )

  it.effect("from passphrases: the salt of the database makes the key, and is kept", () =>
    Effect.gen(function* () {
      const weak = { memory: 64, passes: 1, parallelism: 1 }
      const ring = KeyRing.layerPassphrase(Redacted.make("correct horse"), weak)
      const store = yield* memory
      const use = <A, E>(
        layer: typeof ring,
        body: (accounts: Resource.Repository<typeof Account>) => Effect.Effect<A, E>
      ) =>
        Effect.flatMap(openOn(store), ({ open }) => Effect.flatMap(open("accounts", options), body)).pipe(
          Effect.provide(layer)
        )
      yield* use(ring, (accounts) => accounts.insert(account))
      assert.deepStrictEqual(
        revealed(yield* use(Layer.fresh(ring), (accounts) => accounts.get("1"))),
        revealed(account)
      )
      const wrong = KeyRing.layerPassphrase(Redacted.make("wrong horse"), weak)
      assert.strictEqual(reasonOf(yield* use(wrong, (accounts) => Effect.flip(accounts.get("1")))), "SecretUnreadable")
      const catalog = new TextDecoder().decode((yield* store.get("s3db.json")).body)
      assert.match(catalog, /"salt":\s*"[A-Za-z0-9+/]{22}=="/)
      assert.notInclude(catalog, "horse")
      // A salt that somebody has cut short makes no key.
      for (const salt of ["", "AAAA", "no base 64!"]) {
        const changed = catalog.replace(/"salt":\s*"[^"]+"/, `"salt": "${salt}"`)
        yield* store.put({ key: "s3db.json", body: new TextEncoder().encode(changed) })
        const failed = yield* use(Layer.fresh(ring), () => Effect.void).pipe(Effect.flip)
        assert.strictEqual(reasonOf(failed), "Corrupt", salt)
      }
    })
  )

  it.effect("from configuration", () =>
    Effect.gen(function* () {
      const key = Buffer.alloc(32, 7).toString("base64")
      const provider = ConfigProvider.fromEnv({
        env: { S3DB_KEYS: `new:${key}, old:${Buffer.alloc(32, 8).toString("base64")}` }
      })
      const ring = yield* Effect.provide(KeyRing.KeyRing, KeyRing.layerConfig()).pipe(
        Effect.provideService(ConfigProvider.ConfigProvider, provider)
      )
      assert.deepStrictEqual([ring.current, ring.ids], ["new", ["new", "old"]])
      const given = KeyRing.layerConfig(Config.succeed({ current: "a", keys: { a: bytes(1) } }))
      assert.strictEqual((yield* Effect.provide(KeyRing.KeyRing, given)).current, "a")
      const missing = yield* failure(
        Layer.provide(
          KeyRing.layerConfig(),
          Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: {} }))
        )
      )
      assert.include(missing, "S3DB_KEYS")
      const wrong = (keys: string) =>
        failure(
          Layer.provide(
            KeyRing.layerConfig(),
            Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: { S3DB_KEYS: keys } }))
          )
        )
      assert.include(yield* wrong(`a:${key},a:${key}`), "entry 2 of 2 has an id that is there twice")
      for (const unnamed of [`:${key}`, key]) assert.include(yield* wrong(unnamed), "entry 1 of 1 has to be id:key")
      assert.include(yield* wrong(`a:${key},`), "entry 2 of 2 has to be id:key")
    })
  )

  it.effect("nothing of keys that do not parse is shown, in whatever place they stand", () =>
    Effect.gen(function* () {
      const key = Buffer.from("a key of thirty-two bytes, random").subarray(0, 32).toString("base64")
      const cut = key.slice(0, -5)
      const redacted = Redacted.make
      const fromText = (text: string) =>
        Layer.provide(
          KeyRing.layerConfig(),
          Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: { S3DB_KEYS: text } }))
        )
      const wrong: Readonly<Record<string, Layer.Layer<KeyRing.KeyRing, unknown>>> = {
        swapped: fromText(`${key}:2025`),
        "swapped among others": fromText(`2024:${key},${key}:2025`),
        "both keys": fromText(`${key}:${key}`),
        "no colon": fromText(cut),
        "no id": fromText(`:${cut}`),
        "cut short": fromText(`2025:${cut}`),
        "cut short and swapped": fromText(`${cut}:2025`),
        "the key as its id twice": fromText(`${cut}:${key},${cut}:${key}`),
        "another separator": fromText(`2025=${key}`),
        "in a record, swapped": KeyRing.layerKeys({ current: key, keys: { [key]: redacted("2025") } }),
        "in a record, its own id": KeyRing.layerKeys({ current: key, keys: { [key]: redacted(key) } }),
        "in a record, cut short": KeyRing.layerKeys({ current: "2025", keys: { 2025: redacted(cut) } }),
        "as the current id": KeyRing.layerKeys({ current: key, keys: { 2025: redacted(key) } }),
        "a passphrase for its id": KeyRing.layerPassphrases({ current: cut, passphrases: { [cut]: redacted("") } }),
        "a passphrase as the current id": KeyRing.layerPassphrases({ current: cut, passphrases: { 1: redacted(cut) } }),
        "in the configuration": KeyRing.layerConfig(Config.succeed({ current: key, keys: { [key]: redacted("2025") } }))
      }
      for (const [what, layer] of Object.entries(wrong)) {
        const exit = yield* Effect.exit(Effect.provide(KeyRing.KeyRing, layer))
        assert.isTrue(Exit.isFailure(exit), what)
        if (!Exit.isFailure(exit)) continue
        const shown = [String(exit.cause), Cause.pretty(exit.cause), JSON.stringify(exit), inspect(exit, { depth: 20 })]
        for (const text of shown) {
          assert.include(text, "InvalidKeyRing", what)
          // Not even a piece of it.
          for (let at = 0; at + 6 <= cut.length; at++) assert.notInclude(text, cut.slice(at, at + 6), what)
        }
      }
    })
  )
})

describe("passwords", () => {
  const textOf = PasswordHash.toText
  const Login = Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    password: Attribute.Password,
    old: Schema.optionalKey(Schema.NullOr(Attribute.Password))
  })
  const login = { schema: Login, primaryKey: "id" } as const
  const hasher = PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })

  it.effect("T70: a password is hashed once, verifies after unrelated updates, and is hashed anew when set anew", () =>
    Effect.gen(function* () {
      const { store, open } = yield* openNew
      const { verify, hash } = yield* PasswordHasher.PasswordHasher
      const logins = yield* open("logins", login)
      const inserted = yield* logins.insert({ id: "1", name: "Ada", password: Redacted.make("correct horse") })
      assert.isTrue(textOf(inserted.password).startsWith("$argon2id$"))
      assert.deepStrictEqual(yield* logins.get("1"), inserted)
      const updated = yield* logins.update("1", { name: "Ada L." })
      assert.strictEqual(textOf(updated.password), textOf(inserted.password))
      assert.isTrue(yield* verify(Redacted.make("correct horse"), (yield* logins.get("1")).password))
      assert.isFalse(yield* verify(Redacted.make("Correct horse"), inserted.password))
      const renewed = yield* logins.patch("1", { password: Redacted.make("new horse"), old: updated.password })
      assert.notStrictEqual(textOf(renewed.password), textOf(inserted.password))
      assert.strictEqual(textOf(renewed.old!), textOf(inserted.password))
      assert.isTrue(yield* verify(Redacted.make("new horse"), renewed.password))
      const rounds = yield* hash(Redacted.make("bcrypt horse"), PasswordHasher.bcrypt({ cost: 12 }))
      const other = yield* logins.insert({ id: "2", name: "Bob", password: rounds })
      assert.strictEqual(textOf(other.password), textOf(rounds))
      assert.isTrue(yield* verify(Redacted.make("bcrypt horse"), (yield* logins.get("2")).password))
      for (const id of ["1", "2"]) {
        const text = everything(yield* objectOf(store, "logins", id))
        assert.notInclude(text, "horse")
        assert.notInclude(text, "$2b$")
      }
      assert.isAtMost(Object.values((yield* objectOf(store, "logins", "2")).metadata).join("").length, 55 + 3 + 2)
    }).pipe(Effect.provide(hasher))
  )

  it.effect("what cannot be hashed names the field and changes nothing", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const logins = yield* open("logins", login)
      const attempt = (password: Redacted.Redacted<string> | Attribute.PasswordHash) =>
        Effect.flip(logins.insert({ id: "1", name: "Ada", password }))
      for (const wrong of [
        Redacted.make(""),
        Redacted.make(5 as unknown as string),
        "plain text" as never,
        Redacted.make("x".repeat(5000))
      ]) {
        const error = yield* attempt(wrong)
        assert.strictEqual(error._tag, "InvalidInput")
        assert.deepStrictEqual((error as DbError.InvalidInput).issues[0]?.path, ["password"])
        assert.notInclude(error.message, "plain text")
        if (wrong === ("plain text" as never)) assert.include(error.message, "Redacted.make(text)")
      }
      assert.isFalse(yield* logins.exists("1"))
    }).pipe(Effect.provide(hasher))
  )

  it.effect("a hash shows nothing of itself, whatever a program does with the document", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const logins = yield* open("logins", { ...login, history: true, scan: true })
      const plain = Redacted.make("correct horse")
      const { seen, tracer } = recorder()
      const inserted = yield* Effect.withTracer(logins.insert({ id: "1", name: "Ada", password: plain }), tracer)
      const secret = textOf(inserted.password)
      assert.match(secret, /^\$argon2id\$/)
      yield* logins.update("1", { name: "Ada L." })
      const read = yield* logins.get("1")
      assert.isTrue(Equal.equals(read.password, inserted.password))
      assert.strictEqual(Hash.hash(read.password), Hash.hash(inserted.password))
      const document = yield* logins.getDocument("1")
      const past = yield* Stream.runCollect(logins.history("1"))
      const shown = [inserted, read, document, past, [...(yield* Stream.runCollect(logins.scan()))]]
      for (const value of shown) {
        for (const text of [
          inspect(value, { depth: 20 }),
          JSON.stringify(value),
          String(read.password),
          format(value)
        ]) {
          assert.include(text, "<redacted>")
          assert.notInclude(text, "argon2id")
        }
      }
      assert.strictEqual(inspect(read.password), "<redacted>")
      assert.strictEqual(JSON.stringify(read.password), '"<redacted>"')
      for (const text of seen) assert.notInclude(text, "argon2id")

      // A success schema of an API does not send it.
      for (const codec of [Schema.toCodecJson(Login), Schema.toCodecJson(Schema.Array(Login))]) {
        const exit = yield* Effect.exit(Schema.encodeUnknownEffect(codec)(codec.ast._tag === "Arrays" ? [read] : read))
        assert.isTrue(Exit.isFailure(exit))
        assert.include(String(exit), "can only be turned into JSON by the database")
        assert.notInclude(String(exit), "argon2id")
      }
      const json = yield* logins.getJson("1")
      assert.deepStrictEqual(json, { id: "1", name: "Ada L." })
      assert.deepStrictEqual([...(yield* Stream.runCollect(logins.queryJson({ scan: true })))], [json])
      const lines = yield* Stream.mkString(Export.ndjsonText(logins.queryJson({ scan: true })))
      assert.notInclude(lines, "password")

      // Who asks for it gets it, and takes it to another resource as it is.
      const copies = yield* open("copies", login)
      const copied = yield* copies.insert(read)
      assert.strictEqual(textOf(copied.password), secret)
      const moved = Option.getOrThrow(PasswordHash.fromText(Redacted.make(secret)))
      yield* copies.replace({ id: "2", name: "Bob", password: moved })
      const { verify } = yield* PasswordHasher.PasswordHasher
      for (const id of ["1", "2"]) assert.isTrue(yield* verify(plain, (yield* copies.get(id)).password))
      yield* logins.patch("1", { password: Redacted.make("new horse") })
      yield* logins.restore("1", past[0]!)
      assert.isTrue(yield* verify(plain, (yield* logins.get("1")).password))
    }).pipe(Effect.provide(hasher))
  )

  it.effect("as JSON a password is plain text, and hashed; a hash stays where nobody gives one", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const { verify } = yield* PasswordHasher.PasswordHasher
      const Stored = Schema.Struct({
        id: Schema.String,
        name: Schema.String,
        password: Attribute.PasswordWith({ min: 8 }),
        deep: Schema.optionalKey(Schema.Struct({ old: Schema.NullOr(Attribute.Password), n: Schema.Int }))
      }).pipe(Schema.encodeKeys({ password: "pw" }))
      const logins = yield* open("logins", { schema: Stored, primaryKey: "id", scan: true })
      const passwordOf = (id: string) => Effect.map(logins.get(id), ({ password }) => password)
      const isNow = (id: string, plain: string) =>
        Effect.flatMap(passwordOf(id), (hash) => verify(Redacted.make(plain), hash))

      const inserted = yield* logins.insertJson({
        id: "1",
        name: "Ada",
        pw: "correct horse",
        deep: { old: null, n: 1 }
      })
      assert.deepStrictEqual(inserted, { id: "1", name: "Ada", deep: { n: 1 } })
      assert.isTrue(yield* isNow("1", "correct horse"))
      const before = textOf(yield* passwordOf("1"))
      assert.deepStrictEqual(yield* logins.updateJson("1", { name: "Ada L." }), { ...inserted, name: "Ada L." })
      yield* logins.patchJson("1", { deep: { old: "an old horse" } })
      assert.strictEqual(textOf(yield* passwordOf("1")), before)
      assert.isTrue(yield* verify(Redacted.make("an old horse"), (yield* logins.get("1")).deep!.old!))
      yield* logins.updateJson("1", { "deep.old": null })
      assert.isNull((yield* logins.get("1")).deep!.old)
      yield* logins.patchJson("1", { pw: "new horse" })
      assert.isTrue(yield* isNow("1", "new horse"))
      yield* logins.replaceJson({ id: "1", name: "Ada", pw: "third horse" })
      assert.isTrue(yield* isNow("1", "third horse"))
      const written = yield* Stream.runCollect(
        logins.writeAllJson(Stream.fromIterable([{ id: "2", name: "Bob", pw: "fourth horse" }]))
      )
      assert.isTrue(Result.isSuccess(written[0]!.result))
      assert.isTrue(yield* isNow("2", "fourth horse"))

      const hash = textOf(yield* passwordOf("2"))
      const refused: ReadonlyArray<readonly [string, Effect.Effect<unknown, { readonly message: string }>]> = [
        ["at least 8 characters", logins.insertJson({ id: "3", name: "Cy", pw: "short" })],
        ["at least 8 characters", logins.patchJson("1", { pw: "short" })],
        ["PasswordHash.fromText", logins.insertJson({ id: "3", name: "Cy", pw: hash })],
        ["PasswordHash.fromText", logins.patchJson("1", { pw: hash })],
        ["PasswordHash.fromText", logins.patchJson("1", { deep: { old: hash, n: 1 } })],
        ["pw", logins.insertJson({ id: "3", name: "Cy" })],
        ["pw", logins.insertJson({ id: "3", name: "Cy", pw: 5 })]
      ]
      for (const [what, attempt] of refused) {
        const error = yield* Effect.flip(attempt)
        assert.include(error.message, what)
        assert.notInclude(error.message, hash)
      }
      assert.isFalse(yield* logins.exists("3"))
      for (const id of ["1", "2"]) assert.notInclude(everything(yield* objectOf(store, "logins", id)), "horse")
    }).pipe(Effect.provide(hasher))
  )

  it.effect("what is stored, and the definition in the catalog, are those of before passwords were redacted", () =>
    Effect.gen(function* () {
      const Former = Schema.Struct({
        id: Schema.String,
        name: Schema.String,
        password: Schema.String.check(
          Schema.makeFilter<string>(() => true, {
            expected: "the hash of a password",
            representation: {
              id: Attributes.representationId,
              payload: { type: "password", codec: "password" }
            }
          })
        )
      })
      const Now = Schema.Struct({ id: Schema.String, name: Schema.String, password: Attribute.Password })
      const former = Resource.define("logins", { schema: Former, primaryKey: "id" })
      const now = Resource.define("logins", { schema: Now, primaryKey: "id" })
      assert.deepStrictEqual(now.attributes, former.attributes)
      assert.strictEqual(Catalog.hash(now), Catalog.hash(former))

      // A hash as such a release has stored it.
      const { open, store } = yield* openNew
      const { hash, verify } = yield* PasswordHasher.PasswordHasher
      const made = textOf(yield* hash(Redacted.make("correct horse")))
      const logins = yield* open("logins", { schema: Former, primaryKey: "id" })
      yield* logins.insert({ id: "1", name: "Ada", password: made })
      const read = yield* (yield* openOn(store)).open("logins", { schema: Now, primaryKey: "id" })
      assert.isTrue(yield* verify(Redacted.make("correct horse"), (yield* read.get("1")).password))

      // Who opens it from the catalog gets it redacted, and hashes what is plain.
      const { database } = yield* openOn(store)
      const fromCatalog = yield* Effect.flatMap(Resource.fromCatalog("logins"), Resource.make).pipe(
        Effect.provideService(Database.Database, database)
      )
      const ada = yield* fromCatalog.get("1")
      assert.notInclude(inspect(ada), "argon2id")
      assert.isTrue(PasswordHash.isPasswordHash(ada["password"]))
      const bob = yield* fromCatalog.insert({ id: "2", name: "Bob", password: Redacted.make("battery staple") })
      assert.isTrue(yield* verify(Redacted.make("battery staple"), bob["password"] as Attribute.PasswordHash))
    }).pipe(Effect.provide(hasher))
  )

  it.effect("a resource with passwords does not open without a hasher", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const error = yield* Effect.flip(open("logins", login) as Effect.Effect<unknown, DbError.DbError>)
      assert.include(error.message, "PasswordHasher")
    })
  )
})
