/** The command line in a terminal of its own. */
import { spawn } from "node:child_process"
import * as Effect from "effect/Effect"
import type { Ran } from "./shell.ts"

export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** Runs Node in a terminal of its own, in which somebody types as soon as there is a question. */
export const inTerminal = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>, typed: string) =>
  Effect.callback<Ran>((resume) => {
    const command = [process.execPath, ...args].map(quoted).join(" ")
    const child = spawn("script", ["-qec", command, "/dev/null"], {
      env: { ...process.env, ...env, TERM: "xterm", COLUMNS: "60" },
      stdio: ["pipe", "pipe", "inherit"]
    })
    let out = ""
    let isAsked = false
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text
      if (!isAsked && /\[y\/N\] |data\?/.test(out)) {
        isAsked = true
        child.stdin.write(typed)
      }
    })
    child.on("close", (code) => resume(Effect.succeed({ code: code ?? -1, out, err: "" })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })
