// Server processes for tests: their user, directory, port and, above all, their end.
import { execFile, execFileSync, spawn } from "node:child_process"
import { chmodSync, chownSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

/** Runs a program to its end; resolves also when it fails. */
export const run = (file, args, options = {}) =>
  new Promise((done) => {
    execFile(file, args, { maxBuffer: 16 << 20, ...options }, (error, stdout, stderr) =>
      done({ code: error ? (typeof error.code === "number" ? error.code : 1) : 0, stdout, stderr, error })
    )
  })

export const isRoot = process.getuid?.() === 0

let nobody
/** PostgreSQL and PgBouncer refuse to run as root: there they run as `nobody`. */
export const serverUser = () => {
  if (!isRoot) return {}
  const id = (flag) => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }))
  nobody ??= { uid: id("-u"), gid: id("-g") }
  return nobody
}

/** Can the user of the servers reach this directory? Looks at the nearest ancestor if it does not exist yet. */
export const reachable = (dir) => {
  if (!isRoot) return true
  for (let at = resolve(dir); ; at = dirname(at)) {
    const stat = statSync(at, { throwIfNoEntry: false })
    if (stat && (stat.mode & 0o001) === 0) return false
    if (at === dirname(at)) return true
  }
}

/** A new private directory of the servers' user. */
export const instanceDir = (kind) => {
  const base = [tmpdir(), "/tmp", "/var/tmp"].find(reachable)
  const dir = mkdtempSync(join(base, `effect-db-hub-${kind}-`))
  const { uid, gid } = serverUser()
  if (uid !== undefined) chownSync(dir, uid, gid)
  chmodSync(dir, 0o700)
  return dir
}

/** The environment for clients and servers: no PGHOST, PGSERVICE and so on of the user, and messages in English. */
export const cleanEnv = (extra = {}) => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(PG[A-Z]|LC_|LANG|NOTIFY_SOCKET)/.test(name))
  ),
  LC_ALL: "C",
  ...extra
})

const portIsFree = (port) =>
  new Promise((done) => {
    const server = createServer()
    server.once("error", () => done(false))
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => done(true)))
  })

/** A random free port below 32768, where the range begins from which systems take ports for outgoing connections. */
export const freePort = async () => {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 15_000 + Math.floor(Math.random() * 17_000)
    if (await portIsFree(port)) return port
  }
  throw new Error("no free port found between 15000 and 31999 on 127.0.0.1")
}

export const answers = (port, host = "127.0.0.1", timeout = 2_000) =>
  new Promise((done) => {
    const socket = connect({ port, host })
    const end = (result) => {
      socket.destroy()
      done(result)
    }
    socket.setTimeout(timeout, () => end(false))
    socket.once("connect", () => end(true))
    socket.once("error", () => end(false))
  })

// Stands between us and a server. Its stdin is a pipe which we hold open: the order to stop comes through it, and so does
// the end of file when we die, by whatever signal. `keep` leaves the directory, all else removes it.
const supervisor = `
dir=$1 stop=$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{
  read -r order <&3
  [ "$order" = keep ] || : > "$dir/.remove"
  eval "$stop"
  tenths=0
  while kill -0 $server 2>/dev/null; do
    # a server which is only just starting may not listen to signals yet
    case $tenths in 3|10|30) eval "$stop" ;; 100) kill -QUIT $server ;; 150) kill -KILL $server ;; esac
    sleep 0.1; tenths=$((tenths + 1))
  done
  kill -0 $$ 2>/dev/null || { [ "$order" = keep ] || rm -rf "$dir"; }
} 2>/dev/null &
watcher=$!
wait $server; code=$?
kill $watcher 2>/dev/null
[ ! -e "$dir/.remove" ] || rm -rf "$dir"
exit $code
`

let pdeathsig
/** Linux can also end the server when the supervisor itself is killed. */
const dieWithParent = async (signal) => {
  pdeathsig ??= run("setpriv", ["--help"]).then(({ stdout }) => String(stdout).includes("--pdeathsig"))
  return (await pdeathsig) ? ["setpriv", "--pdeathsig", signal, "--"] : []
}

const alive = new Set()
process.on("exit", () => {
  // A server which ended by itself has no supervisor any more to clear up after it.
  for (const { dir, ended } of alive) if (ended()) rmSync(dir, { recursive: true, force: true })
})

/**
 * Starts a server in `dir`. It stops, and `dir` goes, with `stop()` and with the end of this process in any manner.
 * `stopWith` is a signal name, or a shell command if the server is not the process started here.
 */
export const supervise = async ({
  dir,
  command,
  env = cleanEnv(),
  stopWith = "INT",
  signal = /^[A-Z]+$/.test(stopWith)
}) => {
  const logFile = join(dir, "log")
  const log = openSync(logFile, "w", 0o600)
  const stop = signal ? `kill -${stopWith} $server` : stopWith
  const wrapped = signal ? [...(await dieWithParent(stopWith)), ...command] : command
  const child = spawn("/bin/sh", ["-c", supervisor, "effect-db-hub-engine", dir, stop, ...wrapped], {
    cwd: dir,
    env,
    detached: true, // Ctrl-C in a terminal reaches us alone, so that we decide the order of stopping
    stdio: ["pipe", log, log],
    ...(signal ? serverUser() : {})
  })
  closeSync(log)
  child.stdin.on("error", () => {})
  child.unref()
  child.stdin.unref()
  let over = false
  const exit = new Promise((done) => {
    child.once("error", (error) => done({ error }))
    child.once("exit", (code, signal) => done({ code, signal }))
  }).then((result) => {
    over = true
    return result
  })
  const entry = { dir, ended: () => over }
  alive.add(entry)
  return {
    ended: entry.ended,
    exit: () => {
      child.ref()
      return exit
    },
    log: () => {
      try {
        return readFileSync(logFile, "utf8")
      } catch {
        return ""
      }
    },
    end: async (keep) => {
      child.ref()
      if (!over) child.stdin.end(keep ? "keep\n" : "remove\n")
      await exit
      alive.delete(entry)
      if (!keep) rmSync(dir, { recursive: true, force: true })
    }
  }
}

/** Runs a program which prepares `dir` to its end. Dies with us and takes `dir` along as a server does. */
export const prepare = async (name, dir, command, env = cleanEnv()) => {
  const program = await supervise({ dir, command, env, stopWith: "TERM" })
  const { code } = await program.exit()
  const log = program.log().trim()
  await program.end(true)
  if (code !== 0) throw new Error(`${name} failed: ${log}`)
}

/** Waits until `ready()` is true, the server has ended, or time is over: true, "ended" or "timeout". */
export const waitUntil = async (server, ready, timeout) => {
  const deadline = Date.now() + timeout
  for (;;) {
    if (await ready()) return true
    if (server.ended()) return "ended"
    if (Date.now() > deadline) return "timeout"
    await sleep(10)
  }
}

/** What a killed server has left behind ends in a moment. */
const lingers = /pre-existing shared memory block .* is still in use/

/** Starts a server on a free port, on another one if somebody else was faster, and again where it was just killed. */
export const startOnFreePort = async ({ name, port, start, ready, timeout = 30_000 }) => {
  for (let attempt = 1; ; attempt++) {
    const chosen = port ?? (await freePort())
    const server = await start(chosen)
    const result = await waitUntil(server, () => ready(chosen, server), timeout)
    if (result === true) return { server, port: chosen }
    const log = server.log()
    const taken = result === "ended" && /address already in use|could not bind|cannot listen/i.test(log)
    const again =
      (taken && port === undefined && attempt < 10) || (result === "ended" && lingers.test(log) && attempt < 50)
    await server.end(again)
    if (again) {
      await sleep(20)
      continue
    }
    const why = result === "timeout" ? `was not ready after ${timeout / 1000} s` : "ended while starting"
    throw new Error(
      `${name} ${why} (port ${chosen}). Its log ends with:\n${log.trim().split("\n").slice(-15).join("\n")}`
    )
  }
}
