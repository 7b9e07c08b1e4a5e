import { replicasOnServers } from "./replicaServers.ts"

replicasOnServers({ areKilled: true, every: 1 })
