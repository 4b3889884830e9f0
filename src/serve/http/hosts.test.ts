import assert from 'node:assert/strict';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { afterEach, it } from 'node:test';
import { Hosts, networkNames } from './hosts.js';

const real = os.networkInterfaces;
const tell = (list: () => string[]) => {
  os.networkInterfaces = () => ({
    wlan0: list().map((address) => ({
      address,
      netmask: '',
      mac: '',
      internal: false,
      cidr: null,
      ...(address.includes(':') ? { family: 'IPv6' as const, scopeid: 0 } : { family: 'IPv4' as const }),
    })),
  });
  syncBuiltinESMExports();
};
afterEach(() => {
  os.networkInterfaces = real;
  syncBuiltinESMExports();
});

it('an exposed server answers at the addresses that the device has at the moment, and at the one it was reached by', () => {
  let now = ['10.9.9.1', '2001:db8::1'];
  tell(() => now);
  const hosts = new Hosts({ names: ['127.0.0.1'], exposed: true }, 4184);
  const has = (host: string, local?: string) => hosts.has(host, local);
  assert.ok(has('10.9.9.1:4184') && has('[2001:db8::1]:4184') && has('127.0.0.1:4184'));
  assert.ok(!has('10.9.9.2:4184') && !has('10.9.9.1') && !has('10.9.9.1:80') && !has('evil.example:4184'));
  now = ['10.9.9.2'];
  assert.ok(has('10.9.9.2:4184') && !has('10.9.9.1:4184'));
  // A system that does not tell its addresses.
  tell(() => {
    throw new Error('uv_interface_addresses returned Unknown system error 13');
  });
  assert.ok(has('10.9.9.3:4184', '::ffff:10.9.9.3') && has('[fd00::1]:4184', 'fd00::1'));
  assert.ok(!has('10.9.9.2:4184', '10.9.9.3'));
  assert.deepEqual(networkNames(), []);
  // One that is not exposed has no other names, whatever the network says.
  tell(() => ['10.9.9.1']);
  assert.ok(!new Hosts({ names: ['127.0.0.1'] }, 4184).has('10.9.9.1:4184', '10.9.9.1'));
});

it('names that the owner lets in are answered as a proxy passes them on', () => {
  const hosts = new Hosts({ names: ['127.0.0.1'], allowed: ['Laptop.local', 'loam.example:8443'] }, 4184);
  for (const host of ['laptop.local', 'laptop.local:4184', 'loam.example:8443'])
    assert.ok(hosts.has(host, undefined), host);
  for (const host of ['laptop.local:80', 'loam.example', 'loam.example:4184', 'x.laptop.local']) {
    assert.ok(!hosts.has(host, undefined), host);
  }
  assert.ok(hosts.hasOrigin('https://laptop.local', undefined) && hosts.hasOrigin('http://laptop.local', undefined));
  assert.ok(
    !hosts.hasOrigin('https://127.0.0.1:4184', undefined) && hosts.hasOrigin('http://127.0.0.1:4184', undefined),
  );
});

it('addresses that work in a link come first', () => {
  tell(() => ['fe80::1', '169.254.3.4', '2001:db8::1', '192.168.1.5']);
  assert.deepEqual(networkNames(), ['192.168.1.5', '[2001:db8::1]', '169.254.3.4', '[fe80::1]']);
});
