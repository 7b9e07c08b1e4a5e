import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { leastNode, requireNode } from "../../src/internal/runtime.ts"

const refusal = (node: string): string => {
  try {
    requireNode({ node })
    return ""
  } catch (error) {
    return String(error)
  }
}

describe("the Node that is needed", () => {
  it("is that of the manifest", () => {
    const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      readonly engines: { readonly node: string }
    }
    assert.strictEqual(manifest.engines.node, `>=${leastNode}`)
  })

  it("is said on an older one", () => {
    for (const node of ["20.20.2", "22.9.0", "22.18.99", "6.0.0"]) {
      assert.strictEqual(
        refusal(node),
        `Error: effect-s3db needs Node 22.19 or later, and this is Node ${node}: run it with a newer one (https://nodejs.org)`
      )
    }
  })

  it("lets newer ones and other runtimes through", () => {
    for (const node of ["22.19.0", "22.20.1", "23.0.0", "24.0.0", "24.0.0-nightly", "100.1.0"]) {
      assert.strictEqual(refusal(node), "")
    }
    requireNode()
    requireNode({})
    requireNode({ node: "20.1.0", bun: "1.2.0" })
    requireNode({ node: "20.1.0", deno: "2.0.0" })
  })
})
