import { oddSuite } from "./s3OddSuite.ts"
import { restartSuite } from "./s3RestartSuite.ts"
import { overFetch } from "./s3Stores.ts"

oddSuite(overFetch)
restartSuite(overFetch)
