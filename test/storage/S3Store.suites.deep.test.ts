import { bucketSuite } from "./s3BucketSuite.ts"
import { faultsSuite } from "./s3FaultsSuite.ts"
import { requestsSuite } from "./s3RequestsSuite.ts"
import { restartSuite } from "./s3RestartSuite.ts"
import { sdk } from "./s3Stores.ts"

requestsSuite(sdk)
faultsSuite(sdk)
restartSuite(sdk)
bucketSuite(sdk)
