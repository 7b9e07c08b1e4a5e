import { bucketSuite } from "./s3BucketSuite.ts"
import { oddSuite } from "./s3OddSuite.ts"
import { restartSuite } from "./s3RestartSuite.ts"
import { overFetch, overUndici } from "./s3Stores.ts"

for (const S3 of [overUndici, overFetch]) {
  bucketSuite(S3)
  oddSuite(S3)
  restartSuite(S3)
}
