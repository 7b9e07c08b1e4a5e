/** Every request of the guide page, in its order, against the program that it names. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { ApiKey, Routes } from "../../docs/examples/http-api.ts"
import { serve } from "./api.ts"

const page = readFileSync(new URL("../../docs/guide/http-api.md", import.meta.url), "utf8")

interface Part {
  readonly first: string
  readonly headers: ReadonlyArray<readonly [string, string]>
  readonly body: string
}

const partOf = (text: string): Part => {
  const [head = "", ...body] = text.trim().split("\n\n")
  const [first = "", ...lines] = head.split("\n")
  const headers = lines.map((line) => {
    const at = line.indexOf(":")
    return [line.slice(0, at), line.slice(at + 1).trim()] as const
  })
  return { first, headers, body: body.join("\n\n") }
}

const exchanges = [...page.matchAll(/```http\n([^]*?)```\n```http answer\n([^]*?)```/g)].map(
  ([, request = "", answer = ""]) => [partOf(request), partOf(answer)] as const
)

describe("docs/guide/http-api.md", () => {
  it("has requests, each with its answer", () => {
    assert.isAtLeast(exchanges.length, 12)
    assert.strictEqual(exchanges.length, page.match(/^```http$/gm)?.length)
  })

  it.effect("its requests are answered as it says", () =>
    Effect.gen(function* () {
      const key = Layer.succeed(ApiKey, Redacted.make("KEY"))
      const api = yield* serve(Layer.provide(Routes, key))
      for (const [request, wanted] of exchanges) {
        const [method = "", path = ""] = request.first.split(" ")
        const answer = yield* api.send(method, path, {
          as: "",
          headers: Object.fromEntries(request.headers),
          ...(request.body === "" ? {} : { raw: request.body })
        })
        assert.strictEqual(answer.status, Number(wanted.first), `${request.first}: ${answer.text}`)
        for (const [name, value] of wanted.headers) assert.strictEqual(answer.headers.get(name), value, request.first)
        if (wanted.body !== "") assert.deepStrictEqual(answer.json, JSON.parse(wanted.body), request.first)
      }
    })
  )
})
