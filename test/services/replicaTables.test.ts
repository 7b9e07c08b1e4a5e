import { replicasOnServers } from "./replicaServers.ts"

replicasOnServers({ areKilled: false, every: 4 })
