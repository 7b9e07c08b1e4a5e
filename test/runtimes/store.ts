/** A store and a database over `S3HttpStore`, with whatever the runtime has for requests. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"

class City extends Schema.Class<City>("app/City")({
  id: Schema.String,
  name: Schema.String,
  people: Schema.Int
}) {}

class Cities extends Resource.Service<Cities>()("app/cities", { schema: City, primaryKey: "id" }) {}

const text = (value: string) => new TextEncoder().encode(value)

const sumOf = (bytes: Uint8Array): number => bytes.reduce((sum, byte, at) => (sum * 31 + byte + at) % 1_000_000_007, 0)

const objects = Effect.gen(function* () {
  const store = yield* ObjectStore
  const keys = ["a/1", "a/\u00e9 b+c&<d>", "a/\u{1f600}%2F'\"", "a/~(x)*!"]
  for (const key of keys) yield* store.put({ key, body: text(`body of ${key}`), metadata: { s: "3k", "0": "x  y" } })
  const again = yield* Effect.flip(store.put({ key: "a/1", ifNoneMatch: "*" }))
  console.log("refused", again.reason._tag)
  for (const key of keys) {
    const { body, metadata } = yield* store.get(key)
    console.log(new TextDecoder().decode(body), metadata["s"], metadata["0"])
  }
  const big = Uint8Array.from({ length: 300_000 }, (_, at) => (at * 7 + (at >> 8)) % 256)
  yield* store.put({ key: "a/big", body: big })
  const part = yield* store.get("a/big", { range: { start: 1000, end: 1999 } })
  const head = yield* store.head("a/big")
  console.log("big", sumOf((yield* store.get("a/big")).body) === sumOf(big), part.body.length, head.size)
  const copied = yield* store.copy({ from: "a/1", to: "a/2" })
  console.log("copied", copied.etag === (yield* store.head("a/1")).etag)
  const page = yield* store.list({ prefix: "a/" })
  console.log(page.entries.map(({ key, size }) => `${key} ${size}`).join(", "))
  const at64 = Array.from({ length: 64 }, (_, at) => store.put({ key: `b/${at}`, body: text(String(at)) }))
  yield* Effect.all(at64, { concurrency: "unbounded" })
  const listed = yield* store.list({ prefix: "b/" })
  const deleted = yield* store.deleteMany([...page.entries, ...listed.entries].map(({ key }) => key))
  console.log("deleted", page.entries.length + listed.entries.length, deleted.failed.length)
  console.log("left", (yield* store.list({ prefix: "" })).entries.length)
  const exact = Effect.gen(function* () {
    yield* store.put({ key: "c/../d/./e", body: text("dots"), contentEncoding: "gzip" })
    const { body, contentEncoding } = yield* store.get("c/../d/./e")
    console.log("exact", new TextDecoder().decode(body), contentEncoding)
    yield* store.delete("c/../d/./e")
  })
  yield* Effect.catch(exact, ({ reason }) => Effect.sync(() => console.log("exact", reason._tag)))
  const cancelled = yield* Effect.forkChild(store.put({ key: "late", body: big }))
  yield* Effect.yieldNow
  yield* Fiber.interrupt(cancelled)
  console.log("gone", (yield* Effect.flip(store.get("a/1"))).reason._tag)
})

const documents = Effect.gen(function* () {
  const cities = yield* Cities
  for (const [id, name, people] of [
    ["bcn", "Barcelona", 1_600_000],
    ["poa", "Porto Alegre", 1_300_000],
    ["zrh", "Z\u00fcrich", 440_000]
  ] as const) {
    yield* cities.insert({ id, name, people })
  }
  const moves = Array.from({ length: 5 }, () => cities.update("zrh", ({ people }) => ({ people: people + 1000 })))
  yield* Effect.all(moves, { concurrency: "unbounded" })
  const found = yield* Stream.runCollect(cities.scan())
  console.log(found.map(({ id, name, people }) => `${id} ${name} ${people}`).join(", "))
  console.log((yield* Effect.flip(cities.insert({ id: "bcn", name: "", people: 0 })))._tag)
  for (const id of ["bcn", "poa", "zrh"]) yield* cities.delete(id)
  console.log("left", yield* cities.count())
})

/** `prefix` is for it alone. */
export const main = ({
  accessKeyId,
  bucket,
  endpoint,
  prefix,
  secretAccessKey
}: Record<string, string | undefined>) => {
  const store = (below: string) =>
    S3HttpStore.layer({
      bucket: bucket!,
      endpoint: endpoint!,
      prefix: `${prefix}/${below}`,
      credentials: { accessKeyId: accessKeyId!, secretAccessKey: Redacted.make(secretAccessKey!) }
    })
  const App = Cities.layer.pipe(Layer.provide(Database.layer), Layer.provide(store("documents")))
  return Effect.runPromise(Effect.andThen(Effect.provide(objects, store("objects")), Effect.provide(documents, App)))
}
