import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { scratchFolder } from '../../testing/scratch.js';
import { LinuxDevice, parseIdle, parseUpower, readThermal, sysfsBattery } from './linux.js';
import { parseHidIdle, parsePmset, parseSmartBattery } from './mac.js';
import { askProgram } from './programs.js';
import { parsePendingJobs, parseTermuxBattery, TermuxDevice } from './termux.js';

/** Outputs as the programs print them: taken from reports of users, with serial numbers left out. */

describe('termux-battery-status', () => {
  it('is read as current versions print it', () => {
    const text = `{
  "present": true,
  "technology": "Li-ion",
  "health": "GOOD",
  "plugged": "PLUGGED_AC",
  "status": "CHARGING",
  "temperature": 29.5,
  "voltage": 3868,
  "current": 470000,
  "current_average": 476,
  "percentage": 27,
  "level": 27,
  "scale": 100,
  "charge_counter": 7300000
}
`;
    const left = { coulombs: 7300000 * 3600e-6, volts: 3868 * 1e-3 };
    assert.deepEqual(parseTermuxBattery(text), { percent: 27, charging: true, celsius: 29.5, left });
  });

  it('and as early ones did', () => {
    const of = (more: object) =>
      parseTermuxBattery(
        JSON.stringify(
          { health: 'GOOD', percentage: 59, plugged: 'UNPLUGGED', temperature: 27.200000762939453, ...more },
          null,
          2,
        ),
      );
    assert.deepEqual(of({ status: 'DISCHARGING', current: -693 }), {
      percent: 59,
      charging: false,
      celsius: 27.200000762939453,
    });
    assert.equal(of({ status: 'NOT_CHARGING', current: 232 })?.charging, false);
    assert.equal(of({ status: 'FULL', plugged: 'PLUGGED_WIRELESS' })?.charging, true);
    assert.equal(of({ status: 'FULL' })?.charging, false, 'full, and just taken from its charger');
    assert.equal(of({ status: 'NOT_CHARGING', plugged: 'PLUGGED_AC' })?.charging, true, 'held at a limit');
    assert.equal(of({ status: 'DISCHARGING', plugged: 'PLUGGED_USB' })?.charging, false, 'a charger that is too weak');
    assert.equal(of({ status: 'UNKNOWN', plugged: 'PLUGGED_8' })?.charging, true);
  });

  it('without what a device does not tell', () => {
    const chromebook = {
      health: 'UNKNOWN',
      percentage: 71,
      plugged: 'PLUGGED_AC',
      status: 'CHARGING',
      temperature: 0.0,
    };
    assert.deepEqual(parseTermuxBattery(JSON.stringify(chromebook)), { percent: 71, charging: true });
    const untold = { plugged: 'UNPLUGGED', status: 'DISCHARGING', temperature: -214748364.8, level: 30, scale: 60 };
    assert.deepEqual(parseTermuxBattery(JSON.stringify(untold)), { percent: 50, charging: false });
    assert.equal(parseTermuxBattery('{"present": false, "plugged": "PLUGGED_AC", "level": -1}'), null);
    assert.equal(parseTermuxBattery('{"percentage": -1}'), undefined);
    for (const text of ['', 'null', '[]', 'Termux:API is not yet available on Google Play', '{"percentage": "27"}'])
      assert.equal(parseTermuxBattery(text), undefined, text);
  });

  it('and the list of termux-job-scheduler', () => {
    const listed = [
      'Pending Job 4184: /data/data/com.termux/files/home/.loam/loam-serve    (periodic: 900000ms) (persisted) (battery not low) (network: null)',
      'Pending Job 7: /data/data/com.termux/files/home/x    (while charging)',
    ].join('\n');
    assert.deepEqual(parsePendingJobs(listed), [4184, 7]);
    assert.deepEqual(parsePendingJobs('No jobs found\n'), []);
  });
});

describe('sysfs', () => {
  function supplies(all: Record<string, Record<string, string | number>>): string {
    const root = join(scratchFolder(), 'power_supply');
    for (const [name, files] of Object.entries(all)) {
      mkdirSync(join(root, name), { recursive: true });
      for (const [file, value] of Object.entries(files)) writeFileSync(join(root, name, file), `${value}\n`);
    }
    mkdirSync(root, { recursive: true });
    return root;
  }
  const phone = {
    type: 'Battery',
    status: 'Discharging',
    present: 1,
    capacity: 32,
    current_now: -109375,
    voltage_now: 3763750,
    temp: 246,
    charge_counter: 1018000,
  };

  it('tells of a phone', () => {
    const left = { coulombs: 1018000 * 3600e-6, volts: 3763750 * 1e-6 };
    const usb = { type: 'USB', online: 0 };
    assert.deepEqual(sysfsBattery(supplies({ battery: phone, usb })), {
      percent: 32,
      charging: false,
      celsius: 24.6,
      left,
    });
    const plugged = supplies({ battery: { ...phone, status: 'Not charging' }, usb: { type: 'USB_PD', online: 1 } });
    assert.equal(sysfsBattery(plugged)?.charging, true);
    const weak = supplies({ battery: phone, usb: { type: 'USB', online: 1 } });
    assert.equal(sysfsBattery(weak)?.charging, false);
  });

  it('of a laptop with two batteries, of which a mouse is none', () => {
    const BAT0 = {
      type: 'Battery',
      status: 'Unknown',
      energy_now: 5_000_000,
      energy_full: 20_000_000,
      capacity: 25,
      present: 1,
    };
    const BAT1 = {
      type: 'Battery',
      status: 'Discharging',
      energy_now: 30_000_000,
      energy_full: 60_000_000,
      capacity: 50,
      present: 1,
    };
    const AC = { type: 'Mains', online: 0 };
    const mouse = { type: 'Battery', scope: 'Device', capacity: 5, status: 'Discharging' };
    const both = sysfsBattery(supplies({ AC, BAT0, BAT1, mouse }));
    assert.deepEqual(both, { percent: 43.8, charging: false });
    assert.equal(sysfsBattery(supplies({ AC: { type: 'Mains', online: 1 }, BAT0 }))?.charging, true);
  });

  it('of a desktop, which has none, and of one that tells nothing', () => {
    assert.equal(sysfsBattery(supplies({})), null);
    assert.equal(sysfsBattery(supplies({ mouse: { type: 'Battery', scope: 'Device', capacity: 5 } })), null);
    assert.equal(sysfsBattery(supplies({ BAT0: { type: 'Battery', present: 0 } })), null);
    assert.equal(sysfsBattery(supplies({ BAT0: { type: 'Battery' } })), undefined);
    assert.equal(sysfsBattery(join(scratchFolder(), 'absent', 'power_supply')), undefined);
  });

  it('and of the heat of the processor alone', () => {
    const root = scratchFolder();
    const put = (path: string, value: string) => {
      mkdirSync(join(root, path, '..'), { recursive: true });
      writeFileSync(join(root, path), `${value}\n`);
    };
    const zones = [
      ['cpu-1-0-usr', '47300'],
      ['battery', '71000'],
      ['soc_thermal', '39'],
      ['cpuss-2', '-274000'],
      ['x86_pkg_temp', '52000'],
      ['cpu-broken', '0'],
    ] as const;
    for (const [i, [type, temp]] of zones.entries()) {
      put(`thermal/thermal_zone${i}/type`, type);
      put(`thermal/thermal_zone${i}/temp`, temp);
    }
    put('hwmon/hwmon0/name', 'nvme');
    put('hwmon/hwmon0/temp1_input', '80000');
    assert.equal(readThermal(join(root, 'thermal'), join(root, 'hwmon')), 52);
    put('hwmon/hwmon1/name', 'k10temp');
    put('hwmon/hwmon1/temp1_input', '61250');
    assert.equal(readThermal(join(root, 'thermal'), join(root, 'hwmon')), 61.25);
    assert.equal(readThermal(join(root, 'none'), join(root, 'none')), undefined);
  });
});

describe('upower --dump', () => {
  const dump = (state: string, onBattery: string) => `Device: /org/freedesktop/UPower/devices/line_power_AC
  native-path:          AC
  power supply:         yes
  updated:              Tue 03 Nov 2026 07:12:31 PM CET (1204 seconds ago)
  has history:          no
  has statistics:       no
  line-power
    warning-level:       none
    online:              no
    icon-name:          'ac-adapter-symbolic'

Device: /org/freedesktop/UPower/devices/mouse_hidpp_battery_0
  native-path:          hidpp_battery_0
  model:                Wireless Mouse
  power supply:         no
  mouse
    present:             yes
    state:               discharging
    percentage:          5%

Device: /org/freedesktop/UPower/devices/battery_BAT0
  native-path:          BAT0
  vendor:               SANYO
  power supply:         yes
  has history:          yes
  has statistics:       yes
  battery
    present:             yes
    rechargeable:        yes
    state:               ${state}
    warning-level:       none
    energy:              20.3 Wh
    energy-full:         23.5 Wh
    energy-rate:         8.228 W
    voltage:             11.9 V
    time to empty:       2.5 hours
    percentage:          86%
    temperature:         31.2 degrees C
    technology:          lithium-ion
    icon-name:          'battery-full-symbolic'

Device: /org/freedesktop/UPower/devices/DisplayDevice
  power supply:         yes
  has history:          no
  battery
    present:             yes
    state:               ${state}
    warning-level:       none
    energy:              20.3 Wh
    energy-full:         23.5 Wh
    percentage:          86%
    icon-name:          'battery-full-symbolic'

Daemon:
  daemon-version:  1.90.2
  on-battery:      ${onBattery}
  lid-is-closed:   no
  lid-is-present:  yes
  critical-action: HybridSleep
`;
  it('is read', () => {
    const left = { joules: 20.3 * 3600 };
    assert.deepEqual(parseUpower(dump('discharging', 'yes')), { percent: 86, charging: false, celsius: 31.2, left });
    for (const state of ['charging', 'fully-charged', 'pending-charge'])
      assert.equal(parseUpower(dump(state, 'no'))?.charging, true, state);
    const desktop = `Device: /org/freedesktop/UPower/devices/DisplayDevice
  power supply:         no
  updated:              Thu 01 Jan 1970 01:00:00 AM CET (1762194751 seconds ago)
  has history:          no
  unknown
    warning-level:       none
    percentage:          0%
    icon-name:          'battery-missing-symbolic'

Daemon:
  daemon-version:  0.99.20
  on-battery:      no
`;
    assert.equal(parseUpower(desktop), null);
    assert.equal(parseUpower(''), undefined);
    assert.equal(parseUpower('failed to connect to upowerd: Could not connect'), undefined);
  });

  it('and how long nobody has used a session', () => {
    assert.equal(parseIdle('(uint64 12345,)\n'), 12345);
    assert.equal(parseIdle('871\n'), 871);
    assert.equal(parseIdle('Error: GDBus.Error'), undefined);
  });
});

describe('pmset -g batt', () => {
  it('is read, with what ioreg adds', () => {
    const of = (source: string, battery: string) => parsePmset(`Now drawing from '${source}'\n${battery}`);
    assert.deepEqual(
      of('Battery Power', ' -InternalBattery-0 (id=22806627)\t78%; discharging; 5:05 remaining present: true\n'),
      { percent: 78, charging: false },
    );
    assert.equal(
      of('AC Power', ' -InternalBattery-0 (id=22806627)\t83%; charging; 1:00 remaining present: true\n')?.charging,
      true,
    );
    assert.equal(
      of('AC Power', ' -InternalBattery-0 (id=123)\t80%; AC attached; not charging present: true\n')?.charging,
      true,
    );
    assert.equal(
      of('AC Power', ' -InternalBattery-0 (id=123)\t100%; charged; 0:00 remaining present: true\n')?.percent,
      100,
    );
    assert.equal(
      of('Battery Power', ' -InternalBattery-0 (id=123)\t14%; discharging; (no estimate) present: true')?.percent,
      14,
    );
    assert.equal(of('AC Power', ''), null);
    assert.equal(parsePmset(''), undefined);
    const ioreg = '    | |   "Temperature" = 3045\n    "AppleRawCurrentCapacity" = 4102\n      "Voltage" = 12345\n';
    assert.deepEqual(parseSmartBattery(ioreg), { celsius: 30.45, left: { coulombs: 3.6 * 4102, volts: 12.345 } });
    assert.deepEqual(parseSmartBattery(''), {});
    assert.equal(parseHidIdle('    | |   "HIDIdleTime" = 2583791625\n'), 2.583791625);
  });
});

describe('a computer', { skip: process.platform === 'win32' ? 'its programs are shell scripts' : false }, () => {
  it('is kept awake by a program of its system for as long as that is wanted', async () => {
    const folder = scratchFolder();
    const path = join(folder, 'systemd-inhibit');
    writeFileSync(path, `#!/bin/sh\necho $$ "$@" > ${folder}/new && mv ${folder}/new ${folder}/called\nsleep 600\n`);
    chmodSync(path, 0o755);
    const before = process.env.PATH;
    process.env.PATH = `${folder}:${before}`;
    const awake = await new LinuxDevice().keepAwake();
    process.env.PATH = before;
    const called = join(folder, 'called');
    while (!existsSync(called)) await new Promise((resolve) => setTimeout(resolve, 10));
    const [pid, ...args] = readFileSync(called, 'utf8').trim().split(' ');
    assert.deepEqual([args[0], args.slice(-2)], ['--what=sleep:idle', ['sleep', 'infinity']]);
    await awake![Symbol.asyncDispose]();
    const lives = () => {
      try {
        return process.kill(Number(pid), 0);
      } catch {
        return false;
      }
    };
    while (lives()) await new Promise((resolve) => setTimeout(resolve, 10));
  });
});

describe('Termux', { skip: process.platform === 'win32' ? 'its programs are shell scripts' : false }, () => {
  const path = process.env.PATH;
  afterEach(() => {
    process.env.PATH = path;
  });
  /** Programs that write down how they were called. */
  function programs(all: Record<string, string>): { calls: () => string[] } {
    const folder = scratchFolder();
    for (const [name, body] of Object.entries(all)) {
      const log = `{ printf '%s' "\${0##*/}"; for a; do printf ' [%s]' "$a"; done; echo; } >> ${folder}/calls`;
      writeFileSync(join(folder, name), `#!/bin/sh\n${log}\n${body}\n`);
      chmodSync(join(folder, name), 0o755);
    }
    process.env.PATH = `${folder}:${path}`;
    const log = join(folder, 'calls');
    return { calls: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []) };
  }

  it('is asked through its programs, and a text never becomes a flag', async () => {
    const { calls } = programs({
      'termux-wake-lock': 'exit 0',
      'termux-wake-unlock': 'exit 0',
      'termux-notification': 'cat >> "$(dirname "$0")/calls"',
      'termux-notification-remove': 'exit 0',
      'termux-job-scheduler': 'exit 0',
    });
    const termux = new TermuxDevice();
    process.env.LOAM_HOME = scratchFolder();
    const [awake, other] = [await termux.keepAwake(), await new TermuxDevice().keepAwake()];
    // What a process has left that died.
    writeFileSync(join(process.env.LOAM_HOME, 'awake', '999999999.1'), '');
    await awake![Symbol.asyncDispose]();
    assert.ok(!calls().includes('termux-wake-unlock'), 'somebody else still wants it');
    await other![Symbol.asyncDispose]();
    const button = { label: 'Pause', command: "LOAM_HOME='/x y' loam jobs pause 1" };
    assert.equal(await termux.desk.notify({ id: 'a', title: 'Loam', text: '--ongoing', ongoing: true, button }), true);
    assert.equal(await termux.desk.unnotify('a'), true);
    assert.equal(await termux.desk.schedule(4184, '/x y/start'), true);
    assert.equal(await termux.desk.schedule(4184, undefined), true);
    assert.equal(await termux.desk.share('/there/is/no/program'), false);
    assert.deepEqual(calls(), [
      'termux-wake-lock',
      'termux-wake-lock',
      'termux-wake-unlock',
      `termux-notification [--id] [a] [--title] [Loam] [--ongoing] [--alert-once] [--priority] [low] [--button1] [Pause] [--button1-action] [${button.command}]`,
      '--ongoingtermux-notification-remove [a]',
      'termux-job-scheduler [--job-id] [4184] [--script] [/x y/start] [--period-ms] [900000] [--persisted] [true] [--network] [none]',
      'termux-job-scheduler [--job-id] [4184] [--cancel]',
    ]);
  });

  it('whose API app is missing never answers, and is not waited for again', async () => {
    programs({ 'termux-battery-status': 'sleep 600 & wait' });
    const began = performance.now();
    assert.equal(await askProgram('termux-battery-status', [], { ms: 200 }), undefined);
    assert.ok(performance.now() - began < 10_000);
  });

  it('tells what Android may do to a job', async () => {
    programs({
      getprop: 'case "$1" in ro.build.version.sdk) echo 34;; *monitor_phantom_procs) echo false;; esac',
      settings: 'echo "cmd: Can\'t find service: settings" >&2; exit 20',
      cmd: 'printf "system-excidle,com.android.shell,2000\\nuser,com.termux.api,10123\\n"',
      'termux-battery-status': 'echo \'{"percentage": 50, "plugged": "UNPLUGGED"}\'',
      'termux-wake-lock': 'exit 0',
      pm: 'exit 1',
    });
    assert.deepEqual(await new TermuxDevice().android(), {
      level: 34,
      phantomLimit: 'off',
      batteryOptimised: 'on',
      programs: { wakeLock: true, api: true, scheduler: false, boot: false },
    });
  });
});
