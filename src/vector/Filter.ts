/**
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export type JsonObject = { readonly [key: string]: unknown }

/**
 * @since 0.1.0
 * @category models
 */
export type FilterInput = { readonly [key: string]: unknown }
