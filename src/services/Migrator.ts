/**
 * Numbered schema steps, applied once each, in order, up and down.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DbError } from "../errors/index.js"
import type { Dialect } from "./Dialect.js"
import type { Progress } from "./Progress.js"
import type { TextStore } from "./TextStore.js"

/**
 * What a step may fill tables from.
 *
 * @since 0.1.0
 * @category models
 */
export interface FillFrom {
  /** As that of a backend. */
  readonly query: (
    sql: string,
    params?: ReadonlyArray<string | number>
  ) => Effect.Effect<ReadonlyArray<{ readonly [column: string]: unknown }>, DbError>
  readonly text: Context.Tag.Service<TextStore>
}

/**
 * One step. Its SQL is a function of the dialect alone, so that a checksum can tell whether a shipped step was edited.
 *
 * @since 0.1.0
 * @category models
 */
export interface MigrationStep {
  /** From 1, without gaps. */
  readonly id: number
  readonly name: string
  /**
   * Where it drops a table, foreign keys are left alone until the end of the step and checked there: a table that others
   * refer to can be made anew, and its DROP deletes none of their rows.
   */
  readonly up: (dialect: Dialect) => ReadonlyArray<string>
  /** Absent = the step cannot be undone. */
  readonly down?: (dialect: Dialect) => ReadonlyArray<string>
  /** What takes more than SQL: runs after `up`, in the same transaction. The checksum does not know it. */
  readonly fill?: (from: FillFrom) => Effect.Effect<void, DbError>
  /**
   * False = the statements run outside of any transaction, as `CREATE INDEX CONCURRENTLY` must. A step that was cut
   * short is begun anew, so each statement must be safe to run again: drop what may be there half made first.
   */
  readonly transaction?: false
}

/**
 * A version to migrate to: a step's id, 0 for the latest, or `empty` for before the first step.
 *
 * @since 0.1.0
 * @category models
 */
export type MigrationTarget = number | "empty"

/**
 * A step that would run, or ran, with its statements.
 *
 * @since 0.1.0
 * @category models
 */
export interface PlannedStep {
  readonly id: number
  readonly name: string
  readonly direction: "up" | "down"
  readonly sql: ReadonlyArray<string>
  /** False = it runs outside of any transaction. */
  readonly transaction?: false
}

/**
 * A step as the database remembers it.
 *
 * @since 0.1.0
 * @category models
 */
export interface AppliedStep {
  readonly id: number
  readonly name: string
  readonly checksum: string
  readonly appliedAt: Date
}

/**
 * What a migration did. Version 0 is before the first step.
 *
 * @since 0.1.0
 * @category models
 */
export interface MigrationReport {
  readonly previousVersion: number
  readonly currentVersion: number
  /** The steps that this call applied; those that another process applied meanwhile are not in it. */
  readonly applied: ReadonlyArray<PlannedStep>
}

/**
 * Every member fails with `MigrationError` when a recorded step was edited (`drift`), is missing between others
 * (`gap`), or is not known to this program (`unknown-version`).
 *
 * @since 0.1.0
 * @category tags
 */
export class Migrator extends Context.Tag("effect-db-hub/Migrator")<
  Migrator,
  {
    /** The id of the last applied step; 0 on a fresh database. */
    readonly currentVersion: Effect.Effect<number, DbError>
    /**
     * Goes up or down to the target, one transaction per step, one process at a time. Fails with `DbConflict` when
     * another process goes somewhere else meanwhile. `onProgress` hears of each step that is done.
     */
    readonly migrate: (options?: {
      readonly target?: MigrationTarget
      readonly onProgress?: (progress: Progress) => void
    }) => Effect.Effect<MigrationReport, DbError>
    readonly needsMigration: Effect.Effect<boolean, DbError>
    /** The steps that `migrate` would run, with their SQL; runs nothing. */
    readonly plan: (options?: {
      readonly target?: MigrationTarget
    }) => Effect.Effect<ReadonlyArray<PlannedStep>, DbError>
    readonly history: Effect.Effect<ReadonlyArray<AppliedStep>, DbError>
  }
>() {}
