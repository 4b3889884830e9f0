import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LoamError } from '../base/errors.js';
import { scratchFolder } from '../testing/scratch.js';
import { checkLayout, type Native, native } from './native.js';

const program = fileURLToPath(new URL('../../bin/loam.js', import.meta.url));

/** The command line with these variables and flags of Node. */
function loam(args: string[], env: NodeJS.ProcessEnv = {}, node: string[] = []) {
  const run = spawnSync(process.execPath, [...node, program, ...args], {
    encoding: 'utf8',
    env: { ...process.env, LOAM_HOME: scratchFolder(), ...env },
  });
  const last = run.stdout.trim().split('\n').at(-1) ?? '';
  return { ...run, last: last.startsWith('{') ? (JSON.parse(last) as Record<string, unknown>) : undefined };
}

/** The libraries of this installation in another folder, of which `files` are replaced by others of it. */
function otherBuild(files: Record<'base' | 'ggml' | 'llama', string>): string {
  const folder = join(scratchFolder(), 'libraries');
  mkdirSync(folder);
  const { folder: from } = native().files;
  for (const name of readdirSync(from)) {
    if (/ggml-cpu/.test(name)) symlinkSync(join(from, name), join(folder, name));
  }
  const ending = process.platform === 'darwin' ? 'dylib' : 'so';
  symlinkSync(files.base, join(folder, `libggml-base.${ending}`));
  symlinkSync(files.ggml, join(folder, `libggml.${ending}`));
  symlinkSync(files.llama, join(folder, `libllama.${ending}`));
  return folder;
}

const posix = { skip: process.platform === 'win32' && 'links to libraries' };

describe('an engine that does not fit', () => {
  it('lacks functions: it says which, and what to do', posix, () => {
    const { base, ggml } = native().files;
    const { status, last, stderr } = loam(['doctor', '--json'], {
      LOAM_GGML_DIR: otherBuild({ base, ggml, llama: base }),
    });
    assert.equal(status, 1);
    assert.equal(last?.code, 'engine');
    assert.match(String(last?.message), /lack llama_version and \d+ more of the functions that Loam calls/);
    assert.match(String(last?.message), /expected a build of llama\.cpp v0\.4\.0 or v0\.5\.0; unset LOAM_GGML_DIR/);
    assert.doesNotMatch(stderr, /a bug in Loam/);
  });

  it('is no library at all', posix, () => {
    const { base, ggml } = native().files;
    const { status, last } = loam(['doctor', '--json'], {
      LOAM_GGML_DIR: otherBuild({ base, ggml, llama: fileURLToPath(import.meta.url) }),
    });
    assert.deepEqual([status, last?.code], [1, 'engine']);
    assert.match(
      String(last?.message),
      /the engine can't be loaded: .*; unset LOAM_GGML_DIR, or point it at a build of/s,
    );
  });

  it('has another layout: the field that differs is named', () => {
    const real = native();
    checkLayout(real);
    const other = (change: { tensor?: number; split?: number; batch?: number; room?: number }): Native => ({
      ...real,
      ggml: {
        ...real.ggml,
        tensorOverhead: (() => change.tensor ?? 368) as unknown as typeof real.ggml.tensorOverhead,
      },
      llama: {
        ...real.llama,
        modelDefaultParams: (() => ({
          ...real.llama.modelDefaultParams(),
          split_mode: change.split ?? 1,
        })) as unknown as typeof real.llama.modelDefaultParams,
        contextDefaultParams: (() => ({
          ...real.llama.contextDefaultParams(),
          n_batch: change.batch ?? 2048,
        })) as unknown as typeof real.llama.contextDefaultParams,
      },
    });
    for (const [change, said] of [
      [{ tensor: 352 }, /has 352 in size of ggml_tensor instead of 368, expected/],
      [{ split: 0 }, /has 0 in llama_model_params\.split_mode instead of 1, expected/],
      [{ split: 2, batch: 512 }, /has 2 in llama_model_params\.split_mode instead of 1 \(and 1 more differ\)/],
    ] as const) {
      assert.throws(
        () => checkLayout(other(change)),
        (error) => error instanceof LoamError && error.code === 'engine' && said.test(error.message),
      );
    }
  });
});

describe('koffi without a binary for this system', () => {
  const hook = `export async function resolve(name, context, next) {
    if (name === 'koffi') throw new Error("Cannot find the native Koffi module; did you bundle it correctly?");
    return next(name, context);
  }`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});`;
  const without = ['--import', `data:text/javascript,${encodeURIComponent(register)}`];

  it('is a stated error, with what to do', () => {
    const { status, last, stderr } = loam(['doctor', '--json'], {}, without);
    assert.deepEqual([status, last?.code], [1, 'engine'], stderr);
    assert.match(
      String(last?.message),
      /^koffi, which calls the engine, has no binary .* Koffi module.*; install Loam again/,
    );
    assert.doesNotMatch(stderr, /a bug in Loam/);
  });

  it('leaves what needs no engine as it is', () => {
    assert.equal(loam(['--help'], {}, without).status, 0);
    const { status, last } = loam(['models', 'list', '--json'], {}, without);
    assert.deepEqual([status, last?.type], [0, 'result']);
  });
});

describe('backends', () => {
  it('of a GPU are not loaded, and one that is asked for is refused', posix, () => {
    // A library of that name that would stand out if ggml loaded it: the CPU's own, which would register a second time.
    const { base, ggml, llama, folder } = native().files;
    const cpu = readdirSync(folder).find((name) => /ggml-cpu.*\.so$/.test(name))!;
    const other = otherBuild({ base, ggml, llama });
    symlinkSync(join(folder, cpu), join(other, 'libggml-vulkan.so'));
    symlinkSync(join(folder, cpu), join(other, 'libggml-opencl.so'));
    const examined = (env: NodeJS.ProcessEnv) => {
      const run = loam(['doctor', '--json'], { LOAM_GGML_DIR: other, LOAM_NATIVE_LOG: '1', ...env });
      const loaded = [...run.stderr.matchAll(/loaded \w+ backend from .*libggml-(\w+)/g)].map(([, name]) => name);
      return { loaded, ...run };
    };
    for (const env of [{}, { LOAM_GPU: '0' }]) assert.deepEqual(examined(env).loaded, ['cpu']);
    const { loaded, status, last } = examined({ LOAM_GPU: '1' });
    assert.deepEqual([loaded, status, last?.code], [[], 1, 'unsupported']);
    assert.match(String(last?.message), /^LOAM_GPU=1 asks for a GPU, .*; unset LOAM_GPU\.$/);
  });
});
