/** Debian's browser, for tests of what is shown in one. */
import { existsSync } from "node:fs"
import { type Browser, chromium } from "playwright-core"

export const installCommand = "apt-get install -y chromium"

/** Where it is, unless it is not installed. */
export const path = (): string | undefined =>
  [process.env["S3DB_CHROMIUM"] ?? "", "/usr/bin/chromium"].find((file) => file !== "" && existsSync(file))

/** Starts it, without a window. */
export const launch = (): Promise<Browser> => {
  const executablePath = path()
  if (executablePath === undefined) throw new Error(`Chromium is not installed: ${installCommand}`)
  // Its sandbox is not to be had for root, and it visits nothing but the test's own server.
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] })
}
