import { oddSuite } from "./s3OddSuite.ts"
import { sdk } from "./s3Stores.ts"

oddSuite(sdk)
