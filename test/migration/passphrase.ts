/** Of the old databases in the tests. */
export const passphrase = "a long passphrase of the tests"
