import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { LoamError } from '../../base/errors.js';
import { explainWriteError, writeAll } from '../../base/io.js';
import { openOwn } from '../../base/ownFiles.js';
import type { Outcome } from './summary.js';

/** The first line of the file: answers of other files, models or settings must not be mixed. */
export interface AnswersIdentity {
  format: 'loam-answers';
  /** sha256, hex. */
  data: string;
  model: string;
  adapter: string | null;
  settings: Record<string, unknown>;
}

/** Who answered, and what: an id of `Question`. */
export interface AnswerKey {
  by: 'base' | 'adapted';
  id: string;
}

/** Larger files are no answers that one evaluation has written. */
const MAX_BYTES = 1 << 30;

/**
 * Answers as they come, one JSON object a line: to be looked at, and so that a stopped evaluation goes on where it was. A line that a
 * crash has cut is dropped.
 */
export class AnswersFile implements AsyncDisposable {
  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    private readonly known: Map<string, Outcome>,
  ) {}

  /**
   * Makes the file, or goes on with one of the same identity.
   * @throws LoamError (exists) for a file of something else, (changed) for one of another evaluation unless it is to be made anew
   */
  static async open(path: string, identity: AnswersIdentity, { restart = false } = {}): Promise<AnswersFile> {
    try {
      const file = await openOwn(path, constants.O_RDWR | constants.O_CREAT);
      try {
        const size = Math.min((await file.stat()).size, MAX_BYTES);
        const content = (await file.readFile()).toString('utf8', 0, size);
        const whole = content.slice(0, content.lastIndexOf('\n') + 1);
        const [head, ...lines] = whole.split('\n').filter((line) => line !== '');
        const found = head === undefined ? undefined : parseLine(head);
        if (content !== '' && found?.format !== 'loam-answers') {
          const fix = 'choose another path with --out';
          throw new LoamError({
            code: 'exists',
            found: 'a file that holds no answers of an evaluation',
            where: path,
            fix,
          });
        }
        const goesOn = found !== undefined && !restart;
        if (goesOn) requireSame(found, identity, path);
        const known = new Map<string, Outcome>();
        for (const line of goesOn ? lines : []) {
          const { by, id, outcome } = (parseLine(line) ?? {}) as Partial<AnswerKey & { outcome: Outcome }>;
          if (by && id && outcome) known.set(`${by} ${id}`, outcome);
        }
        await file.truncate(goesOn ? Buffer.byteLength(whole) : 0);
        const answers = new AnswersFile(path, file, known);
        if (!goesOn) await answers.write(identity, 0);
        answers.end = (await file.stat()).size;
        return answers;
      } catch (error) {
        await file.close();
        throw error;
      }
    } catch (error) {
      throw explainWriteError(error, path);
    }
  }

  private end = 0;

  /** Answers that it held when it was opened. */
  get count(): number {
    return this.known.size;
  }

  get({ by, id }: AnswerKey): Outcome | undefined {
    return this.known.get(`${by} ${id}`);
  }

  /** @param beside what helps who reads the file */
  async add({ by, id }: AnswerKey, outcome: Outcome, beside: object): Promise<void> {
    await this.write({ by, id, outcome, ...beside }, this.end);
  }

  private async write(value: object, at: number): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(value)}\n`);
    try {
      await writeAll(this.file, line, at);
    } catch (error) {
      throw explainWriteError(error, this.path);
    }
    this.end = at + line.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
  }
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** @throws LoamError that names what is another */
function requireSame(found: Record<string, unknown>, wanted: AnswersIdentity, path: string): void {
  const given = JSON.parse(JSON.stringify(wanted)) as Record<string, unknown>;
  const other = ['data', 'model', 'adapter'].filter((name) => found[name] !== given[name]);
  const settings = (found.settings ?? {}) as Record<string, unknown>;
  for (const name of new Set([...Object.keys(settings), ...Object.keys(given.settings as object)])) {
    if (!isDeepStrictEqual(settings[name], (given.settings as Record<string, unknown>)[name])) other.push(name);
  }
  if (other.length === 0) return;
  throw new LoamError({
    code: 'changed',
    found: `answers of an evaluation with another ${other.join(', ')}`,
    where: path,
    fix: 'choose another path with --out, or begin anew with --restart',
  });
}
