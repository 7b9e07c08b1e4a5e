/** Where a bucket is on the network: the host and the path under which its objects are. */
import type { Origin } from "./httpTransport.ts"
import type { Options, Variants } from "./s3Options.ts"

export interface Place {
  readonly origin: Origin
  /** Before the key of an object: ends in `/`. */
  readonly path: string
}

/** The domains of AWS, by how the names of their regions begin. */
const domains: ReadonlyArray<readonly [RegExp, string]> = [
  [/^cn-/, "amazonaws.com.cn"],
  [/^eusc-/, "amazonaws.eu"],
  [/^us-iso-/, "c2s.ic.gov"],
  [/^us-isob-/, "sc2s.sgov.gov"],
  [/^eu-isoe-/, "cloud.adc-e.uk"],
  [/^us-isof-/, "csp.hci.ic.gov"]
]

const domainOf = (region: string): string => domains.find(([begin]) => begin.test(region))?.[1] ?? "amazonaws.com"

/** Names that can be part of the name of a host, under a certificate for one more part. */
const hostLabel = /^[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]$/

/** The same where there is no certificate. */
const hostName = /^(?!.{64})(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]+[a-z0-9]$/

const address = /^(?:\[.*\]|\d+\.\d+\.\d+\.\d+)$/

/** What a server may say that a region is called: it becomes part of the name of a host. */
export const isRegion = (text: string): boolean => /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/.test(text)

/** The place of a bucket in a region. */
export const placeOf = (
  {
    bucket,
    endpoint,
    forcePathStyle = endpoint !== undefined,
    isDualStack = false,
    isFips = false
  }: Pick<Options, "bucket" | "endpoint" | "forcePathStyle"> & Variants,
  region: string
): Place => {
  const service = `${isFips ? "s3-fips" : "s3"}${isDualStack ? ".dualstack" : ""}`
  const url = new URL(endpoint ?? `https://${service}.${region}.${domainOf(region)}`)
  const name = url.protocol === "http:" ? hostName : hostLabel
  const isPath = forcePathStyle || !name.test(bucket) || address.test(url.hostname)
  const protocol = url.protocol === "http:" ? "http:" : "https:"
  const defaultPort = protocol === "http:" ? 80 : 443
  const before = isPath ? "" : `${bucket}.`
  const base = url.pathname.replace(/\/+$/, "")
  return {
    origin: {
      protocol,
      hostname: before + url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? defaultPort : Number(url.port),
      host: before + url.host
    },
    path: isPath ? `${base}/${encodeURIComponent(bucket)}/` : `${base}/`
  }
}
