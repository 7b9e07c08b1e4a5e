/**
 * What is wrong with a single document, as opposed to the store, the catalog and the services that all of them need.
 *
 * @since 0.1.0
 */
import * as DbError from "../DbError.ts"
import * as StoreError from "../storage/StoreError.ts"

/**
 * A document that cannot be read, why.
 *
 * @category errors
 * @since 0.1.0
 */
export type Reason = StoreError.Corrupt | DbError.SecretUnreadable

/**
 * Returns why a document cannot be read, of what reading it failed with; `undefined` for every other failure, such as that of
 * the store, after which the document may be as good as any.
 *
 * @category getters
 * @since 0.1.0
 */
export const reasonOf = (failure: unknown): Reason | undefined => {
  const reason = StoreError.isStoreError(failure) ? failure.reason : failure
  return reason instanceof StoreError.Corrupt || reason instanceof DbError.SecretUnreadable ? reason : undefined
}

/**
 * Tells whether a failure says that a document, or another object, cannot be read.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDamage = (failure: unknown): boolean => reasonOf(failure) !== undefined

/**
 * Tells whether a failure concerns one document alone, so that work on many goes on: it cannot be read, or its values do not
 * let it be written.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOfDocument = (failure: unknown): boolean =>
  isDamage(failure) ||
  failure instanceof DbError.InvalidInput ||
  failure instanceof DbError.MetadataLimit ||
  failure instanceof DbError.UniqueViolation ||
  failure instanceof DbError.Conflict
