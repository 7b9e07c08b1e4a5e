import { natsQueues } from "./natsQueues.ts"

natsQueues({ areKilled: true, many: 2500 })
