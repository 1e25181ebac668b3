/** A folder for the scripts that tests run as processes: inside the checkout, so that what is not bundled is found. */
import * as NodeFs from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../.processes/", import.meta.url))

export default (): (() => void) => {
  NodeFs.mkdirSync(root, { recursive: true })
  const folder = NodeFs.mkdtempSync(root)
  // What runs the tests has the same environment.
  process.env["DB_HUB_TEST_PROCESSES"] = folder
  return () => NodeFs.rmSync(folder, { recursive: true, force: true })
}
