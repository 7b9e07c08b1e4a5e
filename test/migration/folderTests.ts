/** What the tests of folders share. */
import { createHash } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as ObjectStore from "effect-s3db/storage/ObjectStore"

export const platform = Layer.merge(NodeFileSystem.layer, NodePath.layer)

const temporary = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "s3db js ü " }))

/** A test with a folder of its own. */
export const inFolder = (
  name: string,
  test: (folder: string) => Effect.Effect<void, unknown, Layer.Success<typeof platform>>
) => it.effect(name, () => Effect.scoped(Effect.flatMap(temporary, test)).pipe(Effect.provide(platform)))

export const put = (folder: string, key: string, body: string, more: object = {}) => {
  const file = join(folder, ...key.split("/"))
  mkdirSync(join(file, ".."), { recursive: true })
  writeFileSync(file, body)
  const etag = createHash("md5").update(body).digest("hex")
  writeFileSync(`${file}.meta.json`, JSON.stringify({ metadata: {}, etag, size: body.length, ...more }))
}

export const keysOf = (store: ObjectStore.ObjectStore["Service"], request: ObjectStore.ListRequest = {}) =>
  Effect.map(Stream.runCollect(ObjectStore.listAll(store, request)), (all) => Array.from(all, ({ key }) => key))
