/** A broker of Kafka as librdkafka has it for tests, in memory, by `kcat`, which is also the client that reads what was published. */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process"

export const isInstalled = (): boolean => {
  try {
    execFileSync("kcat", ["-V"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

export interface Record {
  readonly key: string | null
  readonly partition: number
  readonly offset: number
  readonly headers: ReadonlyArray<string> | undefined
  readonly payload: string
}

export interface Broker {
  readonly address: string
  /** It stands still, and goes on. */
  readonly stop: () => void
  readonly resume: () => void
  /** All records of a topic, in the order of each partition. */
  readonly read: (topic: string) => Promise<ReadonlyArray<Record>>
  readonly close: () => Promise<void>
}

export const make = async (): Promise<Broker> => {
  // It produces nothing: the broker lives as long as its input is open.
  const options = ["-P", "-t", "none", "-b", "127.0.0.1:1", "-X", "test.mock.num.brokers=1", "-d", "mock"]
  const server: ChildProcess = spawn("kcat", options, { stdio: ["pipe", "ignore", "pipe"] })
  const address = await new Promise<string>((resolve, reject) => {
    let said = ""
    server.once("exit", () => reject(new Error(`kcat has ended: ${said}`)))
    server.stderr!.on("data", (some) => {
      if (said.length < 10_000) said += String(some)
      const found = /bootstrap\.servers=(127\.0\.0\.1:\d+)/.exec(said)
      if (found !== null) resolve(found[1]!)
    })
  })
  return {
    address,
    stop: () => void server.kill("SIGSTOP"),
    resume: () => void server.kill("SIGCONT"),
    read: (topic) =>
      new Promise((resolve, reject) => {
        const reading = ["-C", "-q", "-J", "-e", "-o", "beginning", "-b", address, "-t", topic]
        execFile("kcat", reading, { maxBuffer: 1e9 }, (error, out) => {
          if (error !== null) return reject(error)
          resolve(
            out
              .split("\n")
              .filter((line) => line !== "")
              .map((line) => JSON.parse(line) as Record)
          )
        })
      }),
    close: async () => {
      const ended = new Promise((resolve) => server.once("exit", resolve))
      server.kill("SIGKILL")
      await ended
    }
  }
}
