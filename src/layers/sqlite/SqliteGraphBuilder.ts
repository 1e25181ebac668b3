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
import * as GraphIndex from "./SqliteGraphIndex.js"
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

/**
 * Questions that the recall is measured with. They are vectors which join the graph afterwards, for what is in it is found
 * more easily than what nobody has asked before. So many, since a graph seldom finds half of what is near: of some
 * questions it finds nothing.
 */
const probes = 500

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

/** Vectors that are not in the graph yet, by key. */
type HeldOut = ReadonlyMap<number, Float32Array>

const without = ({ keys, vectors }: Page, some: HeldOut): Page => ({
  keys: keys.filter((key) => !some.has(key)),
  vectors: vectors.filter((_, i) => !some.has(keys[i]!))
})

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

/** Keys of some rows that were written after one write, at most a tenth of them. */
const someKeys = (db: Database, { id, seq }: Rows.Collection, after: number, total: number): ReadonlyArray<number> =>
  db
    .prepare<Array<number>, number>(
      "SELECT row_id FROM db_hub_vectors WHERE collection_id = ? AND seq > ? AND seq <= ? ORDER BY random() LIMIT ?"
    )
    .pluck()
    .all(id, after, seq, Math.min(probes, Math.ceil(total / 10)))

/** An empty graph, or the one before without what was deleted since; `after` is the last write that it holds. */
const begin = (db: Database, { base, collection }: BuildTask) => {
  // Deletions that were forgotten would stay in the graph for ever.
  const from = base !== undefined && collection.reset_seq <= base.seq && GraphFile.isWhole(base.file) ? base : undefined
  const sample = pages(db, collection, 0).next().value
  const scale = from?.scale ?? HnswIndex.scaleOf(sample?.vectors ?? [])
  const graph = GraphIndex.emptyGraph({ ...collection, scale, connectivity })
  if (from === undefined) return { graph, scale, after: 0 }
  graph.load(from.file.path)
  const deletions = db
    .prepare<Array<number>, number>(
      "SELECT row_id FROM db_hub_vector_deletions WHERE collection_id = ? AND seq > ? AND seq <= ?"
    )
    .pluck()
    .all(collection.id, from.seq, collection.seq)
  removeFrom(graph, deletions)
  return { graph, scale, after: from.seq }
}

const removeFrom = (graph: Index, keys: ReadonlyArray<number>) => {
  for (const key of keys) if (graph.contains(BigInt(key))) graph.remove(BigInt(key))
}

/** The graph with what was written since, but for what it will be measured with. */
const fill = async (db: Database, task: BuildTask, progress: (done: number, total: number) => void) => {
  const { collection } = task
  const { after, graph, scale } = begin(db, task)
  const total = count(db, collection, after)
  const apart = new Set(someKeys(db, collection, after, total))
  const heldOut = new Map<number, Float32Array>()
  let done = 0
  for (const page of pages(db, collection, after)) {
    if (after > 0) removeFrom(graph, page.keys)
    page.keys.forEach((key, i) => {
      if (apart.has(key)) heldOut.set(key, page.vectors[i]!.slice())
    })
    const { keys, vectors } = without(page, heldOut)
    if (keys.length > 0) graph.add(BigUint64Array.from(keys, BigInt), matrixOf(vectors, collection, scale))
    done += page.keys.length
    progress(done, total)
    await breathe()
  }
  return { graph, scale, heldOut }
}

const disturb = (vector: Float32Array): Float32Array => {
  const noise = vector.map(() => Math.random() - 0.5)
  const factor = disturbance * Math.sqrt(Distance.dot(vector, vector) / Distance.dot(noise, noise))
  return vector.map((x, i) => x + noise[i]! * factor)
}

/** So many stored vectors. */
const someVectors = (db: Database, collection: Rows.Collection, limit: number): ReadonlyArray<Float32Array> =>
  db
    .prepare<Array<number>, Uint8Array>(
      `SELECT vector FROM db_hub_vectors WHERE row_id IN (SELECT row_id FROM db_hub_vectors
        WHERE collection_id = ? AND seq <= ? ORDER BY random() LIMIT ?)`
    )
    .pluck()
    .all(collection.id, collection.seq, limit)
    .map((bytes) => vectorOf(bytes, collection).slice())

/**
 * What was held out, every second one disturbed; where that is little, disturbed vectors of the graph make up for it.
 */
const queriesOf = (db: Database, collection: Rows.Collection, heldOut: HeldOut): ReadonlyArray<Float32Array> => {
  const apart = Array.from(heldOut.values(), (vector, i) => (i % 2 === 0 ? vector : disturb(vector)))
  const queries = [...apart, ...someVectors(db, collection, probes - apart.length).map(disturb)]
  return queries.filter((vector) => vector.some((x) => x !== 0) && vector.every(Number.isFinite))
}

/** The keys of the nearest by a scan over all rows but those held out. */
const nearestByScan = async (
  db: Database,
  collection: Rows.Collection,
  scale: number,
  queries: ReadonlyArray<Float32Array>,
  heldOut: HeldOut
): Promise<ReadonlyArray<ReadonlyArray<number>>> => {
  const matrix = matrixOf(queries, collection, scale)
  const best = queries.map((): Array<{ key: number; distance: number }> => [])
  for (const page of pages(db, collection, 0)) {
    const { keys, vectors } = without(page, heldOut)
    if (keys.length === 0) continue
    const wanted = Math.min(k, keys.length)
    const metric = GraphIndex.metricKind(collection.metric)
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

/** What the mean over all such questions is hardly below: two standard errors, with one more that found nothing. */
const lowerBound = (shares: ReadonlyArray<number>): number => {
  const count = shares.length + 1
  const mean = shares.reduce((sum, share) => sum + share, 0) / count
  const squares = [...shares, 0].reduce((sum, share) => sum + (share - mean) ** 2, 0)
  return mean - 2 * Math.sqrt(squares / (count - 1) / count)
}

/**
 * The share of the nearest that a search finds at least, at the smallest expansion that reaches the wanted one, or at
 * the greatest there is. What scores as high as the last of the nearest is one of them.
 */
const measure = async (
  db: Database,
  { collection, recall: wanted }: BuildTask,
  scale: number,
  graph: Index,
  heldOut: HeldOut
) => {
  const queries = queriesOf(db, collection, heldOut)
  if (queries.length === 0) return { expansion: expansions[0]!, recall: 1 }
  const exact = await nearestByScan(db, collection, scale, queries, heldOut)
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
  const matrix = matrixOf(queries, collection, scale)
  const { dimension } = collection
  const shareFound = (query: Float32Array, i: number, expansion: number): number => {
    const best = nearest[i]!
    const last = best.at(-1)
    if (last === undefined) return 1
    const asked = Math.min(graph.size(), HnswIndex.countFor(k, expansion))
    const found = graph.search(matrix.slice(i * dimension, (i + 1) * dimension), asked, 1) as { keys: BigUint64Array }
    const scores = scoresOf(query, Array.from(found.keys, Number), HnswIndex.scoredFor(k))
    return Math.min(1, scores.filter((score) => score >= last - 1e-6 * Math.abs(last)).length / best.length)
  }
  let [expansion, recall] = [expansions[0]!, 0]
  for (const one of expansions) {
    expansion = one
    recall = lowerBound(queries.map((query, i) => shareFound(query, i, one)))
    if (recall >= wanted) break
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
    const { graph, heldOut, scale } = await fill(db, task, (done, total) => {
      const now = performance.now()
      if (now - last < progressInterval && done < total) return
      last = now
      send({ type: "progress", done, total })
    })
    const { expansion, recall } = await measure(db, task, scale, graph, heldOut)
    if (heldOut.size > 0) {
      graph.add(BigUint64Array.from(heldOut.keys(), BigInt), matrixOf(Array.from(heldOut.values()), collection, scale))
    }
    const built = { seq: collection.seq, size: graph.size(), scale, connectivity, expansion, recall }
    if (recall < task.recall) return { type: "built", built: { ...built, file: undefined } }
    const path = GraphFile.pathOf(database, collection.id, token)
    try {
      graph.save(path)
    } catch (cause) {
      throw new Error(`its file cannot be written: check the space and rights of ${NodePath.dirname(path)}`, { cause })
    }
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
