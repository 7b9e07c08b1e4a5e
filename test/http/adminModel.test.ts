/** What the admin page knows without a browser: forms, what has changed, differences, conflicts, filters. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Wire from "effect-s3db/Wire"
import * as Preconditions from "../../src/http/internal/preconditions.ts"
import {
  bytes,
  clashes,
  deletionsOf,
  differences,
  documentOf,
  draftOf,
  etagOf,
  fieldsOf,
  filterOf,
  isSame,
  type Json,
  type JsonObject,
  type JsonSchema,
  keyOf,
  linkTo,
  merged,
  patchOf,
  placeOf,
  type Resource as Described,
  visible,
  wantedOf,
  withPath
} from "../../src/http/admin/model.ts"

class Tree extends Schema.Class<Tree>("adminModel/Tree")({ name: Schema.String, size: Schema.Finite }) {}

const definition = Resource.define("things", {
  schema: Schema.Struct({
    id: Schema.String,
    name: Schema.NonEmptyString,
    count: Schema.Int,
    kind: Schema.Literals(["a", "b"]),
    isOpen: Schema.optionalKey(Schema.Boolean),
    place: Schema.optionalKey(Schema.Struct({ city: Schema.String, street: Schema.optionalKey(Schema.String) })),
    tree: Tree,
    list: Schema.Array(Schema.Int),
    any: Schema.optionalKey(Schema.Union([Schema.String, Schema.Finite])),
    rates: Schema.optionalKey(Schema.Record(Schema.String, Schema.Finite)),
    password: Attribute.Password,
    createdAt: Schema.optionalKey(Attribute.DateTime)
  }),
  primaryKey: "id",
  timestamps: true
})

const schemaOf = (schema: Schema.Constraint): JsonSchema => {
  const { definitions, schema: root } = Wire.jsonSchema(schema)
  return { ...(root as JsonSchema), $defs: definitions as unknown as Record<string, JsonSchema> }
}

const resource: Described = {
  name: "things",
  resource: "things",
  primaryKey: "id",
  operations: [],
  partitions: {},
  unique: {},
  fields: [],
  columns: [],
  readonly: ["place.street"],
  journal: false,
  guarded: false,
  requireIfMatch: false,
  scan: false,
  totals: true,
  defaultLimit: 100,
  maxBulk: 2,
  maxLimit: 1000,
  maxContentBytes: 0,
  create: schemaOf(Wire.create(definition)),
  patch: schemaOf(Wire.patch(definition)),
  shown: schemaOf(Wire.public(definition))
}

const thing = {
  id: "1",
  name: "One",
  count: 1,
  kind: "a",
  place: { city: "R", street: "S" },
  tree: { name: "oak", size: 1.5 },
  list: [1, 2],
  any: 3,
  rates: { x: 1, constructor: 2 }
}

const edit = fieldsOf(resource, "edit")
const kinds = (mode: "create" | "edit") =>
  Object.fromEntries(fieldsOf(resource, mode).map(({ kind, name }) => [name, kind]))

describe("the form of a document", () => {
  it("is made of the schema of the wire", () => {
    assert.deepStrictEqual(kinds("create"), {
      id: "text",
      name: "text",
      count: "number",
      kind: "choice",
      isOpen: "boolean",
      place: "struct",
      tree: "struct",
      list: "json",
      any: "json",
      rates: "json",
      password: "text"
    })
    const named = (name: string) => edit.find((field) => field.name === name)!
    // What the database fills in is there to be looked at, what is never shown is written only.
    assert.isTrue(named("createdAt").isReadonly)
    assert.isTrue(named("id").isReadonly)
    assert.isTrue(named("password").isSecret)
    assert.isFalse(named("name").isSecret)
    assert.isTrue(named("place").fields[1]!.isReadonly)
    assert.isTrue(named("place").isOptional)
    assert.isFalse(named("count").isOptional)
  })

  it("gives back what it was made of, and no patch", () => {
    const { document, issues } = documentOf(edit, draftOf(edit, thing, "edit"))
    assert.deepStrictEqual(issues, [])
    assert.deepStrictEqual(patchOf(edit, thing, document), {})
    assert.notProperty(document, "password")
  })

  it("a patch has what has changed: structs field by field, records and lists as a whole, null for what is gone", () => {
    const draft = new Map(draftOf(edit, thing, "edit"))
    draft.set(keyOf(["count"]), "2")
    draft.set(keyOf(["place", "city"]), "O")
    draft.set(keyOf(["rates"]), '{"x": 1}')
    draft.delete(keyOf(["any"]))
    draft.set(keyOf(["password"]), "correct horse")
    const { document } = documentOf(edit, draft)
    assert.deepStrictEqual(patchOf(edit, thing, document), {
      count: 2,
      place: { city: "O" },
      any: null,
      rates: { x: 1 },
      password: "correct horse"
    })
  })

  it("says what cannot be sent, by its path, and leaves the rest to the server", () => {
    const draft = new Map(draftOf(edit, thing, "edit"))
    for (const text of ["", "x", "1,5", "0x10", "NaN", "Infinity", "01", "1e"]) {
      draft.set(keyOf(["tree", "size"]), text)
      assert.deepStrictEqual(documentOf(edit, draft).issues, [{ path: ["tree", "size"], message: "Expected a number" }])
    }
    draft.set(keyOf(["tree", "size"]), " -1.5e3 ")
    draft.set(keyOf(["list"]), "[1,")
    assert.deepStrictEqual(documentOf(edit, draft).issues, [{ path: ["list"], message: "Expected JSON" }])
    draft.set(keyOf(["list"]), '"no list"')
    draft.set(keyOf(["name"]), "")
    const { document, issues } = documentOf(edit, draft)
    assert.deepStrictEqual([issues, document["list"], document["name"]], [[], "no list", ""])
  })

  it("whatever the names of fields are", () => {
    const hostile = JSON.parse(
      '{"type":"object","properties":{"__proto__":{"type":"string"},"constructor":{"type":"string"},"a.b":{"type":"string"}},"additionalProperties":false}'
    ) as JsonSchema
    const fields = fieldsOf({ ...resource, create: hostile, shown: hostile }, "create")
    const given = JSON.parse('{"__proto__":"p","constructor":"c","a.b":"ab"}') as JsonObject
    const { document } = documentOf(fields, draftOf(fields, given, "create"))
    assert.strictEqual(JSON.stringify(document), JSON.stringify(given))
    assert.strictEqual(Object.getPrototypeOf(document), Object.prototype)
    assert.strictEqual(JSON.stringify(patchOf(fields, {}, document)), JSON.stringify(given))
    // A field that nobody has is not found in what every object has.
    assert.deepStrictEqual(documentOf(fields, draftOf(fields, {}, "edit")).document, {})
  })

  it("what a document does not have is not made up", () => {
    const { name: _, tree: __, ...partly } = thing
    const { document } = documentOf(edit, draftOf(edit, partly, "edit"))
    assert.deepStrictEqual(patchOf(edit, partly, document), {})
  })

  it("what would lose parts that are never shown is not written as a whole", () => {
    const hiding = Resource.define("hiding", {
      schema: Schema.Struct({
        id: Schema.String,
        contacts: Schema.Array(Schema.Struct({ name: Schema.String, phone: Schema.optionalKey(Schema.String) })),
        rates: Schema.Record(
          Schema.String,
          Schema.Struct({ rate: Schema.Finite, internal: Schema.optionalKey(Schema.String) })
        ),
        plain: Schema.Array(Schema.Struct({ name: Schema.String }))
      }),
      primaryKey: "id"
    })
    const of = (protect: ReadonlyArray<"contacts.[].phone" | "rates.{}.internal">) =>
      fieldsOf(
        {
          ...resource,
          readonly: [],
          create: schemaOf(Wire.create(hiding)),
          shown: schemaOf(Wire.public(hiding, { protect }))
        },
        "edit"
      ).map(({ isReadonly, name }) => [name, isReadonly])
    const id = ["id", true]
    assert.deepStrictEqual(of([]), [id, ["contacts", false], ["rates", false], ["plain", false]])
    assert.deepStrictEqual(of(["contacts.[].phone", "rates.{}.internal"]), [
      id,
      ["contacts", true],
      ["rates", true],
      ["plain", false]
    ])
  })

  it("a schema that refers to itself ends", () => {
    const schema: JsonSchema = {
      type: "object",
      additionalProperties: false,
      properties: { inner: { $ref: "#/$defs/N" } },
      $defs: { N: { type: "object", additionalProperties: false, properties: { inner: { $ref: "#/$defs/N" } } } }
    }
    const fields = fieldsOf({ ...resource, create: schema, shown: schema }, "create")
    let depth = 0
    for (let at = fields; at.length > 0; at = at[0]!.fields) depth++
    assert.strictEqual(depth, 6)
    const loop: JsonSchema = {
      type: "object",
      properties: { a: { $ref: "#/$defs/A" } },
      $defs: { A: { $ref: "#/$defs/A" } }
    }
    assert.strictEqual(fieldsOf({ ...resource, create: loop, shown: loop }, "create")[0]!.kind, "json")
  })
})

const json = fc.jsonValue() as fc.Arbitrary<Json>
const object = fc.dictionary(fc.string(), json) as fc.Arbitrary<JsonObject>

describe("differences", () => {
  it("turn one document into the other", () =>
    fc.assert(
      fc.property(object, object, (before, after) => {
        const found = differences(before, after)
        const made = found.reduce<Json | undefined>((whole, { after, path }) => withPath(whole, path, after), before)
        assert.isTrue(isSame(made, after))
        for (const { after, before } of found) assert.isFalse(isSame(before, after))
      })
    ))

  it("a conflict that is settled has mine where it was chosen, and theirs elsewhere", () =>
    fc.assert(
      fc.property(object, object, object, (base, theirs, mine) => {
        const all = clashes(base, theirs, mine)
        assert.isTrue(isSame(merged(theirs, all, new Set()), theirs))
        assert.isTrue(isSame(merged(theirs, all, new Set(all.map(({ path }) => keyOf(path)))), mine))
        for (const { by, path } of all) {
          const isBoth = differences(base, theirs).length > 0 && differences(base, mine).length > 0
          if (by === "both") assert.isTrue(isBoth, keyOf(path))
        }
      })
    ))

  it("say who has changed what", () => {
    const all = clashes({ a: 1, b: 1, c: 1 }, { a: 2, b: 1, c: 2, d: 1 }, { a: 1, b: 2, c: 3 })
    assert.deepStrictEqual(
      all.map(({ by, path }) => [path[0], by]),
      [
        ["a", "them"],
        ["b", "me"],
        ["c", "both"],
        ["d", "them"]
      ]
    )
  })
})

describe("filters", () => {
  const types = new Map([
    ["name", "string"],
    ["age", "other"]
  ])
  it("are conditions, all of which have to be met", () => {
    assert.isUndefined(filterOf([], types))
    assert.deepStrictEqual(filterOf([{ field: "name", operator: "eq", text: "18" }], types), { name: { eq: "18" } })
    assert.deepStrictEqual(
      filterOf(
        [
          { field: "age", operator: "in", text: "18, 19" },
          { field: "name", operator: "exists", text: "false" },
          { field: "__proto__", operator: "eq", text: "x" }
        ],
        types
      ),
      {
        $and: [{ age: { in: [18, 19] } }, { name: { exists: false } }, Object.fromEntries([["__proto__", { eq: "x" }]])]
      }
    )
  })
})

describe("places", () => {
  it("are what their links say, whatever the names are", () =>
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1 }), fc.string({ unit: "grapheme" }), (resource, id) => {
        const link = linkTo("resources", resource, "id", id, "history")
        assert.deepStrictEqual(placeOf(link), { page: "document", resource, id, tab: "history" })
      })
    ))

  it("are nothing otherwise", () => {
    for (const link of ["#/x", "#/resources/%", "#/resources", "#/resources/a/b", "#/resources/a/id/1/x"]) {
      assert.strictEqual(placeOf(link).page, "nothing", link)
    }
    assert.strictEqual(placeOf("").page, "overview")
    assert.deepStrictEqual(placeOf("#/resources/a?filter=%7B%7D"), {
      page: "browse",
      resource: "a",
      query: "filter=%7B%7D"
    })
  })
})

describe("texts", () => {
  it("can all be seen", () => {
    assert.strictEqual(visible("a\u202eb\u0000c\nd\u200b"), "a\\u202eb\\u0000c\nd\\u200b")
    // What puts an emoji together is no such character.
    assert.strictEqual(visible("👩‍🚀"), "👩‍🚀")
  })

  it("of sizes", () => {
    assert.deepStrictEqual([0, 999, 1000, 1_234_567].map(bytes), ["0 bytes", "999 bytes", "1.00 KB", "1.23 MB"])
  })
})

describe("what is deleted", () => {
  it("goes by the revisions that were seen, so many at a time", () => {
    const chosen = new Map([
      ["a", "r1"],
      ["b/c", 'o"d\u00e4!'],
      ["d", ""]
    ])
    assert.deepStrictEqual(deletionsOf(chosen, { maxBulk: 2 }), [
      {
        items: [
          { id: "a", ifMatch: '"r1"' },
          { id: "b/c", ifMatch: '"o%22d%C3%A4%21"' }
        ]
      },
      { items: [{ id: "d", ifMatch: "*" }] }
    ])
    assert.deepStrictEqual(deletionsOf(new Map(), { maxBulk: 2 }), [])
  })

  it("has tags that the server reads as these revisions", () =>
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (revision) => {
        assert.strictEqual(etagOf(revision), Preconditions.etagOf(revision))
      })
    ))

  it("is listed with its revisions, where every column is a field that can be named", () => {
    const one = { columns: ["id", "name", "place.city"], primaryKey: "id", operations: ["list", "select"] }
    assert.strictEqual(wantedOf(one), "id,name,place.city,$revision")
    assert.isUndefined(wantedOf({ ...one, operations: ["list"] }))
    for (const column of ["a,b", "a..b", "a b", ""]) assert.isUndefined(wantedOf({ ...one, columns: [column] }))
  })
})
