import assert from 'node:assert/strict';
import { it } from 'node:test';
import { UsageError } from '../base/errors.js';
import { hubEndpoint, hubFileUrl, maySendToken, parseHubReference } from './hub.js';

const HUB = hubEndpoint('');

it('HF_ENDPOINT names the hub, with the public one as default', () => {
  assert.equal(HUB.href, 'https://huggingface.co/');
  assert.equal(hubEndpoint(' https://mirror.invalid/hf/ ').href, 'https://mirror.invalid/hf/');
  for (const bad of ['mirror.invalid', 'ftp://mirror.invalid', '//x'])
    assert.throws(() => hubEndpoint(bad), UsageError);
});

it('the address of a file is ENDPOINT/repo/resolve/revision/path', () => {
  const source = { kind: 'hub', repo: 'o/r', revision: 'main', file: 'sub/a b.gguf' } as const;
  assert.equal(hubFileUrl(source, HUB).href, 'https://huggingface.co/o/r/resolve/main/sub/a%20b.gguf');
  const mirror = hubEndpoint('https://mirror.invalid/hf/');
  assert.equal(hubFileUrl(source, mirror).href, 'https://mirror.invalid/hf/o/r/resolve/main/sub/a%20b.gguf');
});

it('a reference is read in each form that people have it', () => {
  const plain = { kind: 'hub', repo: 'o/r', revision: 'main', file: 'm.gguf' };
  assert.deepEqual(parseHubReference('hub:o/r/m.gguf', HUB), plain);
  assert.deepEqual(parseHubReference('hub:o/r@abc/sub/m.gguf', HUB), { ...plain, revision: 'abc', file: 'sub/m.gguf' });
  assert.deepEqual(parseHubReference('https://huggingface.co/o/r/blob/main/m.gguf', HUB), plain);
  assert.deepEqual(parseHubReference('https://huggingface.co/o/r/resolve/v1/m.gguf?download=true', HUB), {
    ...plain,
    revision: 'v1',
  });
  assert.equal(parseHubReference('models/m.gguf', HUB), null);
  assert.equal(parseHubReference('https://elsewhere.invalid/o/r/resolve/main/m.gguf', HUB), null);
});

it('a reference that could leave its place, or names no GGUF file, is wrong usage', () => {
  for (const bad of [
    'hub:',
    'hub:o',
    'hub:o/r',
    'hub:o/r/m.bin',
    'hub:o/r/../m.gguf',
    'hub:../r/m.gguf',
    'hub:o/r@/m.gguf',
    'hub:o/r@a@b/m.gguf',
    'hub:o/r/a b.gguf',
    'hub:o//m.gguf',
    'hub:o/r/.gguf',
  ]) {
    assert.throws(() => parseHubReference(bad, HUB), UsageError, bad);
  }
});

it('a token goes over TLS or stays on the device', () => {
  for (const good of ['https://hub.invalid', 'http://localhost:1', 'http://127.8.0.1', 'http://[::1]:2']) {
    assert.equal(maySendToken(new URL(good)), true, good);
  }
  for (const bad of ['http://hub.invalid', 'http://10.0.0.1', 'http://127.evil.invalid', 'http://localhost.invalid']) {
    assert.equal(maySendToken(new URL(bad)), false, bad);
  }
});
