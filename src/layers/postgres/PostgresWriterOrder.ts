/**
 * The order of transactions that write changes. A number from a sequence is given out before the commit, so a later one
 * may be seen earlier; a reader must know which numbers are still out.
 *
 * A writer therefore notes in a shared lock of its transaction, before it takes its number, the last number given out so
 * far: its own will be greater. Whoever reads the last number, then the locks, and only then the changes, finds every
 * change up to the least of these. Transactions that write no change are not in it, however long they take.
 *
 * @since 0.1.0
 */
import type { Dialect } from "../../services/Dialect.js"

/** Locks of the hub's writers are told from others by a number of the sequence, which is the schema's own. */
const lockClass = "hashtext('db_hub_writers'::regclass::oid::text)"

/** Locks are named by 31 bits. */
const lockSpan = 2 ** 31

/**
 * @since 0.1.0
 * @category dialect
 */
export const writerOrder: Dialect["writerOrder"] = {
  column: "BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)",
  up: [
    "CREATE SEQUENCE db_hub_writers",
    "LOCK TABLE db_hub_changes IN ACCESS EXCLUSIVE MODE",
    "SELECT setval('db_hub_writers', greatest(1, (SELECT max(writer) FROM db_hub_changes)))",
    `CREATE FUNCTION db_hub_writer() RETURNS BIGINT LANGUAGE plpgsql AS $hub$
DECLARE
  mine TEXT := current_setting('db_hub.writer', true);
BEGIN
  IF mine IS NULL OR mine = '' THEN
    PERFORM pg_advisory_xact_lock_shared(${lockClass}, (SELECT (last_value % ${lockSpan})::int FROM db_hub_writers));
    mine := nextval('db_hub_writers')::text;
    PERFORM set_config('db_hub.writer', mine, true);
  END IF;
  RETURN mine::bigint;
END
$hub$`,
    "ALTER TABLE db_hub_changes ALTER COLUMN writer SET DEFAULT db_hub_writer()"
  ],
  down: [
    "ALTER TABLE db_hub_changes ALTER COLUMN writer SET DEFAULT (pg_current_xact_id()::text::bigint)",
    "DROP FUNCTION db_hub_writer()",
    "DROP SEQUENCE db_hub_writers"
  ],
  settled: `SELECT coalesce(oldest.number, last.last_value) AS settled
    FROM db_hub_writers last, LATERAL (
      SELECT min(last.last_value - (last.last_value - objid::bigint + ${lockSpan}) % ${lockSpan}) AS number FROM pg_locks
       WHERE locktype = 'advisory' AND objsubid = 2 AND classid = ${lockClass}::oid
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) oldest`
}
