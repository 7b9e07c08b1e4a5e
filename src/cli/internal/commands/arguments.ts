/** Arguments and flags that several commands have. */
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import { flag } from "../globals.ts"
import { conditionHelp } from "../notation.ts"

export const resource = Argument.String("resource").pipe(Argument.withDescription("The name of the resource"))

export const id = Argument.String("id").pipe(Argument.withDescription("The id of the document"))

export const ids = (least: number) =>
  Argument.String("id").pipe(Argument.withDescription("The ids of the documents"), Argument.variadic({ min: least }))

export const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

export const texts = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(`${description}. Can be given several times`),
    Flag.atLeast(0)
  )

/** A whole number that is not below another. */
export const least = (name: string, value: number, description: string) =>
  Flag.Int(name).pipe(
    Flag.withDescription(description),
    Flag.filter(
      (given) => given >= value,
      () => `Expected a number of ${value} or more`
    )
  )

export const force = flag("force", "Does not ask")

export const overwrite = flag("force", "Overwrites a file that is there, and does not ask")

/** Which documents are meant. */
export const conditions = {
  where: texts("where", "CONDITION", conditionHelp).pipe(Flag.withAlias("w")),
  partition: text("partition", "NAME", "Only the documents of this partition"),
  value: texts("value", "FIELD=VALUE", "With --partition: the value of one of its fields"),
  from: text("from", "VALUE", "With --partition: the least value of the field that follows"),
  to: text("to", "VALUE", "With --partition: the greatest value of the field that follows"),
  startsWith: text("starts-with", "TEXT", "With --partition: what the text of the field that follows begins with"),
  scan: flag("scan", "Allows reading every document")
}

export const allowStale = flag(
  "allow-stale",
  "Lets the keys of a partition answer, where they tell all that is asked for, with what has been written a moment ago or not yet: --explain says whether they do"
)

export const file = text("file", "FILE", "Where the JSON is; - is standard input").pipe(Flag.withAlias("f"))
