/**
 * @since 0.1.0
 */
export * as Chunking from "./Chunking.js"
export * from "./CodePoint.js"
export type { Metric } from "./Distance.js"
export * as Distance from "./Distance.js"
export type { FieldOperators, FilterInput } from "./Filter.js"
export * as Filter from "./Filter.js"
export * as Fusion from "./Fusion.js"
export * as HashingEmbedder from "./HashingEmbedder.js"
export * as Highlight from "./Highlight.js"
export * as HnswIndex from "./HnswIndex.js"
export {
  isStorableText,
  type JsonObject,
  type JsonScalar,
  type JsonValue,
  parseJsonObject
} from "./Json.js"
export * as JsonPatch from "./JsonPatch.js"
export * as Mmr from "./Mmr.js"
export * as QuantizedIndex from "./QuantizedIndex.js"
export * as QuerySyntax from "./QuerySyntax.js"
export * as Records from "./Records.js"
export * as TextAnalysis from "./TextAnalysis.js"
export * as TopK from "./TopK.js"
export * from "./VectorIndex.js"
export * from "./Vectors.js"
