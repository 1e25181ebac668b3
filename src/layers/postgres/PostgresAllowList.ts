/**
 * Which statements agents may send to PostgreSQL, by the tree that PostgreSQL's own parser makes of them. What is not
 * known to read is refused.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import {
  type DbError,
  DbQuery,
  DbReadOnly,
  DbUnsupported,
  type ErrorContext,
  invalidInput
} from "../../errors/index.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { lexical } from "./PostgresDialect.js"
import { notReading } from "./PostgresRequests.js"

const nodes = new Set(
  (
    "SelectStmt ExplainStmt VariableShowStmt DefElem ResTarget ColumnRef ParamRef A_Star A_Const A_Expr A_ArrayExpr " +
    "A_Indices A_Indirection BoolExpr NullTest BooleanTest FuncCall NamedArgExpr TypeCast TypeName CollateClause " +
    "SubLink RowExpr CaseExpr CaseWhen CoalesceExpr MinMaxExpr SQLValueFunction GroupingFunc GroupingSet SortBy " +
    "WindowDef RangeVar RangeSubselect RangeFunction RangeTableSample RangeTableFunc RangeTableFuncCol JoinExpr Alias " +
    "ColumnDef WithClause CommonTableExpr CTESearchClause CTECycleClause XmlExpr XmlSerialize JsonFormat JsonReturning " +
    "JsonOutput JsonValueExpr JsonArgument JsonBehavior JsonTable JsonTableColumn JsonTablePathSpec JsonFuncExpr " +
    "JsonKeyValue JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor JsonAggConstructor " +
    "JsonObjectAgg JsonArrayAgg JsonIsPredicate JsonParseExpr JsonScalarExpr JsonSerializeExpr " +
    "String Integer Float Boolean BitString List"
  ).split(" ")
)

const statements = new Set(["SelectStmt", "ExplainStmt", "VariableShowStmt"])

/** Fields that stand without the name of their node. */
const refusedFields = new Set(["intoClause", "lockingClause"])

/** Functions of PostgreSQL's own that count as volatile, and yet change nothing. */
const harmless = new Set(
  (
    "random random_normal clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 pg_relation_size " +
    "pg_total_relation_size pg_table_size pg_indexes_size pg_database_size pg_tablespace_size pg_relation_filepath " +
    "pg_current_wal_lsn pg_is_in_recovery pg_last_wal_replay_lsn pg_sequence_last_value"
  ).split(" ")
)

/** Functions that count as stable, and yet take a transaction's number, or read what is named in a text. */
const refusedFunctions = new Set(
  (
    "txid_current pg_current_xact_id table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml " +
    "schema_to_xmlschema schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema " +
    "database_to_xml_and_xmlschema"
  ).split(" ")
)

/** Relations of PostgreSQL that hold passwords, connection strings or files of the server. */
const refusedRelations = new Set(
  (
    "pg_authid pg_shadow pg_user_mapping pg_user_mappings pg_subscription pg_hba_file_rules pg_ident_file_mappings " +
    "pg_file_settings pg_largeobject user_mapping_options _pg_user_mappings"
  ).split(" ")
)

/**
 * What a statement uses that only the database can judge.
 *
 * @since 0.1.0
 * @category models
 */
export interface Accepted {
  /** It can be read through a cursor. */
  readonly cursor: boolean
  readonly functions: ReadonlyArray<string>
  readonly operators: ReadonlyArray<string>
  /** Types that are cast to: a domain checks its values, also within a list, a row or another domain. */
  readonly types: ReadonlyArray<string>
  /** Names after a dot, which may stand for functions of one argument, whatever its type: `('x'::text).pg_ls_dir`. */
  readonly attributes: ReadonlyArray<string>
}

type Parser = (sql: string) => unknown

/** @internal */
export const parser = (context: ErrorContext): Effect.Effect<Parser, DbUnsupported> =>
  Effect.tryPromise({
    try: async () => {
      const library = await import("libpg-query")
      await library.loadModule()
      // What is parsed first takes long: better now than when somebody waits.
      library.parseSync("SELECT a, b FROM t WHERE c = 1")
      return (sql: string): unknown => library.parseSync(sql)
    },
    catch: () =>
      new DbUnsupported({
        ...context,
        code: "HUB_DRIVER_MISSING",
        message: "`db-hub query` and agents read through PostgreSQL's parser: npm install libpg-query"
      })
  })

/**
 * Levels of brackets, and words and operators: the parser recurses, and at the end of its stack it is lost for all who
 * come later.
 */
const [maxDepth, maxWords] = [250, 5_000]

/** The scanner may read such a run once for each of its characters. */
const longRun = /[~!@#^&|`?+\-*/%<>=]{500}/

const excess = (sql: string): readonly [problem: string, allowed: string] | undefined => {
  if (sql.includes("\0")) return ["holds U+0000", "text without it"]
  if (longRun.test(sql)) return ["holds an endless operator or comment", "less than 500 such characters in a row"]
  let [depth, deepest, words] = [0, 0, 0]
  for (const { kind, text } of SqlLexer.tokens(sql, lexical)) {
    if (text === "(" || text === "[") deepest = Math.max(deepest, ++depth)
    else if (text === ")" || text === "]") depth--
    else if (kind === "word" || (kind === "symbol" && !",.;:$".includes(text))) words++
  }
  if (deepest > maxDepth) return ["is nested too deep", `${maxDepth} levels`]
  return words > maxWords
    ? ["is too long", `${maxWords} words and operators; a list may be one value: = ANY (?)`]
    : undefined
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The texts of a qualified name, or of names after a dot. */
const namesOf = (list: unknown): ReadonlyArray<string> =>
  (Array.isArray(list) ? list : []).flatMap((part: unknown) => {
    const text = isRecord(part) && isRecord(part["String"]) ? part["String"]["sval"] : undefined
    return typeof text === "string" ? [text] : []
  })

const parsed = (parse: Parser, sql: string, context: ErrorContext): Effect.Effect<unknown, DbError> =>
  Effect.try({
    try: () => parse(sql),
    catch: (cause) => {
      const details = isRecord(cause) ? cause["sqlDetails"] : undefined
      if (!isRecord(details))
        return invalidInput(context, "sql", "is more than the parser can hold", "a smaller statement")
      const at = typeof details["cursorPosition"] === "number" ? ` at character ${details["cursorPosition"] + 1}` : ""
      return new DbQuery({
        ...context,
        code: "42601",
        message: `PostgreSQL cannot parse the statement${at}: check its syntax`
      })
    }
  })

const refusedBecause = (context: ErrorContext, what: string): DbReadOnly =>
  new DbReadOnly({ ...context, code: "HUB_READ_ONLY", message: `${what} is not allowed where agents read` })

/**
 * Accepts one statement that only reads, as far as its text tells.
 *
 * @since 0.1.0
 * @category checks
 */
export const accept = (parse: Parser, sql: string, context: ErrorContext): Effect.Effect<Accepted, DbError> =>
  Effect.gen(function* () {
    const exceeded = excess(sql)
    if (exceeded !== undefined) return yield* invalidInput(context, "sql", ...exceeded)
    if (sql.trim() === "") return yield* notReading(context)
    const tree = yield* parsed(parse, sql, context)
    const stmts = isRecord(tree) && Array.isArray(tree["stmts"]) ? tree["stmts"] : []
    if (stmts.length > 1) return yield* invalidInput(context, "sql", "holds several statements", "one statement")
    const statement: unknown = stmts[0]?.stmt
    const kind = isRecord(statement) ? Object.keys(statement)[0] : undefined
    if (kind === undefined || !statements.has(kind)) return yield* notReading(context)

    const functions = new Set<string>()
    const operators = new Set<string>()
    const attributes = new Set<string>()
    const types = new Set<string>()
    const note = (into: Set<string>, list: unknown) => {
      const name = namesOf(list).at(-1)
      if (name !== undefined) into.add(name)
    }
    // A stack of our own: the tree may be deeper than the engine's.
    const left: Array<unknown> = [statement]
    while (left.length > 0) {
      const next = left.pop()
      if (Array.isArray(next)) for (const child of next) left.push(child)
      if (!isRecord(next)) continue
      for (const [key, value] of Object.entries(next)) {
        left.push(value)
        if (refusedFields.has(key)) return yield* notReading(context)
        if (/^[A-Z]/.test(key) && !nodes.has(key)) return yield* notReading(context)
        if (key === "funcname") note(functions, value)
        else if (key === "operName" || key === "useOp") note(operators, value)
        else if (key === "A_Expr" && isRecord(value)) note(operators, value["name"])
        else if (key === "fields" && Array.isArray(value) && value.length > 1) note(attributes, value)
        // Each may be called on what the one before it gives.
        else if (key === "indirection") for (const name of namesOf(value)) attributes.add(name)
        else if (key === "names") note(types, value)
        else if (key === "relname" && typeof value === "string" && refusedRelations.has(value)) {
          return yield* refusedBecause(context, value)
        }
      }
    }
    for (const name of [...functions, ...attributes]) {
      if (refusedFunctions.has(name)) return yield* refusedBecause(context, `The function ${name}`)
    }
    return {
      cursor: kind === "SelectStmt",
      functions: Array.from(functions),
      operators: Array.from(operators),
      attributes: Array.from(attributes),
      types: Array.from(types)
    }
  })

const arrayOf = (names: Iterable<string>): string =>
  `{${Array.from(names, (name) => `"${name.replace(/[\\"]/g, "\\$&")}"`).join(",")}}`

/** Objects from here on were made after the database was: none that PostgreSQL brings calls a volatile function. */
const firstOwn = 16384

/** Functions of PostgreSQL's extensions, by their symbols, that count as stable and yet run the SQL of a text. */
const runners = "'crosstab', 'crosstab_hash', 'connectby_text', 'connectby_text_serial', 'xpath_table'"

const callsForbidden = `(p.provolatile = 'v' OR p.prosrc IN (${runners}))`

/**
 * What the question below names where there are domains with checks, and they were not asked for.
 *
 * @since 0.1.0
 * @category constants
 */
export const checkedDomains = "domains with checks"

/** Functions that take the name of a type as a text. */
const namesTypes = new Set(["pg_input_is_valid", "pg_input_error_info"])

/**
 * Domains whose checks call volatile functions. A check's own tree tells what it calls: what PostgreSQL brings has no
 * dependencies.
 */
const volatileDomains = `SELECT k.contypid AS domain, p.proname FROM pg_catalog.pg_constraint k,
  regexp_matches(k.conbin::text, ':(?:op|)funcid ([0-9]+)', 'g') AS called(id)
  JOIN pg_catalog.pg_proc p ON p.oid = called.id[1]::oid
WHERE k.contypid >= ${firstOwn} AND p.provolatile = 'v'`

type List = Exclude<keyof Accepted, "cursor"> | "harmless" | "typeNames"

/** The parts of the question below that what a statement uses asks for. */
const parts = (
  { attributes, functions, operators, types }: Accepted,
  list: (list: List) => string,
  domains: boolean
): ReadonlyArray<string> => [
  ...(functions.length === 0
    ? []
    : [
        `
SELECT p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = ANY (${list("functions")}) AND ${callsForbidden}
  AND NOT (n.nspname = 'pg_catalog' AND p.proname = ANY (${list("harmless")}))`,
        `
SELECT g.proname FROM pg_catalog.pg_proc g JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = g.oid
WHERE g.proname = ANY (${list("functions")}) AND g.oid >= ${firstOwn} AND EXISTS (
  SELECT FROM pg_catalog.pg_proc p
  WHERE p.provolatile = 'v' AND p.oid = ANY (ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
    a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]))`
      ]),
  ...(operators.length === 0
    ? []
    : [
        `
SELECT o.oprname FROM pg_catalog.pg_operator o
WHERE o.oprname = ANY (${list("operators")}) AND o.oid >= ${firstOwn}
  AND (SELECT p.provolatile FROM pg_catalog.pg_proc p WHERE p.oid = o.oprcode) = 'v'`
      ]),
  ...(attributes.length === 0
    ? []
    : [
        `
SELECT p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = ANY (${list("attributes")}) AND ${callsForbidden}
  AND NOT (n.nspname = 'pg_catalog' AND p.proname = ANY (${list("harmless")}))
  AND p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1
  AND NOT 'pg_catalog.internal'::pg_catalog.regtype = ANY (p.proargtypes)`
      ]),
  // Casts that nobody wrote are there without a name.
  `
SELECT (SELECT p.proname FROM pg_catalog.pg_proc p WHERE p.oid = c.castfunc) FROM pg_catalog.pg_cast c
WHERE c.oid >= ${firstOwn}
  AND (SELECT p.provolatile FROM pg_catalog.pg_proc p WHERE p.oid = c.castfunc) = 'v'
  AND ${
    types.length === 0
      ? "c.castcontext = 'i'"
      : `(c.castcontext = 'i'
    OR (SELECT t.typname FROM pg_catalog.pg_type t WHERE t.oid = c.casttarget) = ANY (${list("types")}))`
  }`,
  ...(types.length + functions.length + attributes.length === 0
    ? []
    : [
        !domains
          ? `\nSELECT '${checkedDomains}' FROM pg_catalog.pg_constraint k WHERE k.contypid >= ${firstOwn}`
          : `
SELECT v.proname FROM (${volatileDomains} OFFSET 0) AS v WHERE v.domain = ANY (ARRAY(
  WITH RECURSIVE used(oid) AS (
    (SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typname = ANY (${list("typeNames")})
     UNION ALL
     SELECT unnest(p.proargtypes) FROM pg_catalog.pg_proc p
     WHERE p.proname = ANY (${list("functions")}) AND p.oid >= ${firstOwn})
    UNION
    SELECT within.oid FROM used JOIN pg_catalog.pg_type t ON t.oid = used.oid, LATERAL (
      VALUES (t.typbasetype), (t.typelem)
      UNION ALL
      SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
    ) AS within(oid)
    WHERE within.oid >= ${firstOwn}
  )
  SELECT used.oid FROM used))`
      ]),
  ...(domains && functions.some((name) => namesTypes.has(name))
    ? [`\nSELECT v.proname FROM (${volatileDomains}) AS v`]
    : [])
]

/**
 * @since 0.1.0
 * @category models
 */
export interface Question {
  readonly text: string
  readonly values: ReadonlyArray<string>
}

/**
 * Names what of a statement may change something by the database's own account: volatile functions; operators,
 * aggregates, casts and domains that call them; and such functions that can be called in the form of a column. Asked for
 * often, so every part starts from an index, and none is there that cannot answer: what domains check is looked
 * at where `domains` says that there are such, which is what is named (`checkedDomains`) where it is not known.
 *
 * @since 0.1.0
 * @category checks
 */
export const volatileQuery = (accepted: Accepted, domains: boolean): Question => {
  const { attributes, functions, types } = accepted
  const values: Readonly<Record<List, Iterable<string>>> = {
    ...accepted,
    harmless,
    typeNames: [...types, ...functions, ...attributes]
  }
  const lists: Array<List> = []
  const list = (name: List) => {
    if (!lists.includes(name)) lists.push(name)
    return `$${lists.indexOf(name) + 1}::name[]`
  }
  const text = `SELECT found.name FROM (${parts(accepted, list, domains).join("\nUNION ALL")}\n) AS found(name) LIMIT 1`
  return { text, values: lists.map((name) => arrayOf(values[name])) }
}

/**
 * What tells two moments apart between which any transaction has changed something; NULL on a standby, where it leaves
 * out those that run.
 */
const moment = "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_snapshot()::text END"

/**
 * A row that fails with `22P02` if the statement may change something, so that what is sent behind it is not run. Its
 * last column is the moment, in text; where the last parameter is the moment at which the same was asked before, nothing
 * is looked up. `settings` are columns before it.
 *
 * @since 0.1.0
 * @category checks
 */
export const volatileCheck = ({ text, values }: Question, settings: string): string =>
  `SELECT ${settings}, CASE WHEN here.moment = $${values.length + 1}::text THEN NULL ELSE
  (SELECT ('volatile: ' || found.name)::int FROM (${text}) AS found) END, here.moment
FROM (SELECT ${moment}) AS here(moment)`

/** @internal */
export const isVolatile = (context: ErrorContext, name: string): DbReadOnly =>
  refusedBecause(context, `${name}, which may change something (volatile),`)
