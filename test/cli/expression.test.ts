/** The expressions of the console. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isExpression, parse } from "../../src/cli/internal/expression.ts"
import { inFolder } from "./shell.ts"

describe("expressions of the console", () => {
  it("are another way to write a command", () => {
    for (const [line, words] of [
      [
        "users.where(age > 30).order(-age).limit(5)",
        ["query", "users", "--where=age > 30", "--order=-age", "--limit=5"]
      ],
      ['users . where( name = "a) (b" ) .scan()', ["query", "users", '--where=name = "a) (b"', "--scan"]],
      ['users.where({"$or":[{"a":{"lt":1}}]}).count()', ["count", "users", '--where={"$or":[{"a":{"lt":1}}]}']],
      ["blog-posts.get(a, ü)", ["get", "blog-posts", "a", "ü"]]
    ] as const) {
      assert.isTrue(isExpression(line))
      assert.deepStrictEqual(parse(line), words)
    }
    for (const line of ["query users --where a.b=1", "help", "import users ./x.csv", "./x", ""]) {
      assert.isFalse(isExpression(line), line)
    }
  })

  it("point at what is wrong", () => {
    for (const [line, column, message] of [
      ["users.wher(a=1)", 6, "there is no step wher; did you mean where?"],
      ["users.where(a=1", 11, "this parenthesis is not closed"],
      ["users.where(a=1) order(a)", 17, "Expected .where(...), .order(...) or another step"],
      ["users.limit()", 12, "limit needs something between its parentheses"],
      ["users.scan(1)", 11, "scan takes nothing"],
      ["users.constructor(1)", 6, "there is no step constructor"],
      ["users.where", 11, "Expected ( after where"]
    ] as const) {
      assert.deepStrictEqual(parse(line), { column, message })
    }
  })

  it.effect("run in the console, and nothing in them is code", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* inFolder
      yield* json(["create", "resource", "users", "-a", "age=number"])
      yield* json(["insert", "users", '[{"id":"a","age":20},{"id":"b","age":40},{"id":"c","age":50}]'])
      const found = yield* s3db(["console", "--ndjson"], {
        stdin: "users.where(age > 30).order(-age).limit(1).scan()\nusers.where(age > 30).scan().count()\nusers.get(a)\n"
      })
      assert.strictEqual(found.code, 0, found.err)
      assert.deepStrictEqual(
        found.out
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as unknown),
        [{ id: "c", age: 50 }, { count: 2 }, { id: "a", age: 20 }]
      )
      const wrong = yield* s3db(["console"], { stdin: "users.whre(age>1)\nusers.where(process.exit())\n" })
      assert.strictEqual(wrong.code, 10)
      assert.include(wrong.err, "users.whre(age>1)\n      ^")
      assert.include(wrong.err, "is no condition")
      // Flags are told as the steps that stand for them.
      const scan = yield* s3db(["console"], { stdin: "users.where(age > 30)\n" })
      assert.include(scan.err, "say .scan()")
      const more = yield* s3db(["console"], { stdin: "users.scan().limit(1)\n" })
      assert.include(more.err, ".all()")
      assert.notMatch(scan.err + more.err, /--[a-z]/)
      assert.include((yield* s3db(["console"], { stdin: "query users -w age>30\n" })).err, "say --scan")
    })
  )
})
