import * as FastCheck from "effect/FastCheck"
import { assert, describe, it } from "vitest"
import { Distance, type Metric } from "../../src/vector/index.js"

const metrics: ReadonlyArray<Metric> = ["cosine", "dot", "l2"]

const component = FastCheck.float({ noNaN: true, noDefaultInfinity: true })

const vectors = FastCheck.integer({ min: 1, max: 40 }).chain((dimension) =>
  FastCheck.tuple(
    FastCheck.float32Array({ minLength: dimension, maxLength: dimension, noNaN: true, noDefaultInfinity: true }),
    FastCheck.array(component, { minLength: dimension, maxLength: dimension }),
    FastCheck.nat(dimension - 1)
  )
)

describe("Distance", () => {
  for (const metric of metrics) {
    it(`a score is a finite number where all components are, and nowhere else: ${metric}`, () => {
      FastCheck.assert(
        FastCheck.property(
          vectors,
          FastCheck.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
          ([query, components, at], damage) => {
            const score = Distance.scorer(metric, query)
            const vector = Float32Array.from(components)
            assert.isTrue(Number.isFinite(score(vector)))
            vector[at] = damage
            assert.isFalse(Number.isFinite(score(vector)))
            vector[(at + 1) % vector.length] = -damage
            assert.isFalse(Number.isFinite(score(vector)))
          }
        ),
        { numRuns: 500 }
      )
    })
  }
})
