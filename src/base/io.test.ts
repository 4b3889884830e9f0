import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { LoamError } from './errors.js';
import { explainWriteError, requireWritable, writeFileAtomic } from './io.js';

const folder = scratchFolder();
const newFolder = (name: string) => {
  mkdirSync(join(folder, name));
  return join(folder, name);
};

describe('requireWritable', () => {
  it('passes for new and for existing files and makes nothing, folders included', async () => {
    const at = newFolder('fine');
    writeFileSync(join(at, 'file'), 'older');
    for (const path of [join(at, 'file'), join(at, 'new'), join(at, 'not', 'yet', 'there')])
      await requireWritable(path);
    assert.deepEqual(readdirSync(at), ['file']);
    assert.equal(readFileSync(join(at, 'file'), 'utf8'), 'older');
  });

  it('refuses folders, devices and names below a file', async () => {
    const at = newFolder('wrong');
    writeFileSync(join(at, 'file'), '');
    await assert.rejects(requireWritable(at), /this is a folder, expected the path of a file to write/);
    await assert.rejects(requireWritable(join(at, 'file', 'x')), /not a file that can be written/);
    if (process.platform !== 'win32') await assert.rejects(requireWritable('/dev/null'), /a pipe or a device/);
    assert.deepEqual(readdirSync(at), ['file']);
  });
});

const newFolderOfWriteFileAtomic = (name: string) => {
  mkdirSync(join(folder, name));
  return join(folder, name);
};

describe('writeFileAtomic', () => {
  it('writes text, bytes or what a function writes, making folders on the way, readable by the owner only', async () => {
    const at = newFolderOfWriteFileAtomic('kinds');
    await writeFileAtomic(join(at, 'a', 'b', 'text'), 'grüße');
    await writeFileAtomic(join(at, 'bytes'), Uint8Array.of(0, 255));
    await writeFileAtomic(join(at, 'written'), async (file) => {
      await file.write('one ');
      await file.write('two');
    });
    assert.equal(readFileSync(join(at, 'a', 'b', 'text'), 'utf8'), 'grüße');
    assert.deepEqual([...readFileSync(join(at, 'bytes'))], [0, 255]);
    assert.equal(readFileSync(join(at, 'written'), 'utf8'), 'one two');
    if (process.platform !== 'win32') assert.equal(statSync(join(at, 'bytes')).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(at).sort(), ['a', 'bytes', 'written']);
  });

  it('has nothing under the name until all is written', async () => {
    const at = newFolderOfWriteFileAtomic('until');
    const path = join(at, 'file');
    await writeFileAtomic(path, async (file) => {
      await file.write('half');
      assert.equal(readdirSync(at).includes('file'), false);
      await file.write(' and half');
    });
    assert.equal(readFileSync(path, 'utf8'), 'half and half');
  });

  it('a failure keeps the older file, leaves no part, and is passed on', async () => {
    const at = newFolderOfWriteFileAtomic('failure');
    const path = join(at, 'file');
    writeFileSync(path, 'older');
    const problem = new Error('no');
    await assert.rejects(
      writeFileAtomic(path, async (file) => {
        await file.write('newer');
        throw problem;
      }),
      (error) => error === problem,
    );
    assert.equal(readFileSync(path, 'utf8'), 'older');
    assert.deepEqual(readdirSync(at), ['file']);
  });

  it('writers of one name do not mix', async () => {
    const path = join(newFolderOfWriteFileAtomic('many'), 'file');
    const texts = Array.from({ length: 8 }, (_, i) => String(i).repeat(100_000));
    await Promise.all(texts.map((text) => writeFileAtomic(path, text)));
    assert.ok(texts.includes(readFileSync(path, 'utf8')));
    assert.deepEqual(readdirSync(join(folder, 'many')), ['file']);
  });

  it('explains a name that is a folder, and one below a file', async () => {
    const at = newFolderOfWriteFileAtomic('folder');
    writeFileSync(join(at, 'file'), '');
    mkdirSync(join(at, 'inner'));
    for (const path of [join(at, 'inner'), join(at, 'file', 'x')]) {
      await assert.rejects(
        writeFileAtomic(path, 'x'),
        (error) => error instanceof LoamError && error.message.startsWith(path),
      );
    }
    assert.deepEqual(readdirSync(at).sort(), ['file', 'inner']);
  });
});

describe('explainWriteError', () => {
  for (const [code, pattern] of [
    ['ENOSPC', /disk is full; free some space/],
    ['EDQUOT', /disk is full/],
    ['EACCES', /no permission to write here; choose another path/],
    ['EROFS', /no permission/],
    ['ENOTDIR', /not a file that can be written; choose another path/],
    ['ENOENT', /no file can be made here; choose another path/],
  ] as const) {
    it(code, () => {
      const cause = Object.assign(new Error(code), { code });
      const explained = explainWriteError(cause, '/some/where');
      assert.ok(explained instanceof LoamError);
      assert.match(explained.message, pattern);
      assert.ok(explained.message.startsWith('/some/where: '));
      assert.equal(explained.cause, cause);
    });
  }

  it('leaves other errors as they are', () => {
    for (const error of [new Error('other'), new LoamError({ found: 'x' }), undefined]) {
      assert.equal(explainWriteError(error, 'x'), error);
    }
  });
});
