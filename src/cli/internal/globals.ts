/** What every command understands. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Connection from "./connection.ts"
import * as Output from "./output.ts"
import * as Layer from "effect/Layer"

/** A flag that is on where it is said. */
export const flag = (name: string, description: string): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(Flag.withoutNegation, Flag.withDefault(false), Flag.withDescription(description))

export const shared = {
  url: Flag.Redacted("url").pipe(
    Flag.withAlias("u"),
    Flag.withMetavar("URL"),
    Flag.withDescription(
      "Where the data is: s3://bucket/prefix, https://host/bucket/prefix, file:///folder or memory://name. Others see the arguments of a command: keep secrets in a profile or in S3DB_URL"
    ),
    Flag.optional
  ),
  profile: Flag.String("profile").pipe(
    Flag.withAlias("p"),
    Flag.withMetavar("NAME"),
    Flag.withDescription("The connection that is kept under this name: see `s3db configure`"),
    Flag.optional
  ),
  json: flag("json", "Writes JSON: an array, or one value"),
  ndjson: flag("ndjson", "Writes JSON, one value on a line, as it comes"),
  quiet: flag("quiet", "Says nothing beside the data but warnings and errors").pipe(Flag.withAlias("q")),
  singleWriter: flag("single-writer", "Accepts a store without conditional writes: only while nobody else writes to it")
}

/** The layer of what handlers speak to, by the flags of every command. */
export const layer = (flags: {
  readonly [K in keyof typeof shared]: (typeof shared)[K] extends Flag.Flag<infer A> ? A : never
}) => Connection.layer(flags).pipe(Layer.provideMerge(Output.layer(flags)))

/** Makes a handler of one in a module that is loaded when it is needed: what a command does not use costs it nothing. */
export const lazily =
  <M, I, E, R>(load: () => Promise<M>, pick: (module: M) => (input: I) => Effect.Effect<void, E, R>) =>
  (input: I): Effect.Effect<void, E, R> =>
    Effect.flatMap(Effect.promise(load), (module) => pick(module)(input))

/** The version of this program. */
export const Version = Context.Reference<string>("effect-s3db/cli/internal/globals/Version", {
  defaultValue: () => "0.0.0"
})

/** Whether the command was written as an expression, whose steps stand for its flags. */
export const IsExpression = Context.Reference<boolean>("effect-s3db/cli/internal/globals/IsExpression", {
  defaultValue: () => false
})

export const root = Command.make("s3db").pipe(Command.withSharedFlags(shared))
