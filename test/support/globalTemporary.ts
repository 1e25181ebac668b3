/**
 * One folder for the temporary files of all tests, which goes with them: processes that tests kill clear nothing away
 * themselves. Its path is short, since that of a Unix socket in it has 103 bytes at most.
 */
import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"

export default (): (() => void) => {
  const folder = NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), "hub-"))
  // Servers that are started by root run as another user.
  NodeFs.chmodSync(folder, 0o711)
  // What runs the tests has the same environment. Windows asks for the other two.
  for (const name of ["TMPDIR", "TEMP", "TMP"]) process.env[name] = folder
  return () => NodeFs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}
