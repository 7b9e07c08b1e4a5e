import { oddSuite } from "./s3OddSuite.ts"
import { http } from "./s3Stores.ts"

oddSuite(http)
