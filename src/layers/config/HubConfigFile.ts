/**
 * Reads the configuration of the hub from a YAML, TOML or JSON file or from the environment, and prints it.
 *
 * @since 0.1.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as JSONSchema from "effect/JSONSchema"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Toml from "smol-toml"
import { ConfigError } from "../../errors/DbError.js"
import { distance, nearest } from "../../errors/Nearest.js"
import * as HubConfig from "../../services/HubConfig.js"
import { engineOf, type Section, sectionOf } from "./ConnectionUrl.js"
import * as Environment from "./Environment.js"

interface Problem {
  readonly key: string
  readonly problem: string
}

/** All problems in one error, which is named after the first. */
const configError = (operation: string) => (problems: ReadonlyArray<Problem>) =>
  new ConfigError({
    operation,
    code: "HUB_CONFIG",
    key: problems[0]!.key,
    message: problems.map(({ key, problem }) => `${key} ${problem}`).join("\n")
  })

/**
 * How a configuration is written.
 *
 * @since 0.1.0
 * @category models
 */
export type Format = "yaml" | "toml" | "json"

const formats: Record<string, Format> = { ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json" }

/**
 * The files that are looked for, in this order.
 *
 * @since 0.1.0
 * @category constants
 */
export const fileNames: ReadonlyArray<string> = ["db-hub.yaml", "db-hub.yml", "db-hub.toml", "db-hub.json"]

/** Large, and not needed where the environment says it all. */
const yaml = Effect.promise(() => import("./Yaml.js"))

const readYaml = (text: string): Effect.Effect<unknown, string> =>
  Effect.flatMap(yaml, (Yaml) => {
    const lines = new Yaml.LineCounter()
    const document = Yaml.parseDocument(text, { prettyErrors: false, logLevel: "error", lineCounter: lines })
    const [error] = document.errors
    if (error === undefined) {
      return Effect.try({ try: () => document.toJS(), catch: () => "is not valid YAML: too many or broken aliases" })
    }
    const { col, line } = lines.linePos(error.pos[0])
    // The parser's own message may quote the text around the error, its code does not.
    return Effect.fail(
      `is not valid YAML at line ${line}, column ${col}: ${error.code.toLowerCase().replaceAll("_", " ")}`
    )
  })

const readToml = (text: string): Effect.Effect<unknown, string> =>
  Effect.try({
    try: () => Toml.parse(text),
    catch: (error) =>
      error instanceof Toml.TomlError
        ? `is not valid TOML at line ${error.line}, column ${error.column}`
        : "is not valid TOML"
  })

const readJson = (text: string): Effect.Effect<unknown, string> =>
  Effect.orElse(
    Effect.try((): unknown => JSON.parse(text)),
    () =>
      Effect.matchEffect(readYaml(text), {
        onFailure: (problem) => Effect.fail(problem.replace("YAML", "JSON")),
        onSuccess: () => Effect.fail("is not valid JSON, but valid YAML: name it .yaml")
      })
  )

const readers = { yaml: readYaml, toml: readToml, json: readJson }

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  Predicate.isRecord(value) && !(value instanceof Date)

const isAbsent = (value: unknown) => value === undefined || value === null || value === ""

const words: Record<string, boolean> = { yes: true, on: true, no: false, off: false }
const environmentWords: Record<string, boolean> = { ...words, true: true, false: false, 1: true, 0: false }

/** What a text means where the schema expects `ast`; a number in quotes is text unless it came from the environment. */
const coerce = (ast: AST.AST, text: string, fromEnvironment: boolean): unknown => {
  const expected = (AST.isUnion(ast) ? ast.types : [ast]).map((type) => type._tag)
  const known = fromEnvironment ? environmentWords : words
  if (expected.includes("BooleanKeyword")) return known[text.toLowerCase()] ?? text
  if (fromEnvironment && expected.includes("NumberKeyword") && /^-?\d+(\.\d+)?$/.test(text.trim())) return Number(text)
  return text
}

const isName = Schema.is(HubConfig.BackendName)

const literalOf = (ast: AST.AST, key: string): unknown => {
  const type = AST.isTypeLiteral(ast) ? ast.propertySignatures.find((p) => p.name === key)?.type : undefined
  return type !== undefined && AST.isLiteral(type) ? type.literal : undefined
}

/** A pool that was made smaller than the default of idle connections keeps all of its connections. */
const withIdle = (given: Section): Section => {
  const open = given["max_open_conns"]
  return typeof open === "number" && open < 10 ? { max_idle_conns: open, ...given } : given
}

/**
 * Makes raw data ready for the schema: refuses unknown keys, leaves out empty ones and resolves references to the
 * environment. It follows the schema's own tree, so there is no second list of keys.
 */
const prepare = (ast: AST.AST, value: unknown, key: string, problems: Array<Problem>): Effect.Effect<unknown> =>
  Effect.gen(function* () {
    const report = (problem: string) => {
      problems.push({ key, problem })
      return undefined
    }
    if (AST.isUnion(ast) && ast.types.some(AST.isTypeLiteral)) {
      const given = isRecord(value) ? value["type"] : undefined
      const member = ast.types.find((type) => literalOf(type, "type") === given)
      const allowed = ast.types.map((type) => literalOf(type, "type")).join(", ")
      return member === undefined
        ? report(`must be a section with a type, one of ${allowed}`)
        : yield* prepare(member, value, key, problems)
    }
    if (AST.isTypeLiteral(ast)) {
      if (!isRecord(value)) return report("must be a section of keys and values")
      const known = ast.propertySignatures.map((property) => String(property.name))
      const section: Record<string, unknown> = {}
      for (const [name, child] of Object.entries(value)) {
        const type =
          ast.propertySignatures.find((property) => property.name === name)?.type ?? ast.indexSignatures[0]?.type
        const at = `${key}.${name}`
        if (ast.indexSignatures.length > 0 && !isName(name)) {
          problems.push({
            key: at,
            problem: "is not a name; allowed: a letter, then letters, digits, _, -, up to 63 in all"
          })
        } else if (type === undefined) {
          const [meant] = nearest(name, known)
          const hint = meant === undefined ? `allowed: ${known.join(", ")}` : `did you mean ${meant}?`
          problems.push({ key: at, problem: `is not a known key; ${hint}` })
        } else if (!isAbsent(child)) {
          const prepared = yield* prepare(type, child, at, problems)
          if (!isAbsent(prepared)) section[name] = prepared
        }
      }
      return withIdle(section)
    }
    if (typeof value !== "string") return value
    if (value === HubConfig.hidden)
      return report("is the placeholder of a printed configuration, not the secret itself")
    const expanded = yield* Effect.either(Environment.expand(value))
    return Either.isLeft(expanded)
      ? report(expanded.left)
      : coerce(ast, expanded.right.text, expanded.right.fromEnvironment)
  })

const fileKey = (name: PropertyKey) => String(name).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const problemsOf = (error: ParseResult.ParseError, ...prefix: ReadonlyArray<string>): ReadonlyArray<Problem> =>
  ParseResult.ArrayFormatter.formatErrorSync(error).map(({ message, path }) => ({
    key: [...prefix, ...path.map(fileKey)].join("."),
    problem: message
  }))

const decode =
  <A, I>(schema: Schema.Schema<A, I>) =>
  (value: unknown, key: string): Either.Either<A, ReadonlyArray<Problem>> =>
    Either.mapLeft(Schema.decodeUnknownEither(schema, { errors: "all" })(value), (error) => problemsOf(error, key))

const database = Schema.encodedSchema(HubConfig.DatabaseSection)

const problem = (key: string, problem: string): Either.Either<never, ReadonlyArray<Problem>> =>
  Either.left([{ key, problem }])

const withUrl = (given: Section, key: string): Either.Either<Section, ReadonlyArray<Problem>> => {
  const { url, ...rest } = given
  if (typeof url !== "string") return Either.right(rest)
  const parts = Either.all([engineOf(url), sectionOf(url)])
  if (Either.isLeft(parts)) return problem(`${key}.url`, parts.left)
  const [engine, section] = parts.right
  if (engine !== given["type"])
    return problem(`${key}.url`, `is the URL of another engine; this section is ${given["type"]}`)
  const twice = [...Object.keys(section), "supabase_url"].find((name) => name in rest)
  return twice === undefined
    ? Either.right({ ...section, ...rest })
    : problem(`${key}.${twice}`, "contradicts url, which says the same thing: keep one of them")
}

const withSupabase = (given: Section, key: string): Either.Either<Section, ReadonlyArray<Problem>> => {
  const project = /^https:\/\/([a-z0-9]+)\.supabase\.(co|in)/.exec(String(given["supabase_url"]))
  if (project === null) return Either.right(given)
  const direct = `db.${project[1]}.supabase.${project[2]}`
  const host = given["host"] ?? direct
  const pooled = String(host).endsWith(".pooler.supabase.com")
  return host === direct || pooled
    ? Either.right({ database: "postgres", user: pooled ? `postgres.${project[1]}` : "postgres", ...given, host })
    : problem(`${key}.host`, `contradicts supabase_url; allowed: ${direct} or a pooler, *.pooler.supabase.com`)
}

const complete = (given: Section, key: string): Either.Either<Section, ReadonlyArray<Problem>> =>
  Either.flatMap(withUrl(given, key), (section) => withSupabase(section, key))

type Resolve = (path: string) => string

const placed = (backend: HubConfig.BackendConfig, resolve: Resolve): HubConfig.BackendConfig => {
  if (backend.type === "sqlite")
    return { ...backend, path: backend.path === ":memory:" ? ":memory:" : resolve(backend.path) }
  if (backend.type === "postgresql" && backend.sslCaFile !== undefined) {
    return { ...backend, sslCaFile: resolve(backend.sslCaFile) }
  }
  return backend
}

const backendOf = (given: Section, key: string, resolve: Resolve) =>
  complete(given, key).pipe(
    Either.flatMap((section) => decode(HubConfig.BackendConfig)(section, key)),
    Either.map((backend) => placed(backend, resolve))
  )

const memoryOf = (
  memory: NonNullable<NonNullable<(typeof database.Type)["hub"]>["memory"]>,
  hub: Section,
  resolve: Resolve
): Either.Either<Readonly<Record<string, HubConfig.BackendConfig>>, ReadonlyArray<Problem>> => {
  const key = "database.hub.memory"
  if (memory.use_primary === true) {
    if (memory.path !== undefined) return problem(`${key}.path`, "contradicts use_primary: true; keep one of them")
    return memory.backend === undefined || memory.backend === hub["backend"]
      ? Either.right({})
      : problem(`${key}.backend`, "contradicts use_primary: true; the primary is another engine")
  }
  if (isRecord(hub["connections"]) && "memory" in hub["connections"]) {
    return problem(key, "contradicts database.hub.connections.memory; keep one of them")
  }
  if (memory.backend !== undefined && memory.backend !== "sqlite") {
    return problem(`${key}.backend`, "must be sqlite; describe any other engine in database.hub.connections.memory")
  }
  const own = backendOf({ type: "sqlite", path: memory.path ?? "./data/memory.db" }, key, resolve)
  return Either.map(own, (memory) => ({ memory }))
}

const normalise = (
  file: typeof database.Type,
  resolve: Resolve
): Either.Either<HubConfig.HubConfig, ReadonlyArray<Problem>> =>
  Either.gen(function* () {
    const hub = { backend: "sqlite", ...file.hub } as const
    const key = "database.hub"
    const written = hub.sqlite?.path
    if (file.path !== undefined && written !== undefined && resolve(file.path) !== resolve(written)) {
      return yield* problem("database.path", `contradicts ${key}.sqlite.path; keep one of them`)
    }
    const path = written ?? file.path
    const sections = {
      sqlite: { ...hub.sqlite, ...(path === undefined ? {} : { path }) },
      postgresql: hub.postgresql ?? {},
      mysql: hub.mysql ?? {}
    }
    for (const type of ["postgresql", "mysql"] as const) yield* complete({ type, ...sections[type] }, `${key}.${type}`)
    const primary = yield* backendOf({ type: hub.backend, ...sections[hub.backend] }, `${key}.${hub.backend}`, resolve)
    const connections: Record<string, HubConfig.BackendConfig> = {}
    for (const [name, connection] of Object.entries(hub.connections ?? {})) {
      const at = `${key}.connections.${name}`
      if (name === "primary")
        return yield* problem(at, "is a reserved name: the primary is what database.hub.backend says")
      connections[name] = yield* backendOf(connection, at, resolve)
    }
    const memory = hub.memory === undefined ? {} : yield* memoryOf(hub.memory, hub, resolve)
    const embeddings = yield* decode(HubConfig.EmbeddingsConfig)(
      hub.embeddings ?? { type: "hashing" },
      `${key}.embeddings`
    )
    return { primary, connections: { ...connections, ...memory }, embeddings }
  })

const fromData = (data: unknown, source: string, resolve: Resolve) =>
  Effect.gen(function* () {
    if (isAbsent(data)) return yield* normalise({}, resolve)
    if (!isRecord(data)) return yield* problem(source, "must be a section of keys and values")
    // Other programs keep their own sections in the same file, so only a misspelt one is refused.
    const misspelt = Object.keys(data).find((name) => name !== "database" && distance(name, "database") <= 2)
    if (misspelt !== undefined) return yield* problem(misspelt, "is not a known key; did you mean database?")
    if (!("database" in data)) return yield* problem("database", `is missing from ${source}`)
    const problems: Array<Problem> = []
    const ready = yield* prepare(database.ast, data["database"] ?? {}, "database", problems)
    const checked = ready === undefined ? Either.right(ready) : decode(HubConfig.DatabaseSection)(ready, "database")
    const known = new Set(problems.map(({ key }) => key))
    if (Either.isLeft(checked)) problems.push(...checked.left.filter(({ key }) => !known.has(key)))
    if (problems.length > 0) return yield* Either.left(problems)
    return yield* normalise(yield* decode(database)(ready, "database"), resolve)
  })

/**
 * Reads a configuration from its text. Relative paths in it start at `directory`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (
  text: string,
  options: { readonly format: Format; readonly directory?: string; readonly source?: string }
): Effect.Effect<HubConfig.HubConfig, ConfigError, Path.Path> =>
  Effect.flatMap(Path.Path, (path) => {
    const { directory = ".", format, source = "the configuration" } = options
    return readers[format](text).pipe(
      Effect.mapError((problem): ReadonlyArray<Problem> => [{ key: source, problem }]),
      Effect.flatMap((data) => fromData(data, source, (file) => path.resolve(directory, file))),
      Effect.mapError(configError("config.parse"))
    )
  })

/**
 * Reads a configuration file; its extension says how it is written.
 *
 * @since 0.1.0
 * @category constructors
 */
export const load = (
  file: string
): Effect.Effect<HubConfig.HubConfig, ConfigError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const refused = (problem: string) => configError("config.load")([{ key: file, problem }])
    const format = formats[path.extname(file).toLowerCase()]
    if (format === undefined)
      return yield* refused(`has no known extension; allowed: ${Object.keys(formats).join(", ")}`)
    const text = yield* Effect.mapError(fs.readFileString(file), (error) =>
      refused(error._tag === "SystemError" ? `cannot be read: ${error.reason}` : "cannot be read")
    )
    return yield* parse(text, { format, directory: path.dirname(file), source: file })
  })

/**
 * The first of `fileNames` that is in a folder, by default in the working directory.
 *
 * @since 0.1.0
 * @category constructors
 */
export const find = (directory = "."): Effect.Effect<Option.Option<string>, never, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const candidates = fileNames.map((name) => path.resolve(directory, name))
    return yield* Effect.findFirst(candidates, (file) => Effect.orElseSucceed(fs.exists(file), () => false))
  })

/**
 * The configuration that `DATABASE_URL` stands for; its scheme selects the engine. Without one, the defaults.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromEnv: Effect.Effect<HubConfig.HubConfig, ConfigError, Path.Path> = Effect.gen(function* () {
  const path = yield* Path.Path
  const key = "DATABASE_URL"
  const url = Option.getOrElse(
    yield* Effect.catchAll(Environment.variable(key), (text) => problem(key, text)),
    () => ""
  )
  if (url === "") return yield* normalise({}, path.resolve)
  const parts = Either.all({ type: engineOf(url), section: sectionOf(url) })
  if (Either.isLeft(parts)) return yield* problem(key, parts.left)
  const { section, type } = parts.right
  return { ...HubConfig.defaults, primary: yield* backendOf({ type, ...section }, key, path.resolve) }
}).pipe(Effect.mapError(configError("config.env")))

/**
 * The configuration to start with: the given file, or else the one that is found, or else the environment, or else the
 * defaults.
 *
 * @since 0.1.0
 * @category constructors
 */
export const resolve = (
  file?: string
): Effect.Effect<HubConfig.HubConfig, ConfigError, FileSystem.FileSystem | Path.Path> =>
  file === undefined ? Effect.flatMap(find(), Option.match({ onNone: () => fromEnv, onSome: load })) : load(file)

/**
 * Writes a configuration as YAML that can be read again, but for its secrets.
 *
 * @since 0.1.0
 * @category conversions
 */
export const print = (config: HubConfig.HubConfig): Effect.Effect<string, ConfigError> =>
  Schema.encode(HubConfig.HubConfig)(config).pipe(
    Effect.mapError((error) => configError("config.print")(problemsOf(error))),
    Effect.zipWith(yaml, ({ primary: { type, ...primary }, ...others }, Yaml) =>
      Yaml.stringify(
        { database: { hub: { backend: type, [type]: primary, ...others } } },
        (_, value: unknown) => (typeof value === "string" ? Environment.escape(value) : value),
        { lineWidth: 0 }
      )
    )
  )

/**
 * The JSON Schema (draft 7) of the file, for editors. Other programs may keep their sections in it.
 *
 * @since 0.1.0
 * @category conversions
 */
export const jsonSchema = {
  ...JSONSchema.make(Schema.Struct({ database: Schema.optional(HubConfig.DatabaseSection) })),
  title: "effect-db-hub configuration",
  additionalProperties: true
}
