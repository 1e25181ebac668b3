/**
 * A search by words, by vectors or by both in the text and the vector store, as one ranking.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type DbError, type ErrorContext, type InvalidInput, invalidInput, NotFound } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type {
  FailedLeg,
  FusionOptions,
  SearchAnswer,
  SearchMode,
  SearchRequest,
  SearchResult,
  SearchTimings
} from "../../services/Search.js"
import type { TextHit } from "../../services/TextStore.js"
import type { SearchHit } from "../../services/VectorStore.js"
import {
  compareCodePoints,
  Distance,
  Fusion,
  HashingEmbedder,
  type JsonObject,
  Mmr,
  Records
} from "../../vector/index.js"
import { settingsOf, type VectorSettings } from "./VectorSettings.js"

/**
 * What is searched as one: the names of its collections. Ids are the same in both.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  /** What results say that they are from. */
  readonly name: string
  readonly texts: string
  readonly vectors: string
  /** No vector was ever stored here: then it has none to find. */
  readonly maybeNoVectors?: boolean
  /** How vectors are searched if the request brings none: gets what searches for one. Without it they are not. */
  readonly embedded?: (
    search: (vector: Vector, settings: VectorSettings) => Effect.Effect<VectorLeg, DbError>
  ) => Effect.Effect<VectorLeg, DbError>
}

type Vector = ReadonlyArray<number> | Float32Array

/**
 * What was found by vectors, and what collection it was found in; undefined if there is none.
 *
 * @since 0.1.0
 * @category models
 */
export interface VectorLeg {
  readonly hits: ReadonlyArray<SearchHit>
  readonly settings: VectorSettings | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface HybridAnswer extends Omit<SearchAnswer, "timings"> {
  readonly timings: Omit<SearchTimings, "total">
}

/**
 * A request that can be answered.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checked {
  readonly request: SearchRequest
  readonly mode: SearchMode
  readonly limit: number
  /** Results of each leg. */
  readonly depth: number
  readonly fusion: FusionOptions | undefined
  /** The weight of relevance, where results are to be unlike each other. */
  readonly lambda: number | undefined
}

/**
 * What a request may have.
 *
 * @since 0.1.0
 * @category constants
 */
export const fields = [
  "text",
  "vector",
  "mode",
  "limit",
  "filter",
  "syntax",
  "fusion",
  "preFusionLimit",
  "minSimilarity",
  "mmr"
] as const satisfies ReadonlyArray<keyof SearchRequest>

const fusionFields = ["strategy", "k", "normalization", "textWeight", "vectorWeight"] as const

const modes: ReadonlyArray<SearchMode> = ["text", "vector", "hybrid"]
const strategies: ReadonlyArray<FusionOptions["strategy"]> = ["rrf", "weighted"]
const normalizations: ReadonlyArray<Fusion.Normalization> = ["min-max", "z-score"]

/** The cosine above which two texts have features in common: a lexical model knows of nothing else. */
const leastInCommon = 1e-6

const isLexical = (model: string | null): boolean => model !== null && HashingEmbedder.isLexical(model)

/** The least cosine of a result of the vector leg. */
const leastOf = ({ minSimilarity }: SearchRequest, { metric, model }: VectorSettings): number | undefined =>
  metric === "cosine" && isLexical(model) ? Math.max(minSimilarity ?? leastInCommon, leastInCommon) : minSimilarity

/** Results of each leg that are fused, unless told otherwise. */
const defaultDepth = 50

const checkFusion = (fusion: FusionOptions, at: ErrorContext): InvalidInput | undefined => {
  const given = Records.checkObject(fusion, "fusion", at, fusionFields)
  if (Either.isLeft(given)) return given.left
  if (!strategies.includes(fusion.strategy)) {
    return invalidInput(at, "fusion.strategy", "is unknown", strategies.join(", "))
  }
  const { textWeight = 1, vectorWeight = 1 } = fusion
  const usable = [textWeight, vectorWeight].every((weight) => Number.isFinite(weight) && weight >= 0)
  if (!usable || textWeight + vectorWeight === 0) {
    return invalidInput(at, "fusion", "has weights that cannot be used", "finite weights of at least 0, not both 0")
  }
  if (fusion.strategy === "rrf") {
    const { k = Fusion.defaultK } = fusion
    return Number.isFinite(k) && k >= 0 ? undefined : invalidInput(at, "fusion.k", "is out of range", "a number from 0")
  }
  const { normalization = "min-max" } = fusion
  return normalizations.includes(normalization)
    ? undefined
    : invalidInput(at, "fusion.normalization", "is unknown", normalizations.join(", "))
}

/**
 * Checks a request; with `canEmbed`, one that brings a text may do without a vector.
 *
 * @since 0.1.0
 * @category validation
 */
export const check = (
  request: SearchRequest,
  at: ErrorContext,
  canEmbed = false
): Either.Either<Checked, InvalidInput> =>
  Either.gen(function* () {
    const { fusion, minSimilarity, mmr, text, vector } = yield* Records.checkObject(request, "request", at, fields)
    if (text !== undefined && typeof text !== "string") {
      return yield* Either.left(invalidInput(at, "text", "is not text", "a string"))
    }
    if (vector !== undefined && !Array.isArray(vector) && !(vector instanceof Float32Array)) {
      return yield* Either.left(invalidInput(at, "vector", "is not a vector", "a Float32Array or an array of numbers"))
    }
    const brings = text === undefined ? "vector" : vector === undefined && !canEmbed ? "text" : "hybrid"
    const { mode = brings } = request
    if (!modes.includes(mode)) return yield* Either.left(invalidInput(at, "mode", "is unknown", modes.join(", ")))
    if (mode !== "vector" && text === undefined) {
      return yield* Either.left(invalidInput(at, "text", "is missing", `a string in mode ${mode}`))
    }
    if (mode !== "text" && vector === undefined && !canEmbed) {
      return yield* Either.left(
        invalidInput(at, "vector", "is missing", `text, a vector or both; a vector in mode ${mode}`)
      )
    }
    const isCosine = typeof minSimilarity === "number" && minSimilarity >= -1 && minSimilarity <= 1
    if (minSimilarity !== undefined && !isCosine) {
      return yield* Either.left(invalidInput(at, "minSimilarity", "is not a cosine", "a number from -1 to 1"))
    }
    const unusable = fusion === undefined ? undefined : checkFusion(fusion, at)
    if (unusable !== undefined) return yield* Either.left(unusable)
    const lambda =
      mmr === undefined
        ? undefined
        : ((yield* Records.checkObject(mmr, "mmr", at, ["lambda"])).lambda ?? Mmr.defaultLambda)
    if (lambda !== undefined && !(typeof lambda === "number" && lambda >= 0 && lambda <= 1)) {
      return yield* Either.left(invalidInput(at, "mmr.lambda", "is out of range", "a number from 0 to 1"))
    }
    const limit = yield* Records.checkLimit(request.limit ?? 10, "limit", at)
    const depth = yield* Records.checkLimit(request.preFusionLimit ?? defaultDepth, "preFusionLimit", at)
    return {
      request,
      mode,
      limit,
      depth: mode === "hybrid" || lambda !== undefined ? Math.max(limit, depth) : limit,
      fusion,
      lambda
    }
  })

/** Names a record across collections so that keys sort by id, then by collection: no id holds a U+0000. */
const keyOf = (collection: string, id: string): string => `${id}\u0000${collection}`

interface Found<Hit> {
  readonly key: string
  readonly source: Source
  readonly score: number
  readonly hit: Hit
}

/** The hits of all collections as one leg. */
const legOf = <Hit extends { readonly id: string }>(
  found: ReadonlyArray<{ readonly source: Source; readonly hits: ReadonlyArray<Hit> }>,
  scoreOf: (hit: Hit) => number,
  depth: number
): ReadonlyArray<Found<Hit>> =>
  found
    .flatMap(({ hits, source }) =>
      hits.map((hit) => ({ key: keyOf(source.name, hit.id), source, score: scoreOf(hit), hit }))
    )
    .sort((a, b) => b.score - a.score || compareCodePoints(a.key, b.key))
    .slice(0, depth)

const fuse = (
  fusion: FusionOptions,
  lexical: boolean,
  text: ReadonlyArray<Found<TextHit>>,
  vector: ReadonlyArray<Found<SearchHit>>
): ReadonlyArray<Fusion.Fused> => {
  const defaults = fusion.strategy === "rrf" ? { text: 1, vector: 1 } : Fusion.defaultWeightsOf(lexical)
  const ranked = (found: ReadonlyArray<Found<unknown>>) => found.map(({ key, score }) => ({ id: key, score }))
  const legs = [
    { ranked: ranked(text), weight: fusion.textWeight ?? defaults.text },
    { ranked: ranked(vector), weight: fusion.vectorWeight ?? defaults.vector }
  ]
  return fusion.strategy === "rrf" ? Fusion.reciprocalRank(legs, fusion.k) : Fusion.weighted(legs, fusion.normalization)
}

/** Whether the request is at fault for the failure of a leg; a vector that it does not bring cannot be. */
const isRequests = ({ vector }: SearchRequest, error: DbError): boolean =>
  error._tag === "InvalidInput" || (error._tag === "DimensionMismatch" && vector !== undefined)

/** A record without a vector is unlike all others. */
const likeness = (a: Float32Array | undefined, b: Float32Array | undefined): number =>
  a === undefined || b === undefined ? 0 : Distance.cosine(a, b)

/**
 * Searches several sources as if they were one: their hits are ranked together in each leg, and the legs in one fusion.
 * Results bring no texts that only the vector leg found, unless the vector store keeps them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "query" | "text" | "vector">
): ((sources: ReadonlyArray<Source>, checked: Checked, at: ErrorContext) => Effect.Effect<HybridAnswer, DbError>) => {
  const { text: texts, vector: vectors } = backend

  const searchTexts = ({ depth, request: { filter, syntax, text = "" } }: Checked, source: Source) =>
    Effect.map(
      texts.search(source.texts, text, {
        limit: depth,
        ...(filter === undefined ? {} : { filter }),
        ...(syntax === undefined ? {} : { syntax })
      }),
      (hits) => ({ source, hits })
    )

  const searchFor = (
    { depth, request }: Checked,
    source: Source,
    vector: Vector,
    settings: VectorSettings,
    at: ErrorContext
  ): Effect.Effect<VectorLeg, DbError> => {
    const { filter, minSimilarity } = request
    if (minSimilarity !== undefined && settings.metric !== "cosine") {
      const allowed = "only where the metric is cosine"
      return Effect.fail(invalidInput(at, "minSimilarity", `cannot be measured by ${settings.metric}`, allowed))
    }
    const minScore = leastOf(request, settings)
    return Effect.map(
      vectors.search(source.vectors, vector, {
        k: depth,
        ...(filter === undefined ? {} : { filter }),
        ...(minScore === undefined ? {} : { minScore })
      }),
      (hits) => ({ hits, settings })
    )
  }

  /** Settings of the vectors of all sources, looked up once, when they are first asked for. */
  type LookUp = Effect.Effect<ReadonlyMap<string, VectorSettings>, DbError>

  const searchVectors = (checked: Checked, source: Source, lookUp: LookUp, at: ErrorContext) =>
    Effect.gen(function* () {
      const { request } = checked
      const search = (vector: Vector, settings: VectorSettings) => searchFor(checked, source, vector, settings, at)
      if (request.vector === undefined) {
        return { ...(yield* source.embedded?.(search) ?? Effect.succeed(noHits)), source }
      }
      const settings = (yield* lookUp).get(source.vectors)
      if (settings !== undefined) return { ...(yield* search(request.vector, settings)), source }
      if (source.maybeNoVectors === true) return { ...noHits, source }
      return yield* new NotFound({ ...at, entity: "collection", message: "The collection has no vectors" })
    })

  /** What the sources answer, side by side; a failure is kept for the report unless the request is at fault. */
  const legsOf = <A>(
    leg: FailedLeg["leg"],
    { request }: Checked,
    sources: ReadonlyArray<Source>,
    search: (source: Source) => Effect.Effect<A, DbError>
  ): Effect.Effect<readonly [failed: ReadonlyArray<FailedLeg>, found: ReadonlyArray<A>], DbError> =>
    Effect.map(
      Effect.forEach(
        sources,
        (source) =>
          Effect.matchEffect(search(source), {
            onFailure: (error) =>
              isRequests(request, error)
                ? Effect.fail(error)
                : Effect.succeed(Either.left<FailedLeg>({ collection: source.name, leg, error })),
            onSuccess: (found) => Effect.succeed(Either.right(found))
          }),
        { concurrency: "unbounded" }
      ),
      Arr.separate
    )

  interface Candidate {
    readonly id: string
    readonly score: number
    readonly source: Source
    readonly record: string
  }

  /** The candidates that are good and unlike each other. */
  const diversify = (
    candidates: ReadonlyArray<Candidate>,
    { lambda, limit }: Checked,
    lookUp: LookUp,
    at: ErrorContext
  ): Effect.Effect<ReadonlyArray<Candidate>, DbError> =>
    Effect.gen(function* () {
      const known = new Map<string, Float32Array>()
      const settings = yield* lookUp
      const sources = Array.from(new Set(candidates.map(({ source }) => source))).filter(({ vectors }) =>
        settings.has(vectors)
      )
      if (candidates.length > 0 && sources.length === 0) {
        return yield* invalidInput(at, "mmr", "compares vectors, and there are none", "only collections with vectors")
      }
      for (const source of sources) {
        const ids = candidates.flatMap((each) => (each.source === source ? [each.record] : []))
        for (const { id, vector } of yield* vectors.get(source.vectors, ids)) {
          known.set(keyOf(source.name, id), Float32Array.from(vector))
        }
      }
      const scores = candidates.map(({ score }) => score)
      const [least, most] = [Math.min(...scores), Math.max(...scores)]
      // On the scale of cosines, as far as they tell good from bad.
      const relevance = (score: number) => (most === least ? 1 : (score - least) / (most - least))
      const ranked = candidates.map((candidate) => ({ candidate, id: candidate.id, score: relevance(candidate.score) }))
      return Mmr.select(ranked, (a, b) => likeness(known.get(a.id), known.get(b.id)), {
        limit,
        lambda: lambda ?? 1
      }).map(({ candidate }) => candidate)
    })

  return (sources, checked, at) =>
    Effect.gen(function* () {
      const { mode, request } = checked
      const lookUp: LookUp = yield* Effect.cached(
        settingsOf(
          backend,
          sources.map(({ vectors }) => vectors)
        )
      )
      const inTexts = mode === "vector" ? [] : sources
      const inVectors =
        mode === "text" ? [] : sources.filter(({ embedded }) => request.vector !== undefined || embedded !== undefined)
      const [text, vector] = yield* Effect.all(
        [
          Effect.timed(legsOf("text", checked, inTexts, (source) => searchTexts(checked, source))),
          Effect.timed(legsOf("vector", checked, inVectors, (source) => searchVectors(checked, source, lookUp, at)))
        ],
        { concurrency: "unbounded" }
      )
      const [[textTime, [failedTexts, foundTexts]], [vectorTime, [failedVectors, foundVectors]]] = [text, vector]
      const failed = [...failedTexts, ...failedVectors]
      const [first] = failed
      if (first !== undefined && foundTexts.length + foundVectors.length === 0) return yield* Effect.fail(first.error)

      const settings = new Map(
        foundVectors.flatMap(({ settings, source }) => (settings ? [[source.name, settings] as const] : []))
      )
      if (new Set(Array.from(settings.values(), ({ metric }) => metric)).size > 1) {
        const metrics = Array.from(settings, ([name, { metric }]) => `${name} has ${metric}`).join(", ")
        return yield* invalidInput(at, "collections", "have different metrics", `collections of one metric; ${metrics}`)
      }
      const models = Array.from(settings.values(), ({ model }) => model)
      const lexical = models.length > 0 && models.every(isLexical)
      const fusion = checked.fusion ?? { strategy: lexical ? "weighted" : "rrf" }
      const textLeg = legOf(foundTexts, ({ bm25 }) => bm25, checked.depth)
      const vectorLeg = legOf(foundVectors, ({ score }) => score, checked.depth)
      const byText = new Map(textLeg.map((found, i) => [found.key, { ...found, rank: i + 1 }]))
      const byVector = new Map(vectorLeg.map((found, i) => [found.key, { ...found, rank: i + 1 }]))

      const candidateOf = (key: string, fused?: number): Candidate => {
        const { hit, score, source } = (byText.get(key) ?? byVector.get(key))!
        return { id: key, score: fused ?? score, source, record: hit.id }
      }
      // What a hit says of itself is looked at here first: highlights are looked for in results alone.
      const resultOf = ({ id, record, score, source }: Candidate): SearchResult => {
        const [inTexts, inVectors] = [byText.get(id), byVector.get(id)]
        const metric = settings.get(source.name)?.metric
        const { metadata, text } = (inTexts ?? inVectors)!.hit
        return {
          collection: source.name,
          id: record,
          score,
          scoreKind: mode === "hybrid" ? fusion.strategy : inTexts !== undefined ? "bm25" : metric!,
          ...(inTexts === undefined ? {} : { textRank: inTexts.rank, bm25: inTexts.score }),
          ...(inVectors === undefined ? {} : { vectorRank: inVectors.rank }),
          ...(inVectors === undefined || metric !== "cosine" ? {} : { cosine: inVectors.score }),
          text,
          metadata: metadata as JsonObject,
          highlights: inTexts?.hit.highlights ?? []
        }
      }

      const candidates =
        mode === "hybrid"
          ? fuse(fusion, lexical, textLeg, vectorLeg).map(({ id, score }) => candidateOf(id, score))
          : [...textLeg, ...vectorLeg].map(({ key }) => candidateOf(key))
      const chosen =
        checked.lambda === undefined
          ? candidates.slice(0, checked.limit)
          : yield* diversify(candidates, checked, lookUp, at)
      const timings = {
        ...(inTexts.length === 0 ? {} : { text: Duration.toMillis(textTime) }),
        ...(inVectors.length === 0 ? {} : { vector: Duration.toMillis(vectorTime) })
      }
      return { results: chosen.map(resultOf), failed, mode, timings }
    })
}

const noHits: VectorLeg = { hits: [], settings: undefined }
