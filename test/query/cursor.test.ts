import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"
import * as Cursor from "../../src/query/cursor.ts"

const salt = new Uint8Array(16).fill(7)
const bytesOf = (cursor: string) => Result.getOrThrow(Base64Url.decode(cursor))
// Long enough that random bytes do not say one of its parts by chance.
const parts = ["document-a1", "card 4111 1111", "description"]
const position = JSON.stringify({ id: parts[0], [parts[2]!]: parts[1] })

describe("Cursor", () => {
  it.effect("gives back the position to the query that it was made for", () =>
    Effect.gen(function* () {
      for (const text of ["", "x", position, "é".repeat(500)]) {
        const cursor = yield* Cursor.make(salt).make("query", text)
        assert.match(cursor, /^[\w-]+$/)
        // Another process has the same salt.
        assert.strictEqual(yield* Cursor.make(salt).read("query", cursor), text)
        assert.isUndefined(yield* Cursor.make(salt).read("query2", cursor))
        assert.isUndefined(yield* Cursor.make(new Uint8Array(16)).read("query", cursor))
      }
    })
  )

  it.effect("shows nothing of the position, and of its length only how many blocks it has", () =>
    Effect.gen(function* () {
      const cursors = Cursor.make(salt)
      const cursor = yield* cursors.make("query", position)
      const text = new TextDecoder("latin1").decode(bytesOf(cursor))
      for (const part of parts) assert.notInclude(text, part)
      assert.notStrictEqual(cursor, yield* cursors.make("query", position))
      const lengths = new Set<number>()
      for (let i = 0; i < 32; i++) lengths.add((yield* cursors.make("query", "x".repeat(i))).length)
      assert.strictEqual(lengths.size, 1)
      assert.isAbove((yield* cursors.make("query", "x".repeat(32))).length, [...lengths][0]!)
    })
  )

  it.effect("a cursor with one bit changed, cut off or made up is none", () =>
    Effect.gen(function* () {
      const cursors = Cursor.make(salt)
      const bytes = bytesOf(yield* cursors.make("query", position))
      for (let i = 0; i < bytes.length; i++) {
        const altered = bytes.slice()
        altered[i]! ^= 1
        assert.isUndefined(yield* cursors.read("query", Base64Url.encode(altered)))
        assert.isUndefined(yield* cursors.read("query", Base64Url.encode(bytes.slice(0, i))))
      }
      for (const other of ["", "foreign", "!", "a".repeat(200)]) assert.isUndefined(yield* cursors.read("query", other))
    })
  )

  it.effect("numbers the cursors of a key, and takes another key before the numbers end", () =>
    Effect.gen(function* () {
      const cursors = Cursor.make(salt, 300)
      const heads = new Set<string>()
      const seeds = new Set<string>()
      const made = 602
      for (let i = 0; i < made; i++) {
        const bytes = bytesOf(yield* cursors.make("query", "x"))
        heads.add(Base64Url.encode(bytes.subarray(0, 20)))
        seeds.add(Base64Url.encode(bytes.subarray(0, 16)))
      }
      assert.strictEqual(heads.size, made)
      assert.strictEqual(seeds.size, 3)
    })
  )

  it.effect("reads cursors of more processes than it keeps keys of", () =>
    Effect.gen(function* () {
      const reader = Cursor.make(salt)
      const all: Array<string> = []
      for (let i = 0; i < 100; i++) all.push(yield* Cursor.make(salt).make("query", `position ${i}`))
      for (let round = 0; round < 2; round++) {
        for (const [i, cursor] of all.entries()) {
          assert.strictEqual(yield* reader.read("query", cursor), `position ${i}`)
        }
      }
    })
  )

  it.effect("of a page that shows where it ends is the same for the same end, and else another one", () =>
    Effect.gen(function* () {
      const cursors = Cursor.forPages({
        database: { salt: Effect.succeed(salt) } as never,
        invalid: () => assert.fail("it is its own")
      })
      const cursor = yield* cursors.again("query", position)
      assert.strictEqual(yield* cursors.again("query", position), cursor)
      assert.notStrictEqual(yield* cursors.make("query", position), cursor)
      for (const [query, end] of [
        ["query", "{}"],
        ["query2", position]
      ] as const) {
        const other = yield* cursors.again(query, end)
        assert.notStrictEqual(other, cursor)
        assert.strictEqual(yield* cursors.read(query, other), end)
      }
      assert.strictEqual(yield* cursors.read("query", cursor), position)
    })
  )
})
