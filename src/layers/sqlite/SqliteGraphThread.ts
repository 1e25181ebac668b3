/**
 * The thread that searches one graph: verifying and opening a large one takes longer than an event loop may wait, and so
 * does a search for many candidates.
 */
import { parentPort, workerData } from "node:worker_threads"
import { type Exchange, serve } from "./SqliteGraphExchange.js"
import { type GraphFile, isWhole } from "./SqliteGraphFile.js"
import { type GraphSettings, view } from "./SqliteGraphIndex.js"

export interface ThreadData {
  readonly file: GraphFile
  readonly settings: GraphSettings
  readonly size: number
  readonly exchange: Exchange
}

/** Before the first question. */
export type ThreadMessage = "ready" | "damaged"

const { exchange, file, settings, size } = workerData as ThreadData

const say = (message: ThreadMessage) => parentPort!.postMessage(message)

if (isWhole(file)) {
  const search = view(file, settings, size)
  say("ready")
  serve(exchange, search)
} else {
  say("damaged")
}
