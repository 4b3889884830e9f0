import { setFlagsFromString } from 'node:v8';
import sqlite3InitModule from '@sqlite.org/sqlite-wasm';

type Sqlite = Awaited<ReturnType<typeof sqlite3InitModule>>;
type Database = InstanceType<Sqlite['oo1']['DB']>;

let loading: Promise<Sqlite> | undefined;
let loaded: Sqlite | undefined;

/** Compiles SQLite (WebAssembly), once per process. No image can be made before that. */
export async function loadSqlite(): Promise<void> {
  loading ??= unoptimised(() => {
    const quiet = { print: () => {}, printErr: () => {} };
    return (sqlite3InitModule as (options: object) => Promise<Sqlite>)(quiet);
  });
  loaded = await loading;
  // What it says of a damaged image goes to the console otherwise, past the sentences for people.
  Object.assign(loaded.config, { warn() {}, error() {}, log() {}, debug() {} });
}

/**
 * Node 20 optimises all of a module as it is compiled, in twice the time that a command otherwise takes; no index is so large that this
 * would pay. Later ones optimise what runs often.
 */
async function unoptimised<T>(compile: () => Promise<T>): Promise<T> {
  const isEager = process.versions.node.startsWith('20.') && ['x64', 'arm64'].includes(process.arch);
  if (!isEager) return await compile();
  setFlagsFromString('--liftoff-only');
  try {
    return await compile();
  } finally {
    setFlagsFromString('--no-liftoff-only');
  }
}

function isSqliteError(error: unknown): boolean {
  return error instanceof loaded!.SQLite3Error;
}

export interface IndexRow {
  /** 32 hex digits. */
  id: string;
  type: string;
  /** Name of the file with its content; null if it has none. */
  blob: string | null;
  sealed: Uint8Array;
}

const tables = {
  meta: 'CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID',
  entries:
    'CREATE TABLE entries (id TEXT PRIMARY KEY, type TEXT NOT NULL, blob TEXT, sealed BLOB NOT NULL) WITHOUT ROWID',
};
const SCHEMA = `PRAGMA secure_delete = ON; ${tables.meta}; ${tables.entries};`;

/** Bytes that the shortest row takes in a file: its id, and the nonce and tag of what is sealed. */
const ROW_BYTES = 64;

/**
 * The index as an SQLite database in memory, read from and written to a file as a whole. So a write is one rename: no journal, and
 * no page of an earlier state in the file. (SQLite's own file access is not used: its builds in WebAssembly that write files were
 * found not to roll back a transaction that was killed.)
 */
export class IndexImage implements Disposable {
  private constructor(
    private readonly sqlite: Sqlite,
    private readonly db: Database,
    /** Of the file that it was read from. */
    private readonly bytes = 0,
  ) {}

  static empty(): IndexImage {
    const db = new loaded!.oo1.DB(':memory:', 'c');
    db.exec(SCHEMA);
    return new IndexImage(loaded!, db);
  }

  /** Undefined if the bytes are no database. */
  static from(bytes: Uint8Array): IndexImage | undefined {
    const sqlite = loaded!;
    const { capi, wasm } = sqlite;
    const db = new sqlite.oo1.DB(':memory:', 'c');
    try {
      const address = wasm.allocFromTypedArray(new Uint8Array(bytes));
      const flags = capi.SQLITE_DESERIALIZE_FREEONCLOSE | capi.SQLITE_DESERIALIZE_RESIZEABLE;
      db.checkRc(capi.sqlite3_deserialize(db.pointer!, 'main', address, bytes.length, bytes.length, flags));
      db.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA secure_delete = ON;');
      const image = new IndexImage(sqlite, db, bytes.length);
      if (image.isOurs()) return image;
      db.close();
      return undefined;
    } catch (error) {
      db.close();
      if (isSqliteError(error)) return undefined;
      throw error;
    }
  }

  /** Whether it holds our tables and nothing else: a view in the place of a table may never end, a trigger changes what is written. */
  private isOurs(): boolean {
    const found = this.db.selectArrays('SELECT type, name, sql FROM sqlite_schema ORDER BY name LIMIT 3');
    const ours = Object.entries(tables).map(([name, sql]) => ['table', name, sql]);
    return JSON.stringify(found) === JSON.stringify(ours.sort(([, a], [, b]) => (a! < b! ? -1 : 1)));
  }

  /** Undefined if it is missing or unreadable. */
  meta(name: string): Buffer | undefined {
    try {
      const value = this.db.selectValue('SELECT value FROM meta WHERE name = ?', [name]);
      return value instanceof Uint8Array ? Buffer.from(value) : undefined;
    } catch (error) {
      if (isSqliteError(error)) return undefined;
      throw error;
    }
  }

  /** Every row that can be read; `damaged` says that some can't, or that there are more than the file has room for. */
  rows(): { rows: IndexRow[]; damaged: boolean } {
    const rows: IndexRow[] = [];
    let damaged = false;
    let room = this.bytes;
    try {
      const statement = this.db.prepare('SELECT id, type, blob, sealed FROM entries');
      try {
        while (statement.step()) {
          const [id, type, blob, sealed] = statement.get([]) as unknown[];
          room -= Math.max(ROW_BYTES, sealed instanceof Uint8Array ? sealed.length : 0);
          if (room < 0) {
            damaged = true;
            break;
          }
          const whole = typeof id === 'string' && typeof type === 'string' && sealed instanceof Uint8Array;
          if (whole && (blob === null || typeof blob === 'string')) rows.push({ id, type, blob, sealed });
          else damaged = true;
        }
      } finally {
        statement.finalize();
      }
    } catch (error) {
      if (!isSqliteError(error)) throw error;
      damaged = true;
    }
    return { rows, damaged };
  }

  /** All or nothing. */
  apply(change: { put: readonly IndexRow[]; remove: readonly string[]; meta: ReadonlyMap<string, Uint8Array> }): void {
    this.db.transaction(() => {
      const run = (sql: string, rows: Iterable<readonly (string | Uint8Array | null)[]>) => {
        const statement = this.db.prepare(sql);
        try {
          for (const row of rows) statement.bind([...row]).stepReset();
        } finally {
          statement.finalize();
        }
      };
      run(
        'DELETE FROM entries WHERE id = ?',
        change.remove.map((id) => [id]),
      );
      run(
        'INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)',
        change.put.map(({ id, type, blob, sealed }) => [id, type, blob, sealed]),
      );
      run('INSERT OR REPLACE INTO meta VALUES (?, ?)', change.meta);
    });
  }

  /** The file's content. @param compact leaves out pages that hold nothing any more */
  export(compact: boolean): Uint8Array {
    if (compact) this.db.exec('VACUUM');
    return this.sqlite.capi.sqlite3_js_db_export(this.db);
  }

  [Symbol.dispose](): void {
    this.db.close();
  }
}
