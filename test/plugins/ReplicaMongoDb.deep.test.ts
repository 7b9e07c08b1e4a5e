import { afterAll, beforeAll, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { killed } from "../services/replicaServers.ts"
import { kind, placeOn } from "./mongoReplicas.ts"
import * as mongoServer from "./mongoServer.ts"
import { suite } from "./replicaTables.ts"

describe("ReplicaMongoDb, deep", () => {
  suite(kind)
  let made: mongoServer.MongoServer
  beforeAll(async () => {
    made = await mongoServer.make()
  })
  afterAll(() => made.close())
  killed(
    () => made,
    Effect.suspend(() => placeOn(made))
  )
})
