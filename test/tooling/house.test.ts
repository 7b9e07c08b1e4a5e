import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { type House, type LongFunction, nameBefore } from "./house.ts"

const tell = (...args: ReadonlyArray<string>): unknown =>
  JSON.parse(
    execFileSync(process.execPath, [fileURLToPath(new URL("house.ts", import.meta.url)), "--json", ...args], {
      encoding: "utf8"
    })
  )

describe("the house", () => {
  it("has its files on floors from low to high, arrows, and wings that nobody can import from outside", () => {
    const { arrows, files } = tell() as House
    const floors = files.flatMap(({ floor }) => (floor === undefined ? [] : [floor]))
    assert.deepStrictEqual(
      floors,
      floors.toSorted((a, b) => a - b)
    )
    assert.isAbove(files.find(({ file }) => file === "Resource.ts")!.lines, 100)
    // A plugin of several files has them in a folder of its name.
    const inside =
      /^(internal|catalog|document|query|repository|cli|http\/admin|plugins\/[a-z]\w*)\/|\/internal\/|^index\.ts$/
    for (const { file, isPublic } of files) assert.strictEqual(isPublic, !inside.test(file), file)
    assert.isTrue(arrows.some(({ from, imports, to }) => from === "query" && to === "document" && imports > 0))
    assert.isFalse(arrows.some(({ from, to }) => from === to || (from === "storage" && to === "document")))
  })

  it("names its longest functions", () => {
    const functions = tell("--functions") as ReadonlyArray<LongFunction>
    assert.strictEqual(functions.length, 20)
    assert.isTrue(functions.every(({ at, lines, name }) => /^src\/.+\.ts:\d+$/.test(at) && lines > 20 && name !== ""))
    const names = [
      "export const make = Effect.fnUntraced(",
      "const a = <A>",
      "  run: ",
      "  run",
      "function* walk",
      "map("
    ]
    assert.deepStrictEqual(names.map(nameBefore), ["make", undefined, "run", "run", "walk", undefined])
  })
})
