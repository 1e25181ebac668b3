/**
 * The placeholders of a list in a statement, such as `?, ?, ?`.
 *
 * @since 0.1.0
 * @category statements
 */
export const marks = (values: ReadonlyArray<unknown>): string => values.map(() => "?").join(", ")
