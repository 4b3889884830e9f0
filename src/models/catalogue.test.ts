import assert from 'node:assert/strict';
import { it } from 'node:test';
import { UsageError } from '../base/errors.js';
import { CATALOG, DEFAULT_MODEL, findModel } from './catalogue.js';
import { hubEndpoint, parseHubReference } from './hub.js';

it('names and files are unique and safe, and the default exists', () => {
  assert.equal(new Set(CATALOG.map((e) => e.name)).size, CATALOG.length);
  assert.equal(new Set(CATALOG.map((e) => e.file.toLowerCase())).size, CATALOG.length);
  for (const { name, file } of CATALOG) {
    assert.match(name, /^[a-z0-9][a-z0-9.-]*$/);
    assert.match(file, /^[A-Za-z0-9._-]+\.gguf$/);
  }
  assert.equal(findModel(DEFAULT_MODEL).name, 'smollm2-135m');
});

for (const entry of CATALOG) {
  it(`${entry.name}: what it states holds together`, () => {
    assert.ok(entry.sources.length > 0);
    // A hash and an exact size come together, and without them only the hub, which states its own, may serve the file.
    assert.equal(entry.sha256 === undefined, entry.hashFrom === 'hub');
    assert.equal(entry.approximateSize === true, entry.hashFrom === 'hub');
    if (entry.sha256 !== undefined) assert.match(entry.sha256, /^[0-9a-f]{64}$/);
    // Between two and nine bits a weight, plus the vocabulary: a slip of a digit falls outside.
    const bits = (entry.size * 8) / entry.parameters;
    assert.ok(bits > 3 && bits < 9, `${bits} bits a weight`);
    assert.ok(entry.contextLength >= 2048);
    assert.match(entry.licence.url, /^https:\/\//);
    for (const source of entry.sources) {
      if (source.kind === 'pypi') {
        assert.ok(entry.sha256);
        for (const part of source.parts) assert.match(part.member, /^[a-z0-9_]+\/[^\\]*\.gguf/);
      } else {
        const { repo, revision, file } = source;
        assert.deepEqual(parseHubReference(`hub:${repo}@${revision}/${file}`, hubEndpoint('')), source);
        // A hash that we did not compute is trusted for one commit only.
        if (entry.hashFrom === 'records') assert.match(revision, /^[0-9a-f]{40}$/);
      }
    }
  });
}

it('an unknown name is answered with the nearest', () => {
  assert.throws(
    () => findModel('smolm2-135'),
    (e: unknown) => e instanceof UsageError && /did you mean smollm2-135m/.test(e.message),
  );
  assert.throws(() => findModel('zzzzzzzz'), /the catalogue has smollm2-135m/);
});
