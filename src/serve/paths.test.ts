import assert from 'node:assert/strict';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { answerError, answerOpenAiError } from './http/errors.js';
import { withoutPaths } from './paths.js';

process.env.LOAM_HOME = '/home/jane doe/.loam';

it('a path is told from LOAM_HOME or by its last part, and what only looks like one stays', () => {
  for (const [text, told] of [
    ['/home/jane doe/.loam/models/a b.gguf: cut off', 'LOAM_HOME/models/a b.gguf: cut off'],
    [join(homedir(), 'models', 'x.gguf'), 'x.gguf'],
    [`read ${join(tmpdir(), 'loam-1', 'y.bin')}, then stopped`, 'read y.bin, then stopped'],
    ['"/srv/data/private/notes.json", line 3', '"notes.json", line 3'],
    ['C:\\Users\\Jane\\models\\z.gguf: no', 'z.gguf: no'],
    ['/var/lib/loam/ is a folder', 'loam is a folder'],
    ['/v1/models lists those that do', '/v1/models lists those that do'],
    ['see /api/jobs/x and http://127.0.0.1:4184/v1/models', 'see /api/jobs/x and http://127.0.0.1:4184/v1/models'],
    ['hub:own/repo/m.gguf, and/or 3/4/5 of it', 'hub:own/repo/m.gguf, and/or 3/4/5 of it'],
    ['see /openapi.json', 'see /openapi.json'],
  ] as const) {
    assert.equal(withoutPaths(text), told);
  }
});

it('no refusal shows a path of the server, in whichever part of it', () => {
  const secret = '/mnt/private disk/jane/model.gguf';
  const fault = { found: `a link to ${secret}`, expected: `not "${secret}"`, where: secret, fix: `remove ${secret}` };
  const error = new LoamError({ code: 'damaged', ...fault });
  for (const { body } of [answerError(error), answerOpenAiError(error)]) {
    assert.doesNotMatch(JSON.stringify(body), /\/mnt|\/jane/);
    assert.match(JSON.stringify(body), /model\.gguf/);
  }
});
