/** Ceph's S3 gateway from Debian's packages: one monitor, one OSD in memory, one gateway, all in a folder of their own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"

export const packages = ["ceph-mon", "ceph-osd", "radosgw", "ceph-common"]
const programs = ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool"]

export const gateway = {
  host: "127.0.0.1",
  port: 7581,
  endpoint: "http://127.0.0.1:7581",
  accessKeyId: "test",
  secretAccessKey: "testtest",
  bucket: "s3db"
}

/** Another user, who may do nothing but what a policy allows. */
export const limited = { accessKeyId: "limited", secretAccessKey: "limitedlimited" }
const monitorPorts = [3391, 6891]

export const missingPrograms = (): ReadonlyArray<string> =>
  programs.filter((program) => {
    try {
      execFileSync("which", [program], { stdio: "ignore" })
      return false
    } catch {
      return true
    }
  })

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

export const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ host: gateway.host, port })
    const answer = (listening: boolean) => {
      socket.destroy()
      resolve(listening)
    }
    socket.once("connect", () => answer(true))
    socket.once("error", () => answer(false))
    socket.setTimeout(1000, () => answer(false))
  })

/** Whether an S3 server answers: its refusal of an unsigned request will do. */
export const answers = async (): Promise<boolean> => {
  try {
    const response = await fetch(gateway.endpoint, { signal: AbortSignal.timeout(2000) })
    return (await response.text()).includes("s3.amazonaws.com/doc")
  } catch {
    return false
  }
}

/** Unix sockets have short paths, so the data is in the temporary folder; the project remembers where. */
const marker = (home: string) => join(home, "ceph-folder")

const folderOf = (home: string): string | undefined => {
  try {
    return readFileSync(marker(home), "utf8").trim()
  } catch {
    return undefined
  }
}

const daemons = ["rgw", "osd", "mon"] as const

const pidOf = (folder: string, daemon: string): number | undefined => {
  try {
    const pid = Number(readFileSync(join(folder, `${daemon}.pid`), "utf8").trim())
    // A number that was given to another process since is not ours.
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder) ? pid : undefined
  } catch {
    return undefined
  }
}

export interface Status {
  readonly up: boolean
  readonly daemons: Readonly<Record<string, boolean>>
  readonly endpoint: string
}

export const status = async (home: string): Promise<Status> => {
  const folder = folderOf(home)
  const alive = Object.fromEntries(
    daemons.map((daemon) => [daemon, folder !== undefined && pidOf(folder, daemon) !== undefined])
  )
  return { up: Object.values(alive).every(Boolean) && (await answers()), daemons: alive, endpoint: gateway.endpoint }
}

export const down = async (home: string): Promise<void> => {
  const folder = folderOf(home)
  if (folder === undefined) return
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    for (const daemon of daemons) {
      const pid = pidOf(folder, daemon)
      if (pid !== undefined) process.kill(pid, signal)
    }
    for (let i = 0; i < 30 && daemons.some((daemon) => pidOf(folder, daemon) !== undefined); i++) await sleep(100)
  }
  rmSync(folder, { recursive: true, force: true })
  rmSync(marker(home), { force: true })
}

const configuration = (folder: string, fsid: string) => `[global]
fsid = ${fsid}
mon host = [v2:127.0.0.1:${monitorPorts[0]},v1:127.0.0.1:${monitorPorts[1]}]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
auth supported = none
ms mon client mode = crc
keyring = ${folder}/keyring
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = ${folder}
admin socket = ${folder}/$name.asok
log file = ${folder}/$name.log
mon data = ${folder}/mon
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 0
rgw frontends = beast endpoint=127.0.0.1:${gateway.port} tcp_nodelay=1
rgw dns name = localhost
`

export const up = async (home: string, say: (line: string) => void): Promise<void> => {
  if ((await status(home)).up) return say(`the gateway is up at ${gateway.endpoint}`)
  // What is half dead is taken down and started anew.
  await down(home)
  for (const port of [gateway.port, ...monitorPorts]) {
    if (await isListening(port)) throw new Error(`port ${port} is in use by another program; stop it and try again`)
  }
  mkdirSync(home, { recursive: true })
  const folder = mkdtempSync(join(tmpdir(), "s3db-ceph-"))
  writeFileSync(marker(home), folder)
  const config = join(folder, "ceph.conf")
  const fsid = randomUUID()
  writeFileSync(config, configuration(folder, fsid))
  mkdirSync(join(folder, "mon"))
  mkdirSync(join(folder, "osd"))
  const run = (program: string, ...args: ReadonlyArray<string>): void => {
    try {
      execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"], timeout: 60_000 })
    } catch (error) {
      const stderr = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : ""
      throw new Error(`${program} failed${stderr === "" ? "" : `:\n${stderr}`}${logTail(folder)}`, { cause: error })
    }
  }
  const daemon = (name: string, program: string, ...args: ReadonlyArray<string>): ChildProcess => {
    const child = spawn(program, [...args, "-c", config, "-f"], { detached: true, stdio: "ignore" })
    child.unref()
    writeFileSync(join(folder, `${name}.pid`), String(child.pid))
    return child
  }
  const keyring = join(folder, "keyring")
  try {
    run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "client.admin")
    run("ceph-authtool", keyring, "--gen-key", "-n", "client.rgw.a")
    run("ceph-authtool", keyring, "--gen-key", "-n", "mon.")
    const address = `[v2:127.0.0.1:${monitorPorts[0]},v1:127.0.0.1:${monitorPorts[1]}]`
    run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, join(folder, "monmap"))
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", join(folder, "monmap"), "-c", config)
    daemon("mon", "ceph-mon", "-i", "a")
    say("monitor started")
    const uuid = randomUUID()
    run("ceph", "-c", config, "--connect-timeout", "30", "osd", "new", uuid)
    run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", uuid, "-c", config)
    daemon("osd", "ceph-osd", "-i", "0")
    say("object storage daemon started")
    daemon("rgw", "radosgw", "-n", "client.rgw.a")
    for (let i = 0; i < 600 && !(await answers()); i++) {
      await sleep(100)
      if (pidOf(folder, "rgw") === undefined && i > 20) throw new Error(`the gateway has died${logTail(folder)}`)
    }
    if (!(await answers())) throw new Error(`the gateway does not answer${logTail(folder)}`)
    for (const { accessKeyId, secretAccessKey } of [gateway, limited]) {
      const keys = [`--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`]
      const user = [`--uid=${accessKeyId}`, `--display-name=${accessKeyId}`, ...keys]
      run("radosgw-admin", "-n", "client.rgw.a", "-c", config, "user", "create", ...user)
    }
    await createBucket()
    say(`the gateway is up at ${gateway.endpoint}, with a bucket ${gateway.bucket}`)
  } catch (error) {
    await down(home)
    throw error
  }
}

const createBucket = async (): Promise<void> => {
  const { endpoint, accessKeyId, secretAccessKey, bucket } = gateway
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey }
  })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
}

const logTail = (folder: string): string => {
  if (!existsSync(folder)) return ""
  const logs = readdirSync(folder).filter((name) => name.endsWith(".log"))
  return logs
    .map((name) => `\n--- ${name}\n${readFileSync(join(folder, name), "utf8").trim().split("\n").slice(-5).join("\n")}`)
    .join("")
}
