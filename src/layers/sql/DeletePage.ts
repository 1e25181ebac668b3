/**
 * Deletes some of the rows that a condition holds for, where all of them at once would keep other writers waiting. Its last
 * parameter is how many at most. SQL has no limit for a DELETE, and not every engine has one in a query that is no table.
 *
 * @since 0.1.0
 * @category statements
 */
export const deletePage = (table: string, key: string, condition: string, order: string): string =>
  `DELETE FROM ${table} WHERE ${key} IN
   (SELECT ${key} FROM (SELECT ${key} FROM ${table} WHERE ${condition} ORDER BY ${order} LIMIT ?) AS page)`
