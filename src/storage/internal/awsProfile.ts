/** What the environment, and a profile of AWS's shared configuration file, say of the place of buckets. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { StoreError, Unsupported } from "../StoreError.ts"
import * as s3Errors from "./s3Errors.ts"

/** A variable of the environment, as the SDK takes it: an empty one says nothing. */
export const variable = (name: string): Effect.Effect<string | undefined> =>
  Config.String(name).pipe(
    Effect.map((value) => (value === "" ? undefined : value)),
    Effect.orElseSucceed(() => undefined)
  )

type Settings = Readonly<Record<string, string | undefined>>

/** A profile, and what it says of the service S3 alone. */
export interface Profile {
  readonly settings: Settings
  readonly s3: Settings
}

const nothing: Profile = { settings: {}, s3: {} }

const filesPackage = "@smithy/core"

/**
 * The profile that requests are made by, without its credentials: those are found by the SDK's chain, which also says what is wrong with the
 * file. Where the environment has keys and names no profile there is none, so that nothing of the SDK is loaded; nor is there in a runtime
 * without files, or without the SDK, unless one is named: `Unsupported` then.
 */
export const profile: Effect.Effect<Profile, StoreError> = Effect.gen(function* () {
  const named = yield* variable("AWS_PROFILE")
  const keys = [yield* variable("AWS_ACCESS_KEY_ID"), yield* variable("AWS_SECRET_ACCESS_KEY")]
  if (named === undefined && !keys.includes(undefined)) return nothing
  const configFilepath = yield* variable("AWS_CONFIG_FILE")
  const read = Effect.tryPromise({
    try: async () => {
      // A bundler takes an import that is caught for one that may be missing.
      const { loadSharedConfigFiles } = await import("@smithy/core/config").catch((error: unknown) =>
        Promise.reject(error)
      )
      return loadSharedConfigFiles(configFilepath === undefined ? {} : { configFilepath })
    },
    catch: (error) => {
      const description = `the profile that AWS_PROFILE names cannot be read: ${s3Errors.notLoaded(filesPackage, error)}`
      return new StoreError({ operation: "open", reason: new Unsupported({ feature: filesPackage, description }) })
    }
  })
  // To a default profile that may not be there nobody has pointed.
  const found = yield* named === undefined ? Effect.option(read) : Effect.asSome(read)
  if (Option.isNone(found)) return nothing
  const { configFile } = found.value
  const settings: Settings = configFile[named ?? "default"] ?? {}
  const services = Object.entries(configFile[`services.${settings["services"] ?? ""}`] ?? {})
  const ofS3 = services.flatMap(([name, value]) => (name.startsWith("s3.") ? [[name.slice(3), value]] : []))
  return { settings, s3: Object.fromEntries(ofS3) as Settings }
})
