import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Clusters from "../../../src/plugins/vector/clusters.ts"
import { between, from, type Metric, norm } from "../../../src/plugins/vector/metrics.ts"
import { irises, species } from "./iris.ts"

const pointsOf = (rows: ReadonlyArray<ReadonlyArray<number>>): Clusters.Points => ({
  data: Float32Array.from(rows.flat()),
  size: rows.length,
  dimensions: rows[0]!.length
})

const options = { metric: "euclidean", maxIterations: 300, tolerance: 0, runs: 20 } as const

/**
 * What scikit-learn 1.9.1 says of the irises (`KMeans(k, n_init=50, tol=0)`, `silhouette_score` by three metrics, `davies_bouldin_score`,
 * `calinski_harabasz_score`).
 */
const known = [
  {
    k: 2,
    inertia: 152.3479517603579,
    silhouettes: [0.6810461692117462, 0.9113442733599857, 0.6744182447492576],
    daviesBouldin: 0.40429283717304343,
    calinskiHarabasz: 513.9245459802768,
    sizes: [53, 97]
  },
  {
    k: 3,
    inertia: 78.851441426146,
    silhouettes: [0.5528190123564095, 0.5397989817042859, 0.5596510199888358],
    daviesBouldin: 0.6619715465007465,
    calinskiHarabasz: 561.62775662962,
    sizes: [38, 50, 62]
  },
  {
    k: 4,
    inertia: 57.22847321428572,
    silhouettes: [0.49805050499728737, 0.3792395285909016, 0.5007920754261153],
    daviesBouldin: 0.7803069838811107,
    calinskiHarabasz: 530.7658081872851,
    sizes: [28, 32, 40, 50]
  },
  {
    k: 5,
    inertia: 46.446182051282065,
    silhouettes: [0.4887488870931056, 0.34302201690164236, 0.49687575114920945],
    daviesBouldin: 0.8059652120182736,
    calinskiHarabasz: 495.54148767768777,
    sizes: [12, 24, 25, 39, 50]
  }
]

const near = (actual: number, expected: number) => assert.closeTo(actual, expected, 1e-5 * Math.abs(expected))

describe("metrics", () => {
  const metrics = ["cosine", "euclidean", "manhattan", "dot"] as const satisfies ReadonlyArray<Metric>

  it("identical, orthogonal and opposite vectors", () => {
    const distance = (metric: Metric, a: ReadonlyArray<number>, b: ReadonlyArray<number>) =>
      between(metric, a, 0, b, 0, a.length)
    assert.strictEqual(distance("cosine", [1, 0], [3, 0]), 0)
    assert.strictEqual(distance("cosine", [1, 0], [0, 2]), 1)
    assert.strictEqual(distance("cosine", [1, 0], [-5, 0]), 2)
    assert.strictEqual(distance("cosine", [0, 0], [0, 0]), 0)
    assert.strictEqual(distance("cosine", [0, 0], [0, 1]), 1)
    assert.strictEqual(distance("euclidean", [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]), 2)
    assert.strictEqual(distance("manhattan", [1, 2, 3], [-1, 2, 5]), 4)
    assert.strictEqual(distance("dot", [1, 2, 3, 4, 5], [1, 1, 1, 1, 1]), -15)
  })

  it("numbers whose square is none are compared all the same", () => {
    assert.closeTo(norm([3e200, 4e200], 0, 2), 5e200, 1e185)
    assert.closeTo(norm([3e-200, 4e-200], 0, 2), 5e-200, 1e-214)
    assert.strictEqual(norm([0, 0], 0, 2), 0)
    for (const scale of [1e300, 1e-300]) {
      assert.closeTo(between("cosine", [scale, 0], 0, [scale, scale], 0, 2), 1 - Math.SQRT1_2, 1e-12)
      assert.strictEqual(between("cosine", [scale, 0], 0, [0, scale], 0, 2), 1)
    }
  })

  it("are symmetric, and the same in whatever the numbers lie, wherever they begin", () => {
    for (const metric of metrics) {
      for (let i = 0; i < 150; i += 7) {
        for (let j = 0; j < 150; j += 11) {
          const [a, b] = [irises[i]!, irises[j]!]
          const plain = between(metric, a, 0, b, 0, 4)
          assert.strictEqual(between(metric, b, 0, a, 0, 4), plain)
          assert.strictEqual(from(metric, a)(b), plain)
          assert.strictEqual(between(metric, Float64Array.from(irises.flat()), 4 * i, b, 0, 4), plain)
        }
      }
    }
  })
})

describe("groups of vectors", () => {
  it.effect("of irises are those of another implementation, and so is how good they are", () =>
    Effect.gen(function* () {
      const points = pointsOf(irises)
      for (const { calinskiHarabasz, daviesBouldin, inertia, k, silhouettes, sizes } of known) {
        const found = yield* Random.withSeed(Clusters.make(points, { ...options, k }), "irises")
        assert.isTrue(found.converged)
        near(found.inertia, inertia)
        assert.deepStrictEqual(
          found.sizes.toSorted((a, b) => a - b),
          sizes
        )
        for (const [i, metric] of (["euclidean", "cosine", "manhattan"] as const).entries()) {
          near(yield* Clusters.silhouette(points, found, metric), silhouettes[i]!)
        }
        near(Clusters.daviesBouldin(points, found, "euclidean"), daviesBouldin)
        near(yield* Clusters.calinskiHarabasz(points, found, "euclidean"), calinskiHarabasz)
        // scikit-learn's adjusted_rand_score
        if (k === 3) near(Clusters.adjustedRand(species, found.labels), 0.7302382722834697)
      }
    })
  )

  it.effect("are told apart by each metric, by what it takes for far", () =>
    Effect.gen(function* () {
      const random = yield* Random.Random
      for (const metric of ["euclidean", "cosine", "manhattan"] as const) {
        const centres = [
          [10, 0, 0, 1],
          [0, 10, 0, 1],
          [0, 0, 10, 1],
          [-10, 0, 0, 1],
          [0, -10, 0, 1]
        ]
        const rows = Array.from({ length: 200 }, (_, i) => {
          // Directions count, and lengths do not, for the cosine.
          const scale = metric === "cosine" ? 0.5 + 50 * random.nextDoubleUnsafe() : 1
          return centres[i % 5]!.map((x) => (x + random.nextDoubleUnsafe()) * scale)
        })
        const found = yield* Random.withSeed(
          Clusters.make(pointsOf(rows), { ...options, metric, k: 5, runs: 5 }),
          "five"
        )
        assert.deepStrictEqual(found.sizes, [40, 40, 40, 40, 40])
        const truth = Int32Array.from(rows, (_, i) => i % 5)
        assert.strictEqual(Clusters.adjustedRand(found.labels, truth), 1)
        const votes = Clusters.vote(
          yield* Random.withSeed(
            Clusters.compare(pointsOf(rows), { ...options, metric, from: 2, to: 8, runs: 2, references: 2 }),
            "votes"
          )
        )
        assert.strictEqual(votes.silhouette, 5, metric)
        assert.strictEqual(votes.daviesBouldin, 5, metric)
        assert.strictEqual(votes.calinskiHarabasz, 5, metric)
        assert.strictEqual(votes.elbow, 5, metric)
      }
    })
  )

  it.effect("become no worse by more of them, and are the same for the same seed", () =>
    Effect.gen(function* () {
      const points = pointsOf(irises)
      for (const metric of ["euclidean", "cosine", "manhattan"] as const) {
        let last = Infinity
        for (const k of [1, 2, 3, 8, 150]) {
          const grouping = Random.withSeed(Clusters.make(points, { ...options, metric, k, runs: 5 }), "more")
          const found = yield* grouping
          assert.deepStrictEqual(yield* grouping, found)
          assert.isAtMost(found.inertia, last + 1e-9)
          last = found.inertia
          assert.strictEqual(
            found.sizes.reduce((a, b) => a + b),
            150
          )
        }
        assert.closeTo(last, 0, 1e-6)
      }
    })
  )

  it.effect("of vectors that are all the same, or fewer than it seems, come to an end", () =>
    Effect.gen(function* () {
      for (const metric of ["euclidean", "cosine", "manhattan"] as const) {
        for (const rows of [
          Array.from({ length: 20 }, () => [1, 2]),
          Array.from({ length: 20 }, () => [0, 0]),
          Array.from({ length: 20 }, (_, i) => [i % 2, 1])
        ]) {
          const points = pointsOf(rows)
          const found = yield* Clusters.make(points, { ...options, metric, k: 4, runs: 2 })
          assert.closeTo(found.inertia, 0, 1e-9)
          assert.isFalse(found.centroids.some((x) => !Number.isFinite(x)))
          assert.isFalse(Number.isNaN(yield* Clusters.silhouette(points, found, metric)))
          assert.isFalse(Number.isNaN(Clusters.daviesBouldin(points, found, metric)))
          assert.isFalse(Number.isNaN(yield* Clusters.calinskiHarabasz(points, found, metric)))
        }
      }
    })
  )
})
