/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { cut } from "../../services/AgentRows.js"
import {
  AuditEntry,
  type AuditFilter,
  AuditLog,
  maxSummary,
  PruneAudit,
  RecordAudit,
  RecordAudits
} from "../../services/AuditLog.js"
import { Backend, type SqlValue } from "../../services/Backend.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import { deletePage } from "../sql/DeletePage.js"
import * as Fresh from "./Fresh.js"
import * as Page from "./Page.js"
import * as Table from "./Table.js"

const table = "db_hub_audit"

const shortened = (summary: string | undefined): string | null =>
  summary === undefined ? null : (cut(summary, maxSummary) ?? summary)

/** In the change feed, a prune is one thing: what it deleted is no longer of interest. */
const pruned = "pruned"

const deleteOldest = deletePage(table, "seq", "created_at < ?", "created_at, seq")

/** Conditions over `seq` and what the filter names, each under an index. */
const where = (filter: AuditFilter, before: number): readonly [string, ReadonlyArray<SqlValue>] => {
  const { allowed, caller, tool } = filter
  const given = Object.entries({ tool, caller, allowed }).filter((entry): entry is [string, string | boolean] => {
    return entry[1] !== undefined
  })
  return [
    ["seq < ?", ...given.map(([column]) => `${column} = ?`)].join(" AND "),
    [before, ...given.map(([, value]) => value)]
  ]
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<AuditLog, never, Backend | WriteChannel> = Layer.effect(
  AuditLog,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const entries = Table.make(backend, table, AuditEntry)

    const insert = ({ argumentSummary, resultSummary, ...entry }: typeof RecordAudit.payloadSchema.Type) => {
      const id = Fresh.id()
      const summaries = { argumentSummary: shortened(argumentSummary), resultSummary: shortened(resultSummary) }
      return Effect.flatMap(Fresh.now, (createdAt) =>
        Effect.as(entries.insert({ id, ...entry, ...summaries, createdAt }), id)
      )
    }

    return {
      record: channel.handle(RecordAudit, (entry) => Effect.map(insert(entry), (id) => ({ result: id, ids: [id] }))),
      recordAll: channel.handle(RecordAudits, ({ entries }) =>
        Effect.map(Effect.forEach(entries, insert), (ids) => ({ result: ids, ids }))
      ),
      prune: channel.handle(PruneAudit, ({ before, limit }) =>
        Effect.map(
          limit === undefined
            ? backend.execute(`DELETE FROM ${table} WHERE created_at < ?`, [before])
            : backend.execute(deleteOldest, [before, limit]),
          ({ rowsAffected: n }) => ({ result: n, ids: n === 0 ? [] : [pruned] })
        )
      ),
      recent: ({ before = Number.MAX_SAFE_INTEGER, limit, ...filter } = {}) =>
        Effect.gen(function* () {
          const size = yield* Page.limit(limit, 50, { backend: backend.name, operation: "AuditLog.recent" })
          const [conditions, params] = where(filter, before)
          return yield* entries.all(`WHERE ${conditions} ORDER BY seq DESC LIMIT ?`, [...params, size])
        }),
      count: (filter = {}) => {
        const [conditions, params] = where(filter, Number.MAX_SAFE_INTEGER)
        return Effect.map(backend.query(`SELECT count(*) AS n FROM ${table} WHERE ${conditions}`, params), ([row]) =>
          Number(row?.["n"])
        )
      }
    }
  })
)
