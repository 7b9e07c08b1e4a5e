import { redisQueues } from "./redisQueues.ts"

redisQueues({ many: 60 })
