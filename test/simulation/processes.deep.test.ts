import { describe, it } from "@effect/vitest"
import { describeWithGateway, gateway } from "../services/available.ts"
import { check, newFolder } from "./processes.ts"

describe("histories of several processes", () => {
  const url = `file://${newFolder()}`
  it.live("in a folder, nine of twelve processes being killed", () =>
    check(url, { operations: 250, clients: 3, lives: 4 })
  )
})

describeWithGateway("histories of several processes on Ceph's gateway", () => {
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const url = `${endpoint.replace("://", `://${accessKeyId}:${secretAccessKey}@`)}/s3db/histories-${performance.timeOrigin}`
  it.live("three processes", () => check(url, { operations: 120, clients: 3, lives: 1 }))
  it.live("nine of twelve processes being killed", () =>
    check(`${url}-kills`, { operations: 60, clients: 3, lives: 4 })
  )
})
