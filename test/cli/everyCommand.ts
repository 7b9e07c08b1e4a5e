/** A session that runs every command of the program once, in this process or as the built program. */
import { assert } from "@effect/vitest"
import * as Completions from "effect/cli/Completions"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { command } from "../../src/cli/internal/program.ts"
import { writeFolder } from "../migration/folders.ts"
import { urlOf } from "./oldDatabase.ts"
import type { Ran } from "./shell.ts"

/** The commands that do something, by their words. */
export const commands: ReadonlyArray<string> = (() => {
  const below = (one: Completions.CommandDescriptor, words: ReadonlyArray<string>): ReadonlyArray<string> =>
    one.subcommands.length === 0
      ? [words.join(" ")]
      : one.subcommands.flatMap((sub) => below(sub, [...words, sub.name]))
  return below(Completions.fromCommand(command), [])
})()

interface Step {
  readonly args: ReadonlyArray<string>
  /** What has to be on one of the outputs. */
  readonly says: string
  readonly stdin?: string
  readonly code?: number
}

const definition = JSON.stringify({
  attributes: { text: "string", rank: "number|optional", card: "secret|optional" },
  partitions: { byRank: ["rank"] },
  history: true,
  content: true,
  allowDeleteAll: true,
  counters: true
})

/** Each step stands on those before it. `path` names a file in a folder of the session's own. */
const steps = (path: (name: string) => string): ReadonlyArray<Step> => [
  { args: ["completions", "bash"], says: "s3db" },
  { args: ["init", path("project")], says: "made a project" },
  { args: ["configure", "mine", "--url", "memory://mine"], says: "mine" },
  { args: ["profiles"], says: "mine" },
  { args: ["create", "bucket"], says: "needs no bucket", code: exitCodes.Usage },
  { args: ["create", "resource", "notes", definition], says: "created notes" },
  {
    args: ["alter", "resource", "notes", "-"],
    says: "note",
    stdin: definition.replace('"text"', '"note":"string|optional","text"')
  },
  { args: ["list"], says: "notes" },
  { args: ["describe", "notes"], says: "byRank" },
  { args: ["schema", "notes"], says: "text" },
  { args: ["types", "notes", "-o", path("resources.ts")], says: "" },
  { args: ["schema-diff", path("none")], says: "error", code: exitCodes.Invalid },
  { args: ["status"], says: "notes" },
  { args: ["doctor"], says: "s3:PutObject" },
  { args: ["insert", "notes", '{"id":"a","text":"one","rank":1,"card":"4111"}'], says: "one" },
  { args: ["get", "notes", "a"], says: "one" },
  { args: ["update", "notes", "a", "--set", "text=two"], says: "two" },
  { args: ["upsert", "notes", '{"id":"b","text":"three"}'], says: "three" },
  { args: ["replace", "notes", '{"id":"b","text":"four"}'], says: "four" },
  { args: ["query", "notes", "--scan", "-w", "rank>=1"], says: "two" },
  { args: ["search", "notes", "four"], code: exitCodes.Invalid, says: "an index of words" },
  { args: ["count", "notes"], says: "2" },
  { args: ["aggregate", "notes", "sum:rank", "--scan"], says: "1" },
  { args: ["history", "notes", "a"], says: "1" },
  { args: ["restore", "notes", "a", "--version", "1", "--force"], says: "one" },
  { args: ["content", "put", "notes", "a", "-"], says: "", stdin: "bytes" },
  { args: ["content", "get", "notes", "a"], says: "bytes" },
  { args: ["content", "delete", "notes", "a", "--force"], says: "" },
  { args: ["export", "notes", "-o", path("notes.ndjson")], says: "exported 2 documents" },
  { args: ["import", "notes", path("notes.ndjson"), "--mode", "replace"], says: "imported 2 documents" },
  { args: ["import", "notes", path("notes.ndjson"), "--infer"], says: "attributes" },
  {
    args: ["import", "notes", path("notes.ndjson"), "--mode", "replace", "--dry-run"],
    says: "would import 2 documents"
  },
  { args: ["seed", "notes", "-n", "3"], says: "3" },
  { args: ["partitions", "notes"], says: "byRank" },
  { args: ["analyze", "notes"], says: "documents" },
  { args: ["explain", "notes", "a"], says: "text" },
  { args: ["backfill", "notes"], says: "" },
  { args: ["repair", "notes"], says: "" },
  { args: ["upgrade", "notes"], says: "" },
  { args: ["rotate", "notes"], says: "" },
  { args: ["recount", "notes"], says: "" },
  { args: ["plugins"], says: "plugin" },
  { args: ["plugins", "run", "segments", "notes", "--once"], says: "notes" },
  { args: ["watch", "notes", "--times", "1", "--interval", "1"], says: "watching" },
  { args: ["migrate", "generate", "first", "--folder", path("migrations")], says: "first" },
  { args: ["migrate", "status", "--folder", path("migrations")], says: "pending" },
  { args: ["migrate", "up", "--folder", path("migrations")], says: "first" },
  { args: ["migrate", "down", "--folder", path("migrations"), "--force"], says: "first" },
  {
    args: ["migrate-from", urlOf(path("old/app")), "--content", "--dry-run"],
    code: exitCodes.Unfinished,
    says: "looked at 4 records"
  },
  {
    args: ["console"],
    says: "two\n",
    stdin: "update notes a --set text=two\nget notes a\n"
  },
  { args: ["rewind", "notes", "--time", "2100-01-01T00:00:00Z", "--force"], says: "0 restored, 0 deleted" },
  { args: ["backup", "create", "--vault", urlOf(path("vault"))], says: "objects" },
  { args: ["backup", "list", "--vault", urlOf(path("vault"))], says: "1 backup" },
  { args: ["backup", "verify", "latest", "--vault", urlOf(path("vault"))], says: "can be brought back" },
  { args: ["delete", "notes", "b", "--force"], says: "deleted 1 document" },
  {
    args: ["backup", "plan", "latest", "--vault", urlOf(path("vault")), "--mode", "replace"],
    says: "nothing was changed"
  },
  {
    args: ["backup", "restore", "latest", "--vault", urlOf(path("vault")), "--mode", "replace", "--force"],
    says: "new"
  },
  { args: ["backup", "prune", "--vault", urlOf(path("vault")), "--last", "1", "--dry-run"], says: "1 backup kept" },
  { args: ["backup", "remove", "latest", "--vault", urlOf(path("vault")), "--force"], says: "removed" },
  { args: ["delete", "notes", "b", "--force"], says: "deleted 1 document" },
  { args: ["truncate", "notes", "--force"], says: "4 documents" }
]

/**
 * Runs the session, and fails where a command of the program is not in it: a command without a test. `apart`: those that somebody else runs.
 */
export const everyCommand = Effect.fnUntraced(function* (
  path: (name: string) => string,
  run: (args: ReadonlyArray<string>, stdin: string | undefined) => Effect.Effect<Ran>,
  apart: ReadonlyArray<string>
) {
  const session = steps(path)
  writeFolder("folder-s3db-js-21-6-2", path("old"))
  const unrun = commands.filter(
    (one) => !apart.includes(one) && !session.some(({ args }) => `${args.join(" ")} `.startsWith(`${one} `))
  )
  assert.deepStrictEqual(unrun, [], "commands that no test runs")
  const wrong: Array<string> = []
  for (const { args, code = 0, says, stdin } of session) {
    const ran = yield* run(args, stdin)
    if (ran.code === code && (ran.out + ran.err).includes(says)) continue
    wrong.push(
      `s3db ${args.join(" ")}: exit code ${ran.code}, where ${code} and ${JSON.stringify(says)} were expected\n${ran.out}${ran.err}`
    )
  }
  assert.deepStrictEqual(wrong, [])
})
