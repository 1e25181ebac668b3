/**
 * The overviews; each command's own help is made from its definition.
 *
 * @since 0.1.0
 */
const root = (version: string) => `db-hub ${version}: databases for AI agents

USAGE
  db-hub COMMAND [ARGUMENTS] [OPTIONS]

COMMANDS
  status                          health of every backend
  backends                        what is configured, where, and what it can do
  query SQL|-                     run one statement that reads; writes are refused by the engine
  execute SQL|-                   run one statement that may write
  schema [TABLE]                  tables and views, or one of them in full
  migrate [--target N|empty]      bring the hub's own tables to a version; --dry-run only lists the steps
  backup [--output FILE]          copy the live database to a new file, and check the copy
  restore FILE                    put a backup in the place of the database, which is kept beside it
  ingest FOLDER                   make the text files of a folder searchable; again after changes
  search QUERY|-                  find texts by words, by vectors or by both; --explain tells why
  vector collections              vector collections
  vector search COLLECTION QUERY  nearest records to a text, a vector or --like a record
  vector embed                    give memories, messages and chunks that lack a vector one
  vector reembed COLLECTION       move a collection of texts to the configured embedding model
  primary status|step-down        the process that writes for the others on a SQLite file
  secrets set|list|rm|rotate      secrets of users, sealed with a master key
  config check|print|schema       check and print the configuration
  mcp [--allow write|admin]       serve the db_hub tools to agents; without --allow they only read
  doctor                          examine versions, permissions, the whole database file

OPTIONS OF EVERY COMMAND
  --json            one JSON document instead of text
  --backend NAME    the backend to work on (default: primary)
  --config FILE     the configuration (default: db-hub.yaml, .yml, .toml or .json here, else DATABASE_URL,
                    else ./data/hub.db)
  --help            everything about a command, with examples

OTHER OPTIONS
  --version, --completions bash|fish|zsh, --wizard

EXIT CODES
  0 ok, 1 failed, 2 wrong usage

EXAMPLES
  db-hub ingest ./docs && db-hub search "how are backups verified"
  db-hub migrate && db-hub status
  db-hub query "SELECT name FROM users WHERE id = ?" --param 7 --json`

const vector = `USAGE
  db-hub vector collections                  list the collections
  db-hub vector search COLLECTION QUERY|-    nearest records to a text or to a vector (a JSON array)
  db-hub vector search COLLECTION --like ID  nearest records to another record
  db-hub vector embed                        give what the stores keep the vectors that it lacks
  db-hub vector reembed COLLECTION           move a collection of texts to the configured model

EXAMPLE
  db-hub vector search docs "how are backups verified" --k 3

--help after either of them tells everything about it.`

const primary = `USAGE
  db-hub primary status       which process writes for the others on a SQLite file, and how its queue is
  db-hub primary step-down    ask it to leave its place to another

EXAMPLE
  db-hub primary status --json

--help after any of them tells everything about it.`

const secrets = `USAGE
  db-hub secrets set NAME < FILE   seal what is on standard input, and keep it under a name
  db-hub secrets list              what there is, never the values
  db-hub secrets rm NAME           delete one
  db-hub secrets rotate            seal everything anew, after a change of the master key

--user NAME says whose they are. The master key is DB_HUB_SECRETS_KEY: at least 32 bytes, such as what
\`openssl rand -base64 32\` prints; earlier ones stand in DB_HUB_SECRETS_PREVIOUS_KEYS.

EXAMPLE
  db-hub secrets set github --provider github < token.txt

--help after any of them tells everything about it.`

const config = `USAGE
  db-hub config check     where the configuration comes from, and whether it is valid
  db-hub config print     the configuration with every default, without secrets
  db-hub config schema    its JSON Schema, for editors

EXAMPLE
  db-hub config check --config production.yaml

--help after any of them tells everything about it.`

const groups: Readonly<Record<string, string>> = { vector, primary, secrets, config }

/**
 * The overview that a command line asks for, if it asks for one.
 *
 * @since 0.1.0
 * @category help
 */
export const overview = (args: ReadonlyArray<string>, version: string): string | undefined => {
  const words = args.filter((arg) => arg !== "--help" && arg !== "-h")
  if (words.length === 0) return root(version)
  if (words.length > 1) return undefined
  const [word = ""] = words
  return Object.hasOwn(groups, word) ? groups[word] : undefined
}
