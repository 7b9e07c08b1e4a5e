import { sqsQueues } from "./sqsQueues.ts"

sqsQueues({ many: 60 })
