import { redisQueues } from "./redisQueues.ts"

redisQueues({ areKilled: true, many: 2500 })
