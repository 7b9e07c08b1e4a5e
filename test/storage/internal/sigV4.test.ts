/**
 * AWS's published examples of Signature Version 4.
 *
 * Sources: Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in a Single
 * Chunk" (the four examples of S3); AWS General Reference, "Examples of how to derive a signing key for Signature Version 4"
 * and "Complete Version 4 signing process example" (ListUsers of IAM); "Signature Version 4 test suite" (aws-sig-v4-test-suite).
 */
import { SignatureV4 } from "@smithy/signature-v4"
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { inJavaScript } from "../../../src/storage/internal/digestsInJavaScript.ts"
import type { Digests } from "../../../src/storage/internal/digests.ts"
import * as s3Digests from "../../../src/storage/internal/s3Digests.ts"
import * as sigV4 from "../../../src/storage/internal/sigV4.ts"

/** The example key of the S3 API Reference. */
const s3Keys = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  sessionToken: undefined
}

/** That of the General Reference and of the test suite. */
const suiteKeys = {
  accessKeyId: "AKIDEXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
  sessionToken: undefined
}

const request = (
  method: string,
  path: string,
  query: string,
  headers: Readonly<Record<string, string>>,
  payload = sigV4.emptyPayload
): sigV4.Signed => ({
  method,
  path,
  query,
  headers: Object.entries(headers).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  payload
})

const s3Time = "20130524T000000Z"
const s3Host = "examplebucket.s3.amazonaws.com"

interface Vector {
  readonly request: sigV4.Signed
  /** SHA-256 of the canonical request, where the source gives it. */
  readonly hash?: string
  readonly signed: string
  readonly signature: string
}

const welcome = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

const ofS3: Readonly<Record<string, Vector>> = {
  "GET Object, a part of it": {
    request: request("GET", "/test.txt", "", {
      host: s3Host,
      range: "bytes=0-9",
      "x-amz-content-sha256": sigV4.emptyPayload,
      "x-amz-date": s3Time
    }),
    hash: "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
    signed: "host;range;x-amz-content-sha256;x-amz-date",
    signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
  },
  "PUT Object": {
    request: request(
      "PUT",
      "/test%24file.text",
      "",
      {
        date: "Fri, 24 May 2013 00:00:00 GMT",
        host: s3Host,
        "x-amz-content-sha256": welcome,
        "x-amz-date": s3Time,
        "x-amz-storage-class": "REDUCED_REDUNDANCY"
      },
      welcome
    ),
    hash: "9e0e90d9c76de8fa5b200d8c849cd5b8dc7a3be3951ddb7f6a76b4158342019d",
    signed: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
    signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
  },
  "GET Bucket Lifecycle": {
    request: request("GET", "/", "lifecycle=", {
      host: s3Host,
      "x-amz-content-sha256": sigV4.emptyPayload,
      "x-amz-date": s3Time
    }),
    hash: "9766c798316ff2757b517bc739a67f6213b4ab36dd5da2f94eaebf79c77395ca",
    signed: "host;x-amz-content-sha256;x-amz-date",
    signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
  },
  "GET Bucket (List Objects)": {
    request: request("GET", "/", "max-keys=2&prefix=J", {
      host: s3Host,
      "x-amz-content-sha256": sigV4.emptyPayload,
      "x-amz-date": s3Time
    }),
    hash: "df57d21db20da04d7fa30298dd4488ba3a2b47ca3a489c74750e0f1e7df1b9b7",
    signed: "host;x-amz-content-sha256;x-amz-date",
    signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
  }
}

const suiteTime = "20150830T123600Z"
const suiteHeaders = { host: "example.amazonaws.com", "x-amz-date": suiteTime }

/** Of the suite, the cases that do not depend on paths being normalised, which S3 does not do. */
const ofSuite: Readonly<Record<string, Vector>> = {
  "get-vanilla": {
    request: request("GET", "/", "", suiteHeaders),
    hash: "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
    signed: "host;x-amz-date",
    signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
  },
  "get-vanilla-query-order-key-case": {
    request: request("GET", "/", "Param1=value1&Param2=value2", suiteHeaders),
    hash: "816cd5b414d056048ba4f7c5386d6e0533120fb1fcfa93762cf0fc39e2cf19e0",
    signed: "host;x-amz-date",
    signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
  },
  "get-utf8": {
    request: request("GET", "/%E1%88%B4", "", suiteHeaders),
    hash: "2a0a97d02205e45ce2e994789806b19270cfbbb0921b278ccf58f5249ac42102",
    signed: "host;x-amz-date",
    signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"
  },
  "get-header-value-trim": {
    request: request("GET", "/", "", { ...suiteHeaders, "my-header1": "value1", "my-header2": '"a   b   c"' }),
    hash: "a726db9b0df21c14f559d0a978e563112acb1b9e05476f0a6a1c7d68f28605c7",
    signed: "host;my-header1;my-header2;x-amz-date",
    signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"
  },
  "post-vanilla": {
    request: request("POST", "/", "", suiteHeaders),
    hash: "553f88c9e4d10fc9e109e2aeb65f030801b70c2f6468faca261d401ae622fc87",
    signed: "host;x-amz-date",
    signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
  }
}

const digests = Effect.runSync(s3Digests.digests)

const implementations: ReadonlyArray<readonly [string, Digests]> = [
  ["by this runtime", digests],
  ["in JavaScript", inJavaScript]
]

describe.each(implementations)("Signature Version 4, digests %s", (_, by) => {
  const check = (
    vectors: Readonly<Record<string, Vector>>,
    keys: sigV4.Keys,
    service: string,
    time: string,
    scope: string
  ) => {
    const signer = sigV4.make(by, service)
    for (const [name, { hash, request, signature, signed }] of Object.entries(vectors)) {
      if (hash !== undefined) assert.strictEqual(by.sha256Hex(sigV4.canonicalRequest(request)), hash, name)
      assert.strictEqual(
        signer.authorization(request, time, keys, "us-east-1"),
        `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
        name
      )
    }
  }

  it("signs the examples of the S3 API Reference", () => {
    check(ofS3, s3Keys, "s3", s3Time, "20130524/us-east-1/s3/aws4_request")
    assert.strictEqual(by.sha256Hex("Welcome to Amazon S3."), welcome)
    assert.strictEqual(by.sha256Hex(new Uint8Array()), sigV4.emptyPayload)
  })

  it("signs cases of the test suite", () => {
    check(ofSuite, suiteKeys, "service", suiteTime, "20150830/us-east-1/service/aws4_request")
  })

  it("derives the signing key, and signs the example, of the General Reference", () => {
    const secret = suiteKeys.secretAccessKey
    const macs: Array<string> = []
    const noting: Digests = {
      ...by,
      mac: (key) => {
        if (typeof key !== "string") macs.push(Buffer.from(key).toString("hex"))
        return by.mac(key)
      }
    }
    sigV4.signingKey(noting, secret, "20150830", "us-east-1", "iam")
    assert.strictEqual(macs.at(-1), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9")
    const listUsers: Vector = {
      request: request("GET", "/", "Action=ListUsers&Version=2010-05-08", {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        host: "iam.amazonaws.com",
        "x-amz-date": suiteTime
      }),
      hash: "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59",
      signed: "content-type;host;x-amz-date",
      signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    }
    check({ listUsers }, suiteKeys, "iam", suiteTime, "20150830/us-east-1/iam/aws4_request")
  })

  it("agrees with the SDK's own signer, from day to day, region to region and key to key", async () => {
    const signer = sigV4.make(by)
    for (const accessKeyId of ["ONE", "TWO"]) {
      for (const region of ["eu-west-1", "us-east-1"]) {
        for (const millis of [0, 1_445_412_480_999, 1_445_500_000_000, 1_445_412_481_000]) {
          const keys = { accessKeyId, secretAccessKey: `secret of ${accessKeyId}`, sessionToken: undefined }
          const theirs = new SignatureV4({
            service: "s3",
            region,
            credentials: { accessKeyId, secretAccessKey: keys.secretAccessKey },
            uriEscapePath: false,
            applyChecksum: false,
            sha256: Sha256
          })
          const time = sigV4.timestamp(millis)
          const headers = {
            host: "host:9000",
            "if-match": '"e"',
            "x-amz-content-sha256": sigV4.unsignedPayload,
            "x-amz-date": time,
            "x-amz-meta-a": "a  b   c",
            "x-amz-meta-a~b": "'*'"
          }
          const signed = await theirs.sign(
            {
              method: "PUT",
              protocol: "http:",
              hostname: "host",
              port: 9000,
              path: "/bkt/a%20b/%C3%A9/../%2B",
              query: { prefix: "a b/(é)", "list-type": "2" },
              headers
            },
            { signingDate: new Date(millis) }
          )
          const query = "list-type=2&prefix=a%20b%2F%28%C3%A9%29"
          assert.strictEqual(
            signer.authorization(
              request("PUT", "/bkt/a%20b/%C3%A9/../%2B", query, headers, sigV4.unsignedPayload),
              time,
              keys,
              region
            ),
            signed.headers["authorization"]
          )
        }
      }
    }
  })

  it("digests as S3 asks for them", () => {
    const bytes = new TextEncoder().encode("é and more")
    assert.strictEqual(by.md5Base64(new Uint8Array()), "1B2M2Y8AsgTpgAmY7PhCfg==")
    assert.strictEqual(by.md5Hex(new Uint8Array()), "d41d8cd98f00b204e9800998ecf8427e")
    assert.strictEqual(by.sha256Base64(bytes), Buffer.from(by.sha256Hex("é and more"), "hex").toString("base64"))
  })
})

/** What the SDK's signer hashes with. */
class Sha256 {
  private readonly parts: Array<Uint8Array> = []
  private readonly secret: string | Uint8Array | undefined
  constructor(secret?: string | Uint8Array | ArrayBuffer | ArrayBufferView) {
    this.secret = typeof secret === "string" || secret instanceof Uint8Array ? secret : undefined
  }
  update(data: Uint8Array | string): void {
    this.parts.push(typeof data === "string" ? new TextEncoder().encode(data) : data)
  }
  reset(): void {
    this.parts.length = 0
  }
  digest(): Promise<Uint8Array> {
    const text = Buffer.concat(this.parts)
    return Promise.resolve(
      this.secret === undefined
        ? new Uint8Array(Buffer.from(digests.sha256Hex(text), "hex"))
        : digests.mac(this.secret).bytes(text.toString("utf8"))
    )
  }
}
