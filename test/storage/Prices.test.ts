import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Prices from "effect-s3db/storage/Prices"

const us = Prices.s3Standard["us-east-1"]

const close = (found: number, expected: number) => assert.closeTo(found, expected, Math.abs(expected) * 1e-12)

describe("Prices", () => {
  it("one request of each kind, as the provider says", () => {
    close(Prices.ofRequests(us, { put: 1 }), 0.000005)
    close(Prices.ofRequests(us, { get: 1 }), 0.0000004)
    assert.strictEqual(Prices.ofRequests(us, { delete: 1e9, deleteMany: 1e9 }), 0)
    close(Prices.ofRequests(us, { put: 1e6, copy: 1e6, list: 1e6, get: 1e6, head: 1e6 }), 15.8)
    close(Prices.ofRequests(Prices.r2, { put: 1e6, get: 1e6 }), 4.86)
    close(Prices.ofRequests(Prices.b2, { put: 1e6, get: 1e6, list: 1e6 }), 4.4)
    assert.strictEqual(Prices.ofRequests(us, {}), 0)
  })

  it("storage and the internet by tiers, each part with its own price", () => {
    const gigabyte = 2 ** 30
    close(Prices.ofStorage(us, 100 * gigabyte), 2.3)
    close(Prices.ofStorage(us, 60 * 1024 * gigabyte), 50 * 1024 * 0.023 + 10 * 1024 * 0.022)
    close(Prices.ofStorage(us, 600 * 1024 * gigabyte), 50 * 1024 * 0.023 + 450 * 1024 * 0.022 + 100 * 1024 * 0.021)
    close(Prices.ofInternet(us, 100 * gigabyte), 9)
    close(Prices.ofInternet(us, 11 * 1024 * gigabyte), 10 * 1024 * 0.09 + 1024 * 0.085)
    assert.strictEqual(Prices.ofStorage(Prices.none, 1e15), 0)
  })

  it("the example of Amazon's own questions about Express One Zone", () => {
    const table = Prices.s3ExpressOneZone["us-east-1"]
    const bytes = 10 * 1024
    const requests = Prices.ofRequests(table, { put: 1e6, get: 9e6, delete: 1e6 })
    const transfer = Prices.ofTransfer(table, { sent: bytes * 1e6, received: bytes * 9e6 })
    const storage = Prices.ofStorage(table, 10 * 2 ** 30)
    assert.strictEqual((requests + transfer + storage).toFixed(2), "2.58")
  })

  it("every table is one of the schema, by a name of its own, with a source and a date for each figure", () => {
    const decode = Schema.decodeUnknownSync(Prices.Table)
    for (const table of Prices.tables) {
      assert.deepStrictEqual(decode(JSON.parse(JSON.stringify(table))), table)
      const figures = [
        ...Object.values(table.requests),
        ...table.storage.map(({ price }) => price),
        ...table.internet.map(({ price }) => price),
        table.upload,
        table.retrieval
      ]
      for (const { asOf, source } of figures) {
        assert.match(asOf, /^20\d\d(-\d\d(-\d\d)?)?$/)
        if (table !== Prices.none) assert.match(source, /^https:\/\//)
      }
      assert.strictEqual(table.storage[0]?.from, 0)
      assert.strictEqual(table.internet[0]?.from, 0)
    }
    assert.strictEqual(new Set(Prices.tables.map(({ name }) => name)).size, Prices.tables.length)
  })

  it("no figure of a table of one's own may be below 0", () => {
    const wrong = { ...us, upload: { ...us.upload, dollars: -1 } }
    assert.isTrue(Schema.decodeUnknownOption(Prices.Table)(wrong)._tag === "None")
  })
})
