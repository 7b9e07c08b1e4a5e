import { kafkaQueues } from "./kafkaQueues.ts"

kafkaQueues({ isDeep: false })
