/**
 * Vectors for what the stores keep, batch by batch: which things lack one of the model at hand, and who writes it.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape, Row, SqlValue } from "../../services/Backend.js"
import type { ConversationStore } from "../../services/ConversationStore.js"
import type { EmbeddingsShape } from "../../services/Embeddings.js"
import type { MemoryStore } from "../../services/MemoryStore.js"
import type { StoreEmbeddingOptions } from "../../services/StoreEmbedding.js"
import * as StoreTexts from "../../services/StoreTexts.js"
import type { WorkspaceStore } from "../../services/WorkspaceStore.js"
import * as EmbeddingPass from "../search/EmbeddingPass.js"
import * as Fresh from "./Fresh.js"
import * as Page from "./Page.js"
import * as StoreVectors from "./StoreVectors.js"
import * as ToEmbed from "./ToEmbed.js"

/** Few at once, so that no write of somebody else waits long for theirs. */
const batchSize = 64

/** What waits, in `embeddedBy`. */
const unembedded = ""

interface Waiting extends EmbeddingPass.Waiting {
  readonly user: string
  readonly row: Row
  readonly contentHash: string
}

/** Without a vector where there is nothing to embed. */
interface Embedded extends Waiting {
  readonly vector: ReadonlyArray<number> | null
}

/**
 * Things of one kind. An index has those that may lack a vector by `embeddedBy` and then by their key.
 *
 * @since 0.1.0
 * @category models
 */
export interface Kind {
  readonly table: string
  /** Joins that `user` needs. */
  readonly join: string
  readonly user: string
  readonly text: string
  readonly key: ReadonlyArray<string>
  readonly embeddedBy: string
  /** In `embeddedBy`: what lacks nothing. '' is what waits, anything else another model, or another dimension of it. */
  readonly done: ReadonlyArray<string>
  readonly where: string
  readonly params: ReadonlyArray<SqlValue>
  /** Whether it is kept of a thing that there is nothing to embed. */
  readonly keepsBlank: boolean
  /** Gives things of one user their vectors, and tells how many. */
  readonly give: (user: string, embedded: ReadonlyArray<Embedded>) => Effect.Effect<number, DbError>
}

/**
 * Things of one kind, by the model at hand.
 *
 * @since 0.1.0
 * @category models
 */
export type KindOf = (embeddings: EmbeddingsShape, now: Date) => Kind

interface PassOptions extends StoreEmbeddingOptions {
  /** Of each kind at most; default all. */
  readonly batches?: number
}

/**
 * @since 0.1.0
 * @category kinds
 */
export const memories =
  (store: MemoryStore["Type"]): KindOf =>
  ({ dimension, model }, now) => ({
    table: "db_hub_memories AS t",
    join: "",
    user: "t.user_id",
    text: "t.content",
    key: ["t.id"],
    embeddedBy: ToEmbed.embeddedBy("t."),
    done: [EmbeddingPass.nameOf({ model, dimension })],
    where: "t.superseded_by IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?)",
    params: [now],
    keepsBlank: false,
    give: (user, embedded) =>
      store.embed({
        user,
        model,
        embeddings: embedded.flatMap(({ contentHash, row, vector }) =>
          vector === null ? [] : [{ id: String(row["id"]), contentHash, vector }]
        )
      })
  })

/**
 * @since 0.1.0
 * @category kinds
 */
export const messages =
  (store: ConversationStore["Type"]): KindOf =>
  ({ dimension, model }) => ({
    table: "db_hub_messages AS t",
    join: "JOIN db_hub_conversations AS c ON c.id = t.conversation_id",
    user: "c.user_id",
    text: "t.content",
    key: ["t.conversation_id", "t.seq"],
    embeddedBy: "t.embedded_in",
    done: ["none", StoreVectors.collectionOf(StoreTexts.collections.messages, model, dimension)],
    where: "1 = 1",
    params: [],
    keepsBlank: true,
    give: (user, embedded) =>
      store.embedMessages({
        user,
        model,
        embeddings: embedded.map(({ contentHash, row, vector }) => ({
          conversation: String(row["conversation_id"]),
          seq: Number(row["seq"]),
          contentHash,
          vector
        }))
      })
  })

/**
 * @since 0.1.0
 * @category kinds
 */
export const chunks =
  (store: WorkspaceStore["Type"]): KindOf =>
  ({ dimension, model }) => ({
    table: "db_hub_document_chunks AS t",
    join: "",
    user: "t.user_id",
    text: "t.text",
    key: ["t.id"],
    embeddedBy: ToEmbed.embeddedBy("t."),
    done: [EmbeddingPass.nameOf({ model, dimension })],
    where: "1 = 1",
    params: [],
    keepsBlank: false,
    give: (user, embedded) =>
      Effect.map(
        store.embedChunks({
          user,
          model,
          embeddings: embedded.flatMap(({ row, vector }) =>
            vector === null ? [] : [{ id: String(row["id"]), vector }]
          )
        }),
        (ids) => ids.length
      )
  })

/**
 * Goes through things of these kinds.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "query">,
  kindsOf: ReadonlyArray<KindOf>,
  embeddings: EmbeddingsShape
) => {
  const kinds = Effect.map(Fresh.now, (now) => kindsOf.map((kindOf) => kindOf(embeddings, now)))

  /** Those of a kind that are embedded by one thing. */
  const those = (kind: Kind, by: string, user: string | undefined, blankToo: boolean) =>
    Page.all([
      [`${kind.embeddedBy} = ?`, by],
      [kind.where, ...kind.params],
      ...(user === undefined ? [] : [[`${kind.user} = ?`, user] as const]),
      ...(blankToo ? [] : [ToEmbed.notBlank(kind.text)])
    ])

  /** By what things of a kind are embedded, after one such thing; without what lacks nothing. */
  const embeddedAfter = (
    { done, embeddedBy, params, table, where }: Kind,
    by: string
  ): Effect.Effect<string | undefined, DbError> =>
    Effect.gen(function* () {
      let last = by
      while (true) {
        const [row] = yield* backend.query(
          `SELECT min(${embeddedBy}) AS found FROM ${table} WHERE ${where} AND ${embeddedBy} > ?`,
          [...params, last]
        )
        const found = row?.["found"] ?? null
        if (found === null) return undefined
        last = String(found)
        if (!done.includes(last)) return last
      }
    })

  const pendingOf = (kind: Kind, user: string | undefined): Effect.Effect<number, DbError> =>
    Effect.gen(function* () {
      let total = 0
      for (let by: string | undefined = unembedded; by !== undefined; by = yield* embeddedAfter(kind, by)) {
        const { params, where } = those(kind, by, user, false)
        const from = user === undefined ? kind.table : `${kind.table} ${kind.join}`
        const [row] = yield* backend.query(`SELECT count(*) AS n FROM ${from} WHERE ${where}`, params)
        total += Number(row?.["n"])
      }
      return total
    })

  const page = (kind: Kind, by: string, after: Row | undefined, user: string | undefined) => {
    const { params, where } = those(kind, by, user, kind.keepsBlank)
    const key = kind.key.join(", ")
    const place = kind.key.map((column) => after?.[column.slice("t.".length)] as SqlValue)
    const further = after === undefined ? "" : ` AND (${key}) > (${place.map(() => "?").join(", ")})`
    return backend.query(
      `SELECT ${key}, ${kind.user} AS user_id, ${kind.text} AS text FROM ${kind.table} ${kind.join}
        WHERE ${where}${further} ORDER BY ${key} LIMIT ${batchSize}`,
      after === undefined ? params : [...params, ...place]
    )
  }

  const give = (kind: Kind, embedded: ReadonlyArray<Embedded>): Effect.Effect<number, DbError> =>
    Effect.map(
      Effect.forEach(Object.entries(Arr.groupBy(embedded, ({ user }) => user)), ([user, some]) =>
        kind.give(user, some)
      ),
      (counts) => counts.reduce((sum, count) => sum + count, 0)
    )

  const sourceOf = (kind: Kind, { batches = Infinity, user }: PassOptions): EmbeddingPass.Source<Waiting> => {
    let by: string | undefined = unembedded
    let [after, left]: [Row | undefined, number] = [undefined, batches]
    const next = Effect.gen(function* () {
      while (by !== undefined && left > 0) {
        const rows = yield* page(kind, by, after, user)
        after = rows[rows.length - 1]
        if (after === undefined) {
          by = yield* embeddedAfter(kind, by)
          continue
        }
        left--
        const found = rows.map((row): Waiting => {
          const text = String(row["text"])
          const contentHash = StoreTexts.hashOf(text)
          const place = kind.key.map((column) => String(row[column.slice("t.".length)])).join(" ")
          return {
            key: `${contentHash} ${kind.table} ${place}`,
            text: StoreTexts.beginning(text.trimStart()),
            user: String(row["user_id"]),
            row,
            contentHash
          }
        })
        const [waiting, blank] = Arr.partition(found, ({ text }) => EmbeddingPass.isBlank(text))
        if (kind.keepsBlank) {
          yield* give(
            kind,
            blank.map((each) => ({ ...each, vector: null }))
          )
        }
        return { seen: rows.length, waiting }
      }
      return undefined
    })
    return {
      total: pendingOf(kind, user),
      next,
      fill: (waiting, vectors) =>
        give(
          kind,
          waiting.map((each, i) => ({ ...each, vector: Array.from(vectors[i]!) }))
        )
    }
  }

  return {
    pending: ({ user }: StoreEmbeddingOptions = {}) =>
      Effect.flatMap(kinds, (all) =>
        Effect.map(
          Effect.forEach(all, (kind) => pendingOf(kind, user)),
          (counts) => counts.reduce((sum, count) => sum + count, 0)
        )
      ),

    /** Goes once through all that waits, but for some keys. */
    pass: (
      options: PassOptions,
      skip: EmbeddingPass.Refused,
      onProgress?: EmbeddingPass.OnProgress
    ): Effect.Effect<EmbeddingPass.Pass, DbError> =>
      Effect.gen(function* () {
        const sources = (yield* kinds).map((kind) => sourceOf(kind, options))
        const totals = yield* Effect.forEach(onProgress === undefined ? [] : sources, ({ total }) => total)
        const all = totals.reduce((sum, total) => sum + total, 0)
        let [pass, before] = [EmbeddingPass.nothing, 0]
        for (const [i, source] of sources.entries()) {
          const begun = before
          const told: EmbeddingPass.OnProgress | undefined =
            onProgress &&
            (({ done, total }) => {
              before = begun + total
              return onProgress({ done: begun + done, total: Math.max(all, begun + total) })
            })
          const counted = { ...source, total: Effect.succeed(totals[i] ?? 0) }
          const one = yield* EmbeddingPass.run(embeddings, counted, skip, told)
          pass = EmbeddingPass.together(pass, one)
          if (pass.stopped) return pass
        }
        return pass
      })
  }
}
