/** The commands that look at the database as a whole. */
import * as Command from "effect/cli/Command"
import { lazily } from "../globals.ts"
import { resource } from "./arguments.ts"

const load = () => import("../work/overview.ts")

export const status = Command.make(
  "status",
  {},
  lazily(load, ({ status }) => status)
).pipe(
  Command.withDescription("Says where the data is, what there is, and what the store honours"),
  Command.withExamples([{ command: "s3db status --url s3://bucket/prefix" }])
)

export const list = Command.make(
  "list",
  {},
  lazily(load, ({ list }) => list)
).pipe(Command.withDescription("Lists the resources"), Command.withExamples([{ command: "s3db list --json" }]))

export const describe = Command.make(
  "describe",
  { resource },
  lazily(load, ({ describe }) => describe)
).pipe(
  Command.withDescription("Shows the fields, partitions and options of a resource"),
  Command.withExamples([{ command: "s3db describe users" }])
)
