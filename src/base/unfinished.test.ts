import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { partialPath, sweepUnfinished, temporaryFolder, temporaryPath } from './unfinished.js';

const root = scratchFolder();
const newFolder = () => mkdtempSync(join(root, 'folder-'));

/** Paths of a process that has ended. */
async function ofTheDead(folder: string): Promise<string[]> {
  const module = new URL('./unfinished.js', import.meta.url).href;
  const script = `
    const { partialPath, temporaryFolder, temporaryPath } = await import(${JSON.stringify(module)});
    const folder = ${JSON.stringify(folder)};
    console.log([partialPath(folder + '/a.gguf'), temporaryPath(folder), await temporaryFolder(folder)].join('\\n'));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await once(child, 'close');
  return text.trim().split('\n');
}

describe('what is unfinished', () => {
  it('goes when its process is gone, and stays while it lives', async () => {
    const folder = newFolder();
    const left = await ofTheDead(folder);
    assert.equal(left.length, 3);
    for (const path of left.slice(0, 2)) writeFileSync(path, 'x');
    writeFileSync(join(left[2]!, 'inside'), 'x');
    const own = [partialPath(join(folder, 'a.gguf')), temporaryPath(folder)];
    for (const path of own) writeFileSync(path, 'x');
    own.push(await temporaryFolder(folder));
    const others = ['a.gguf', '.hidden', '.a.partial', 'loam-notes.txt', '.notes.0123abcd.partial'];
    for (const name of others) writeFileSync(join(folder, name), 'x');
    await sweepUnfinished(folder);
    assert.deepEqual(readdirSync(folder).sort(), [...own.map((path) => basename(path)), ...others].sort());
  });

  it('goes after a restart of the system, and where its process is out of reach after an hour of silence', async () => {
    const folder = newFolder();
    const name = basename(partialPath(join(folder, 'a.gguf')));
    const [machine, boot] = /([0-9a-f]{8})-([0-9a-f]{8})-\d+-/.exec(name)!.slice(1) as [string, string];
    const restarted = join(folder, name.replace(`-${boot}-`, '-00000000-'));
    const elsewhere = join(folder, name.replace(`.${machine}-`, '.00000000-'));
    const silent = join(
      folder,
      name.replace(`.${machine}-`, '.00000000-').replace(/.{8}\.partial$/, '01234567.partial'),
    );
    for (const path of [restarted, elsewhere, silent]) writeFileSync(path, 'x');
    const hours = (n: number) => new Date(Date.now() - n * 3_600_000);
    utimesSync(silent, hours(2), hours(2));
    await sweepUnfinished(folder);
    assert.deepEqual([restarted, elsewhere, silent].map(existsSync), [false, true, false]);
  });

  it('of earlier versions goes with its process', async () => {
    const folder = newFolder();
    const [dead] = /\d+(?=-[0-9a-f]*\.)/.exec((await ofTheDead(folder))[0]!)!;
    const names = [`.a.gguf.${dead}.candidate`, `.a.gguf.${process.pid}.candidate`];
    for (const name of names) writeFileSync(join(folder, name), 'x');
    await sweepUnfinished(folder);
    assert.deepEqual(
      names.map((name) => existsSync(join(folder, name))),
      [false, true],
    );
  });

  it('has a name that every file system takes, and needs no folder', async () => {
    const long = 'ö'.repeat(120);
    assert.ok(Buffer.byteLength(basename(partialPath(join(root, long)))) <= 255);
    await sweepUnfinished(join(root, 'nowhere'));
    mkdirSync(join(root, 'somewhere'));
    assert.notEqual(partialPath(join(root, 'a')), partialPath(join(root, 'a')));
  });
});
