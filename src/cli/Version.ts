/**
 * @since 0.1.0
 */
import * as NodeModule from "node:module"

/**
 * That of package.json.
 *
 * @since 0.1.0
 * @category constants
 */
export const version: string = NodeModule.createRequire(import.meta.url)("../../package.json").version
