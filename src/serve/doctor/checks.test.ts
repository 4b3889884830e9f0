import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Finding, findObstacles } from './checks.js';
import type { Circumstances } from './circumstances.js';

/** Every obstacle, by what the device and the engine tell. What the command line makes of them: src/cli/doctor.test.ts. */

/** What ggml's backends tell of themselves on a phone, and what the kernel says of its processor. */
const phone: Circumstances = {
  reading: {
    at: new Date('2026-11-20T12:00:00Z'),
    battery: { percent: 80, charging: false, celsius: 30 },
    processorCelsius: 60,
    freeMemory: 3e9,
  },
  android: {
    level: 34,
    phantomLimit: 'off',
    batteryOptimised: 'off',
    programs: { wakeLock: true, api: true, scheduler: true, boot: true },
  },
  engine: {
    arch: 'arm64',
    features: { NEON: '1', ARM_FMA: '1', FP16_VA: '1', MATMUL_INT8: '1', DOTPROD: '1', OPENMP: '1', REPACK: '1' },
    repacks: true,
    flags: new Set(
      'fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp i8mm'.split(' '),
    ),
  },
  places: {
    home: { path: '/data/data/com.termux/files/home/.loam', free: 20e9, inMemory: false, shared: false },
    temporary: { path: '/data/data/com.termux/files/usr/tmp', free: 20e9, inMemory: false, shared: false },
    models: [
      { name: 'mine', path: '/data/data/com.termux/files/home/m.gguf', free: 20e9, inMemory: false, shared: false },
    ],
    newestChange: Date.UTC(2026, 10, 20, 11),
  },
  server: { vault: 'open', page: undefined, running: undefined },
};
const with_ = <K extends keyof Circumstances>(part: K, more: Partial<NonNullable<Circumstances[K]>>): Finding[] =>
  findObstacles({ ...phone, [part]: { ...(phone[part] as object), ...more } });
const codes = (findings: readonly Finding[]) => findings.map(({ code, effect }) => `${code} ${effect}`);

describe('doctor', () => {
  it('finds nothing on a phone that is set up, and on a computer that is', () => {
    assert.deepEqual(findObstacles(phone), []);
    assert.deepEqual(findObstacles({ ...phone, android: undefined }), []);
  });

  const cases: [string, Finding[], string[], RegExp][] = [
    [
      'a plain armv8-a build',
      with_('engine', { features: { NEON: '1', ARM_FMA: '1', LLAMAFILE: '1', REPACK: '1' } }),
      ['no-dotprod slows'],
      /LOAM_GGML_DIR/,
    ],
    [
      'a plain build where the kernel tells nothing',
      with_('engine', { features: { NEON: '1' }, flags: new Set(), repacks: false }),
      ['no-dotprod slows', 'plain-layout slows'],
      /all variants/,
    ],
    [
      'an old processor',
      with_('engine', { features: { NEON: '1' }, flags: new Set(['fp', 'asimd']) }),
      ['old-processor slows'],
      /small model/,
    ],
    [
      'the limit of child processes',
      with_('android', { phantomLimit: 'on' }),
      ['phantom-processes kills'],
      /Developer options/,
    ],
    [
      'the same on Android 13',
      with_('android', { phantomLimit: 'on', level: 33 }),
      ['phantom-processes kills'],
      /adb shell settings/,
    ],
    [
      'the same on Android 12',
      with_('android', { phantomLimit: 'unknown', level: 31 }),
      ['phantom-processes unknown'],
      /max_phantom_processes/,
    ],
    ['none on Android 11', with_('android', { phantomLimit: 'unknown', level: 30 }), [], /^/],
    ['battery optimisation', with_('android', { batteryOptimised: 'on' }), ['battery-optimised kills'], /Unrestricted/],
    [
      'one that cannot be seen',
      with_('android', { batteryOptimised: 'unknown' }),
      ['battery-optimised unknown'],
      /Unrestricted/,
    ],
    [
      'no wake lock and no Termux:API',
      with_('android', { programs: { wakeLock: false, api: false, scheduler: false, boot: false } }),
      ['no-wake-lock kills', 'no-termux-api waits'],
      /termux-tools/,
    ],
    [
      'a hot battery',
      with_('reading', { battery: { percent: 80, charging: true, celsius: 45 } }),
      ['hot slows'],
      /cool/,
    ],
    ['a hot processor', with_('reading', { battery: null, processorCelsius: 96 }), ['hot slows'], /cool/],
    [
      'an empty battery',
      with_('reading', { battery: { percent: 9, charging: false } }),
      ['low-battery kills'],
      /--while-charging/,
    ],
    ['little memory', with_('reading', { freeMemory: 3e8 }), ['low-memory kills'], /close other apps/],
    [
      'little storage',
      with_('places', { home: { ...phone.places.home, free: 1e8 } }),
      ['low-storage kills'],
      /models rm/,
    ],
    [
      'a model on /sdcard',
      with_('places', { models: [{ ...phone.places.models[0]!, path: '/sdcard/Download/m.gguf', shared: true }] }),
      ['shared-models slows'],
      /loam doctor --fix.*cp '\/sdcard\/Download\/m\.gguf'/,
    ],
    [
      'a home on /sdcard',
      with_('places', { home: { ...phone.places.home, shared: true } }),
      ['shared-home slows'],
      /LOAM_HOME/,
    ],
    [
      'a home in memory',
      with_('places', { home: { ...phone.places.home, inMemory: true } }),
      ['home-in-memory kills'],
      /LOAM_HOME/,
    ],
    [
      'a temporary folder in memory',
      with_('places', { temporary: { ...phone.places.temporary, inMemory: true } }),
      ['temporary-in-memory slows'],
      /TMPDIR/,
    ],
    ['a clock that was never set', with_('reading', { at: new Date('1970-01-02') }), ['clock waits'], /Date and time/],
    [
      'a clock that goes behind its own files',
      with_('reading', { at: new Date('2026-11-18') }),
      ['clock waits'],
      /2026-11-18|Date/,
    ],
    ['a locked vault', with_('server', { vault: 'passphrase' }), ['locked-vault waits'], /passphrase-file/],
    ['a page that is not there', with_('server', { page: 'style.css is missing' }), ['no-page waits'], /npm run build/],
    ['a server of another version', with_('server', { running: 'other' }), ['other-page waits'], /reload/],
    ['one that hangs', with_('server', { running: 'silent' }), ['silent-server waits'], /start `loam serve` again/],
  ];
  for (const [name, found, expected, remedy] of cases) {
    it(`tells of ${name}`, () => {
      assert.deepEqual(codes(found), expected);
      if (found[0]) assert.match(found[0].remedy, remedy);
      for (const one of found) assert.doesNotMatch(`${one.found} ${one.remedy}`, /\.$|undefined/);
    });
  }
});
