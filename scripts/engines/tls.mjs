// A certificate authority and a server certificate for tests, made by the openssl program.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { isIP } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "./process.mjs"

const openssl = async (cwd, ...args) => {
  const { code, stderr, error } = await run("openssl", args, { cwd })
  if (error?.code === "ENOENT")
    throw new Error("the openssl program is needed to make test certificates: install openssl")
  if (code !== 0) throw new Error(`openssl ${args[0]} failed: ${stderr}`)
}

const made = new Set()
process.on("exit", () => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true })
})

/** `hosts` are the names and addresses for which the server certificate is valid. */
export const makeCertificates = async ({ hosts = ["localhost", "127.0.0.1", "::1"], days = 2 } = {}) => {
  const dir = mkdtempSync(join(tmpdir(), "effect-db-hub-tls-"))
  const file = (name) => join(dir, name)
  const remove = () => {
    made.delete(dir)
    rmSync(dir, { recursive: true, force: true })
  }
  made.add(dir)
  const names = hosts.map((host) => `${isIP(host) ? "IP" : "DNS"}:${host}`).join(",")
  const config = `[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n`
  writeFileSync(
    file("ca.cnf"),
    config.replace("[req]\n", "[req]\nx509_extensions=ca\n") +
      "CN=effect-db-hub test CA\n[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n" +
      "subjectKeyIdentifier=hash\n"
  )
  writeFileSync(file("server.cnf"), `${config}CN=${hosts[0]}\n`)
  writeFileSync(
    file("server.ext"),
    `basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=${names}\nsubjectKeyIdentifier=hash\n` +
      "authorityKeyIdentifier=keyid\n"
  )
  const key = (name) => ["-newkey", "rsa:2048", "-nodes", "-sha256", "-keyout", name]
  const life = ["-days", String(days)]
  try {
    await openssl(dir, "req", "-x509", ...key("ca.key"), "-config", "ca.cnf", ...life, "-out", "ca.crt")
    await openssl(dir, "req", "-new", ...key("server.key"), "-config", "server.cnf", "-out", "server.csr")
    const signed = ["-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    await openssl(dir, "x509", "-req", "-sha256", ...signed, ...life, "-extfile", "server.ext", "-out", "server.crt")
  } catch (error) {
    remove()
    throw error
  }
  return { dir, caFile: file("ca.crt"), certFile: file("server.crt"), keyFile: file("server.key"), remove }
}
