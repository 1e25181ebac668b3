/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * What is held while several settings of a user are written as one.
 *
 * @since 0.1.0
 * @category migrations
 */
export const settingOwners: Omit<MigrationStep, "id"> = {
  name: "owners of settings",
  up: ({ types }) => [
    `CREATE TABLE db_hub_setting_owners (
  user_id ${types.text} PRIMARY KEY
)`
  ],
  down: () => ["DROP TABLE db_hub_setting_owners"]
}
