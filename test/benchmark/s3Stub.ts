/** A server that answers S3 requests with as little work as can be; prints its port, and ends with its standard input. */
import http from "node:http"
import type { AddressInfo } from "node:net"

export const listedKeys = 1000

/** As long as a small document. */
export const bodyBytes = 155

const contents = Array.from(
  { length: listedKeys },
  (_, i) =>
    `<Contents><Key>resource%3Dusers/data/id%3Duser-${String(i).padStart(4, "0")}</Key><LastModified>2026-11-26T10:00:00.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8${i}&quot;</ETag><Size>${bodyBytes}</Size><StorageClass>STANDARD</StorageClass></Contents>`
)

const listing = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bkt</Name><Prefix>resource%3Dusers/data/</Prefix><KeyCount>${listedKeys}</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>${contents.join("")}</ListBucketResult>`

const ids = {
  "x-amz-request-id": "4442587FB7D0A2F9",
  "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo="
}

const found = {
  ...ids,
  etag: '"5d41402abc4b2a76b9719d911017c592"',
  "content-type": "application/octet-stream",
  "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT",
  "x-amz-meta-s": "3k",
  "x-amz-meta-0": "Jane Doe",
  "x-amz-meta-1": "jane@example.com",
  "content-length": bodyBytes
}

const body = Buffer.alloc(bodyBytes, "x")

const serve = () => {
  const server = http.createServer((request, response) => {
    request.resume().on("end", () => {
      if (request.method === "PUT") {
        response.writeHead(200, { ...ids, etag: found.etag, "content-length": 0 }).end()
      } else if (request.url!.includes("list-type=2")) {
        response.writeHead(200, { ...ids, "content-type": "application/xml" }).end(listing)
      } else response.writeHead(200, found).end(request.method === "HEAD" ? undefined : body)
    })
  })
  server.listen(0, "127.0.0.1", () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
  process.stdin.resume().on("end", () => process.exit())
}

if (process.argv[1] === import.meta.filename) serve()
