import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import * as Prices from "effect-s3db/storage/Prices"
import { guide, index, makeLlms, parseIndex, withFooter } from "./guide.ts"
import { anchorsOf, check, linksOf, pages } from "./links.ts"
import * as publicModules from "./publicModules.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), "utf8")

interface Manifest {
  readonly files: ReadonlyArray<string>
  readonly homepage: string
  readonly bugs: { readonly url: string }
  readonly repository: { readonly url: string }
}

describe("the pages", () => {
  // `npm run check` looks at all of them; the deep test does it here.
  it("are in the index", () => {
    assert.isAtLeast(pages().length, 60)
    assert.isTrue(pages().some(({ file }) => file.endsWith("llms.txt")))
  })

  it("are in the package, which says where it comes from", () => {
    const manifest = JSON.parse(read("package.json")) as Manifest
    for (const name of ["docs", "!docs/reference", "llms.txt", "README.md", "CONTRIBUTING.md"]) {
      assert.include(manifest.files, name)
    }
    const address = "https://github.com/effect-s3db/effect-s3db"
    assert.strictEqual(manifest.repository.url, `git+${address}.git`)
    assert.strictEqual(manifest.bugs.url, `${address}/issues`)
    assert.strictEqual(manifest.homepage, `${address}#readme`)
  })

  it("name the rights that s3db doctor tries, and no others", () => {
    const policy = /^### The fewest rights\n[^]*?```json\n([^]*?)\n```/m.exec(read("docs/guide/connecting.md"))?.[1]
    const { Statement } = JSON.parse(policy ?? "") as {
      readonly Statement: ReadonlyArray<{ readonly Action: string | ReadonlyArray<string>; readonly Resource: string }>
    }
    const allowed = Statement.flatMap(({ Action }) => Action)
    const tried = read("src/cli/internal/work/doctor.ts").matchAll(/\["[\w ]+", "(s3:[^"]+)", store\./g)
    assert.sameMembers(allowed, [...new Set([...tried].flatMap(([, rights]) => rights!.split(" and ")))])
    assert.deepStrictEqual(
      Statement.map(({ Resource }) => Resource),
      ["arn:aws:s3:::my-bucket/app/*", "arn:aws:s3:::my-bucket"]
    )
  })

  it("name the statuses that errors have", () => {
    const rows = [...read("docs/guide/http.md").matchAll(/^\| (\d{3}) \| (.+?) \|$/gm)]
    assert.lengthOf(rows, 8)
    const errors = read("docs/guide/errors.md")
    for (const [, status, names] of rows) {
      for (const [, name] of names!.matchAll(/`(?:\w+\.)?(\w+)`/g)) {
        assert.match(errors, new RegExp(`^### ${name}\n\nHTTP ${status} `, "m"))
      }
    }
  })
})

describe("figures in the guide", () => {
  /** Rows of the first table below a heading, by their cells. */
  const rowsBelow = (page: string, heading: string): ReadonlyArray<ReadonlyArray<string>> => {
    const text = read(page)
    const below = text.slice(text.indexOf(`\n## ${heading}\n`) + 1)
    const table = /(?:^\|.*\n)+/m.exec(below)?.[0] ?? ""
    return table
      .trim()
      .split("\n")
      .slice(2)
      .map((row) =>
        row
          .split("|")
          .slice(1, -1)
          .map((cell) => cell.trim())
      )
  }

  const dollars: Readonly<Record<string, number>> = { PUT: 5, LIST: 5, GET: 0.4, HEAD: 0.4, DELETE: 0 }

  it("the prices are those by which s3db analyze reckons", () => {
    const { requests, storage } = Prices.s3Standard["us-east-1"]
    assert.include(read("src/cli/internal/work/maintenance.ts"), 'Prices.s3Standard["us-east-1"]')
    for (const kind of ["put", "list", "get", "head", "delete"] as const) {
      assert.strictEqual(requests[kind].dollars, dollars[kind.toUpperCase()])
    }
    assert.include(
      read("docs/guide/cost.md"),
      `5 dollars for a million PUT, COPY or LIST, 0.40 for a million GET or HEAD, nothing for DELETE, ${storage[0]?.price.dollars} for a GB and month`
    )
  })

  it("what operations cost follows from their requests, which the example on the page counts", () => {
    const rows = rowsBelow("docs/guide/cost.md", "What operations cost")
    assert.lengthOf(rows, 10)
    for (const [what, requests, price] of rows) {
      const sum = requests!.split(", ").reduce((total, part) => {
        const [, count, kind, , each] = /^(\d+) (PUT|LIST|GET|HEAD|DELETE)( each)?(?: for ([\d,]+))?$/.exec(part) ?? []
        return total + (Number(count) * dollars[kind!]!) / Number((each ?? "1").replaceAll(",", ""))
      }, 0)
      // As precisely as it is given.
      const digits = /\.(\d+)$/.exec(price!)![1]!.length
      assert.strictEqual((sum + 1e-9).toFixed(digits), price, what)
    }
    const printed = read("docs/guide/cost.md")
    for (const [what, shown] of [
      ["`insert`", "insert"],
      ["`get`", "get"],
      ["`exists`", "exists"],
      ["`getByUnique`", "getByUnique"],
      ["`update`, `patch` by id, `upsert`", "update by id"],
      ["... of a document in hand; `replace`", "update in hand"],
      ["`delete`", "delete"],
      ["... with two partitions and a unique key", "insert with indexes"]
    ]) {
      const [, , price] = rows.find(([name]) => name === what)!
      assert.match(printed, new RegExp(`^${shown}: .* = ${price} dollars a million$`, "m"))
    }
  })

  it("the example adds up", () => {
    const rows = rowsBelow("docs/guide/cost.md", "An example").map(([, requests, sum]) => ({
      requests,
      sum: Number(sum)
    }))
    const together = rows.pop()
    assert.closeTo(
      rows.reduce((total, { sum }) => total + sum, 0),
      together!.sum,
      0.005
    )
    for (const { requests, sum } of rows.filter((row) => row.requests !== "")) {
      const expected = [...requests!.matchAll(/([\d,]+) (PUT|GET|LIST)(?: and (PUT))?/g)].reduce(
        (total, [, count, kind, also]) =>
          total +
          (Number(count!.replaceAll(",", "")) / 1e6) * (dollars[kind!]! + (also === undefined ? 0 : dollars[also]!)),
        0
      )
      assert.closeTo(expected, sum, 0.001, requests)
    }
  })

  it("the limits are those of the source", () => {
    const limits = new Map(
      rowsBelow("docs/guide/operations.md", "Limits and quotas").map(([what, limit]) => [what, limit!])
    )
    const constant = (file: string, name: string): number => {
      const text = new RegExp(`\\b${name}(?:: [\\w.]+)? = ([\\d_ *]+)`).exec(read(file))?.[1] ?? ""
      return text.split("*").reduce((product, part) => product * Number(part.replaceAll("_", "")), 1)
    }
    const said = (what: string): number => Number(/\d[\d,]*/.exec(limits.get(what) ?? "")?.[0].replaceAll(",", ""))
    assert.strictEqual(said("key of an object, prefix included"), constant("src/storage/ObjectStore.ts", "maxKeyBytes"))
    assert.strictEqual(said("fields in metadata"), constant("src/storage/ObjectStore.ts", "maxMetadataBytes"))
    assert.include(
      limits.get("fields in metadata"),
      constant("src/storage/ObjectStore.ts", "maxMetadataHeaderBytes").toLocaleString("en")
    )
    assert.strictEqual(said("a compressed body, opened") * 2 ** 20, constant("src/document/compressed.ts", "mostBytes"))
    assert.strictEqual(said("nesting of a value"), constant("src/encoding/Json.ts", "deepest"))
    assert.strictEqual(said("an order in memory"), constant("src/query/keys.ts", "mostInMemory"))
    assert.strictEqual(said("content of a document") * 2 ** 20, constant("src/Content.ts", "partBytes"))
  })

  it("the variables of the environment are those that the source reads", () => {
    const source = ["src/storage", "src/crypto", "src/cli"].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .map((name) => read(join(folder, name)))
    )
    const names = new Set(
      source.flatMap((text) => [...text.matchAll(/"((?:S3DB|AWS)_[A-Z0-9_]+)"/g)].map(([, name]) => name!))
    )
    assert.isAtLeast(names.size, 12)
    for (const name of names) assert.include(read("docs/guide/connecting.md"), `\`${name}\``)
  })
})

describe("links", () => {
  const brokenIn = (text: string, other = "# There\n\n## A heading\n") => {
    const folder = mkdtempSync(join(tmpdir(), "effect-s3db-links-"))
    try {
      writeFileSync(join(folder, "other.md"), other)
      return check([{ file: join(folder, "page.md"), text }]).map(({ line, problem, target }) => [
        line,
        target,
        problem
      ])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  it("lead to files and headings that are there", () => {
    const text =
      "# Here\n\n[a](#here) [b](other.md) [c](other.md#a-heading) [d](https://example.org/x#y) [e](<other.md>)\n"
    assert.deepStrictEqual(brokenIn(text), [])
    assert.deepStrictEqual(brokenIn("# Here\n\n[a](#there)\n[b\nc](gone.md)\n[d](other.md#gone)\n\n[e]: lost.md\n"), [
      [3, "#there", "there is no such heading"],
      [5, "gone.md", "there is no such file"],
      [6, "other.md#gone", "there is no such heading"],
      [8, "lost.md", "there is no such file"]
    ])
  })

  it("in code are none", () => {
    assert.deepStrictEqual(linksOf("`[a](b.md)` ``[`](c.md)``\n\n```md\n[d](e.md)\n```\n<!-- [f](g.md) -->\n"), [])
  })

  it("name headings as they are shown", () => {
    const text =
      "# What's `a.b` (and C)?\n\n## Twice\n## Twice\n\n```\n# no heading\n```\n## [Link](x.md), done\n## a_b - c\n"
    assert.deepStrictEqual([...anchorsOf(text)], ["whats-ab-and-c", "twice", "twice-1", "link-done", "a_b---c"])
  })
})

describe("llms.txt", () => {
  it("has the form of llmstxt.org", () => {
    const [title, summary, ...rest] = read("llms.txt")
      .split("\n")
      .filter((line) => line !== "")
    assert.strictEqual(title, "# effect-s3db")
    assert.match(summary!, /^> \w/)
    const entries = rest.slice(1)
    for (const line of entries) assert.match(line, /^(## \w.*|- \[[^\]]+\]\([^)]+\): \w.+)$/)
    assert.isAtLeast(entries.length, 50)
  })

  it("follows the index", () => {
    const text = makeLlms(
      parseIndex(
        "# X\n\nIt is\nsmall.\n\n## Begin\n\n- [y](guide/install.md): first,\n  see [z](guide/faq.md)\n\n## Design\n\n- [w](design/walks.md): walks\n"
      )
    )
    assert.include(text, "# X\n\n> It is small.\n")
    assert.include(text, "## Begin\n\n- [Install](docs/guide/install.md): first, see z\n")
    assert.match(text, /## Optional\n\n- \[Five walks through the house\]\(docs\/design\/walks\.md\): walks\n$/)
  })
})

describe("the guide", () => {
  it("goes from page to page", () => {
    const order = guide(index())
    assert.strictEqual(order[0], "docs/guide/install.md")
    assert.strictEqual(new Set(order).size, order.length)
    assert.isAtLeast(order.length, 28)
  })

  it("has one line at the end of a page that leads on", () => {
    const once = withFooter("# A\n\ntext\n", "docs/guide/install.md")
    assert.strictEqual(once, "# A\n\ntext\n\nNext: [Install](install.md)\n")
    assert.strictEqual(withFooter(once, undefined), "# A\n\ntext\n\nNext: [the index](../index.md)\n")
  })
})

describe("the list of modules", () => {
  it("has what can be imported, and nothing else", () => {
    const names = publicModules.publicModules().map(({ name }) => name)
    for (const name of ["Resource", "storage/S3HttpStore", "plugins/Cache", "kernel/Lease", "testing/PluginSuite"]) {
      assert.include(names, name)
    }
    for (const name of ["index", "document/write", "cli/main", "plugins/cache/tier", "internal/text"]) {
      assert.notInclude(names, name)
    }
    for (const { name, summary } of publicModules.publicModules()) assert.match(summary, /^[\p{Lu}`].*\.$/u, name)
  })
})
