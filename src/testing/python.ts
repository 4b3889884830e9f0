import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

/** Python as the reference of file formats and of other programs' behaviour: tests that use it skip, with the reason, where it is absent. */

export interface Python {
  /** Runs a script with arguments; returns what it prints. Rejects with its error output where it fails. */
  run(script: string, ...args: string[]): Promise<string>;
}

/** Milliseconds: importing torch takes many seconds on a loaded machine. */
const limit = 240_000;

/**
 * The Python named by LOAM_TEST_PYTHON, or `python3`, if it has these packages.
 * @returns the reason to skip otherwise: `test(name, { skip: typeof python === 'string' && python }, ...)`
 */
export function findPython(...packages: string[]): Python | string {
  const program = process.env.LOAM_TEST_PYTHON ?? 'python3';
  // Looks the packages up without importing them.
  const look = `import importlib.util as u, sys; print(*[p for p in sys.argv[1:] if u.find_spec(p) is None])`;
  const { status, stdout } = spawnSync(program, ['-c', look, ...packages], { encoding: 'utf8' });
  if (status !== 0) return `no Python (${program}; LOAM_TEST_PYTHON names another)`;
  if (stdout.trim() !== '') return `${program} lacks ${stdout.trim()} (LOAM_TEST_PYTHON names another Python)`;
  return {
    async run(script, ...args) {
      const env = { ...process.env, HF_HUB_OFFLINE: '1', TRANSFORMERS_OFFLINE: '1', CUDA_VISIBLE_DEVICES: '' };
      const options = { env, timeout: limit, maxBuffer: 1 << 28 };
      const result = await promisify(execFile)(program, ['-c', script, ...args], options);
      return result.stdout;
    },
  };
}
