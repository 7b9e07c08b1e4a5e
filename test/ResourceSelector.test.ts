import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ResourceSelector from "effect-s3db/ResourceSelector"

const names = ["users", "Users", "users_archive", "plg_audit_log", "__proto__", "constructor"]

const selected = (selector?: ResourceSelector.ResourceSelector) => names.filter(ResourceSelector.toPredicate(selector))

describe("ResourceSelector", () => {
  it("leaves out resources of plugins unless they are named", () => {
    const program = names.filter((name) => name !== "plg_audit_log")
    assert.deepStrictEqual(selected(), program)
    assert.deepStrictEqual(selected("*"), program)
    assert.deepStrictEqual(selected({}), program)
    assert.deepStrictEqual(selected({ includePlugins: true }), names)
    assert.deepStrictEqual(selected({ allow: ["plg_audit_log"] }), ["plg_audit_log"])
    assert.deepStrictEqual(selected(["plg_audit_log", "users"]), ["users", "plg_audit_log"])
    assert.deepStrictEqual(
      selected(() => true),
      program
    )
  })

  it("takes what all parts agree on, names as they are", () => {
    assert.deepStrictEqual(selected(["users"]), ["users"])
    assert.deepStrictEqual(selected({ allow: ["users", "__proto__"], block: ["users"] }), ["__proto__"])
    assert.deepStrictEqual(selected({ block: ["constructor", "__proto__"] }), ["users", "Users", "users_archive"])
    assert.deepStrictEqual(selected({ allow: [] }), [])
    assert.deepStrictEqual(selected([]), [])
    assert.deepStrictEqual(
      selected((name) => name.endsWith("s")),
      ["users", "Users"]
    )
    assert.deepStrictEqual(selected({ predicate: (name) => name.endsWith("s"), block: ["Users"] }), ["users"])
  })

  it("tells which names are those of no resource, and which may have been meant", () => {
    const unknown = (selector: ResourceSelector.ResourceSelector) => ResourceSelector.unknown(selector, names)
    for (const selector of ["*", [], ["users", "__proto__"], () => true, { block: ["users", "orders"] }] as const) {
      assert.deepStrictEqual(unknown(selector), [])
    }
    assert.deepStrictEqual(unknown(["usres", "orders"]), ['"usres"; perhaps users is meant', '"orders"'])
    // What is named is not what was meant by another name.
    assert.deepStrictEqual(unknown(["user", "users", "Users"]), ['"user"'])
    assert.deepStrictEqual(unknown({ block: ["users-archive"] }), ['"users-archive"; perhaps users_archive is meant'])
    assert.strictEqual(
      ResourceSelector.problemOf(["orders", "usrs"], names),
      'resources: there is none that is called "orders", nor "usrs"; perhaps users is meant'
    )
    assert.isUndefined(ResourceSelector.problemOf(undefined, names))
  })

  it.effect("has a schema, which says what is wrong", () =>
    Effect.gen(function* () {
      const decode = Schema.decodeUnknownEffect(ResourceSelector.ResourceSelector, { onExcessProperty: "error" })
      for (const good of ["*", [], ["a"], () => true, {}, { allow: ["a"], block: [], includePlugins: true }]) {
        assert.deepStrictEqual(yield* decode(good), good as never)
      }
      for (const bad of ["users", 5, null, [5], { allow: "a" }, { alow: ["a"] }, { predicate: "x" }]) {
        yield* Effect.flip(decode(bad))
      }
    })
  )
})
