export interface Installed {
  /** Paths of Node and of the command `db-hub`. */
  readonly node: string
  readonly command: string
  readonly run: (command: string, ...args: ReadonlyArray<string>) => string
}

export declare const installPacked: (folder: string, packages?: ReadonlyArray<string>) => Installed
