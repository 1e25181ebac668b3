/**
 * What agents are given.
 *
 * @since 0.1.0
 */
export * as AiTools from "./AiTools.js"
export {
  type Arguments,
  type Declaration,
  type Group,
  jsonSchemaOf,
  namesOf,
  resultSchemaOf,
  type ToolName,
  tools
} from "./Declarations.js"
export type { Memories } from "./Searching.js"
export * as Toolkit from "./Toolkit.js"
