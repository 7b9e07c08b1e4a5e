/**
 * Resources as HTTP sees them.
 *
 * @since 0.1.0
 */
import type { DynamicSchema } from "../../Portable.ts"
import type { Repository } from "../../Repository.ts"

/** A resource of which nobody knows the types any more. */
export type Untyped = Repository<DynamicSchema>
