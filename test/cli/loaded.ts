/** Loaded before a program: writes which modules it has loaded to the file that `LOADED` names. */
import { writeFileSync } from "node:fs"
import { registerHooks } from "node:module"

const urls: Array<string> = []
registerHooks({
  load(url, context, next) {
    urls.push(url)
    return next(url, context)
  }
})
process.on("exit", () => writeFileSync(process.env["LOADED"]!, urls.join("\n")))
