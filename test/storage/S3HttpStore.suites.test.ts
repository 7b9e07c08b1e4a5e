import { bucketSuite } from "./s3BucketSuite.ts"
import { faultsSuite } from "./s3FaultsSuite.ts"
import { requestsSuite } from "./s3RequestsSuite.ts"
import { restartSuite } from "./s3RestartSuite.ts"
import { http, overFetch, overUndici } from "./s3Stores.ts"

for (const S3 of [http, overUndici, overFetch]) {
  requestsSuite(S3)
  faultsSuite(S3)
}
bucketSuite(http)
restartSuite(http)
