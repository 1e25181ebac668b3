// Real PostgreSQL, PgBouncer and a streaming replica for tests, without touching the system.
//   npm run engines -- --postgres    starts PostgreSQL alone, until Ctrl-C
//   npm run engines -- --fetch       only fetches the programs
//
// The first which is there is taken: DB_HUB_TEST_PG_URL, the programs fetched by pg17.sh, an installed PostgreSQL with
// pgvector, Docker. With none of them the result is { kind: "none", reason }, and the caller takes PGlite and says so.
//   DB_HUB_ENGINES_DIR          where fetched programs are kept
//   DB_HUB_ENGINES_FETCH=0      never download; what was fetched before is used
//   DB_HUB_ENGINES_REQUIRED=1   an error instead of kind "none", for CI
import { randomBytes } from "node:crypto"
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { homedir, tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import * as os from "./process.mjs"

export { makeCertificates } from "./tls.mjs"

const here = dirname(fileURLToPath(import.meta.url))
const recipe = "pg17-1" // a new number whenever pg17.sh gives something else than before
const image = "pgvector/pgvector:pg17"
const message = (error) => (error instanceof Error ? error.message : String(error))

const nothing = (reason) => {
  if (process.env.DB_HUB_ENGINES_REQUIRED === "1") throw new Error(`DB_HUB_ENGINES_REQUIRED is set, but ${reason}`)
  return { kind: "none", reason }
}

// ---------------------------------------------------------------- programs

/** Where fetched programs are kept: a place which the servers' user can read, also when we are root. */
export const enginesDir = () => {
  const wanted = process.env.DB_HUB_ENGINES_DIR
  if (wanted) {
    if (os.reachable(wanted)) return resolve(wanted)
    throw new Error(
      `DB_HUB_ENGINES_DIR=${wanted} cannot be read by the user nobody, as whom PostgreSQL runs when started by root: ` +
        "choose a directory whose parents all have the mode o+x"
    )
  }
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "effect-db-hub", "engines")
  if (os.reachable(cache)) return cache
  try {
    accessSync("/var/cache", constants.W_OK)
    return "/var/cache/effect-db-hub/engines"
  } catch {
    const own = join(os.reachable(tmpdir()) ? tmpdir() : "/tmp", `effect-db-hub-${process.getuid()}`)
    // anybody could have made this directory before us and put programs of their own into it
    const stat = lstatSync(own, { throwIfNoEntry: false })
    if (stat && (stat.uid !== process.getuid() || !stat.isDirectory() || stat.mode & 0o022)) {
      throw new Error(`${own} belongs to somebody else or can be written by others: set DB_HUB_ENGINES_DIR`)
    }
    return join(own, "engines")
  }
}

const prefixPrograms = (prefix) => ({
  kind: "prefix",
  bin: join(prefix, "root/usr/lib/postgresql/17/bin"),
  pgbouncer: join(prefix, "root/usr/sbin/pgbouncer")
})

let fetching
/** Fetches the programs unless they are there. A failure is remembered for five minutes, so that each test file does not repeat it. */
export const fetchPrograms = async ({ retry = false, download = process.env.DB_HUB_ENGINES_FETCH !== "0" } = {}) => {
  const prefix = join(enginesDir(), recipe)
  if (existsSync(join(prefix, "complete"))) return prefixPrograms(prefix)
  if (!download) throw new Error(`nothing was fetched to ${prefix} yet, and DB_HUB_ENGINES_FETCH=0 forbids to`)
  if (process.platform !== "linux") throw new Error("fetching works on Debian and its descendants only")
  const failed = `${prefix}.failed`
  if (!retry && existsSync(failed) && Date.now() - statSync(failed).mtimeMs < 300_000) {
    throw new Error(`${readFileSync(failed, "utf8").trim()} (a few minutes ago; remove ${failed} to try again at once)`)
  }
  fetching ??= os
    .run("bash", [join(here, "pg17.sh"), prefix], { timeout: 900_000 })
    .finally(() => (fetching = undefined))
  const { code, stdout, stderr } = await fetching
  if (code !== 0) {
    const why = `${stdout}${stderr}`.trim().split("\n").slice(-6).join("\n")
    try {
      writeFileSync(failed, why)
    } catch {
      // the directory itself may be what failed
    }
    throw new Error(why)
  }
  rmSync(failed, { force: true })
  return prefixPrograms(prefix)
}

const list = (dir) => {
  try {
    return readdirSync(dir).map((name) => join(dir, name))
  } catch {
    return []
  }
}

const onPath = (name) =>
  (process.env.PATH ?? "")
    .split(":")
    .filter(Boolean)
    .map((dir) => join(dir, name))
    .find((file) => existsSync(file))

const versionOf = async (bin) => {
  const { code, stdout } = await os.run(join(bin, "postgres"), ["--version"], { env: os.cleanEnv() })
  return code === 0 ? (/\d+(\.\d+)?/.exec(stdout)?.[0] ?? "") : ""
}

/** The newest installed PostgreSQL which has pgvector, and why others were passed over. */
const installed = async () => {
  const found = onPath("postgres")
  const bins = [
    ...(found ? [dirname(realpathSync(found))] : []),
    ...["/usr/lib/postgresql", "/usr/libexec"].flatMap(list).map((dir) => join(dir, "bin")),
    ...["/usr", "/opt/homebrew/opt", "/usr/local/opt"]
      .flatMap(list)
      .filter((dir) => /\/(pgsql-|postgresql@)/.test(dir))
      .map((dir) => join(dir, "bin"))
  ].filter((bin, index, all) => existsSync(join(bin, "initdb")) && all.indexOf(bin) === index)
  const good = []
  const passed = []
  for (const bin of bins) {
    const version = await versionOf(bin)
    const { stdout } = await os.run(join(bin, "pg_config"), ["--sharedir"], { env: os.cleanEnv() })
    const shares = [stdout.trim(), `/usr/share/postgresql/${Number.parseInt(version, 10)}`].filter(Boolean)
    if (!os.reachable(bin)) passed.push(`${bin} cannot be read by the user nobody`)
    else if (Number.parseInt(version, 10) < 14) passed.push(`${bin} is version ${version}, 14 is needed`)
    else if (!shares.some((share) => existsSync(join(share, "extension/vector.control"))))
      passed.push(`${bin} has no pgvector`)
    else good.push({ kind: "installed", bin, version, pgbouncer: onPath("pgbouncer") ?? "/usr/sbin/pgbouncer" })
  }
  good.sort((a, b) => Number(b.version) - Number(a.version))
  return { programs: good[0], reason: passed.join(", ") || "no PostgreSQL is installed" }
}

/** psql and pg_basebackup need no pgvector, so any installation will do after the fetched one. */
const clientPrograms = async () => {
  try {
    return (await fetchPrograms()).bin
  } catch {
    const file = onPath("psql")
    return file && dirname(file)
  }
}

/** A URL without its password, and the environment which carries it: arguments can be read by every user of the machine. */
const split = (url) => {
  const bare = new URL(url)
  const password = decodeURIComponent(bare.password)
  bare.password = ""
  return { url: bare.href, env: os.cleanEnv(password ? { PGPASSWORD: password } : {}) }
}

/** Runs SQL through psql; gives its unaligned output without headers. */
export const psql = async (url, sql) => {
  const bin = await clientPrograms()
  if (!bin) throw new Error("psql is not installed, and could not be fetched")
  const { url: target, env } = split(url)
  const args = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", target, "-c", sql]
  const { code, stdout, stderr } = await os.run(join(bin, "psql"), args, { env, cwd: "/" })
  if (code !== 0) throw new Error(`psql: ${stderr.trim()}`)
  return stdout.trim()
}

// ---------------------------------------------------------------- PostgreSQL

const secret = () => randomBytes(12).toString("hex")
const urlOf = (port, user, password, database = "postgres") =>
  `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`

const own = (path, mode) => {
  const { uid, gid } = os.serverUser()
  if (uid !== undefined) chownSync(path, uid, gid)
  chmodSync(path, mode)
}

/** Tests want speed: what `fsync` protects from is the machine's crash, not the server's. */
const defaults = {
  fsync: "off",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  wal_keep_size: "256MB",
  // pgvector below 0.8.2 can write beyond a buffer when it builds HNSW in parallel (CVE-2026-3172)
  max_parallel_maintenance_workers: "0"
}

const flags = (settings) => Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])

const postmaster = (dataDir) => {
  try {
    const lines = readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n")
    return { pid: Number(lines[0]), ready: lines[7]?.trim() === "ready" }
  } catch {
    return undefined
  }
}

/** Runs `postgres` on a data directory which is there: a new cluster or a copy of another server's. */
const serve = async ({ programs, dir, settings, user, password, port, timeout }) => {
  const dataDir = join(dir, "data")
  const socketDir = join(dir, ".s.PGSQL.32767").length < 100 ? dir : ""
  let lastPid
  const launch = (fixed) =>
    os.startOnFreePort({
      name: "PostgreSQL",
      port: fixed,
      timeout,
      start: (chosen) =>
        os.supervise({
          dir,
          command: [
            ...[join(programs.bin, "postgres"), "-D", dataDir, "-p", String(chosen)],
            ...flags({ listen_addresses: "127.0.0.1", unix_socket_directories: socketDir, ...settings })
          ]
        }),
      // also ready while the pid file of a killed server lies there, hence the pid
      ready: () => {
        const state = postmaster(dataDir)
        if (!state?.ready || state.pid === lastPid) return false
        lastPid = state.pid
        return true
      }
    })
  let { server, port: listening } = await launch(port)
  return {
    kind: programs.kind,
    reason: programs.bin,
    version: programs.version ?? (await versionOf(programs.bin)),
    url: urlOf(listening, user, password),
    port: listening,
    user,
    password,
    bin: programs.bin,
    dataDir,
    settings,
    get pid() {
      return lastPid
    },
    log: () => server.log(),
    stop: () => server.end(false),
    /** The same data on the same port; works also after the server was killed. */
    restart: async () => {
      await server.end(true)
      ;({ server } = await launch(listening))
    }
  }
}

const initdb = async ({ programs, dir, user, password }) => {
  const file = join(dir, "password")
  writeFileSync(file, password)
  own(file, 0o600)
  const builtin = Number.parseInt(programs.version, 10) >= 17
  const locale = builtin
    ? ["--locale-provider=builtin", "--locale=C.UTF-8"]
    : [process.platform === "linux" ? "--locale=C.UTF-8" : "--locale=C"]
  const auth = ["-U", user, "--pwfile", file, "--auth-local=trust", "--auth-host=scram-sha-256"]
  const args = ["-D", join(dir, "data"), ...auth, "--encoding=UTF8", "--no-sync", ...locale]
  await os.prepare("initdb", dir, [join(programs.bin, "initdb"), ...args])
  rmSync(file)
}

const installTls = (dir, { certFile, keyFile, caFile, only }) => {
  const place = (from, name) => {
    const to = join(dir, name)
    copyFileSync(from, to)
    own(to, 0o600)
    return to
  }
  const settings = {
    ssl: "on",
    ssl_cert_file: place(certFile, "server.crt"),
    ssl_key_file: place(keyFile, "server.key")
  }
  if (only) {
    const hba = join(dir, "data/pg_hba.conf")
    writeFileSync(hba, readFileSync(hba, "utf8").replace(/^host\b(?!ssl)/gm, "hostssl"))
  }
  return caFile ? { ...settings, ssl_ca_file: place(caFile, "ca.crt") } : settings
}

const fromPrograms = async (programs, options) => {
  const dir = os.instanceDir("pg")
  const { user = "postgres", password = secret(), tls, port, timeout } = options
  try {
    const version = programs.version ?? (await versionOf(programs.bin))
    const known = { ...programs, version }
    await initdb({ programs: known, dir, user, password })
    const settings = { ...defaults, ...(tls ? installTls(dir, tls) : {}), ...options.settings }
    return await serve({ programs: known, dir, settings, user, password, port, timeout })
  } catch (error) {
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
}

const fromUrl = async (url) => {
  const { hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, "")
  if (host && !(await os.answers(Number(port || 5432), host, 10_000))) {
    throw new Error(
      `DB_HUB_TEST_PG_URL is set, but nothing answers at ${hostname}:${port || 5432}: start it, or unset the variable`
    )
  }
  return { kind: "url", reason: "DB_HUB_TEST_PG_URL", url, port: Number(port || 5432), stop: async () => {} }
}

const fromDocker = async (options) => {
  const dir = os.instanceDir("docker")
  const { user = "postgres", password = secret(), port } = options
  const name = `effect-db-hub-${secret()}`
  const env = { ...process.env, POSTGRES_PASSWORD: password, POSTGRES_USER: user, POSTGRES_DB: "postgres" }
  const started = await os.startOnFreePort({
    name: `Docker's ${image}`,
    port,
    timeout: 300_000, // the image may have to be pulled
    start: (chosen) =>
      os.supervise({
        dir,
        env,
        stopWith: `docker rm -f -v ${name}`,
        command: [
          ...["docker", "run", "--rm", "--name", name, "-p", `127.0.0.1:${chosen}:5432`, "--shm-size=256m"],
          ...["-e", "POSTGRES_PASSWORD", "-e", "POSTGRES_USER", "-e", "POSTGRES_DB"],
          ...[image, ...flags({ ...defaults, ...options.settings })]
        ]
      }),
    // the image starts a server for its own setup first
    ready: (_, server) => server.log().split("ready to accept connections").length > 2
  })
  return {
    kind: "docker",
    reason: image,
    url: urlOf(started.port, user, password),
    port: started.port,
    user,
    password,
    log: () => started.server.log(),
    stop: () => started.server.end(false)
  }
}

/** See postgres.d.mts for the options. */
export const startPostgres = async (options = {}) => {
  const passed = []
  const external = process.env.DB_HUB_TEST_PG_URL
  if (external) {
    const special = ["tls", "settings", "user", "password", "port"].filter((name) => options[name] !== undefined)
    if (special.length === 0 && !options.own) return fromUrl(external)
    passed.push(`DB_HUB_TEST_PG_URL cannot be given ${special.join(", ") || "for a server of one's own"}`)
  }
  try {
    return await fromPrograms(await fetchPrograms(), options)
  } catch (error) {
    passed.push(`fetched programs: ${message(error)}`)
  }
  const { programs, reason } = await installed()
  if (programs) return fromPrograms(programs, options)
  passed.push(`installed: ${reason}`)
  const docker = await os.run("docker", ["info", "--format", "{{.ServerVersion}}"], { timeout: 10_000 })
  if (docker.code !== 0) passed.push("Docker: no daemon answers")
  else if (options.tls) passed.push("Docker: not with TLS")
  else return fromDocker(options)
  return nothing(`there is no PostgreSQL with pgvector for tests:\n${passed.map((line) => `  - ${line}`).join("\n")}`)
}

/** A hot standby which streams from `primary` (a server made by startPostgres, or `{ url }`). */
export const startReplica = async (primary, options = {}) => {
  const bin = primary.bin ?? (await clientPrograms())
  if (!bin || !existsSync(join(bin, "pg_basebackup")) || !existsSync(join(bin, "postgres"))) {
    return nothing("a replica needs the programs postgres and pg_basebackup, which are neither fetched nor installed")
  }
  const dir = os.instanceDir("replica")
  try {
    const { url, env } = split(primary.url)
    const args = ["-D", join(dir, "data"), "-d", url, "-R", "-X", "stream", "-c", "fast", "--no-sync"]
    await os.prepare("pg_basebackup from the primary", dir, [join(bin, "pg_basebackup"), ...args], env)
    const inherited = Object.entries(primary.settings ?? defaults).filter(([name]) => !name.startsWith("ssl"))
    const settings = { ...Object.fromEntries(inherited), hot_standby: "on", ...options.settings }
    const login = new URL(primary.url)
    return await serve({
      programs: { kind: primary.kind === "installed" ? "installed" : "prefix", bin, version: primary.version },
      dir,
      settings,
      user: decodeURIComponent(login.username),
      password: decodeURIComponent(login.password),
      port: options.port
    })
  } catch (error) {
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
}

// ---------------------------------------------------------------- PgBouncer

const quoted = (text) => `"${text.replaceAll('"', '""')}"`

/** PgBouncer before any PostgreSQL; users other than that of `postgresUrl` are looked up on the server. */
export const startPgBouncer = async ({ postgresUrl, poolMode = "transaction", settings = {}, port } = {}) => {
  if (!postgresUrl) throw new Error("startPgBouncer needs postgresUrl, the URL of a running PostgreSQL")
  let program
  try {
    program = (await fetchPrograms()).pgbouncer
  } catch (error) {
    program = [onPath("pgbouncer"), "/usr/sbin/pgbouncer"].find((file) => file && existsSync(file))
    if (!program) return nothing(`PgBouncer is not installed, and was not fetched: ${message(error)}`)
  }
  const target = new URL(postgresUrl)
  const user = decodeURIComponent(target.username) || "postgres"
  const dir = os.instanceDir("pgbouncer")
  const users = join(dir, "users.txt")
  const config = join(dir, "pgbouncer.ini")
  writeFileSync(users, `${quoted(user)} ${quoted(decodeURIComponent(target.password))}\n`)
  own(users, 0o600)
  const all = {
    listen_addr: "127.0.0.1",
    unix_socket_dir: "",
    pool_mode: poolMode,
    auth_type: "scram-sha-256",
    auth_file: users,
    auth_user: user,
    auth_query: "select usename, passwd from pg_catalog.pg_shadow where usename = $1",
    admin_users: user,
    default_pool_size: 10,
    max_client_conn: 500,
    ...settings
  }
  const write = (chosen) => {
    const host = target.hostname.replace(/^\[|\]$/g, "")
    const lines = Object.entries({ ...all, listen_port: chosen }).map(([name, value]) => `${name} = ${value}`)
    writeFileSync(
      config,
      `[databases]\n* = host=${host} port=${target.port || 5432}\n[pgbouncer]\n${lines.join("\n")}\n`
    )
    own(config, 0o600)
  }
  try {
    const started = await os.startOnFreePort({
      name: "PgBouncer",
      port,
      timeout: 10_000,
      start: (chosen) => {
        write(chosen)
        return os.supervise({ dir, command: [program, config], stopWith: "QUIT" })
      },
      ready: async (chosen, server) => /process up/.test(server.log()) && (await os.answers(chosen))
    })
    const login = new URL(postgresUrl)
    login.hostname = "127.0.0.1"
    login.port = String(started.port)
    const admin = new URL(login)
    admin.pathname = "/pgbouncer"
    return {
      kind: "pgbouncer",
      reason: program,
      url: login.href,
      adminUrl: admin.href,
      port: started.port,
      poolMode,
      log: () => started.server.log(),
      stop: () => started.server.end(false)
    }
  } catch (error) {
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
}
