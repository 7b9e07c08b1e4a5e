/** Profiles: connections by name, in a file of the user that nobody else can read. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import { NoConnection } from "./failure.ts"
import { didYouMean } from "../../internal/nearest.ts"

const Profiles = Schema.Struct({
  /** The profile that is meant where none is named. */
  default: Schema.optionalKey(Schema.String),
  profiles: Schema.Record(Schema.String, Schema.Struct({ url: Schema.String }))
})

export type Profiles = typeof Profiles.Type

const Text = Schema.fromJsonString(Profiles)

const variable = (name: string) =>
  Config.String(name).pipe(
    Config.option,
    Effect.orElseSucceed(() => Option.none<string>())
  )

/** Where the profiles are: in `s3db/profiles.json` of the XDG configuration folder. */
export const location = Effect.gen(function* () {
  const path = yield* Path.Path
  const configured = yield* variable("XDG_CONFIG_HOME")
  const home = yield* variable("HOME")
  const profile = yield* variable("USERPROFILE")
  const root = Option.isSome(configured)
    ? configured.value
    : path.join(
        Option.getOrElse(home, () => Option.getOrElse(profile, () => ".")),
        ".config"
      )
  return path.join(root, "s3db", "profiles.json")
})

const failed = (file: string, doing: string) => (error: { readonly message: string }) =>
  new NoConnection({ description: `the profiles in ${file} cannot be ${doing}: ${error.message}` })

const none: Profiles = { profiles: {} }

/** The profiles that there are, and whether others can read their file. */
export const read = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const file = yield* location
  const isThere = yield* Effect.orElseSucceed(fs.exists(file), () => false)
  if (!isThere) return { file, profiles: none, isOpen: false }
  const text = yield* Effect.mapError(fs.readFileString(file), failed(file, "read"))
  const profiles = yield* Schema.decodeUnknownEffect(Text)(text).pipe(
    // The text has secrets, and an issue might show them.
    Effect.mapError(() =>
      failed(
        file,
        "read"
      )({ message: "it is no JSON of the expected form; `s3db configure` writes it anew when it is removed" })
    )
  )
  const { mode } = yield* Effect.mapError(fs.stat(file), failed(file, "read"))
  return { file, profiles, isOpen: (mode & 0o077) !== 0 && (yield* isPosix) }
})

/** Where there are modes. */
const isPosix = Effect.map(Path.Path, (path) => path.sep === "/")

/** Writes the profiles so that they are there in full or as before, for the user alone. */
export const write = Effect.fnUntraced(function* (profiles: Profiles) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const named = yield* location
  // A link, such as to where somebody keeps all settings, stays one.
  const file = yield* Effect.orElseSucceed(fs.realPath(named), () => named)
  yield* Effect.gen(function* () {
    yield* fs.makeDirectory(path.dirname(file), { recursive: true, mode: 0o700 })
    const folder = yield* fs.makeTempDirectoryScoped({ directory: path.dirname(file), prefix: ".new-" })
    const fresh = path.join(folder, "profiles.json")
    yield* fs.writeFileString(fresh, `${JSON.stringify(profiles, undefined, 2)}\n`, { mode: 0o600 })
    yield* fs.chmod(fresh, 0o600)
    yield* fs.rename(fresh, file)
  }).pipe(Effect.scoped, Effect.mapError(failed(named, "written")))
  return named
})

/** The URL of a profile. */
export const find = Effect.fnUntraced(function* (name: string) {
  const { file, profiles } = yield* read
  const names = Object.keys(profiles.profiles)
  if (Object.hasOwn(profiles.profiles, name)) return profiles.profiles[name]!.url
  const there = names.length === 0 ? "there is none yet" : `there are ${names.join(", ")}`
  return yield* new NoConnection({
    description: `${file} has no profile called ${JSON.stringify(name)}: ${there}${didYouMean(name, names)}; add one with \`s3db configure ${name}\``
  })
})
