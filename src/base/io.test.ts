import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { LoamError } from './errors.js';
import {
  explainWriteError,
  hashFile,
  ifPresent,
  readBounded,
  readStart,
  readText,
  requireWritable,
  writeFileAtomic,
} from './io.js';

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

describe('writeFileAtomic', () => {
  it('writes text, bytes or what a function writes, making folders on the way, readable by the owner only', async () => {
    const at = newFolder('kinds');
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
    const at = newFolder('until');
    const path = join(at, 'file');
    await writeFileAtomic(path, async (file) => {
      await file.write('half');
      assert.equal(readdirSync(at).includes('file'), false);
      await file.write(' and half');
    });
    assert.equal(readFileSync(path, 'utf8'), 'half and half');
  });

  it('a failure keeps the older file, leaves no part, and is passed on', async () => {
    const at = newFolder('failure');
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
    const path = join(newFolder('many'), 'file');
    const texts = Array.from({ length: 8 }, (_, i) => String(i).repeat(100_000));
    await Promise.all(texts.map((text) => writeFileAtomic(path, text)));
    assert.ok(texts.includes(readFileSync(path, 'utf8')));
    assert.deepEqual(readdirSync(join(folder, 'many')), ['file']);
  });

  it('explains a name that is a folder, and one below a file', async () => {
    const at = newFolder('folder');
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
  for (const [code, ours, pattern] of [
    ['ENOSPC', 'disk-full', /disk is full; free some space/],
    ['EDQUOT', 'disk-full', /disk is full/],
    ['EACCES', 'unwritable', /no permission to write here; choose another path/],
    ['EROFS', 'unwritable', /no permission/],
    ['ENOTDIR', 'unwritable', /not a file that can be written; choose another path/],
    ['ENOENT', 'unwritable', /no file can be made here; choose another path/],
  ] as const) {
    it(code, () => {
      const cause = Object.assign(new Error(code), { code });
      const explained = explainWriteError(cause, '/some/where');
      assert.ok(explained instanceof LoamError);
      assert.equal(explained.code, ours);
      assert.match(explained.message, pattern);
      assert.ok(explained.message.startsWith('/some/where: '));
      assert.equal(explained.cause, cause);
    });
  }

  it('leaves other errors as they are', () => {
    for (const error of [new Error('other'), new LoamError({ code: 'failed', found: 'x' }), undefined]) {
      assert.equal(explainWriteError(error, 'x'), error);
    }
  });
});

describe('bounded reads', () => {
  it('give a whole file up to the limit, and nothing of a larger one', async () => {
    const path = join(newFolder('bounded'), 'file');
    writeFileSync(path, 'grüße');
    assert.equal(await readText(path, 7), 'grüße');
    assert.equal((await readStart(path, 2)).toString(), 'gr');
    assert.equal((await readStart(path, 100)).length, 7);
    await assert.rejects(readText(path, 6), /a file of 7 bytes, expected at most 6 bytes/);
    await assert.rejects(readBounded(path, 6), { code: 'too-large' });
  });

  it('tell a file that is not there from one that cannot be read as asked', async () => {
    const at = newFolder('absent');
    writeFileSync(join(at, 'bytes'), Uint8Array.of(0xff));
    assert.equal(await ifPresent(readText(join(at, 'nothing'), 10)), undefined);
    await assert.rejects(readText(join(at, 'nothing'), 10), { code: 'not-found' });
    await assert.rejects(ifPresent(readText(join(at, 'bytes'), 10)), /bytes that are not UTF-8/);
    await assert.rejects(ifPresent(readText(at, 10)), { code: 'unreadable' });
  });
});

describe('hashFile', () => {
  it('is the SHA-256 of the whole, and tells how far it is', async () => {
    const path = join(newFolder('hash'), 'file');
    const bytes = new Uint8Array(9_000_000).map((_, i) => i % 251);
    writeFileSync(path, bytes);
    const events: { done: number; total: number }[] = [];
    const sha256 = await hashFile(path).each((event) => events.push(event));
    assert.equal(sha256, createHash('sha256').update(bytes).digest('hex'));
    assert.ok(events.length > 1 && events.every(({ total }) => total === bytes.length));
    assert.equal(events.at(-1)!.done, bytes.length);
    await assert.rejects(hashFile(path, AbortSignal.abort()).result, { code: 'stopped' });
  });
});
