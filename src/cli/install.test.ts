import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratchFolder } from '../testing/scratch.js';

/**
 * scripts/install.sh in a made-up Termux: a prefix of its own in which `pkg`, `getprop`, `uname`, `git`, `node` and `npm` are scripts
 * that behave as the real ones do, as far as the installer looks. Nothing else is on the PATH but the tools that Termux starts with.
 */

const script = readFileSync(fileURLToPath(new URL('../../scripts/install.sh', import.meta.url)), 'utf8');
const tools =
  'sh cat cksum chmod curl cut dirname find grep gzip head id mkdir mv printf rm sed sha256sum sort tar touch tr'.split(
    ' ',
  );
const where = (tool: string) => spawnSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).stdout.trim();
const missing = tools.filter((tool) => !where(tool));
const skip =
  process.platform !== 'linux' ? 'a made-up Termux on Linux' : missing.length > 0 && `no ${missing.join(', ')}`;

const folder = scratchFolder();
const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

/** A package of Loam, as `npm pack` makes it. */
const packageOf = (version: string) => join(folder, `loam-${version}.tgz`);

/** Serves the archive; `cut` ends the first answers after so many bytes. */
const archive = join(folder, 'engine.tar.gz');
let served: { range: string | undefined; bytes: number }[] = [];
let cuts: number[] = [];
const server = createServer((request, response) => {
  const whole = readFileSync(archive);
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (request.url !== '/engine.tar.gz') return void response.writeHead(404).end();
  if (from >= whole.length) return void response.writeHead(416).end();
  const part = whole.subarray(from);
  const cut = cuts.shift();
  served.push({ range: request.headers.range, bytes: cut ?? part.length });
  response.writeHead(from > 0 ? 206 : 200, {
    'content-length': part.length,
    ...(from > 0 && { 'content-range': `bytes ${from}-${whole.length - 1}/${whole.length}` }),
  });
  if (cut === undefined) response.end(part);
  else response.write(part.subarray(0, cut), () => response.destroy());
});

before(async () => {
  const inner = join(folder, 'pack', 'llama-v0.4.0');
  mkdirSync(inner, { recursive: true });
  for (const name of [
    'libggml-base.so',
    'libggml.so',
    'libllama.so',
    'libggml-cpu-android_armv8.6_1.so',
    'libggml-vulkan.so',
    'llama-cli',
  ])
    writeFileSync(join(inner, name), name.repeat(1000));
  spawnSync('tar', ['-czf', archive, '-C', join(folder, 'pack'), '.']);
  for (const version of ['1.0.0', '1.0.1']) {
    const inside = join(folder, version, 'package');
    for (const at of ['bin', 'lib/cli', 'scripts']) mkdirSync(join(inside, at), { recursive: true });
    writeFileSync(join(inside, 'package.json'), `{\n  "name": "loam",\n  "version": "${version}"\n}\n`);
    writeFileSync(join(inside, 'lib/cli/run.js'), `// ${version}\n`);
    writeFileSync(join(inside, 'scripts/install.sh'), script);
    spawnSync('tar', ['-czf', packageOf(version), '-C', join(folder, version), 'package']);
  }
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
});
after(() => server.close());

/** Each of these counts itself, and the one whose turn has come ends the installer as a closed Termux does. */
const counted = `count=$(cat "$STATE/count" 2>/dev/null || echo 0); count=$((count + 1)); echo $count >"$STATE/count"
if [ "$count" = "\${CUT:-}" ]; then kill -9 $PPID; exit 9; fi
echo "$(basename "$0") $*" >>"$STATE/calls"`;

/** Tools that change what is there are steps too, which are not worth listing. */
const changing = new Set(['curl', 'find', 'mkdir', 'mv', 'tar']);
const quietly = counted.replace(/\necho .*$/, '');

const fakes: Record<string, string> = {
  getprop: `case $1 in ro.build.version.sdk) echo "\${SDK:-34}" ;; *) echo "" ;; esac`,
  uname: `case $1 in -s) echo Linux ;; -m) echo "\${MACHINE:-aarch64}" ;; -r) echo 5.15.0 ;; *) echo Linux ;; esac`,
  basename: `echo "\${1##*/}"`,
  pkg: `${counted}
[ "$1 $2" = "install -y" ] || exit 2
case $3 in
nodejs-lts) for tool in node npm; do cp_tool $tool; done ;;
llama-cpp) mkdir -p "$PREFIX/lib"; for l in ggml-base ggml llama; do echo slow >"$PREFIX/lib/lib$l.so"; done ;;
git) cp_tool git ;;
*) echo "E: Unable to locate package $3" >&2; exit 100 ;;
esac`,
};
/** What \`pkg\` brings. */
const packaged: Record<string, string> = {
  node: `case $1 in
--version) echo "\${NODE_VERSION:-v22.23.5}"; exit ;;
esac
${counted}
shift
case "$*" in
"models get smollm2-135m") mkdir -p "$HOME/.loam/models"; echo model >"$HOME/.loam/models/default.gguf" ;;
doctor) echo 'nothing is in the way' >&2; exit "\${DOCTOR:-0}" ;;
esac`,
  // As the real one: what was there is gone first.
  npm: `${counted}
case $1 in
ci) rm -rf node_modules; mkdir -p node_modules/koffi
${counted.replace('"$(basename "$0") $*"', '"npm halfway"')}
mkdir -p node_modules/typescript lib/cli; echo built >lib/cli/run.js ;;
pkg) [ "$*" = 'pkg delete devDependencies scripts' ] || exit 2 ;;
prune) rm -r node_modules/typescript ;;
install) mkdir -p node_modules/koffi
${counted.replace('"$(basename "$0") $*"', '"npm halfway"')}
echo built >node_modules/koffi/built ;;
*) exit 2 ;;
esac`,
  git: `${counted}
case "$1" in
clone) for to; do :; done; mkdir -p "$to/scripts"; echo half >"$to/half"
${counted.replace('"$(basename "$0") $*"', '"git halfway"')}
rm "$to/half"; cat "$SOURCE/package.json" >"$to/package.json"; echo lock >"$to/package-lock.json" ;;
*) exit 1 ;;
esac`,
};

interface Phone {
  prefix: string;
  home: string;
  run(args: string[], env?: NodeJS.ProcessEnv): Promise<{ status: number | null; stderr: string }>;
  calls(): string[];
  steps(): number;
}

let phones = 0;
/** @param own whether the script lies in a checkout; else it is alone and clones one */
function newPhone(own = true): Phone {
  const root = join(folder, `phone ${++phones}`);
  const prefix = join(root, 'data/data/com.termux/files/usr');
  const [bin, home, source, state] = [
    join(prefix, 'bin'),
    join(root, 'home'),
    join(root, 'source'),
    join(root, 'state'),
  ];
  for (const made of [bin, home, join(source, 'scripts'), state]) mkdirSync(made, { recursive: true });
  const program = (path: string, text: string) => {
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
  };
  for (const tool of tools) {
    if (changing.has(tool)) program(join(bin, tool), `${quietly}\nexec ${where(tool)} "$@"`);
    else symlinkSync(where(tool), join(bin, tool));
  }
  mkdirSync(join(root, 'packages'));
  for (const [name, text] of Object.entries(packaged)) program(join(root, 'packages', name), text);
  const give = `cp_tool() { cat "${root}/packages/$1" >"$PREFIX/bin/$1.new"; chmod 755 "$PREFIX/bin/$1.new"; mv "$PREFIX/bin/$1.new" "$PREFIX/bin/$1"; }`;
  for (const [name, text] of Object.entries(fakes)) program(join(bin, name), `${give}\n${text}`);
  writeFileSync(join(source, 'package.json'), '{\n  "name": "loam"\n}\n');
  writeFileSync(join(source, 'package-lock.json'), 'lock\n');
  const installer = own ? join(source, 'scripts', 'install.sh') : join(root, 'install.sh');
  writeFileSync(installer, script);
  const { port } = server.address() as AddressInfo;
  return {
    prefix,
    home,
    calls: () =>
      existsSync(join(state, 'calls')) ? readFileSync(join(state, 'calls'), 'utf8').trim().split('\n') : [],
    steps: () => Number(readFileSync(join(state, 'count'), 'utf8')),
    async run(args, env = {}) {
      rmSync(join(state, 'count'), { force: true });
      rmSync(join(state, 'calls'), { force: true });
      const child = spawn(join(bin, 'sh'), [installer, ...args], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: {
          PATH: bin,
          PREFIX: prefix,
          HOME: home,
          STATE: state,
          SOURCE: source,
          TERMUX_VERSION: '0.118.3',
          LOAM_REPOSITORY: 'https://loam.example/loam.git',
          LOAM_ENGINE_URL: `http://127.0.0.1:${port}/engine.tar.gz`,
          LOAM_ENGINE_SHA256: digest(archive),
          ...env,
        },
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      const status = await new Promise<number | null>((ended) => child.once('close', (code) => ended(code)));
      return { status, stderr };
    },
  };
}

/** Everything that an installation consists of, by path. */
function installed({ prefix, home }: Phone): Record<string, string> {
  const files: Record<string, string> = {};
  const walk = (path: string, name: string) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const at = join(path, entry.name);
      if (entry.isDirectory()) walk(at, `${name}/${entry.name}`);
      else files[`${name}/${entry.name}`] = readFileSync(at, 'utf8').replaceAll(/phone \d+/g, 'phone');
    }
  };
  if (existsSync(join(prefix, 'opt'))) walk(join(prefix, 'opt'), 'opt');
  walk(home, 'home');
  if (existsSync(join(prefix, 'bin/loam')))
    files.command = readFileSync(join(prefix, 'bin/loam'), 'utf8').replaceAll(/phone \d+/g, 'phone');
  return files;
}

const engine = ['.from', 'libggml-base.so', 'libggml-cpu-android_armv8.6_1.so', 'libggml.so', 'libllama.so'];

describe('install.sh in a made-up Termux', { skip }, () => {
  it('installs Node, Loam, the engine and the model, and does it once', async () => {
    const phone = newPhone();
    served = [];
    const first = await phone.run([]);
    assert.equal(first.status, 0, first.stderr);
    assert.deepEqual(readdirSync(join(phone.prefix, 'opt/loam')), ['engine']);
    assert.deepEqual(readdirSync(join(phone.prefix, 'opt/loam/engine')).sort(), engine);
    assert.match(first.stderr, /nothing is in the way\n\nready: loam serve --open starts the page/);
    assert.deepEqual(
      phone.calls().map((call) =>
        call
          .replace(/ \/.*loam\.js/, '')
          .split(' ')
          .slice(0, 3)
          .join(' '),
      ),
      ['pkg install -y', 'npm ci --no-audit', 'npm halfway', 'npm prune --omit=dev', 'node models get', 'node doctor'],
    );
    const files = installed(phone);
    const second = await phone.run([]);
    assert.equal(second.status, 0, second.stderr);
    assert.deepEqual(
      phone.calls().map((call) => call.split(' ')[0]),
      ['node', 'node'],
    );
    assert.deepEqual(installed(phone), files);
    assert.equal(served.length, 1);
  });

  it('cut off at any step, it goes on from there and ends the same', async () => {
    const whole = newPhone(false);
    await whole.run([]);
    const steps = whole.steps();
    assert.ok(steps > 20, `${steps} steps`);
    const files = installed(whole);
    // Each fifth in the short form; LOAM_FAULTS=long takes all.
    const stride = process.env.LOAM_FAULTS === 'long' ? 1 : 5;
    for (let cut = 1; cut <= steps; cut += stride) {
      const phone = newPhone(false);
      const first = await phone.run([], { CUT: String(cut) });
      assert.notEqual(first.status, 0, `cut ${cut}`);
      const second = await phone.run([]);
      assert.equal(second.status, 0, `after cut ${cut}: ${second.stderr}`);
      assert.deepEqual(installed(phone), files, `after cut ${cut}`);
    }
  });

  it('unpacks a package, compiles nothing, takes the next one and goes on from any step', async () => {
    const first = { LOAM_PACKAGE: packageOf('1.0.0') };
    const phone = newPhone(false);
    const { status, stderr } = await phone.run([], first);
    assert.equal(status, 0, stderr);
    const called = () =>
      phone
        .calls()
        .filter((call) => /^(npm|git)/.test(call))
        .map((call) => call.split(' ').slice(0, 3).join(' '));
    const installs = ['npm pkg delete', 'npm install --omit=dev', 'npm halfway'];
    assert.deepEqual(called(), installs);
    const source = join(phone.home, 'loam');
    assert.equal(readFileSync(join(source, 'lib/cli/run.js'), 'utf8'), '// 1.0.0\n');
    assert.equal((await phone.run([], first)).status, 0);
    assert.deepEqual(called(), []);
    const files = installed(phone);

    const steps = await (async () => {
      const whole = newPhone(false);
      await whole.run([], first);
      return whole.steps();
    })();
    const stride = process.env.LOAM_FAULTS === 'long' ? 1 : 5;
    for (let cut = 2; cut <= steps; cut += stride) {
      const other = newPhone(false);
      assert.notEqual((await other.run([], { ...first, CUT: String(cut) })).status, 0, `cut ${cut}`);
      const second = await other.run([], first);
      assert.equal(second.status, 0, `after cut ${cut}: ${second.stderr}`);
      assert.deepEqual(installed(other), files, `after cut ${cut}`);
    }

    const updated = await phone.run(['update'], { LOAM_PACKAGE: packageOf('1.0.1') });
    assert.equal(updated.status, 0, updated.stderr);
    assert.deepEqual(called(), installs);
    assert.equal(readFileSync(join(source, 'lib/cli/run.js'), 'utf8'), '// 1.0.1\n');
    for (const [named, said] of [
      [join(folder, 'none.tgz'), /there is no file .*none\.tgz/],
      [archive, /is damaged, or no package of Loam/],
    ] as const) {
      const refused = await phone.run(['update'], { LOAM_PACKAGE: named });
      assert.equal(refused.status, 1);
      assert.match(refused.stderr, said);
      assert.equal(readFileSync(join(source, 'lib/cli/run.js'), 'utf8'), '// 1.0.1\n');
    }
    await phone.run(['remove']);
    assert.ok(!existsSync(source) && existsSync(join(phone.home, '.loam/models/default.gguf')));
    // Beside a checkout, which stays as it is; another folder of that name is the person's.
    const own = newPhone();
    assert.equal((await own.run([], first)).status, 0);
    assert.ok(!existsSync(join(own.home, '../source/.package')));
    const taken = newPhone(false);
    mkdirSync(join(taken.home, 'loam'));
    assert.match((await taken.run([], first)).stderr, /loam is there and is no unpacked package of Loam/);
  });

  it('a download that is cut goes on where it was', async () => {
    const phone = newPhone();
    served = [];
    cuts = [100, 50, 30];
    const first = await phone.run([]);
    assert.equal(first.status, 1);
    assert.match(first.stderr, /could not be fetched; what came is kept.*proot-distro.*several times slower/s);
    const kept = served.reduce((sum, { bytes }) => sum + bytes, 0);
    const second = await phone.run([]);
    assert.equal(second.status, 0, second.stderr);
    assert.equal(served.at(-1)!.range, `bytes=${kept}-`);
    assert.deepEqual(readdirSync(join(phone.prefix, 'opt/loam/engine')).sort(), engine);
  });

  it('refuses what is not what it should be', async () => {
    const phone = newPhone();
    for (const [env, said] of [
      [{ LOAM_ENGINE_SHA256: 'ab'.repeat(32) }, /has the SHA-256 [0-9a-f]{64}, expected abab/],
      [{ MACHINE: 'armv7l' }, /a armv7l system; the engine needs a 64-bit Arm processor/],
      [{ SDK: '27' }, /API level is 27, expected 28/],
      [{ LOAM_ENGINE_URL: 'http://127.0.0.1:9/none' }, /could not be fetched/],
      [{ NODE_VERSION: 'v18.20.4' }, /Node v18\.20\.4, expected 20\.4 or newer/],
      [{ NODE_VERSION: 'v20.3.1' }, /Node v20\.3\.1, expected 20\.4 or newer/],
    ] as [NodeJS.ProcessEnv, RegExp][]) {
      const { status, stderr } = await phone.run([], env);
      assert.equal(status, 1, stderr);
      assert.match(stderr, said);
      assert.ok(!existsSync(join(phone.prefix, 'opt/loam/engine')));
    }
    assert.match((await phone.run(['instal'])).stderr, /an unknown word "instal"/);
    const fresh = await phone.run([]);
    assert.equal(fresh.status, 0, fresh.stderr);
  });

  it("takes Termux's own package only when told to, and says that it is slow", async () => {
    const phone = newPhone();
    const { status, stderr } = await phone.run([], { LOAM_ENGINE: 'termux' });
    assert.equal(status, 0, stderr);
    assert.match(stderr, /several times slower/);
    assert.ok(existsSync(join(phone.prefix, 'lib/libllama.so')) && !existsSync(join(phone.prefix, 'opt/loam/engine')));
  });

  it('update takes another engine; remove leaves models and the person\u2019s own checkout', async () => {
    for (const own of [true, false]) {
      const phone = newPhone(own);
      await phone.run([]);
      const from = join(phone.prefix, 'opt/loam/engine/.from');
      writeFileSync(from, 'an older release\n');
      const updated = await phone.run(['update']);
      assert.equal(updated.status, 0, updated.stderr);
      assert.match(readFileSync(from, 'utf8'), /engine\.tar\.gz/);
      const source = own ? join(phone.home, '../source') : join(phone.home, 'loam');
      for (let round = 0; round < 2; round++) {
        const removed = await phone.run(['remove']);
        assert.equal(removed.status, 0, removed.stderr);
        assert.ok(!existsSync(join(phone.prefix, 'opt/loam')) && !existsSync(join(phone.prefix, 'bin/loam')));
        assert.equal(existsSync(join(source, 'package.json')), own);
        assert.ok(existsSync(join(phone.home, '.loam/models/default.gguf')));
      }
    }
  });

  it('leaves another program of that name alone', async () => {
    const phone = newPhone();
    writeFileSync(join(phone.prefix, 'bin/loam'), 'mine\n');
    const { status, stderr } = await phone.run([]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /is another program and stays/);
    await phone.run(['remove']);
    assert.equal(readFileSync(join(phone.prefix, 'bin/loam'), 'utf8'), 'mine\n');
  });
});
