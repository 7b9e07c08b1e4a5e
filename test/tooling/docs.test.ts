import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { check } from "./docs.ts"

const problemsOf = (files: Readonly<Record<string, string>>): ReadonlyArray<string> => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-docs-"))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    return check(folder).map(({ file, line, problem }) => `${file}:${line} ${problem}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const doc = (summary: string, tags = "@category constructors\n * @since 0.1.0") =>
  `/**\n${summary === "" ? "" : ` * ${summary}\n *\n`} * ${tags}\n */\n`

describe("docs", () => {
  it("the library has them", () => {
    assert.deepStrictEqual(check(fileURLToPath(new URL("../../src", import.meta.url))), [])
  })

  it("finds what is missing", () => {
    const problems = problemsOf({
      "A.ts": [
        "/**\n * A module.\n *\n * @since 0.1.0\n */\n",
        "export const bare = 1\n\n",
        `${doc("")}export interface Empty {}\n\n`,
        `${doc("A thing.", "@category models")}export type NoSince = 1\n\n`,
        `${doc("A thing.", "@since 0.1.0")}export class NoCategory {}\n\n`,
        `${doc("A thing.", "@category odds and ends\n * @since 0.1.0")}export const unknown = 1\n`
      ].join("")
    })
    assert.deepStrictEqual(problems, [
      "A.ts:6 bare has no @category",
      "A.ts:12 Empty has no summary",
      "A.ts:19 NoSince has no @since",
      "A.ts:26 NoCategory has no @category",
      'A.ts:34 unknown has the unknown category "odds and ends"'
    ])
    assert.deepStrictEqual(problemsOf({ "B.ts": "const a = 1\n\nexport const bare = a\n" }), [
      "B.ts:3 bare has no docstring"
    ])
  })

  it("functions and effects open with a verb, other things need not", () => {
    const functions = [
      "export const f = (a: number) => a",
      "export const f = <A>(a: A) => a",
      "export const f =\n  (a: number) =>\n  (b: number) => a + b",
      "export const f: (a: number) => number = Math.abs",
      "export const f: Effect.Effect<number> = one",
      'export const f = Effect.fn("f")(function* () {})',
      "export const f = dual(2, g)",
      "export function f(a: number) {}\nexport function f(a: string) {}",
      "export const f: {\n  (a: number): number\n} = g",
      "const in_ = (a: number) => a\nexport {\n  __DOC__in_ as in\n}"
    ]
    const place = (declaration: string, summary: string) =>
      declaration.includes("__DOC__") ? declaration.replace("__DOC__", doc(summary)) : doc(summary) + declaration
    for (const declaration of functions) {
      for (const opening of ["What", "Whether", "Who", "Which", "Where", "How", "The", "A", "An"]) {
        const [problem, ...others] = problemsOf({ "A.ts": place(declaration, `${opening} is there.`) })
        assert.deepStrictEqual(others, [], declaration)
        assert.include(problem, `opens with "${opening}", which is no verb`, declaration)
      }
      assert.lengthOf(problemsOf({ "A.ts": place(declaration, "Everybody is there.") }), 1)
      assert.lengthOf(problemsOf({ "A.ts": place(declaration, "`x` is there.") }), 1)
      for (const opening of ["Returns", "Tells", "Creates"]) {
        assert.deepStrictEqual(problemsOf({ "A.ts": place(declaration, `${opening} it.`) }), [], declaration)
      }
    }
    for (const declaration of [
      "export interface F {}",
      "export const f = 1",
      "export class F {}",
      "export type F = 1"
    ]) {
      assert.deepStrictEqual(problemsOf({ "A.ts": `${doc("The thing.")}${declaration}\n` }), [], declaration)
    }
  })

  it("looks at no folder that is internal, and past comments", () => {
    const comment = "// oxlint-disable-next-line no-shadow\n"
    assert.deepStrictEqual(
      problemsOf({
        "storage/internal/x.ts": "export const x = 1\n",
        "A.ts": `${doc("The thing.")}${comment}export const a = 1\n`
      }),
      []
    )
  })
})
