/** How recursion that went too deep ends. */

/** Of V8; JavaScriptCore ends it with a point. Each other `RangeError` is a mistake of whoever has thrown it. */
const message = /^Maximum call stack size exceeded\.?$/

/** Tells whether an error is that of a stack that was too small, and no other `RangeError`. */
export const isStackOverflow = (error: unknown): boolean => error instanceof RangeError && message.test(error.message)
