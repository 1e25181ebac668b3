/**
 * Connection strings: URLs, and libpq's `host=… password='…'`. A problem is told without the string's text.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { type InvalidInput, invalidInput } from "../../errors/index.js"

/**
 * What a connection string may say.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  readonly host?: string
  readonly port?: number
  readonly database?: string
  readonly user?: string
  readonly password?: string
  readonly sslMode?: string
  readonly sslCaFile?: string
  readonly applicationName?: string
  readonly connectTimeout?: number
  readonly searchPath?: string
}

type Parsed = Either.Either<Target, InvalidInput>

const keys: Readonly<Record<string, keyof Target>> = {
  host: "host",
  port: "port",
  dbname: "database",
  user: "user",
  password: "password",
  sslmode: "sslMode",
  sslrootcert: "sslCaFile",
  application_name: "applicationName",
  connect_timeout: "connectTimeout",
  search_path: "searchPath"
}

const fail = (problem: string, allowed: string): Parsed =>
  Either.left(invalidInput({ operation: "postgresql.open" }, "url", problem, allowed))

const collect = (pairs: Iterable<readonly [string, string]>): Parsed => {
  const target: Record<string, string | number> = {}
  for (const [name, value] of pairs) {
    const key = Object.hasOwn(keys, name) ? keys[name]! : undefined
    if (key === undefined) return fail("has a parameter that is not known", Object.keys(keys).join(", "))
    if (value === "") continue
    // In a connection string these are seconds, in the options milliseconds.
    target[key] = key === "port" ? Number(value) : key === "connectTimeout" ? Number(value) * 1000 : value
  }
  return Either.right(target)
}

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch (_notEncoded) {
    return undefined
  }
}

const fromUrl = (text: string): Parsed => {
  if (!URL.canParse(text)) return fail("is no URL", "postgresql://user:password@host:port/database, specials as %XX")
  const url = new URL(text)
  const parts = {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port,
    user: url.username,
    password: url.password,
    dbname: url.pathname.replace(/^\//, "")
  }
  const pairs: Array<readonly [string, string]> = []
  for (const [name, part] of Object.entries(parts)) {
    const decoded = decode(part)
    if (decoded === undefined) return fail("has a % that encodes nothing", "%25 for a %")
    pairs.push([name, decoded])
  }
  return collect([...pairs, ...url.searchParams])
}

const pair = /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)/suy

const fromKeywords = (text: string): Parsed => {
  const pairs: Array<readonly [string, string]> = []
  const trimmed = text.trim()
  pair.lastIndex = 0
  while (pair.lastIndex < trimmed.length) {
    const found = pair.exec(trimmed)
    if (found === null) return fail("is no connection string", "key=value pairs, values with spaces in single quotes")
    pairs.push([found[1]!, (found[2] ?? found[3] ?? "").replace(/\\(.)/gsu, "$1")])
  }
  return collect(pairs)
}

/**
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string): Parsed =>
  /^postgres(ql)?:\/\//.test(text) ? fromUrl(text) : text.includes("=") ? fromKeywords(text) : fromUrl(text)
