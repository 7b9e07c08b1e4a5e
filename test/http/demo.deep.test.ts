/** `npm run demo:api`: the lines that it prints work as they are, and Ctrl-C ends it. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"

const file = fileURLToPath(new URL("../../docs/examples/http-api.ts", import.meta.url))

/** The requests of lines that begin with `curl`. */
const requestsIn = (printed: string) =>
  printed
    .split("\n")
    .filter((line) => line.startsWith("curl "))
    .map((line) => {
      const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "")
      const after = (flag: string) => words.flatMap((word, i) => (words[i - 1] === flag ? [word] : []))
      const headers = after("-H").map((header) => header.split(": ") as [string, string])
      const [body] = after("-d")
      return { url: words.find((word) => word.startsWith("http"))!, headers, body }
    })

describe("npm run demo:api", () => {
  it.live(
    "prints requests that work",
    () =>
      Effect.gen(function* () {
        const child = spawn(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", file, "--serve"], {
          env: { ...process.env, PORT: "0" },
          stdio: ["ignore", "pipe", "inherit"]
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
        let printed = ""
        child.stdout.on("data", (chunk: Buffer) => {
          printed += chunk.toString("utf8")
        })
        while (!/curl -g .*\n/.test(printed)) yield* Effect.sleep(20)
        const [create, list] = requestsIn(printed)
        const send = ({ body, headers, url }: NonNullable<typeof create>) =>
          Effect.promise((signal) =>
            fetch(url, { method: body === undefined ? "GET" : "POST", headers, body: body ?? null, signal })
          )
        assert.strictEqual((yield* send(create!)).status, 201)
        const found = yield* send(list!)
        const { items } = (yield* Effect.promise(() => found.json())) as { items: ReadonlyArray<{ title: string }> }
        assert.deepStrictEqual(
          items.map(({ title }) => title),
          ["Dom Casmurro"]
        )
        const described = /described at (\S+)/.exec(printed)![1]!
        assert.include([200, 401], (yield* Effect.promise(() => fetch(described))).status)
        const ended = new Promise<number | null>((resolve) => child.on("exit", (code) => resolve(code)))
        child.kill("SIGINT")
        assert.include([0, 130], yield* Effect.promise(() => ended))
      }).pipe(Effect.scoped),
    600_000
  )
})
