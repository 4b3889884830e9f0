import assert from 'node:assert/strict';
import { it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { Vault } from './Vault.js';

/** What is asked of a vault while the same process writes to it, at any moment of the write. */

it('answers while it writes, and writes on afterwards', async () => {
  await using vault = await Vault.open(scratchFolder());
  let writing = true;
  let asked = 0;
  const reader = (async () => {
    while (writing) {
      const { length } = vault.documents.list('note');
      assert.ok(length <= 12);
      asked++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  for (let i = 0; i < 12; i++) {
    await vault.documents.put('note', String(i), Buffer.from(`note ${i}`));
    // A deletion changes the key of the index, in several writes.
    if (i % 3 === 2) await vault.documents.delete('note', String(i));
  }
  writing = false;
  await reader;
  assert.ok(asked > 12, 'it was asked in the middle of writes');
  assert.deepEqual(
    vault.documents
      .list('note')
      .map(({ id }) => id)
      .sort(),
    ['0', '1', '10', '3', '4', '6', '7', '9'],
  );
  for (const { id } of vault.documents.list('note')) {
    assert.equal(Buffer.from((await vault.documents.get('note', id))!).toString(), `note ${id}`);
  }
});
