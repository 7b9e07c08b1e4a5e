/** Commands about profiles. */
import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import * as Connection from "../connection.ts"
import { Missing, Usage } from "../failure.ts"
import { root } from "../globals.ts"
import * as input from "../input.ts"
import { Output } from "../output.ts"
import * as Profiles from "../profiles.ts"

/** The URL that is to be kept: from the flag, a person, or standard input. */
const asked = Effect.gen(function* () {
  const { url } = yield* root
  if (Option.isSome(url)) return url.value
  const { stdinIsTerminal } = yield* Stdio.Stdio
  if (yield* stdinIsTerminal) {
    return yield* Prompt.run(Prompt.Hidden({ message: "Where is the data? (s3://bucket/prefix, file:///folder)" }))
  }
  return Redacted.make((yield* input.textOf("-")).trim())
})

export const configure = (given: { readonly name: string; readonly default: boolean; readonly remove: boolean }) =>
  Effect.gen(function* () {
    const output = yield* Output
    const { profiles: before } = yield* Profiles.read
    const isThere = Object.hasOwn(before.profiles, given.name)
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(given.name)) {
      return yield* new Usage({ description: "the name of a profile has letters, digits, ., _ and -, 64 at most" })
    }
    if (given.remove) {
      if (!isThere) {
        return yield* new Missing({ description: `there is no profile called ${JSON.stringify(given.name)}` })
      }
      const { [given.name]: _, ...others } = before.profiles
      const { default: chosen, ...rest } = before
      yield* Profiles.write({
        ...rest,
        ...(chosen === undefined || chosen === given.name ? {} : { default: chosen }),
        profiles: others
      })
      return yield* output.value({ removed: given.name }, `forgot ${given.name}`)
    }
    const url = yield* asked
    const parsed = yield* ConnectionString.parse(url)
    const isDefault = given.default || before.default === undefined
    const file = yield* Profiles.write({
      ...before,
      ...(isDefault ? { default: given.name } : {}),
      profiles: { ...before.profiles, [given.name]: { url: Redacted.value(url) } }
    })
    const connection = Connection.describe(parsed)
    yield* output.value(
      { profile: given.name, connection, default: isDefault, file },
      `${isThere ? "changed" : "kept"} ${given.name}: ${connection}${isDefault ? ", meant where no connection is named" : ""}`
    )
  })

export const profiles = () =>
  Effect.gen(function* () {
    const output = yield* Output
    const { file, isOpen, profiles: all } = yield* Profiles.read
    if (isOpen) yield* output.warn(`others can read ${file}: chmod 600 ${file}`)
    const rows = Stream.fromIterable(Object.entries(all.profiles)).pipe(
      Stream.mapEffect(([name, { url }]) =>
        ConnectionString.parse(url).pipe(
          Effect.match({ onFailure: (error) => error.message, onSuccess: Connection.describe }),
          Effect.map((connection) => ({ profile: name, connection, default: all.default === name }))
        )
      )
    )
    yield* output.rows(rows, {
      columns: ["profile", "connection", "default"],
      footer: (count) => (count === 0 ? "no profile yet: make one with `s3db configure`" : file)
    })
  })
