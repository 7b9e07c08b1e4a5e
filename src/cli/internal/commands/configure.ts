/** The commands about profiles. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { flag, lazily } from "../globals.ts"

const load = () => import("../work/configure.ts")

export const configure = Command.make(
  "configure",
  {
    name: Argument.String("name").pipe(
      Argument.withDescription("The name of the profile (default: default)"),
      Argument.withDefault("default")
    ),
    default: flag("default", "Is meant where no connection is named"),
    remove: flag("remove", "Forgets the profile")
  },
  lazily(load, ({ configure }) => configure)
).pipe(
  Command.withDescription("Keeps a connection under a name, in a file that only you can read"),
  Command.withExamples([
    { command: "s3db configure", description: "Asks for the URL, which is not shown" },
    { command: 'printf %s "$URL" | s3db configure staging', description: "Reads it from standard input" },
    { command: "s3db configure staging --remove" }
  ])
)

export const profiles = Command.make(
  "profiles",
  {},
  lazily(load, ({ profiles }) => profiles)
).pipe(
  Command.withDescription("Lists the profiles, without their secrets"),
  Command.withExamples([{ command: "s3db profiles" }])
)
