/**
 * The thread that searches one graph: opening a large one takes longer than an event loop may wait, and so does a search
 * for many candidates.
 */
import { parentPort, workerData } from "node:worker_threads"
import { HnswIndex } from "../../vector/index.js"
import { emptyGraph, type GraphFile, type GraphSettings, isWhole } from "./SqliteGraphFile.js"

export interface ThreadData {
  readonly file: GraphFile
  readonly settings: GraphSettings
  readonly size: number
}

export interface ThreadRequest {
  readonly id: number
  readonly query: Float32Array
  readonly count: number
}

export type ThreadAnswer =
  | { readonly type: "ready" }
  | { readonly type: "damaged" }
  | { readonly type: "found"; readonly id: number; readonly keys: Float64Array }

const { file, settings, size } = workerData as ThreadData
const port = parentPort!
const answer = (message: ThreadAnswer) => port.postMessage(message)

const open = () => {
  if (!isWhole(file)) return undefined
  const graph = emptyGraph(settings)
  // Mapped, not read: processes share the memory, and the operating system may take it back.
  graph.view(file.path)
  return graph.size() === size && graph.dimensions() === settings.dimension ? graph : undefined
}

const graph = open()
if (graph === undefined) {
  answer({ type: "damaged" })
} else {
  const query = new Float32Array(settings.dimension)
  port.on("message", (request: ThreadRequest) => {
    HnswIndex.writeForGraph(settings.metric, settings.scale, request.query, query, 0)
    const found = graph.search(query, request.count, 1) as { readonly keys: BigUint64Array }
    answer({ type: "found", id: request.id, keys: Float64Array.from(found.keys, Number) })
  })
  answer({ type: "ready" })
}
