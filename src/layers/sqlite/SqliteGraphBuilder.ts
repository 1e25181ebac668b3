/**
 * The child process that builds graphs: it reads the rows from the database, writes the file, and measures what share of
 * the nearest the graph finds. Whoever started it records the file and lets go of the lock.
 */
import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import Sqlite, { type Database } from "better-sqlite3"
import { exactSearch, type Index } from "usearch"
import { Distance, fromBytes, HnswIndex } from "../../vector/index.js"
import { dieWithParent } from "./ChildProgram.js"
import * as GraphFile from "./SqliteGraphFile.js"
import * as Rows from "./SqliteVectorRows.js"

export interface BuildTask {
  readonly database: string
  readonly collection: Rows.Collection
  /** The name of the new file. */
  readonly token: string
  /** The token of the graph on record when the build was decided. */
  readonly before: string | undefined
  /** That graph, if it is to be continued instead of beginning anew. */
  readonly base: { readonly file: GraphFile.GraphFile; readonly seq: number; readonly scale: number } | undefined
  /** The lowest share of the nearest that a search may find. */
  readonly recall: number
}

/** A graph that was built; `file` is undefined where no setting reaches the recall. */
export interface Built {
  readonly seq: number
  readonly size: number
  readonly file: GraphFile.GraphFile | undefined
  readonly scale: number
  readonly connectivity: number
  readonly expansion: number
  readonly recall: number
}

export type BuilderMessage =
  | { readonly type: "progress"; readonly done: number; readonly total: number }
  | { readonly type: "built"; readonly built: Built }
  | { readonly type: "superseded" }
  | { readonly type: "failed"; readonly message: string }

/** `release` lets go of the lock of what was built, and comes before the next task. */
export type BuilderRequest = { readonly type: "build"; readonly task: BuildTask } | { readonly type: "release" }

/** Connections of a node. */
const connectivity = 16

/** Candidates of a search, in the order in which they are tried. */
const expansions = [64, 96, 128, 192, 256, 384, 512, 768]

/** Stored vectors that the recall is measured with; each once as it is and once disturbed. */
const probes = 100

/** Results per measured search. */
const k = 10

/** How far a disturbed vector is moved, as a share of its length. */
const disturbance = 0.3

const pageRows = 2000

/** Milliseconds between two messages of progress. */
const progressInterval = 200

const send = (message: BuilderMessage) => process.send!(message)

/** Lets messages leave. */
const breathe = () => new Promise((resolve) => setImmediate(resolve))

interface Page {
  readonly keys: ReadonlyArray<number>
  readonly vectors: ReadonlyArray<Float32Array>
}

interface StoredRow {
  readonly row_id: number
  readonly seq: number
  readonly vector: Uint8Array
}

const vectorOf = (bytes: Uint8Array, { dimension, name }: Rows.Collection): Float32Array => {
  const vector = fromBytes(bytes, dimension)
  if (vector === undefined) throw new Error(`A stored vector of collection "${name}" is damaged`)
  return vector
}

/**
 * The rows written after one write and up to that of the collection, page by page: each a read of its own, so that the
 * log can be cut back meanwhile. A row that is written again meanwhile leaves the range.
 */
function* pages(db: Database, collection: Rows.Collection, after: number): Generator<Page> {
  const statement = db.prepare<Array<number>, StoredRow>(Rows.pageSql("row_id, seq, vector", pageRows))
  for (let last = Rows.after(after); ; ) {
    const rows = statement.all(...Rows.pageParameters(collection, last))
    const wanted = rows.filter(({ seq }) => seq <= collection.seq)
    yield {
      keys: wanted.map(({ row_id }) => row_id),
      vectors: wanted.map(({ vector }) => vectorOf(vector, collection))
    }
    if (rows.length < pageRows || wanted.length < rows.length) return
    last = rows[rows.length - 1]!
  }
}

const matrixOf = (vectors: ReadonlyArray<Float32Array>, collection: Rows.Collection, scale: number): Float32Array => {
  const matrix = new Float32Array(vectors.length * collection.dimension)
  vectors.forEach((vector, i) => {
    HnswIndex.writeForGraph(collection.metric, scale, vector, matrix, i * collection.dimension)
  })
  return matrix
}

const count = (db: Database, { id, seq }: Rows.Collection, after: number): number =>
  db
    .prepare<Array<number>, number>(
      "SELECT count(*) FROM db_hub_vectors WHERE collection_id = ? AND seq > ? AND seq <= ?"
    )
    .pluck()
    .get(id, after, seq)!

/** Adds to the graph, or to an empty one, what was written since; gives the scale that all of it has. */
const fill = async (db: Database, { base, collection }: BuildTask, progress: (done: number, total: number) => void) => {
  // Deletions that were forgotten would stay in the graph for ever.
  const from = base !== undefined && collection.reset_seq <= base.seq && GraphFile.isWhole(base.file) ? base : undefined
  const sample = pages(db, collection, 0).next().value
  const scale = from?.scale ?? HnswIndex.scaleOf(sample?.vectors ?? [])
  const graph = GraphFile.emptyGraph({ ...collection, scale, connectivity })
  if (from !== undefined) {
    graph.load(from.file.path)
    const deletions = db
      .prepare<Array<number>, number>(
        "SELECT row_id FROM db_hub_vector_deletions WHERE collection_id = ? AND seq > ? AND seq <= ?"
      )
      .pluck()
      .all(collection.id, from.seq, collection.seq)
    for (const key of deletions) if (graph.contains(BigInt(key))) graph.remove(BigInt(key))
  }
  const total = count(db, collection, from?.seq ?? 0)
  let done = 0
  for (const { keys, vectors } of pages(db, collection, from?.seq ?? 0)) {
    if (keys.length === 0) continue
    if (from !== undefined) for (const key of keys) if (graph.contains(BigInt(key))) graph.remove(BigInt(key))
    graph.add(BigUint64Array.from(keys, BigInt), matrixOf(vectors, collection, scale))
    done += keys.length
    progress(done, total)
    await breathe()
  }
  return { graph, scale }
}

/** Stored vectors, and the same disturbed. */
const queriesOf = (db: Database, collection: Rows.Collection): ReadonlyArray<Float32Array> => {
  const stored = db
    .prepare<Array<number>, Uint8Array>(
      `SELECT vector FROM db_hub_vectors WHERE row_id IN (SELECT row_id FROM db_hub_vectors
        WHERE collection_id = ? AND seq <= ? ORDER BY random() LIMIT ${probes})`
    )
    .pluck()
    .all(collection.id, collection.seq)
    .map((bytes) => vectorOf(bytes, collection).slice())
  const disturbed = stored.map((vector) => {
    const noise = vector.map(() => Math.random() - 0.5)
    const factor = disturbance * Math.sqrt(Distance.dot(vector, vector) / Distance.dot(noise, noise))
    return vector.map((x, i) => x + noise[i]! * factor)
  })
  return [...stored, ...disturbed.filter((vector) => vector.some((x) => x !== 0) && vector.every(Number.isFinite))]
}

/** The keys of the nearest by a scan over all rows. */
const nearestByScan = async (
  db: Database,
  collection: Rows.Collection,
  scale: number,
  queries: ReadonlyArray<Float32Array>
): Promise<ReadonlyArray<ReadonlyArray<number>>> => {
  const matrix = matrixOf(queries, collection, scale)
  const best = queries.map((): Array<{ key: number; distance: number }> => [])
  for (const { keys, vectors } of pages(db, collection, 0)) {
    if (keys.length === 0) continue
    const wanted = Math.min(k, keys.length)
    const metric = GraphFile.metricKind(collection.metric)
    const found = exactSearch(matrixOf(vectors, collection, scale), matrix, collection.dimension, wanted, metric)
    for (const [i, nearest] of best.entries()) {
      for (let j = i * wanted; j < (i + 1) * wanted; j++) {
        nearest.push({ key: keys[Number(found.keys[j])]!, distance: found.distances[j]! })
      }
      nearest.sort((a, b) => a.distance - b.distance)
      nearest.length = Math.min(nearest.length, k)
    }
    await breathe()
  }
  return best.map((nearest) => nearest.map(({ key }) => key))
}

/**
 * The share of the nearest that a search finds, at the smallest expansion that reaches the wanted one, or at the greatest
 * there is. What scores as high as the last of the nearest is one of them.
 */
const measure = async (db: Database, { collection, recall: wanted }: BuildTask, scale: number, graph: Index) => {
  const queries = queriesOf(db, collection)
  if (queries.length === 0) return { expansion: expansions[0]!, recall: 1 }
  const exact = await nearestByScan(db, collection, scale, queries)
  const select = db
    .prepare<Array<number>, Uint8Array>(
      "SELECT vector FROM db_hub_vectors WHERE row_id = ? AND collection_id = ? AND seq <= ?"
    )
    .pluck()
  const scoresOf = (query: Float32Array, keys: Iterable<number>, limit: number): ReadonlyArray<number> => {
    const score = Distance.scorer(collection.metric, query)
    const scores: Array<number> = []
    for (const key of keys) {
      const bytes = select.get(key, collection.id, collection.seq)
      if (bytes !== undefined) scores.push(score(vectorOf(bytes, collection)))
      if (scores.length >= limit) break
    }
    return scores.sort((a, b) => b - a).slice(0, k)
  }
  const nearest = exact.map((keys, i) => scoresOf(queries[i]!, keys, k))
  const possible = nearest.reduce((sum, scores) => sum + scores.length, 0)
  const matrix = matrixOf(queries, collection, scale)
  const { dimension } = collection
  const recallAt = (expansion: number): number => {
    let hits = 0
    for (const [i, query] of queries.entries()) {
      const asked = Math.min(graph.size(), HnswIndex.countFor(k, expansion))
      const found = graph.search(matrix.slice(i * dimension, (i + 1) * dimension), asked, 1) as { keys: BigUint64Array }
      const scores = scoresOf(query, Array.from(found.keys, Number), HnswIndex.scoredFor(k))
      const last = nearest[i]!.at(-1) ?? 0
      hits += Math.min(nearest[i]!.length, scores.filter((score) => score >= last - 1e-6 * Math.abs(last)).length)
    }
    return possible === 0 ? 1 : hits / possible
  }
  // A sample may be lucky.
  const enough = wanted + (1 - wanted) / 4
  let [expansion, recall] = [expansions[0]!, 0]
  for (const one of expansions) {
    expansion = one
    recall = recallAt(one)
    if (recall >= enough) break
    await breathe()
  }
  return { expansion, recall }
}

const build = async (task: BuildTask): Promise<BuilderMessage> => {
  const { collection, database, token } = task
  const db = new Sqlite(database, { readonly: true, fileMustExist: true, timeout: 60_000 })
  try {
    db.pragma("query_only = ON")
    const onRecord = db
      .prepare<Array<number>, string>("SELECT token FROM db_hub_vector_graphs WHERE collection_id = ?")
      .pluck()
      .get(collection.id)
    if (onRecord !== task.before) return { type: "superseded" }
    GraphFile.sweep(database, collection.id, onRecord)
    let last = 0
    const { graph, scale } = await fill(db, task, (done, total) => {
      const now = performance.now()
      if (now - last < progressInterval && done < total) return
      last = now
      send({ type: "progress", done, total })
    })
    const { expansion, recall } = await measure(db, task, scale, graph)
    const built = { seq: collection.seq, size: graph.size(), scale, connectivity, expansion, recall }
    if (recall < task.recall) return { type: "built", built: { ...built, file: undefined } }
    const path = GraphFile.pathOf(database, collection.id, token)
    graph.save(path)
    const file = { path, bytes: NodeFs.statSync(path).size, sha256: GraphFile.sha256Of(path) }
    return { type: "built", built: { ...built, file } }
  } finally {
    db.close()
  }
}

/** The lock of the collection that is built: it goes with its process. */
let lock: Database | undefined

/** Waits until no other process builds for the collection. */
const takeLock = ({ collection, database }: BuildTask): void => {
  const folder = GraphFile.folderOf(database)
  NodeFs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  lock = new Sqlite(NodePath.join(folder, `${collection.id}.lock`), { timeout: 2 ** 31 - 1 })
  // Nothing is ever written here.
  lock.pragma("journal_mode = MEMORY")
  lock.exec("BEGIN EXCLUSIVE")
}

dieWithParent()
process.umask(0o077)
// Whatever else runs on the machine goes first.
NodeOs.setPriority(NodeOs.constants.priority.PRIORITY_BELOW_NORMAL)

process.on("message", async (request: BuilderRequest) => {
  try {
    lock?.close()
    if (request.type === "release") return
    takeLock(request.task)
    send(await build(request.task))
  } catch (cause) {
    send({ type: "failed", message: cause instanceof Error ? cause.message : String(cause) })
  }
})
