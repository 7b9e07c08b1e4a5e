import { assert, describe, it } from "vitest"
import { escapeXml, NotXml, readXml } from "../../../src/storage/internal/s3Xml.ts"

const read = (document: string): ReadonlyArray<string> => {
  const told: Array<string> = []
  readXml(document, (name, text, depth, parent) => told.push(`${parent}/${name}@${depth}=${text}`))
  return told
}

describe("XML as S3 answers in it", () => {
  it("tells of elements as they end, with their own text", () => {
    assert.deepStrictEqual(
      read(
        `\ufeff<?xml version="1.0" encoding="UTF-8"?>\n<!-- <no> -->\n` +
          `<s3:List xmlns:s3="http://x/" a='>"'><Key> a b </Key >\n<Owner><ID/><Name x="/">é</Name></Owner><E></E></s3:List>\n<!-- end -->\n`
      ),
      ["List/Key@1= a b ", "Owner/ID@2=", "Owner/Name@2=é", "List/Owner@1=", "List/E@1=", "/List@0=\n"]
    )
    assert.deepStrictEqual(read("<a/>"), ["/a@0="])
    assert.deepStrictEqual(read('<a b="c" />'), ["/a@0="])
  })

  it("decodes entities and line ends, and takes CDATA as it is", () => {
    assert.deepStrictEqual(read("<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;&amp;lt;</a>"), [
      "/a@0=<>&\"'A\u{1f600}&lt;"
    ])
    assert.deepStrictEqual(read("<a>x\r\ny\rz&#13;</a>"), ["/a@0=x\ny\nz\r"])
    assert.deepStrictEqual(read("<a>1<![CDATA[<b>&amp;]]>2</a>"), ["/a@0=1<b>&amp;2"])
  })

  it("reads what it writes", () => {
    const text = "a<b>&\"'\r\n\t é\u{1f600}]]>"
    assert.deepStrictEqual(read(`<a>${escapeXml(text)}</a>`), [`/a@0=${text}`])
  })

  const broken = [
    "",
    "   ",
    "text",
    "<a>",
    "<a",
    "</a>",
    "<a></b>",
    "<a><b></a></b>",
    "<a/><b/>",
    "<a/>text",
    "text<a/>",
    "<a>&nbsp;</a>",
    "<a>&constructor;</a>",
    "<a>&#x110000;</a>",
    "<a>&#99999999999999999999;</a>",
    "<>x</>",
    "< a/>",
    "<a><![CDATA[x</a>",
    "<![CDATA[x]]>",
    "<a><!-- x</a>",
    "<?xml <a/>",
    '<a b="></a>',
    '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
    "<a><b</a>"
  ]
  for (const document of broken) {
    it(`refuses ${JSON.stringify(document)}`, () => {
      assert.throws(() => read(document), NotXml)
    })
  }

  it("takes a time that grows with the text alone", () => {
    const deep = "<a>".repeat(100_000)
    assert.throws(() => read(deep), NotXml)
    assert.lengthOf(read(`${deep}${"</a>".repeat(100_000)}`), 100_000)
    assert.lengthOf(read(`<a>${"&amp;".repeat(200_000)}</a>`), 1)
    assert.throws(() => read(`<a ${'b="'.repeat(100_001)}`), NotXml)
  })
})
