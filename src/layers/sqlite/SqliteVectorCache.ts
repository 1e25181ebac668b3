/**
 * The indexes in memory: one per collection, brought up to date by reading what was committed since, here or in another
 * process. Small collections are searched exactly; large ones through a graph, once it is built and good enough.
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"
import type { DbError, ErrorContext } from "../../errors/index.js"
import type { CollectionIndex } from "../../services/VectorStore.js"
import { HnswIndex, QuantizedIndex, type VectorIndex } from "../../vector/index.js"
import { nextTurn } from "../EventLoop.js"
import * as Lane from "../Lane.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as GraphFile from "./SqliteGraphFile.js"
import * as Graphs from "./SqliteGraphs.js"
import * as Matches from "./SqliteVectorMatches.js"
import * as Rows from "./SqliteVectorRows.js"

/** The rows that a search found were changed before all of them could be read. */
export class Moved extends Data.TaggedError("Moved") {}

/** The index would take more memory than all of them may. */
export class TooLarge extends Data.TaggedError("TooLarge") {}

/** An index as it was after the write numbered `seq`. */
export interface Snapshot {
  readonly index: VectorIndex
  /** Whether it finds the nearest without a miss. */
  readonly exact: boolean
  readonly seq: number
  readonly matches: Matches.SqliteVectorMatches
}

export interface CacheOptions {
  /** What all indexes may take together, in bytes. */
  readonly memoryBytes: number
  /** Collections of so many vectors are searched through a graph. */
  readonly graphFrom: number
  /** The lowest share of the nearest that a graph may find. */
  readonly recall: number
}

export interface SqliteVectorCache {
  /** Uses the index as it is after the newest write; it does not change meanwhile. Not for use inside a transaction. */
  readonly use: <A, E, R>(
    collection: Rows.Collection,
    at: ErrorContext,
    body: (snapshot: Snapshot) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | DbError | Moved | TooLarge, R>
  /** How a collection is searched; `row` is its graph on record. */
  readonly describe: (
    collection: { readonly id: number; readonly dimension: number },
    row: Rows.GraphRow | undefined
  ) => CollectionIndex
  /** Lets go of the index and the files of a collection that is gone. */
  readonly dropped: (collection: { readonly id: number }) => Effect.Effect<void>
  /** Waits until no graph is built or opened any more. */
  readonly settled: Effect.Effect<void>
  /** Memory held by all indexes, in bytes. */
  readonly bytes: () => number
}

/** A graph on record that is kept in a file. */
type UsableRow = Rows.GraphRow & { readonly sha256: string }

const fileOf = (database: string, { id }: Rows.Collection, { bytes, sha256, token }: UsableRow) => ({
  path: GraphFile.pathOf(database, id, token),
  bytes,
  sha256
})

/** A graph in use, with the keys known to be deleted since it was built. */
interface GraphInUse {
  readonly row: UsableRow
  readonly graph: Graphs.OpenGraph
  readonly deleted: Set<number>
  readonly scope: Scope.CloseableScope
}

interface Entry {
  /** All rows, or those written since the graph. */
  rows: QuantizedIndex.QuantizedIndex | undefined
  graph: GraphInUse | undefined
  /** The graph on record that was taken into use, or found to be of no use. */
  record: Rows.GraphRow | undefined
  seq: number
  opening: boolean
  /** The share that is built, while a graph is. */
  building: number | undefined
  /** When a build failed, by `performance.now`. */
  failedAt: number | undefined
  readonly matches: Matches.SqliteVectorMatches
  /** Held by whoever uses or changes the index. */
  readonly lane: Lane.Lane
}

const newEntry = (client: SqliteClient, memoryBytes: number): Entry => ({
  rows: undefined,
  graph: undefined,
  record: undefined,
  seq: 0,
  opening: false,
  building: undefined,
  failedAt: undefined,
  matches: Matches.make(client, memoryBytes / 8),
  lane: Lane.make()
})

/** What a number in a set takes. */
const keyBytes = 48

const bytesOf = ({ graph, matches, rows }: Entry): number =>
  (rows?.bytes() ?? 0) + (graph === undefined ? 0 : graph.graph.bytes + graph.deleted.size * keyBytes) + matches.bytes()

/** Rows read and put in one turn of the event loop. */
const pageRows = 500

const loadPage = Rows.pageSql("row_id, seq, vector", pageRows)

/** Rounds of catching up with other writers before a search gives up on the index. */
const maxRounds = 20

/** Milliseconds before a build that failed is tried again. */
const retryAfter = 300_000

/** Changes of a graph that are searched beside it before they are built in. */
const changesFor = (vectors: number): number => Math.max(1_000, vectors / 32)

/** Whether so much was written since the graph that it should be built in: until then it is searched exactly. */
const isStale = ({ deleted, row }: GraphInUse, changes: number, collection: Rows.Collection): boolean =>
  collection.reset_seq > row.seq || changes + deleted.size > changesFor(row.size)

export const make = (
  client: SqliteClient,
  { graphFrom, memoryBytes, recall }: CacheOptions
): Effect.Effect<SqliteVectorCache, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    /** What is built or opened beside the searches. */
    const background = yield* FiberSet.make<void>()
    const builder = yield* Graphs.makeBuilder
    const { name, path, readOnly } = client.options
    const usesGraphs = path !== ":memory:" && Number.isFinite(graphFrom)
    /** Least recently used first. */
    const entries = new Map<number, Entry>()

    const entryOf = ({ id }: Rows.Collection): Entry => {
      const entry = entries.get(id) ?? newEntry(client, memoryBytes)
      entries.delete(id)
      entries.set(id, entry)
      return entry
    }

    const bytes = () => Array.from(entries.values()).reduce((sum, entry) => sum + bytesOf(entry), 0)

    /** Between two searches. No search holds the index for ever. */
    const whenFree = <A>(entry: Entry, body: Effect.Effect<A>): Effect.Effect<A> =>
      Effect.orDie(entry.lane.hold({ backend: name, operation: "VectorStore" }, Number.POSITIVE_INFINITY, body))

    /** Lets go of the rows, whose memory is given back bit by bit once no search uses them any more. */
    const dropRows = (entry: Entry): Effect.Effect<void> =>
      Effect.suspend(() => {
        const { rows } = entry
        entry.rows = undefined
        if (rows === undefined) return Effect.void
        const release = Effect.repeat(Effect.zipRight(nextTurn, Effect.sync(rows.release)), { while: (more) => more })
        return FiberSet.run(background, Effect.asVoid(Effect.zipRight(whenFree(entry, Effect.void), release)))
      })

    /** Takes a graph into use, or none. */
    const replaceGraph = (entry: Entry, graph: GraphInUse | undefined): Effect.Effect<void> =>
      Effect.suspend(() => {
        const before = entry.graph
        entry.graph = graph
        const closed = before === undefined ? Effect.void : Scope.close(before.scope, Exit.void)
        return Effect.zipRight(dropRows(entry), closed)
      })

    const forget = (id: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const entry = entries.get(id)
        entries.delete(id)
        return entry === undefined ? Effect.void : replaceGraph(entry, undefined)
      })

    /** Lets go of other indexes until those of the entry fit, when they take `wanted` bytes. */
    const evictFor = (entry: Entry, wanted: number): Effect.Effect<void> =>
      Effect.gen(function* () {
        let held = wanted
        for (const other of entries.values()) if (other !== entry) held += bytesOf(other)
        for (const [id, other] of entries) {
          if (held <= memoryBytes) break
          if (other === entry) continue
          held -= bytesOf(other)
          yield* forget(id)
        }
      })

    /** Makes room for so many bytes of rows. */
    const makeRoom = (entry: Entry, rowBytes: number): Effect.Effect<void, TooLarge> =>
      Effect.suspend(() => {
        const others = () => bytesOf(entry) - (entry.rows?.bytes() ?? 0)
        if (others() + rowBytes > memoryBytes) entry.matches.forget()
        const wanted = others() + rowBytes
        if (wanted <= memoryBytes) return evictFor(entry, wanted)
        return Effect.zipRight(dropRows(entry), new TooLarge())
      })

    const makeRoomForMatches = (entry: Entry): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (bytesOf(entry) > memoryBytes) entry.matches.forget()
        return evictFor(entry, bytesOf(entry))
      })

    /** Whether there is room for a graph and for what may be written until the next one. */
    const fits = (vectors: number, dimension: number): boolean =>
      Graphs.bytesFor(vectors) + QuantizedIndex.bytesFor(dimension, changesFor(vectors)) <= memoryBytes

    const isUsable = (row: Rows.GraphRow, { dimension }: { readonly dimension: number }): row is UsableRow =>
      row.sha256 !== null && row.recall >= recall && fits(row.size, dimension)

    /** Undefined, with a warning, if the file is not what is on record. */
    const openGraph = (collection: Rows.Collection, row: UsableRow) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const own = yield* Scope.fork(scope, ExecutionStrategy.sequential)
          const settings = { ...collection, scale: row.scale, connectivity: row.connectivity }
          const opening = Graphs.open(fileOf(path, collection, row), settings, row.size)
          const opened = yield* Effect.exit(restore(Scope.extend(opening, own)))
          if (Exit.isSuccess(opened)) return { row, graph: opened.value, deleted: new Set<number>(), scope: own }
          yield* Scope.close(own, opened)
          if (Exit.isInterrupted(opened)) return yield* Effect.interrupt
          yield* Effect.logWarning(unusable(collection), opened.cause)
          return undefined
        })
      )

    /** What is on record is of no use here: no other graph is searched in its place. The index may not be in use. */
    const refuse = (entry: Entry, row: Rows.GraphRow | undefined): Effect.Effect<void> =>
      Effect.suspend(() => {
        entry.record = row
        return entry.graph === undefined ? Effect.void : replaceGraph(entry, undefined)
      })

    /** Takes the graph on record into use. The index may not be in use. */
    const install = (entry: Entry, collection: Rows.Collection, row: UsableRow, graph: GraphInUse | undefined) =>
      Effect.suspend(() => {
        if (graph === undefined) return refuse(entry, row)
        entry.record = row
        if (entries.get(collection.id) === entry) {
          return Effect.flatMap(replaceGraph(entry, graph), () => evictFor(entry, bytesOf(entry)))
        }
        return Scope.close(graph.scope, Exit.void)
      })

    /** As `install`, between two searches; whether the graph could be opened. */
    const goOver = (entry: Entry, collection: Rows.Collection, row: UsableRow) =>
      Effect.suspend(() => {
        entry.opening = true
        return Effect.flatMap(openGraph(collection, row), (graph) =>
          Effect.as(whenFree(entry, install(entry, collection, row, graph)), graph !== undefined)
        )
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            entry.opening = false
          })
        )
      )

    /** Whether the entry follows the graph on record, as far as it can. */
    const isFollowing = ({ graph, opening, record }: Entry, collection: Rows.Collection): boolean =>
      graph?.graph.isOpen() !== false && (!usesGraphs || opening || (record?.token ?? null) === collection.graph)

    /** Goes over to the graph on record if that is another than before. */
    const followRecord = (entry: Entry, collection: Rows.Collection): Effect.Effect<void, DbError> =>
      Effect.gen(function* () {
        if (entry.graph?.graph.isOpen() === false) yield* replaceGraph(entry, undefined)
        if (isFollowing(entry, collection)) return
        const row = yield* Rows.findGraph(client, collection)
        if (row === undefined || !isUsable(row, collection)) {
          yield* refuse(entry, row)
        } else if (entry.rows === undefined && entry.graph === undefined) {
          yield* install(entry, collection, row, yield* openGraph(collection, row))
        } else {
          yield* FiberSet.run(background, Effect.asVoid(goOver(entry, collection, row)))
        }
      })

    const sweep = (id: number, keep: string | undefined) =>
      Effect.try({
        try: () => GraphFile.sweep(path, id, keep),
        catch: (cause) => new Graphs.BuildFailed({ message: `old files cannot be deleted (${String(cause)})` })
      })

    /** What a build that failed has left would keep the space that the database needs, and that it may have failed for. */
    const discard = (id: number, token: string) =>
      Effect.try(() => NodeFs.rmSync(GraphFile.pathOf(path, id, token), { force: true }))

    /** Builds a graph of the collection, puts it on record and goes over to it. */
    const build = (entry: Entry, collection: Rows.Collection) =>
      Effect.gen(function* () {
        const { graph, record: before } = entry
        const token = NodeCrypto.randomUUID()
        const task = {
          database: path,
          collection,
          token,
          before: before?.token,
          base: graph === undefined ? undefined : { ...graph.row, file: fileOf(path, collection, graph.row) },
          recall
        }
        const row = yield* Effect.scoped(
          Effect.gen(function* () {
            const built = yield* builder
              .build(task, (share) => {
                entry.building = share
              })
              .pipe(Effect.tapError(() => Effect.ignoreLogged(discard(collection.id, token))))
            if (built === undefined) return undefined
            const { file, ...rest } = built
            const row: Rows.GraphRow = { ...rest, token, bytes: file?.bytes ?? 0, sha256: file?.sha256 ?? null }
            if (!(yield* Rows.recordGraph(client, collection, before?.token, row))) return undefined
            yield* sweep(collection.id, token)
            return row
          })
        )
        if (row === undefined || !isUsable(row, collection)) return
        if (!(yield* goOver(entry, collection, row))) {
          return yield* new Graphs.BuildFailed({ message: "it was built, but cannot be opened" })
        }
      })

    /** Starts a build beside the searches if `size` vectors are worth it and nobody here builds yet. */
    const considerBuild = (entry: Entry, collection: Rows.Collection, size: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const { building, failedAt, graph, opening, record } = entry
        if (!usesGraphs || readOnly || opening || building !== undefined) return Effect.void
        if ((record?.token ?? null) !== collection.graph) return Effect.void
        if (failedAt !== undefined && performance.now() - failedAt < retryAfter) return Effect.void
        // One that finds too little is tried again when the collection has doubled.
        const refused = record !== undefined && record.recall < recall && size < 2 * record.size
        const wanted = graph === undefined ? size >= graphFrom && !refused : isStale(graph, size, collection)
        if (!wanted || !fits(size, collection.dimension)) return Effect.void
        entry.building = 0
        entry.failedAt = undefined
        const reported = build(entry, collection).pipe(
          Effect.catchAll((error) => {
            entry.failedAt = performance.now()
            return Effect.logWarning(
              `The graph of the collection "${collection.name}" could not be built: ${error.message}`
            )
          }),
          Effect.ensuring(
            Effect.sync(() => {
              entry.building = undefined
            })
          )
        )
        return Effect.asVoid(FiberSet.run(background, reported))
      })

    /**
     * Brings the rows from `entry.seq` to at least `collection.seq`. Deletions are read before rows: a row that took the
     * number of a deleted one is newer than the deletion. An interrupted load is begun again from the same `seq`.
     */
    const load = (
      entry: Entry,
      collection: Rows.Collection,
      at: ErrorContext
    ): Effect.Effect<void, DbError | TooLarge> =>
      Effect.gen(function* () {
        const { dimension, id, metric } = collection
        const range = entry.rows?.outgrown() === true ? entry.rows.fittingRange() : undefined
        if (range !== undefined || collection.reset_seq > entry.seq) yield* dropRows(entry)
        if (entry.rows === undefined) entry.seq = entry.graph?.row.seq ?? 0
        const deletions = yield* client.query(
          "SELECT row_id FROM db_hub_vector_deletions WHERE collection_id = ? AND seq > ?",
          [id, entry.seq]
        )
        for (const { row_id } of deletions) {
          entry.rows?.remove(row_id as number)
          entry.graph?.deleted.add(row_id as number)
        }
        let last = Rows.after(entry.seq)
        while (true) {
          const rows = yield* client.query(loadPage, Rows.pageParameters(collection, last))
          const vectors: Array<Float32Array> = []
          for (const row of rows) vectors.push(yield* Rows.readVector(row, collection, at))
          if (entry.rows === undefined) {
            const capacity = yield* Rows.countAfter(client, collection, entry.seq)
            yield* considerBuild(entry, collection, capacity)
            yield* makeRoom(entry, QuantizedIndex.bytesFor(dimension, capacity))
            const sampled = range ?? QuantizedIndex.rangeOf(metric, vectors)
            entry.rows = QuantizedIndex.make({ dimension, metric, capacity, range: sampled })
            yield* nextTurn
          }
          for (let i = 0; i < rows.length; i++) entry.rows.put(rows[i]!.row_id as number, vectors[i]!)
          yield* makeRoom(entry, entry.rows.bytes())
          if (rows.length < pageRows) break
          last = rows[rows.length - 1] as unknown as Rows.Cursor
          yield* nextTurn
        }
        entry.seq = collection.seq
        yield* considerBuild(entry, collection, entry.rows.size())
      })

    const snapshotOf = ({ graph, matches, seq }: Entry, rows: QuantizedIndex.QuantizedIndex): Snapshot => ({
      index:
        graph === undefined
          ? rows
          : HnswIndex.make({
              graph: graph.graph,
              expansion: graph.row.expansion,
              changes: rows,
              deleted: graph.deleted
            }),
      exact: graph === undefined,
      seq,
      matches
    })

    /** The index, if nothing was written that it does not hold. */
    const upToDate = (entry: Entry, { seq }: Rows.Collection): Snapshot | undefined => {
      const { rows } = entry
      return rows !== undefined && entry.seq >= seq && !rows.outgrown() ? snapshotOf(entry, rows) : undefined
    }

    const newest = (
      entry: Entry,
      collection: Rows.Collection,
      at: ErrorContext
    ): Effect.Effect<Snapshot, DbError | Moved | TooLarge> =>
      Effect.gen(function* () {
        for (let round = 0, head = collection; round < maxRounds; round++) {
          if (!isFollowing(entry, head)) yield* followRecord(entry, head)
          const snapshot = upToDate(entry, head)
          if (snapshot !== undefined) return snapshot
          yield* load(entry, head, at)
          head = yield* Rows.getCollection(client, collection.name, at)
          if (head.id !== collection.id) break
        }
        return yield* new Moved()
      })

    return {
      bytes,
      dropped: (collection) =>
        Effect.zipRight(
          forget(collection.id),
          Effect.catchAll(sweep(collection.id, undefined), (error) => Effect.logWarning(error.message))
        ),
      settled: FiberSet.awaitEmpty(background),
      describe: (collection, row) => {
        const entry = entries.get(collection.id)
        if (entry?.building !== undefined) {
          return { kind: "hnsw", state: "building", sizeBytes: row?.bytes ?? 0, progress: entry.building }
        }
        if (row === undefined || !usesGraphs) {
          return { kind: "none", state: entry?.failedAt === undefined ? "none" : "failed", sizeBytes: 0 }
        }
        const unused = entry?.record?.token === row.token && entry.graph === undefined
        return {
          kind: "hnsw",
          state: !isUsable(row, collection) ? "refused" : unused ? "failed" : "ready",
          sizeBytes: row.bytes,
          recall: row.recall,
          parameters: { connectivity: row.connectivity, expansion: row.expansion, quantization: "f16" }
        }
      },
      use: (collection, at, body) => {
        const entry = entryOf(collection)
        const before = entry.matches.bytes()
        return entry.lane.holdMask(at, Number.POSITIVE_INFINITY, (restore) => {
          const snapshot = isFollowing(entry, collection) ? upToDate(entry, collection) : undefined
          const using = snapshot === undefined ? Effect.flatMap(newest(entry, collection, at), body) : body(snapshot)
          if (Exit.isExit(using)) return using
          return Effect.flatMap(restore(using), (found) =>
            entry.matches.bytes() > before ? Effect.as(makeRoomForMatches(entry), found) : Effect.succeed(found)
          )
        })
      }
    }
  })

const unusable = ({ name }: Rows.Collection): string =>
  `The graph of the collection "${name}" cannot be opened: it is built anew, and the collection is searched without it meanwhile`
