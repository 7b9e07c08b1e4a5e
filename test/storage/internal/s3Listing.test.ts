import { assert, describe, it } from "vitest"
import { readListing } from "../../../src/storage/internal/s3Listing.ts"
import { NotXml } from "../../../src/storage/internal/s3Xml.ts"

const page = (contents: string): string =>
  `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>${contents}<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;u</NextContinuationToken><EncodingType>url</EncodingType></ListBucketResult>`

/** With an attribute, an entry is read as every other element is. */
const asAnyElement = (document: string): string => document.replaceAll("<Contents>", '<Contents a="">')

const outcome = (document: string): unknown => {
  try {
    return readListing(document)
  } catch (error) {
    return error instanceof NotXml ? "no document" : error
  }
}

const fields = [
  "<Key>a%20b/c+d</Key>",
  "<Key>x&amp;y &#x1F600;</Key>",
  "<Key></Key>",
  "<Key/>",
  "<Key><![CDATA[<a>&]]></Key>",
  "<Key>a\r\nb</Key>",
  "<Key>&nbsp;</Key>",
  '<Key type="t">k</Key>',
  "<Key>unended</Kay>",
  "<s3:Key>k</s3:Key>",
  "<Key >k</Key >",
  "<ETag>&quot;5d41402a&quot;</ETag>",
  "<ETag>&quot;</ETag>",
  "<ETag>&quot;&quot;</ETag>",
  '<ETag>"plain"</ETag>',
  "<ETag>&quot;a&amp;b&quot;</ETag>",
  "<Size>155</Size>",
  "<Size>&#49;</Size>",
  "<Size>-1</Size>",
  "<Size>99999999999999999999</Size>",
  "<LastModified>2026-11-26T10:00:00.000Z</LastModified>",
  "<LastModified>2026-11-26T23:59:59.999Z</LastModified>",
  "<LastModified>2024-02-29T24:00:00.000Z</LastModified>",
  "<LastModified>2026-02-30T10:00:00.000Z</LastModified>",
  "<LastModified>2026-13-26T10:00:00.000Z</LastModified>",
  "<LastModified>2026-11-26T10:60:00.000Z</LastModified>",
  "<LastModified>2026-11-26T10:0x:00.00 Z</LastModified>",
  "<LastModified>2026-11-26T10:00:00Z</LastModified>",
  "<LastModified>Wed, 21 Oct 2015 07:28:00 GMT</LastModified>",
  "<LastModified></LastModified>",
  "<StorageClass>STANDARD</StorageClass>",
  "<Owner><ID>1</ID><DisplayName>d</DisplayName></Owner>",
  "<Contents><Key>inner</Key></Contents>",
  "<!-- note -->",
  "\n  ",
  "text"
]

/** The same numbers in every run: below a limit. */
const drawing = (seed: number) => {
  let state = seed
  return (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

describe("a page of a listing", () => {
  it("is read the same, whether its entries are written as S3 writes them or otherwise", () => {
    const draw = drawing(7)
    const some = (from: ReadonlyArray<string>, most: number) =>
      Array.from({ length: draw(most + 1) }, () => from[draw(from.length)]!).join("")
    const others = ["<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>", "<Prefix>q</Prefix>", "\n", ""]
    let pages = 0
    for (let i = 0; i < 3000; i++) {
      const parts = Array.from({ length: draw(5) }, () => `<Contents>${some(fields, 4)}</Contents>${some(others, 1)}`)
      const document = page(parts.join(""))
      const found = outcome(document)
      assert.deepStrictEqual(found, outcome(asAnyElement(document)), document)
      if (found !== "no document") pages += 1
    }
    assert.isAbove(pages, 1000)
  })

  it("has the entries in their order, with what is known of each", () => {
    const contents = `<Contents><Key>a%2Fb</Key><LastModified>2026-11-26T10:00:00.123Z</LastModified><ETag>&quot;e1&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>`
    assert.deepStrictEqual(readListing(page(`${contents}<Contents><Owner><ID>x</ID></Owner><Key>c</Key></Contents>`)), {
      entries: [
        { key: "a%2Fb", etag: '"e1"', size: 7, lastModified: Date.UTC(2026, 10, 26, 10, 0, 0, 123) },
        { key: "c", etag: undefined, size: undefined, lastModified: undefined }
      ],
      commonPrefixes: [],
      encodingType: "url",
      isTruncated: true,
      nextToken: "t&u"
    })
  })

  it("refuses a page that ends within an entry, wherever it ends", () => {
    const whole = page("<Contents><Key>a</Key><Size>1</Size></Contents>")
    for (let end = 0; end < whole.length; end++) {
      assert.strictEqual(outcome(whole.slice(0, end)), "no document", whole.slice(0, end))
    }
  })
})
