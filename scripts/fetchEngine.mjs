// Fetches the prebuilt engine of a release of llama.cpp that Loam accepts, and returns its folder for LOAM_GGML_DIR: tests run against each
// (`node scripts/test.mjs --unit --engine=v0.5.0`). It comes from the npm packages that Loam's own engine comes from.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The version of @node-llama-cpp/* that holds each release. */
export const engines = { 'v0.4.0': '3.21.1', 'v0.5.0': '3.22.1' };
const platforms = {
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};

export function fetchEngine(release) {
  const version = engines[release];
  if (version === undefined) throw new Error(`no engine ${release}; there are ${Object.keys(engines).join(', ')}`);
  const system = `${process.platform}-${process.arch}`;
  const cache = join(dirname(fileURLToPath(import.meta.url)), '..', '.cache', 'engines');
  const folder = join(cache, `${release}-${system}`);
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    const scratch = mkdtempSync(join(cache, 'fetched-'));
    try {
      const name = `@node-llama-cpp/${platforms[system] ?? system}@${version}`;
      const packed = execFileSync('npm', ['pack', '--silent', name], { cwd: scratch, encoding: 'utf8' }).trim();
      execFileSync('tar', ['-xzf', packed], { cwd: scratch });
      const bins = join(scratch, 'package', 'bins');
      renameSync(join(bins, readdirSync(bins)[0]), folder);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  return folder;
}
