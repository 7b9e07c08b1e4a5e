/** Where the data is: by `--url`, by a profile, or by the environment. Its secrets are never shown. */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import type { Parsed } from "../../storage/ConnectionString.ts"
import { NoConnection } from "./failure.ts"
import { Output } from "./output.ts"
import * as profiles from "./profiles.ts"

export interface Options {
  readonly url: Option.Option<Redacted.Redacted<string>>
  readonly profile: Option.Option<string>
  readonly singleWriter: boolean
}

export interface Found {
  readonly url: Redacted.Redacted<string>
  /** Who has said so. */
  readonly source: string
}

export class Connection extends Context.Service<
  Connection,
  {
    readonly find: Effect.Effect<Found, NoConnection>
    readonly singleWriter: boolean
  }
>()("effect-s3db/cli/internal/connection") {}

/** In this order, after `--url` and `--profile`. The last two are what s3db.js reads. */
const urlVariables = ["S3DB_URL", "S3DB_CONNECTION", "S3DB_CONNECTION_STRING"]

const secret = (name: string) =>
  Config.Redacted(name).pipe(
    Config.option,
    Effect.orElseSucceed(() => Option.none<Redacted.Redacted<string>>())
  )

const find = Effect.fnUntraced(function* ({ profile, url }: Options) {
  const byProfile = (name: string, source: string) =>
    Effect.map(profiles.find(name), (url): Found => ({ url: Redacted.make(url), source }))
  if (Option.isSome(url)) return { url: url.value, source: "--url" }
  if (Option.isSome(profile)) return yield* byProfile(profile.value, `--profile ${profile.value}`)
  for (const name of urlVariables) {
    const found = yield* secret(name)
    if (Option.isSome(found)) return { url: found.value, source: name }
  }
  const named = yield* secret("S3DB_PROFILE")
  if (Option.isSome(named)) return yield* byProfile(Redacted.value(named.value), "S3DB_PROFILE")
  const output = yield* Output
  const all = yield* profiles.read
  if (all.isOpen) yield* output.warn(`others can read ${all.file}: chmod 600 ${all.file}`)
  const chosen = all.profiles.default
  if (chosen !== undefined) return yield* byProfile(chosen, `the profile ${chosen}`)
  return yield* new NoConnection({
    description:
      "nobody has said where the data is: give --url, such as file://./data or s3://bucket/prefix, set S3DB_URL, or keep it in a profile with `s3db configure`"
  })
})

export const layer = (options: Options): Layer.Layer<Connection, never, Output | FileSystem.FileSystem | Path.Path> =>
  Layer.effect(
    Connection,
    Effect.gen(function* () {
      const context = yield* Effect.context<Output | FileSystem.FileSystem | Path.Path>()
      // A command asks more than once, and is warned once.
      const found = yield* Effect.cached(Effect.provideContext(find(options), context))
      return { find: found, singleWriter: options.singleWriter }
    })
  )

/** A connection for people, without its secrets. */
export const describe = (parsed: Parsed): string => {
  const below = (prefix: string) => (prefix === "" ? "" : `/${prefix}`)
  switch (parsed._tag) {
    case "S3": {
      const { bucket, endpoint, prefix, region } = parsed.options
      const more = [
        endpoint === undefined ? [] : [`endpoint ${endpoint}`],
        region === undefined ? [] : [`region ${region}`]
      ].flat()
      return `s3://${bucket}${below(prefix)}${more.length === 0 ? "" : ` (${more.join(", ")})`}`
    }
    case "File":
      return `file://${parsed.options.path}${parsed.options.prefix === "" ? "" : ` (prefix ${parsed.options.prefix})`}`
    case "Memory":
      return `memory://${parsed.bucket}${below(parsed.options.prefix)}`
  }
}
