import { natsQueues } from "./natsQueues.ts"

natsQueues({ many: 60 })
