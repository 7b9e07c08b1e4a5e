import { dynamoReplicas } from "./dynamoReplicas.ts"

dynamoReplicas({ areKilled: true, every: 1 })
