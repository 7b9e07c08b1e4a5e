/** Folders that releases of s3db.js have written, put where a test can have them. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { gunzipSync } from "node:zlib"

interface Folder {
  readonly by: string
  /** In base 64. */
  readonly files: Readonly<Record<string, string>>
}

export const folders = ["folder-s3db-js-19-5-10", "folder-s3db-js-21-6-2"] as const

/** Writes all files of a fixture below a folder. */
export const writeFolder = (name: (typeof folders)[number], target: string): void => {
  const text = gunzipSync(readFileSync(new URL(`fixtures/${name}.json.gz`, import.meta.url))).toString("utf8")
  const { files } = JSON.parse(text) as Folder
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(dirname(join(target, file)), { recursive: true })
    writeFileSync(join(target, file), Buffer.from(content, "base64"))
  }
}
