import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { buildZip, type Member } from '../testing/buildZip.js';
import { scratchFolder } from '../testing/scratch.js';
import { loadDataset } from './loadDataset.js';
import { lookAt } from './look.js';

const chat = Buffer.from(
  '[14.05.23, 09:01:10] Ben: Open today?\n[14.05.23, 09:02:00] Anna: Until four.\n[14.05.23, 09:03:00] Ben: Good.\n',
);
const columns = 'me=Anna';
const picture = { name: '00000001-PHOTO.jpg', data: Buffer.alloc(3000, 0xd8) };
const member = (name: string, more: Partial<Member> = {}): Member => ({ name, data: chat, method: 8, ...more });
const read = async (members: readonly Member[], name = 'WhatsApp Chat - Ben.zip') =>
  await loadDataset({ name, bytes: buildZip(members) }, { columns });

it('of an exported archive the chat is read as if it had come alone, in memory and from a disk', async () => {
  const alone = await loadDataset({ name: 'WhatsApp Chat - Ben.txt', bytes: chat }, { columns });
  for (const name of [
    '_chat.txt',
    'WhatsApp Chat with Ben.txt',
    'WhatsApp-Chat mit Ben.txt',
    'Conversa do WhatsApp com Ben.txt',
    'Ben/_chat.txt',
  ]) {
    const file = join(scratchFolder(), 'Ben.zip');
    writeFileSync(file, buildZip([picture, member(name), member('__MACOSX/._chat.txt')]));
    const found = await loadDataset(file, { columns });
    assert.deepEqual(
      [found.sha256, found.format.container, found.examples.map(({ messages }) => messages)],
      [alone.sha256, 'whatsapp', alone.examples.map(({ messages }) => messages)],
      name,
    );
  }
  const { chat: asked } = await lookAt({
    name: 'WhatsApp Chat - Ben.zip',
    bytes: buildZip([member('_chat.txt'), picture]),
  });
  assert.equal(asked?.me, 'Anna');
});

it('an archive without a chat is refused as any other, and one with two says so', async () => {
  await assert.rejects(read([member('notes.txt'), picture]), { code: 'unsupported', message: /a zip archive/ });
  await assert.rejects(read([member('a/_chat.txt'), member('b/_chat.txt')]), {
    code: 'invalid-data',
    message: /several chats/,
  });
  const bytes = buildZip([member('_chat.txt', { data: Buffer.from('no chat at all') })]);
  await assert.rejects(loadDataset({ name: 'Ben.zip', bytes }), { code: 'wrong-format' });
});

it('what lies about its size, is a bomb or is damaged is refused before it takes memory', async () => {
  const zeros = member('_chat.txt', { data: Buffer.alloc(60e6) });
  await assert.rejects(read([zeros]), { code: 'too-large' });
  await assert.rejects(read([member('_chat.txt', { size: 10 })]), { code: 'damaged', message: /more than it states/ });
  await assert.rejects(read([member('_chat.txt', { crc: 1 })]), { code: 'damaged', message: /checksum/ });
  await assert.rejects(read([member('_chat.txt', { flags: 1 })]), { code: 'unsupported', message: /encrypted/ });
});
