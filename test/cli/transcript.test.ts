/** The sessions in the guide: each command is run, and what the guide shows is what it says. `vitest run FILE -u` writes them anew. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { words } from "../../src/cli/internal/words.ts"
import { inFolder } from "./shell.ts"

const guide = fileURLToPath(new URL("../../docs/guide/command-line.md", import.meta.url))
const prompt = "$ s3db "

/** What a terminal shows of a session: each command, with what it writes to both outputs as it comes. */
const run = Effect.fnUntraced(function* (fence: string) {
  const { s3db } = yield* inFolder
  const commands = fence.split("\n").filter((line) => line.startsWith(prompt))
  const shown = yield* Effect.forEach(commands, (command) =>
    Effect.gen(function* () {
      let said = ""
      const { code } = yield* s3db(words(command.slice(prompt.length)) ?? [], { onWrite: (text) => (said += text) })
      assert.notStrictEqual(code, 1, said)
      // Lines of CSV end with CR and LF, which a terminal shows as it shows LF.
      return `${command}\n${said.replaceAll("\r\n", "\n")}`
    })
  )
  return { commands, text: shown.join("") }
})

describe("the guide of the command line", () => {
  it.live("shows what is said", () =>
    Effect.gen(function* () {
      const text = readFileSync(guide, "utf8")
      const parts = text.split(/(?<=^```console\n)([^]*?)(?=^```$)/m)
      let count = 0
      const fresh = yield* Effect.forEach(parts, (part, index) =>
        index % 2 === 0
          ? Effect.succeed(part)
          : Effect.map(run(part), ({ commands, text }) => {
              count += commands.length
              return text
            })
      )
      assert.isAbove(count, 5)
      yield* Effect.promise(() => expect(fresh.join("")).toMatchFileSnapshot(guide))
    })
  )
})
