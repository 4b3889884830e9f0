import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { requireWritable } from './requireWritable.js';

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
