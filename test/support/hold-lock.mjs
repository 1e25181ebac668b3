// Another process on a database file: node hold-lock.mjs FILE MODE [ARGUMENT]; says "ready" when it has done its part.
//   hold MS    holds the write lock for MS milliseconds, then commits a row into `t` and says "released"
//   exec SQL   runs SQL and ends
//   try        says "held" if it cannot have the write lock at once, else "free"
import Sqlite from "better-sqlite3"

const [file, mode, argument] = process.argv.slice(2)
const db = new Sqlite(file, { timeout: mode === "try" ? 0 : 5000 })
if (mode === "try") {
  try {
    db.exec("BEGIN EXCLUSIVE; ROLLBACK")
    console.log("free")
  } catch (error) {
    if (error.code !== "SQLITE_BUSY") throw error
    console.log("held")
  }
  db.close()
} else if (mode === "exec") {
  db.exec(argument)
  console.log("ready")
  db.close()
} else {
  db.exec("BEGIN EXCLUSIVE")
  console.log("ready")
  setTimeout(() => {
    db.exec("INSERT INTO t (id) VALUES (1000); COMMIT")
    console.log("released")
    db.close()
  }, Number(argument))
}
