import { dynamoReplicas } from "./dynamoReplicas.ts"

dynamoReplicas({ areKilled: false, every: 12 })
