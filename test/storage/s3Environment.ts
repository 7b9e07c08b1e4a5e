/** A bucket that a process of its own opens by a connection string, with what its environment says. */
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"

/** Writes two objects, and tells what has been loaded beside Effect. */
export const opened = (url: string, environment: Readonly<Record<string, string>>) =>
  Effect.promise(() => {
    const script = `
      import { registerHooks } from "node:module"
      const loaded = []
      registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
      const Effect = await import("effect/Effect")
      await import("effect/Schema")
      loaded.length = 0
      const ConnectionString = await import("effect-s3db/storage/ConnectionString")
      const { ObjectStore } = await import("effect-s3db/storage/ObjectStore")
      const writing = Effect.flatMap(ObjectStore, (store) =>
        Effect.andThen(store.put({ key: "k" }), store.put({ key: "l" })))
      const error = await Effect.runPromise(
        Effect.flip(Effect.andThen(Effect.provide(writing, ConnectionString.layer(${JSON.stringify(url)})), Effect.fail())))
      console.log(JSON.stringify({ loaded, error }))`
    const args = ["--conditions=effect-s3db-source", "--no-warnings", "--input-type=module", "-e", script]
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("AWS_")))
    return promisify(execFile)(process.execPath, args, { env: { ...inherited, ...environment } })
  }).pipe(
    Effect.map(
      ({ stdout }) => JSON.parse(stdout) as { readonly loaded: ReadonlyArray<string>; readonly error?: unknown }
    )
  )
