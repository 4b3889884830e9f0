// Unpacks the source of the pinned release of llama.cpp to .cache/llama-source, for the tests that run its Python converter. It comes
// with the npm package node-llama-cpp, whose prebuilt libraries Loam uses.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = join(root, '.cache', 'llama-source');
if (existsSync(join(target, 'convert_hf_to_gguf.py'))) process.exit(0);

const { optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const version = optionalDependencies['@node-llama-cpp/linux-x64'];
const scratch = mkdtempSync(join(tmpdir(), 'loam-llama-source-'));
const run = (program, args) => {
  const { status } = spawnSync(program, args, { cwd: scratch, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed`);
};
try {
  run('npm', ['pack', '--silent', `node-llama-cpp@${version}`]);
  run('tar', ['-xzf', `node-llama-cpp-${version}.tgz`]);
  run('git', ['clone', '--quiet', join('package', 'llama', 'gitRelease.bundle'), target]);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
