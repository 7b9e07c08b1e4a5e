import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { answersOf, errors as errorsOfLibrary, errorsOf, kindsOf, page, sources, unsaid } from "./errorPage.ts"
import { plainTexts } from "./plainTexts.ts"

const files = sources()
const errors = errorsOfLibrary()
const written = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8")

const module = (text: string) => [{ file: "src/A.ts", text }]

const declared = (doc: string) =>
  `/**\n${doc}\n */\nexport class Torn extends ExpectedError<Torn>("Torn")("Torn", {}, { httpApiStatus: 418 }) {}\n`

describe("the page of errors", () => {
  it("has every class of errors of the library, with a cause and a remedy", () => {
    assert.deepStrictEqual(unsaid(files, errors), [])
    assert.isAtLeast(errors.length, 90)
    for (const { name } of errors) assert.include(written, `### ${name}\n`)
  })

  it("says which error of the library is not there, or has no remedy", () => {
    const told = (text: string) => unsaid(module(text), errorsOf(module(text)))
    assert.deepStrictEqual(told(declared(" * Torn.\n *\n * @remedy Mend it.\n * @category errors")), [])
    assert.deepStrictEqual(told(declared(" * Torn.")), ["src/A.ts: Torn has neither @category errors nor @remedy"])
    assert.deepStrictEqual(told(declared(" * Torn.\n *\n * @category errors")), [
      "src/A.ts: the docstring of Torn has to say the cause, and @remedy what to do"
    ])
  })

  it("has what the HTTP API answers", () => {
    const text = "const f = refuse(413, 'TooLong', `more than ${most} bytes`)\nconst g = make(200, 'Fine', 'x')"
    assert.deepStrictEqual(answersOf([{ file: "src/http/A.ts", text }]), [
      { status: 413, code: "TooLong", detail: "more than … bytes" }
    ])
    for (const code of ["NoSuchPath", "PreconditionRequired", "BodyTooLarge"])
      assert.include(written, `| \`${code}\` |`)
  })

  it("has the words that people see", () => {
    for (const words of [
      "there is no …: create it, or let it be created by createBucket: true (createBucket=true in a connection string)",
      "nobody has said where the data is: give --url, such as file://./data or s3://bucket/prefix",
      "the catalog has format …, written by a later release; upgrade effect-s3db",
      "next was called twice, by …, around … on …"
    ]) {
      assert.include(written, words)
    }
    assert.match(written, /\| 12 \| Unsupported \| .* \| `Unsupported` \|/)
  })

  it("has texts that no class makes, and that are still said", () => {
    for (const { file, part, text } of plainTexts) {
      assert.include(readFileSync(new URL(`../../${file}`, import.meta.url), "utf8"), part, text)
      assert.include(written, `| \`${text}\` |`)
    }
  })

  it("has what the MCP server tells", () => {
    const text =
      "const f = (n: number) => ({ _tag: 'TooLong', message: `it took ${n} s: ask for less` })\nconst g = { _tag: 'Fine' }"
    assert.deepStrictEqual(kindsOf([{ file: "src/mcp/A.ts", text }]), [
      { kind: "TooLong", message: "it took … s: ask for less" }
    ])
    for (const { kind } of kindsOf(files)) assert.include(written, `| \`${kind}\` |`)
  })

  it("has what issues of inputs say", () => {
    const texts = files
      .filter(({ file }) => !/^src\/(testing|cli|mcp)\//.test(file))
      .flatMap(({ file, text }) =>
        [...text.matchAll(/"(Expected [^"\\\n]+)"/g)].map(([, says]) => ({ file, says: says! }))
      )
    assert.isAtLeast(texts.length, 150)
    for (const { file, says } of texts) assert.include(written, says, file)
  })

  it("finds the texts of an error, through constants and functions that make it", () => {
    const doc = " * A torn page.\n *\n * @remedy Mend it, with\n * glue.\n * @category errors"
    const text = [
      declared(doc),
      "const torn = (description: string) => new Torn({ description })",
      "const again = (what: string, why: string) => torn(why)",
      "const which = (n: number) => { if (n === 1) return `page ${n} is torn`\n return 'all pages are torn' }",
      "const f = (n: number) => { const description = n > 2 ? 'a long tear' : `tear of ${n} mm`\n return new Torn({ description }) }",
      "const g = (description: string) => new Torn({ description })",
      "again('x', 'the spine is gone'); torn(which(2)); g('the cover is ' + place)",
      "new Other.Torn({ description: 'of somebody else' })"
    ].join("\n")
    const [error] = errorsOf(module(text))
    assert.deepInclude(error, { name: "Torn", status: 418, cause: "A torn page.", remedy: "Mend it, with glue." })
    assert.deepStrictEqual(error?.messages, [
      "a long tear",
      "all pages are torn",
      "page … is torn",
      "tear of … mm",
      "the cover is …",
      "the spine is gone"
    ])
  })

  it("shows what is missing", () => {
    const [error] = errorsOf(module(declared(" * @category errors")))
    assert.deepInclude(error, { cause: "", remedy: "" })
    assert.strictEqual(
      errorsOf(module(declared(" * Internal."))).find(({ name }) => name === "Torn"),
      undefined
    )
  })
})
