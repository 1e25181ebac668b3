/**
 * How long work tells where it is.
 *
 * @since 0.1.0
 */

/**
 * How much of something long is done, of how much.
 *
 * @since 0.1.0
 * @category models
 */
export interface Progress {
  readonly done: number
  readonly total: number
}
