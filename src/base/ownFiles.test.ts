import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { constants, existsSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { openOwn, readOwn, shred, sizeOf } from './ownFiles.js';

const root = scratchFolder();
const skip = process.platform === 'win32' ? 'Windows has no pipes among files' : false;
let made = 0;
const victim = () => {
  const path = join(root, `victim ${made++}`);
  writeFileSync(path, 'precious');
  return path;
};
const kinds: Record<string, (path: string) => void> = {
  'a link': (path) => symlinkSync(victim(), path),
  'a link to nothing': (path) => symlinkSync(join(root, 'nothing'), path),
  'a pipe': (path) => void spawnSync('mkfifo', [path]),
  'a folder': (path) => mkdirSync(path),
  'a device': (path) => symlinkSync('/dev/zero', path),
};

describe('a file of ours', { skip }, () => {
  for (const [kind, make] of Object.entries(kinds)) {
    it(`is not ${kind}`, async () => {
      const path = join(root, `own ${made++}`);
      make(path);
      assert.equal(readOwn(path, 100), undefined);
      for (const flags of [constants.O_RDONLY, constants.O_RDWR, constants.O_RDWR | constants.O_CREAT]) {
        await assert.rejects(openOwn(path, flags));
      }
      await shred(path);
      assert.ok(!existsSync(path) && sizeOf(path) === 0);
      assert.ok(!existsSync(join(root, 'nothing')));
      for (let i = 0; i < made; i++) {
        const other = join(root, `victim ${i}`);
        if (existsSync(other)) assert.equal(readFileSync(other, 'utf8'), 'precious');
      }
    });
  }

  it('is read up to a limit, and overwritten only if nobody else has it', async () => {
    const path = join(root, 'plain');
    writeFileSync(path, 'content');
    assert.deepEqual([readOwn(path, 7)?.toString(), readOwn(path, 6)], ['content', undefined]);
    assert.equal(readOwn(join(root, 'none'), 7), undefined);
    const second = join(root, 'second name');
    linkSync(path, second);
    await shred(path);
    assert.deepEqual([existsSync(path), readFileSync(second, 'utf8')], [false, 'content']);
    await using open = await openOwn(second);
    await shred(second);
    assert.notEqual(await open.readFile('utf8'), 'content', 'the blocks hold something else');
  });
});
