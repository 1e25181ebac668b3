/**
 * Takes passwords out of what agents are shown.
 *
 * @since 0.1.0
 */

/**
 * The password in a connection string, as a URL or as words with values; in a statement that sets one; and what
 * PostgreSQL keeps of it. None looks at a character more than twice.
 */
const passwords = /(:\/\/[^\s:/?#@"<>]*:)[^\s/?#"<>]+@/g
const passwordWords = /\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'";,)]+)/gi
const passwordTexts = /\b(password\s+)'(?:[^'\\]|\\.|'')*'/gi
const verifiers = /\bSCRAM-SHA-256\$[\w+/=:$]+/g

/**
 * Whether a text may hold one; false is certain.
 *
 * @since 0.1.0
 * @category redaction
 */
export const mayHoldPassword = (text: string): boolean => /:\/\/|password|SCRAM-/i.test(text)

/**
 * A value without the passwords of connection strings in its texts.
 *
 * @since 0.1.0
 * @category redaction
 */
export const redacted = (value: unknown): unknown => {
  if (typeof value === "string") {
    return value
      .replace(passwords, "$1***@")
      .replace(passwordWords, "$1***")
      .replace(passwordTexts, "$1***")
      .replace(verifiers, "SCRAM-SHA-256$***")
  }
  if (Array.isArray(value)) return value.map(redacted)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, redacted(child)]))
}
