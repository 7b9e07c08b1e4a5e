import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as S3dbJs from "effect-s3db/migration/S3dbJs"
import * as Resource from "effect-s3db/Resource"
import { isPasswordHash, type PasswordHash, toText } from "effect-s3db/schema/PasswordHash"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, everything, memory, moments } from "../fixture.ts"
import { base62, catalog, decimal62, record, type Resource as Old, sealed } from "./sixteen.ts"
import { fixture, passphrase, type StoredObject, storeOf } from "./stored.ts"

const options = { passphrase: Redacted.make(passphrase) }

const services = Layer.mergeAll(
  KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(1)) } }),
  PasswordHasher.layer
)

/** Runs with a database on a store. */
const within = <A, E>(store: ObjectStore["Service"], effect: Effect.Effect<A, E, Database.Database>) =>
  effect.pipe(
    Effect.provide(Database.layer.pipe(Layer.provideMerge(Layer.merge(services, Layer.succeed(ObjectStore, store))))),
    Effect.scoped
  )

const opened = (objects: ReadonlyArray<StoredObject>, more: S3dbJs.Options = {}) =>
  Effect.flatMap(storeOf(objects), (store) => S3dbJs.open(store, { ...options, ...more }))

const report = (some: Partial<S3dbJs.Report>): S3dbJs.Report => ({ ...S3dbJs.emptyReport, ...some })

/** A document as a program that has only the catalog gets it. */
const document = Effect.fnUntraced(function* (resource: string, id: string) {
  const repository = yield* Resource.make(yield* Resource.fromCatalog(resource))
  return yield* repository.getJson(id)
})

describe("databases of s3db.js that its releases have written", () => {
  for (const name of ["s3db-js-19-5-10", "s3db-js-21-6-2"]) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { objects, written: writes } = fixture(name)
        // Of a document that was written twice, what it was in the end.
        const written = [
          ...new Map(writes.map((one) => [`${one.resource}/${String(one.document["id"])}`, one])).values()
        ]
        const source = yield* opened(objects, { content: true })
        assert.deepStrictEqual(source.left, [])
        assert.deepStrictEqual(
          source.resources.map(({ name }) => name),
          ["user-managed", "body-overflow", "body-only", "truncate-data", "enforce-limits"]
        )
        const target = yield* memory
        const move = (mode?: "dry-run" | "verify") => within(target, S3dbJs.report(S3dbJs.migrate(source, { mode })))
        const all = { records: written.length, truncated: 1 }
        assert.deepStrictEqual(yield* move("dry-run"), report({ ...all, written: written.length }))
        const listed = yield* target.list()
        assert.deepStrictEqual(
          listed.entries.filter(({ key }) => key.startsWith("resource=")),
          []
        )
        assert.deepStrictEqual(yield* move(), report({ ...all, written: written.length }))
        assert.deepStrictEqual(yield* move(), report({ ...all, unchanged: written.length }))
        assert.deepStrictEqual(yield* move("verify"), report({ ...all, unchanged: written.length }))
        yield* within(
          target,
          Effect.gen(function* () {
            for (const { document: given, resource } of written) {
              const {
                id,
                place,
                price,
                token: _,
                weight,
                ip6,
                ...rest
              } = given as Record<string, unknown> & { id: string }
              const found = yield* document(resource, id)
              const isCut = resource === "truncate-data" && id === "large"
              // A release from 17 on keeps nothing of a document that is all in its body beside the content.
              const expected = isCut ? { ...rest, bio: "" } : rest
              for (const [field, value] of Object.entries(expected)) {
                assert.deepStrictEqual<unknown>(found[field], value, `${resource} ${id} ${field}`)
              }
              const [latitude, longitude] = Array.isArray(place) ? place : Object.values(place as object)
              assert.deepStrictEqual(found["place"], { latitude, longitude })
              assert.deepStrictEqual(
                [found["price"], found["weight"]],
                price === undefined ? [undefined, undefined] : [String(price), String(weight)]
              )
              if (ip6 !== undefined) assert.match(String(found["ip6"]), /^2001:db8:/)
              assert.match(String(found["createdAt"]), /^2026-/)
            }
            const repository = yield* Resource.make(yield* Resource.fromCatalog("body-overflow"))
            const whole = yield* repository.get("whole")
            assert.strictEqual(Redacted.value(whole["token"] as Redacted.Redacted<string>), "hush-hush")
            const content = yield* Effect.flatMap(repository.getContent("content"), Effect.fromOption)
            assert.strictEqual(content.contentType, "text/plain")
            const bytes = yield* Stream.mkUint8Array(content.bytes)
            assert.strictEqual(new TextDecoder().decode(bytes), "content!")
            const open = yield* repository.list({ partition: "byStatus", values: { status: "open" } } as never)
            assert.deepStrictEqual(
              open.items.map(({ id }) => id),
              ["updated"]
            )
          })
        )
        for (const { key } of (yield* target.list()).entries) {
          assert.notInclude(everything(yield* target.get(key)), "hush-hush")
        }
      })
    )
  }
})

/** Every type of 16, and how a value of it is stored. */
const everyType: ReadonlyArray<readonly [name: string, rule: unknown, stored: string, found: unknown]> = [
  ["text", "string|required|min:1", "a", "a"],
  ["pattern", "string|pattern:^a|b$|optional", "a", "a"],
  ["accents", "string", "São Paulo", "São Paulo"],
  ["chinese", "string", "李明", "李明"],
  ["control", "string", "a\nb", "a\nb"],
  ["marked", "string", "d:j", "d:j"],
  ["word", "string", "completed", "completed"],
  ["route", "string", "/users/17", "/users/17"],
  ["jsonLike", "string", '{"a":1}', '{"a":1}'],
  ["empty", "string|optional", "", ""],
  ["nothing", "string|optional", "null", undefined],
  ["undefined", "string|optional", "undefined", undefined],
  ["nullable", "string|optional|nullable", "null", null],
  ["email", "email", "a@b.io", "a@b.io"],
  ["url", "url|optional", "https://a.b/c?d", "https://a.b/c?d"],
  ["integer", "number|integer|min:0", base62(1705321800), 1705321800],
  ["negative", "number|integer", base62(-5), -5],
  ["number", "number", decimal62(100.25), 100.25],
  ["minusHalf", "number", decimal62(-0.5), -0.5],
  ["yes", "boolean", "1", true],
  ["no", "boolean", "0", false],
  ["texts", "array|items:string", "a|b\\|c|d\\\\e", ["a", "b|c", "d\\e"]],
  ["noTexts", "array|items:string", "", []],
  ["integers", "array|items:number", `${base62(1)}|${base62(62)}|${base62(-7)}`, [1, 62, -7]],
  ["decimals", { type: "array", items: "number" }, `${decimal62(1.5)}|${decimal62(2)}`, [1.5, 2]],
  ["objects", { type: "array", items: { type: "object", props: { a: "number" } } }, '[{"a":1}]', [{ a: 1 }]],
  ["json", "json", '{"a":[1,{"b":null}]}', { a: [1, { b: null }] }],
  ["object", "object", "{}", {}],
  ["money", "money", `$${base62(1999)}`, "19.99"],
  ["noMoney", "money", "$0", "0"],
  ["crypto", "crypto:8", `$${base62(12345)}`, "0.00012345"],
  ["decimal", "decimal:3", `^${base62(-1500)}`, "-1.5"],
  ["latitude", "geo:lat", `~${base62((90 - 23.5) * 1e6)}`, -23.5],
  ["longitude", "geo:lon:2", `~${base62((180 + 12.25) * 100)}`, 12.25],
  ["point", "geo:point", "~4uOxP~91ALF", { latitude: -23.550519, longitude: -46.633309 }],
  ["ip4", "ip4", "wKgBAQ==", "192.168.1.1"],
  ["ip6", "ip6", "IAENuAAAAAAAAAAAAAAAAQ==", "2001:db8::1"],
  ["embedding", "embedding:4", "^[vZS,-1UCQ,3jfO,]", [0.123, -0.456, 0.789, 0]],
  ["date", "date", '"2024-01-15T10:30:00.000Z"', "2024-01-15T10:30:00.000Z"],
  ["enum", "enum|values:a,b", "b", "b"]
]

const types: Old = {
  name: "types",
  attributes: Object.fromEntries(everyType.map(([name, rule]) => [name, rule]))
}

describe("databases as s3db.js 16.2 writes them", () => {
  it.effect("every type, by every behavior", () =>
    Effect.gen(function* () {
      // 36 names at most are told apart by S3.
      const halves = [everyType.slice(0, 20), everyType.slice(20)]
      for (const behavior of ["user-managed", "body-overflow", "body-only", "truncate-data", "enforce-limits"]) {
        for (const half of halves) {
          const attributes = Object.fromEntries(half.map(([name, rule]) => [name, rule]))
          const old: Old = { ...types, attributes: { ...attributes, more: { deep: { a: "string" } } }, behavior }
          const texts = Object.fromEntries(half.map(([name, , stored]) => [name, stored]))
          const source = yield* opened([catalog([old]), record(old, "1", { ...texts, "more.deep.a": "x" })])
          assert.deepStrictEqual(
            source.resources[0]?.notes.filter((note) => !note.includes("becomes json")),
            []
          )
          const target = yield* memory
          const outcomes = yield* within(target, Stream.runCollect(S3dbJs.migrate(source)))
          assert.deepInclude(outcomes[0], { _tag: "Written", problems: [] }, JSON.stringify(outcomes))
          const found = yield* within(target, document("types", "1"))
          for (const [name, , , value] of half)
            assert.deepStrictEqual<unknown>(found[name], value, `${behavior} ${name}`)
          assert.deepStrictEqual<unknown>(found["more"], { deep: { a: "x" } })
        }
      }
    })
  )

  it.effect("secrets, hashes of passwords, a wrong passphrase and none", () =>
    Effect.gen(function* () {
      const hasher = yield* PasswordHasher.PasswordHasher
      const hash = yield* hasher.hash(Redacted.make("password123"), PasswordHasher.bcrypt({ cost: 10 }))
      const old: Old = {
        name: "users",
        attributes: {
          name: "string",
          token: "secret|optional",
          pin: "secretNumber|optional",
          more: "secretAny|optional",
          password: "password|min:8"
        }
      }
      const objects = [
        catalog([old]),
        record(old, "1", {
          name: "a",
          token: sealed(sealed("hush-hush")),
          pin: sealed("1234"),
          more: sealed('{"a":[1]}'),
          password: toText(hash).slice("$2b$10$".length)
        }),
        record(old, "2", { name: "b", token: sealed("other", "another passphrase"), password: "no hash" })
      ]
      const target = yield* memory
      const source = yield* opened(objects)
      const outcomes = yield* within(target, Stream.runCollect(S3dbJs.migrate(source)))
      const by = new Map(outcomes.map((one) => [one.id, one]))
      assert.deepInclude(by.get("1"), { _tag: "Written", problems: [], normalized: [] })
      assert.deepInclude(by.get("2"), {
        _tag: "Refused",
        problems: [
          { field: "token", problem: "the passphrase does not open it" },
          { field: "password", problem: "it is no hash of a password that is known" }
        ]
      })
      yield* within(
        target,
        Effect.gen(function* () {
          const users = yield* Resource.make(yield* Resource.fromCatalog("users"))
          const { more, password, pin, token } = yield* users.get("1")
          const clear = [token, pin, more].map((one) => Redacted.value(one as Redacted.Redacted<unknown>))
          assert.deepStrictEqual(clear, ["hush-hush", 1234, { a: [1] }])
          assert.isTrue(isPasswordHash(password))
          assert.isTrue(yield* hasher.verify(Redacted.make("password123"), password as PasswordHash))
          assert.isFalse(yield* hasher.verify(Redacted.make("password124"), password as PasswordHash))
        })
      )
      const without = yield* Effect.flatMap(storeOf(objects), (store) => S3dbJs.open(store))
      assert.deepStrictEqual(
        (yield* without.get("users", "1")).problems,
        ["token", "pin", "more"].map((field) => ({ field, problem: "no passphrase was given" }))
      )
    }).pipe(Effect.provide(PasswordHasher.layer))
  )

  const plain: Old = {
    name: "orders",
    attributes: { name: "string|min:2", size: "number|integer|optional" },
    partitions: { bySize: { fields: { size: "number" } }, byNothing: { fields: { gone: "string" } } },
    timestamps: true
  }

  it.effect("1,100 records, with ids of any characters; versions of a resource; fields that nobody knows", () =>
    Effect.gen(function* () {
      const strange = ["a b", "é/ü", "李明", "..", "x=y", "%2F", "__proto__", "a/b/c", "~", "id=1"]
      const ids = [...Array.from({ length: 1090 }, (_, i) => `order-${i}`), ...strange]
      const renamed: Old = {
        ...plain,
        versions: { v1: { size: "number|integer", name: "string" }, v2: plain.attributes }
      }
      const objects = [
        catalog([renamed]),
        ...ids.map((id, i) =>
          i % 2 === 0
            ? record(plain, id, { name: `n${i}`, size: base62(i) }, "v2")
            : record({ ...plain, attributes: renamed.versions!["v1"]! }, id, { name: `n${i}`, size: base62(i) }, "v1")
        ),
        // Markers of partitions, and what plugins keep, are nobody's records.
        { key: "resource=orders/partition=bySize/size=1/id=order-1", metadata: { _v: "v1" }, body: "" },
        { key: "plugin=cache/x", metadata: {}, body: "" }
      ]
      const source = yield* opened(objects)
      assert.deepStrictEqual(source.resources[0]?.version, "v2")
      assert.match(source.resources[0]!.notes.join("\n"), /partition "byNothing" is left out/)
      assert.strictEqual(yield* source.count("orders"), ids.length)
      assert.isTrue(yield* source.exists("orders", "é/ü"))
      assert.isFalse(yield* source.exists("orders", "é"))
      const target = yield* memory
      assert.deepStrictEqual(
        yield* within(target, S3dbJs.report(S3dbJs.migrate(source))),
        report({ records: ids.length, written: ids.length })
      )
      yield* within(
        target,
        Effect.gen(function* () {
          const orders = yield* Resource.make(yield* Resource.fromCatalog("orders"))
          assert.strictEqual(yield* orders.count(), ids.length)
          for (const [i, id] of ids.entries()) {
            if (i < 1080 && i % 97 !== 0) continue
            assert.deepInclude(yield* orders.getJson(id), { id, name: `n${i}`, size: i })
          }
          const { items } = yield* orders.list({ partition: "bySize", values: { size: 17 } } as never)
          assert.deepStrictEqual(
            items.map(({ id }) => id),
            ["order-17"]
          )
        })
      )
      const listed = yield* Stream.runCollect(source.list("orders"))
      assert.strictEqual(listed.length, ids.length)
    })
  )

  it.effect("stopped at any request, before it or after it, it goes on where it was", () =>
    Effect.gen(function* () {
      const old: Old = { ...plain, partitions: { bySize: { fields: { size: "number" } } } }
      const source = yield* opened([
        catalog([old]),
        ...["1", "2", "3"].map((id) => record(old, id, { name: `n${id}`, size: base62(Number(id)) }))
      ])
      for (const when of moments) {
        for (let at = 1, isDone = false; !isDone; at++) {
          const store = yield* memory
          const crash = crashing(store, at, when)
          const moved = S3dbJs.report(S3dbJs.migrate(source, { concurrency: 1 }))
          isDone = (yield* Effect.exit(within(crash.store, moved)))._tag === "Success"
          const second = yield* within(store, moved)
          assert.deepStrictEqual([second.records, second.written + second.unchanged], [3, 3], `${when} ${at}`)
          assert.deepInclude(yield* within(store, S3dbJs.report(S3dbJs.migrate(source, { mode: "verify" }))), {
            unchanged: 3
          })
          assert.isBelow(at, 100)
        }
      }
    })
  )

  it.effect("what is different, missing, refused or unreadable is told, and changes nothing", () =>
    Effect.gen(function* () {
      const old: Old = { ...plain, partitions: {}, behavior: "body-overflow" }
      const good = record(old, "good", { name: "good" })
      const objects = [
        catalog([old, { name: "odd/name", attributes: {} }]),
        good,
        record(old, "short", { name: "x" }),
        record(old, "changed", { name: "before" }),
        {
          ...record(old, "cut", { name: "y".repeat(3000), size: "1" }),
          body: Buffer.from('{"0":"yyy').toString("base64")
        },
        { ...record(old, "picture", { name: "abc" }), body: Buffer.from([137, 80, 78, 71]).toString("base64") },
        record(old, "versioned", { name: "abc" }, "v9"),
        record(old, "wrong", { name: "abc", size: "!" }),
        { ...good, key: "resource=orders/data/id=extra", metadata: { ...good.metadata, unknown: "x", $odd: "y" } },
        { key: "resource=orders/data/id=foreign", metadata: {}, body: Buffer.from([0, 255, 1]).toString("base64") },
        { key: "resource=orders/data/id=nothing", metadata: {}, body: "" },
        {
          key: "resource=orders/data/id=other",
          metadata: {},
          body: Buffer.from('{"name":"not ours"}').toString("base64")
        },
        { ...record(old, "emptied", { name: "y".repeat(3000), size: "1" }), body: "" },
        { key: "resource=orders/data/id=bodyless", metadata: { _v: "v1", _map: '{"name":"0"}' }, body: "" },
        { key: "resource=orders/data/id=encoded", metadata: { "0": "u:%E0%A4%A", _v: "v1" }, body: "" }
      ]
      const source = yield* opened(objects)
      assert.match(source.left.join(), /odd\/name/)
      const target = yield* memory
      const move = (mode?: "verify") =>
        within(target, Stream.runCollect(S3dbJs.migrate(source, { mode, resources: ["orders"] })))
      const told = (outcomes: ReadonlyArray<S3dbJs.Outcome>) =>
        Object.fromEntries(
          outcomes.map(({ _tag, id, problems, reason }) => [
            id,
            [_tag, reason ?? "", problems.map(({ field }) => field).join()]
          ])
        )
      const first = told(yield* move())
      assert.deepStrictEqual(first["good"], ["Written", "", ""])
      assert.strictEqual(first["short"]?.[0], "Refused")
      assert.match(first["short"]![1]!, /name/)
      assert.deepStrictEqual(first["cut"], ["Unreadable", "its body is no JSON: it was cut, or is damaged", ""])
      assert.deepStrictEqual(first["emptied"], first["cut"])
      assert.deepStrictEqual(first["bodyless"], first["cut"])
      assert.deepStrictEqual(first["nothing"], ["Unreadable", "s3db.js has not written it", ""])
      assert.deepStrictEqual(first["other"], first["nothing"])
      const { problems } = yield* source.get("orders", "picture")
      assert.match(String(problems[0]?.problem), /has a body that is no part of the record/)
      assert.strictEqual(first["picture"]?.[0], "Written")
      assert.deepStrictEqual(first["versioned"], ["Unreadable", 'the catalog has no version "v9" of it', ""])
      assert.deepStrictEqual(first["wrong"], ["Written", "", "size"])
      assert.deepStrictEqual(first["extra"], ["Written", "", "unknown"])
      assert.strictEqual(first["foreign"]?.[0], "Unreadable")
      assert.strictEqual(first["encoded"]?.[0], "Refused")
      yield* within(
        target,
        Effect.gen(function* () {
          const orders = yield* Resource.make(yield* Resource.fromCatalog("orders"))
          yield* orders.update("changed", { name: "after" } as never)
          yield* orders.delete("good")
        })
      )
      const verified = yield* move("verify")
      assert.deepInclude(
        verified.find(({ id }) => id === "changed"),
        { _tag: "Different", fields: ["name"] }
      )
      assert.deepInclude(
        verified.find(({ id }) => id === "good"),
        { _tag: "Missing" }
      )
      assert.strictEqual(told(yield* move())["changed"]?.[0], "Different")
      const lenient = yield* opened(objects, { rules: "types" })
      assert.deepInclude(
        (yield* within(yield* memory, Stream.runCollect(S3dbJs.migrate(lenient, { resources: ["orders"] })))).find(
          ({ id }) => id === "short"
        ),
        { _tag: "Written" }
      )
      const unknown = yield* Effect.flip(
        within(target, S3dbJs.report(S3dbJs.migrate(source, { resources: ["nobody"] })))
      )
      assert.strictEqual(unknown._tag, "NoSuchResource")
    })
  )

  it.effect("the order of members makes no difference", () =>
    Effect.gen(function* () {
      const old: Old = { ...plain, attributes: { list: "json" }, partitions: {}, behavior: "user-managed" }
      const source = yield* opened([catalog([old]), record(old, "1", { list: '[{"a":1,"b":{"c":2,"d":3}}]' })])
      const target = yield* memory
      const move = (mode?: "verify") => within(target, Stream.runCollect(S3dbJs.migrate(source, { mode })))
      assert.deepInclude((yield* move())[0], { _tag: "Written" })
      const change = (list: unknown) =>
        within(
          target,
          Effect.gen(function* () {
            const orders = yield* Resource.make(yield* Resource.fromCatalog(old.name))
            yield* orders.update("1", { list } as never)
          })
        )
      yield* change([{ b: { d: 3, c: 2 }, a: 1 }])
      assert.deepInclude((yield* move("verify"))[0], { _tag: "Unchanged" })
      yield* change([{ b: { d: 4, c: 2 }, a: 1 }])
      assert.deepInclude((yield* move("verify"))[0], { _tag: "Different", fields: ["list"] })
    })
  )

  it.effect("is a layer for programs that read what has not been moved yet", () =>
    Effect.gen(function* () {
      const store = yield* storeOf([catalog([plain]), record(plain, "1", { name: "one", size: base62(1) })])
      const read = Effect.flatMap(S3dbJs.S3dbJs, (old) => old.get("orders", "1"))
      const { value } = yield* Effect.provide(
        read,
        S3dbJs.layer(options).pipe(Layer.provide(Layer.succeed(ObjectStore, store)))
      )
      assert.deepStrictEqual(value, { id: "1", name: "one", size: 1 })
    })
  )

  it.effect("names that only their case tells apart, hostile definitions, and what is no database", () =>
    Effect.gen(function* () {
      const many: Old = {
        name: "many",
        attributes: Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}`, "string|optional"]))
      }
      const source = yield* opened([catalog([many]), record(many, "1", { f1: "one", f10: "ten" })])
      assert.match(source.resources[0]!.notes.join("\n"), /f10 and f36: S3 keeps them under one name/)
      const { problems, value } = yield* source.get("many", "1")
      assert.deepStrictEqual(value, { id: "1", f1: "one" })
      assert.deepStrictEqual(
        problems.map(({ field }) => field),
        ["f10", "f36"]
      )
      const hostile = `{"resources":{"__proto__":{"polluted":1},"a":null,"b":{"currentVersion":"__proto__","versions":{}},
        "c":{"currentVersion":"v1","versions":{"v1":{"attributes":{"__proto__":"string","constructor":"string","id":"string","x":{"y":7,"$$type":"nonsense"},"f":"nosuch:type|min:x","g":["a"]}}}}}}`
      const odd = yield* opened([
        { key: "s3db.json", metadata: {}, body: Buffer.from(hostile).toString("base64") },
        {
          key: "resource=c/data/id=1",
          metadata: { _v: "v1", "0": "x" },
          body: Buffer.from('{"__proto__":{"polluted":1}}').toString("base64")
        }
      ])
      assert.deepStrictEqual(odd.left.map(({ resource }) => resource).toSorted(), ["__proto__", "a", "b"])
      yield* within(yield* memory, S3dbJs.report(S3dbJs.migrate(odd)))
      assert.isUndefined(({} as { polluted?: unknown }).polluted)
      for (const text of ["", "{", "[]", '{"resources":[]}', '"x"', "null"]) {
        const error = yield* Effect.flip(
          opened([{ key: "s3db.json", metadata: {}, body: Buffer.from(text).toString("base64") }])
        )
        assert.strictEqual(error._tag, "NotS3dbJs", text)
      }
      assert.strictEqual((yield* Effect.flip(opened([])))._tag, "NotS3dbJs")
    })
  )
})
