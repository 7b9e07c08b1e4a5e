/**
 * Where the worker thread that hashes passwords is loaded from: the file beside this one. The build puts a `data:` URL in
 * its place, which holds the worker and what it needs, so that a bundle of a program needs no second file.
 */
export const passwordWorkerUrl = new URL("./passwordWorker.ts", import.meta.url)
