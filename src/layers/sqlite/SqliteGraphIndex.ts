/**
 * Graphs as the library has them, which is not loaded before there is one: it does not run everywhere.
 */
import { Index, MetricKind, ScalarKind } from "usearch"
import { HnswIndex, type Metric } from "../../vector/index.js"
import type { GraphFile } from "./SqliteGraphFile.js"

/** What a graph is made of; it cannot be changed in one that exists. */
export interface GraphSettings {
  readonly dimension: number
  readonly metric: Metric
  /** What vectors are multiplied by, but under cosine. */
  readonly scale: number
  readonly connectivity: number
}

/** Candidates while building: more make a better graph, and a slower build. */
const expansionAdd = 128

/** Vectors of length 1 lie in the same order by cosine and by dot product, which is cheaper. */
export const metricKind = (metric: Metric) => (metric === "l2" ? MetricKind.L2sq : MetricKind.IP)

/** A graph without vectors. The candidates of a search are as many as the results asked for. */
export const emptyGraph = ({ connectivity, dimension, metric }: GraphSettings): Index =>
  new Index({
    dimensions: dimension,
    metric: metricKind(metric),
    quantization: ScalarKind.F16,
    connectivity,
    expansion_add: expansionAdd,
    expansion_search: 1,
    multi: false
  })

/** The keys of about `count` nearest, nearest first. */
export type Search = (query: Float32Array, count: number) => Float64Array

/** Opens a file that is whole; throws if it holds another graph. */
export const view = ({ path }: GraphFile, settings: GraphSettings, size: number): Search => {
  const { dimension, metric, scale } = settings
  const graph = emptyGraph(settings)
  // Mapped, not read: processes share the memory, and the operating system may take it back.
  graph.view(path)
  if (graph.size() !== size || graph.dimensions() !== dimension) throw new Error("its file holds another graph")
  const written = new Float32Array(dimension)
  return (query, count) => {
    HnswIndex.writeForGraph(metric, scale, query, written, 0)
    const { keys } = graph.search(written, count, 1) as { readonly keys: BigUint64Array }
    const found = new Float64Array(keys.length)
    // A number by way of a bigint takes five times as long. The library runs on little-endian machines alone.
    const words = new Uint32Array(keys.buffer, keys.byteOffset, 2 * keys.length)
    for (let i = 0; i < found.length; i++) found[i] = words[2 * i]! + words[2 * i + 1]! * 2 ** 32
    return found
  }
}
