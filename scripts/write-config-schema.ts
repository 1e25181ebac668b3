// Writes config.schema.json, which editors check configuration files against.
import { writeFileSync } from "node:fs"
import { jsonSchema } from "../src/layers/config/HubConfigFile.js"

writeFileSync(new URL("../config.schema.json", import.meta.url), `${JSON.stringify(jsonSchema, undefined, 2)}\n`)
