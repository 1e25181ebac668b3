/** Connection URLs, taken apart into the keys of a configuration file. A problem is told without the URL's text. */
import * as Either from "effect/Either"

/** Keys and values of a backend's section. */
export type Section = Readonly<Record<string, unknown>>

/** The engine that the scheme of a URL selects. */
const engines = {
  "sqlite:": "sqlite",
  "file:": "sqlite",
  "postgres:": "postgresql",
  "postgresql:": "postgresql",
  "mysql:": "mysql",
  "mariadb:": "mysql"
} as const

const isScheme = (scheme: string): scheme is keyof typeof engines => Object.hasOwn(engines, scheme)

/** The engine of a URL. */
export const engineOf = (url: string): Either.Either<(typeof engines)[keyof typeof engines], string> => {
  const scheme = /^[A-Za-z][\w+.-]*:/.exec(url)?.[0].toLowerCase() ?? ""
  return isScheme(scheme)
    ? Either.right(engines[scheme])
    : Either.left(`must be a URL that starts with one of ${Object.keys(engines).join(", ")}`)
}

const decode = (text: string): Either.Either<string, string> =>
  Either.try({ try: () => decodeURIComponent(text), catch: () => "has a % that encodes nothing; write %25 for a %" })

const queryKeys: Record<string, Record<string, string>> = {
  postgresql: {
    host: "host",
    port: "port",
    dbname: "database",
    user: "user",
    password: "password",
    sslmode: "ssl_mode",
    sslrootcert: "ssl_ca_file",
    application_name: "application_name",
    connect_timeout: "connect_timeout"
  },
  mysql: {}
}

const network = (engine: "postgresql" | "mysql", url: URL): Either.Either<Section, string> =>
  Either.gen(function* () {
    const section: Record<string, unknown> = {}
    const set = (key: string, value: unknown) => {
      if (Object.hasOwn(section, key)) return Either.left(`gives ${key} twice`)
      section[key] = value
      return Either.right(undefined)
    }
    const known = queryKeys[engine]!
    const parts = { host: url.hostname, user: url.username, password: url.password, database: url.pathname.slice(1) }
    for (const [key, text] of Object.entries(parts)) {
      if (text !== "") yield* set(key, (yield* decode(text)).replace(/^\[(.*)\]$/, "$1"))
    }
    if (url.port !== "") yield* set("port", Number(url.port))
    for (const [name, text] of url.searchParams) {
      const key = Object.hasOwn(known, name) ? known[name] : undefined
      if (key === undefined) {
        const allowed = Object.keys(known).join(", ") || "none"
        return yield* Either.left(`has a parameter that is not known; allowed: ${allowed}`)
      }
      // In a URL the seconds of libpq, in the file milliseconds.
      const number = key === "port" || key === "connect_timeout"
      yield* set(key, number ? Number(text) * (key === "port" ? 1 : 1000) : text)
    }
    return section
  })

/** The keys that a URL stands for. */
export const sectionOf = (url: string): Either.Either<Section, string> =>
  Either.gen(function* () {
    const engine = yield* engineOf(url)
    if (engine === "sqlite") {
      if (/[?#]/.test(url)) return yield* Either.left("must be a path alone; write ? as %3F, # as %23")
      const path = yield* decode(url.replace(/^[A-Za-z]+:(\/\/(localhost(?=\/))?)?/, ""))
      return path === "" ? yield* Either.left("names no file") : { path }
    }
    if (!URL.canParse(url)) return yield* Either.left("is not a URL; encode special characters as %XX")
    return yield* network(engine, new URL(url))
  })
