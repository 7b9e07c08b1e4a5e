import { describe } from "@effect/vitest"
import { count, create, kill } from "./fileProcesses.ts"

describe("FileStore between processes", () => {
  count(2, 50)
  create(2, 50)
  kill("none", 10)
})
