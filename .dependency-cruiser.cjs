/** The floors of `src`: a file may import its own floor and those below, never upwards, and nothing imports in a circle. */
const above = {
  "errors|vector": "services|layers|migrations|tools|cli|conformance",
  services: "layers|migrations|tools|cli|conformance",
  "layers|migrations": "tools|cli|conformance",
  conformance: "tools|cli",
  tools: "cli"
}

module.exports = {
  forbidden: [
    { name: "no-circles", severity: "error", from: {}, to: { circular: true } },
    ...Object.entries(above).map(([floor, higher]) => ({
      name: `not-upwards-from-${floor.replace(/\W/g, "-")}`,
      severity: "error",
      from: { path: `^src/(${floor})/` },
      to: { path: `^src/(${higher})/` }
    })),
    {
      name: "engines-do-not-know-each-other",
      severity: "error",
      from: { path: "^src/layers/(sqlite|postgres|libsql|mysql|opensearch)/" },
      to: { path: "^src/layers/(sqlite|postgres|libsql|mysql|opensearch)/", pathNot: "^src/layers/$1/" }
    },
    {
      name: "drivers-only-in-their-engine",
      severity: "error",
      from: { path: "^src", pathNot: "^src/layers/(sqlite|postgres|libsql|mysql|opensearch)/" },
      to: { path: "node_modules/(better-sqlite3|pg|pg-cursor|@effect/sql-|@electric-sql|mysql2|@libsql|libsql)(/|$)" }
    },
    {
      name: "only-declared-dependencies",
      severity: "error",
      from: { path: "^src" },
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "unknown", "undetermined"],
        dependencyTypesNot: ["npm", "npm-peer"],
        pathNot: "node_modules/@types"
      }
    }
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types", "node", "default"] }
  }
}
