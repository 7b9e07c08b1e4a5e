import { assert, describe, it } from "@effect/vitest"
import * as Id from "../../../src/crypto/Id.ts"
import * as Effect from "effect/Effect"
import * as rules from "../../../src/storage/internal/storeRules.ts"

const names = ["a", "b-c", "X", "x-amz", "_u", "s-", "0", "~"]
const noNames = ["é", "", " ", "__proto__", "a b"]
const values = ["", "v", "a  b", "~", "=?", "x".repeat(47), "y".repeat(49), "z".repeat(700), "w".repeat(900)]
const noValues = [" v", "v ", "é", "\n", "\u007f", " ", `${"x".repeat(60)}\t`]

/** Numbers of a seed, each below so many. */
const numbers = Effect.gen(function* () {
  const generator = Id.seeded(14)
  const bytes = yield* generator.randomBytes(60_000)
  let at = 0
  return (below: number) => bytes[at++ % bytes.length]! % below
})

describe("rules of stores", () => {
  it.effect("metadata that is checked and kept in one pass is what the three passes make of it", () =>
    Effect.gen(function* () {
      const next = yield* numbers
      const seen = { kept: 0, wrong: new Set<string>() }
      for (let i = 0; i < 4000; i++) {
        const metadata: Record<string, string> = Object.create(null) as Record<string, string>
        for (let left = next(9); left > 0; left--) {
          const name = next(12) === 0 ? noNames[next(noNames.length)]! : names[next(names.length)]! + next(3)
          metadata[name] = next(12) === 0 ? noValues[next(noValues.length)]! : values[next(values.length)]!
        }
        const given = { ...metadata }
        const key = "k".repeat(1 + next(4) * 200)
        const limit = next(2) === 0 ? 2048 : 12_000
        const areHeadersLimited = next(2) === 0
        const problem =
          rules.checkMetadata(given, limit) ?? (areHeadersLimited ? rules.checkHeaderBytes(key, given) : undefined)
        const kept = rules.keepMetadata(key, given, { areHeadersLimited, limit })
        assert.deepStrictEqual(kept, problem ?? rules.lowerCaseNames(given))
        if (problem === undefined) seen.kept += 1
        else seen.wrong.add(problem._tag)
      }
      assert.isAbove(seen.kept, 100)
      assert.sameMembers([...seen.wrong], ["InvalidArgument", "MetadataTooLarge"])
    })
  )

  it("a store without metadata has none, unless its key alone is too long for the headers", () => {
    const limits = { areHeadersLimited: true, limit: 2048 }
    assert.deepStrictEqual(rules.keepMetadata("k", undefined, limits), {})
    const tooLong = rules.keepMetadata("é".repeat(4000), undefined, limits)
    assert.strictEqual(tooLong["_tag"], "MetadataTooLarge")
    assert.deepStrictEqual(rules.keepMetadata("é".repeat(4000), undefined, { ...limits, areHeadersLimited: false }), {})
  })
})
