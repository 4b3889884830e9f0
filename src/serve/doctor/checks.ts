import type { Device } from '../../base/device/Device.js';
import { celsiusOf } from '../../base/device/Reading.js';
import { bytes } from '../../base/format.js';
import { takeIn } from '../../models/manage.js';
import type { Circumstances } from './circumstances.js';

/** What is in the way of jobs on this device, each with what to do about it. */

export interface Finding {
  /** Keeps its meaning once it is published: programs decide by it. */
  code: string;
  /**
   * `kills`: a job may be ended by it, or not begin. `slows`: it takes longer, or more memory. `waits`: it does not go on by itself.
   * `unknown`: whether it is in the way cannot be seen from here.
   */
  effect: 'kills' | 'slows' | 'waits' | 'unknown';
  /** A clause. */
  found: string;
  /** What to do, as a clause. */
  remedy: string;
  /** Does what can be done from here. @returns what was done, as a clause; undefined if it could not be */
  fix?: (device: Device) => Promise<string | undefined>;
}

type Check = (circumstances: Circumstances) => Finding | readonly Finding[] | undefined;

/** Below this much free memory the default model may not tune. */
const LEAST_MEMORY = 700e6;
/** The default model, its download's temporary copy and an adapter. */
const LEAST_DISK = 300e6;
/** Percent of the battery that a run should not begin with. */
const LEAST_BATTERY = 15;
/** Degrees from which phones slow their processors down, and from which processors do. */
const HOT = { battery: 42, processor: 90 } as const;
/** This version is not older than that. */
const BUILT = Date.UTC(2026, 9, 1);
const DAY = 86_400_000;

/** Opens a page of the system's settings, where a person does the rest. */
const opens = (page: Parameters<Device['desk']['settings']>[0], what: string) => async (device: Device) =>
  (await device.desk.settings(page)) ? what : undefined;

const dotprod: Check = ({ engine: { arch, features, flags } }) => {
  if (arch !== 'arm64' || features.DOTPROD === '1') return undefined;
  if (flags.size > 0 && !flags.has('asimddp')) {
    return {
      code: 'old-processor',
      effect: 'slows',
      found:
        'this processor has no dot product instructions, so it multiplies at a fraction of the speed of newer ones',
      remedy: 'choose a small model, and let it run overnight (--while-charging)',
    };
  }
  return {
    code: 'no-dotprod',
    effect: 'slows',
    found:
      'the engine in use is a plain build, without the dot product instructions of this processor: several times slower',
    remedy:
      "run `sh scripts/install.sh` again, which fetches a build with all variants of Arm; or name the folder of llama.cpp's android-arm64 archive in LOAM_GGML_DIR",
  };
};

const plainLayout: Check = ({ engine }) =>
  engine.repacks
    ? undefined
    : {
        code: 'plain-layout',
        effect: 'slows',
        found:
          'the engine in use has no repacked layout of weights for this processor; quantised models run, but more slowly',
        remedy:
          engine.arch === 'arm64'
            ? 'run `sh scripts/install.sh` again, which fetches a build with all variants of Arm'
            : 'use the default engine: unset LOAM_GGML_DIR',
      };

const phantoms: Check = ({ android }) => {
  if (!android || android.phantomLimit === 'off' || (android.level !== undefined && android.level < 31))
    return undefined;
  const { level } = android;
  const remedy =
    level === undefined || level >= 34
      ? 'in Settings > System > Developer options turn on "Disable child process restrictions" (developer options appear after seven taps on the build number)'
      : level >= 32
        ? 'from a computer: adb shell settings put global settings_enable_monitor_phantom_procs false'
        : 'from a computer: adb shell "device_config set_sync_disabled_for_tests persistent; device_config put activity_manager max_phantom_processes 2147483647"';
  const isKnown = android.phantomLimit === 'on';
  return {
    code: 'phantom-processes',
    effect: isKnown ? 'kills' : 'unknown',
    found: `Android ${isKnown ? 'ends' : 'may end'} child processes beyond 32 of all apps together, and busy ones in the background`,
    remedy,
    fix:
      level !== undefined && level >= 34
        ? opens('developer', 'the developer options are open on the screen')
        : undefined,
  };
};

const batteryOptimised: Check = ({ android }) =>
  !android || android.batteryOptimised === 'off'
    ? undefined
    : {
        code: 'battery-optimised',
        effect: android.batteryOptimised === 'on' ? 'kills' : 'unknown',
        found: `Android ${android.batteryOptimised === 'on' ? 'puts' : 'may put'} Termux to sleep in the background, to save the battery`,
        remedy:
          'in Settings > Apps > Termux > Battery choose "Unrestricted"; some makers have a list of their own (dontkillmyapp.com)',
        fix: opens('battery', 'the list of apps that are not put to sleep is open on the screen'),
      };

const wakeLock: Check = ({ android }) =>
  !android || android.programs.wakeLock
    ? undefined
    : {
        code: 'no-wake-lock',
        effect: 'kills',
        found: 'termux-wake-lock cannot be reached, so the phone falls asleep while a job runs',
        remedy:
          'in Termux itself: pkg install termux-tools; or pull the notifications down and tap "Acquire wakelock" of Termux',
      };

const termuxApi: Check = ({ android }) =>
  !android || android.programs.api
    ? undefined
    : {
        code: 'no-termux-api',
        effect: 'waits',
        found: 'Termux:API does not answer, so battery and heat are not known, and rules about them keep a job waiting',
        remedy:
          'install the app Termux:API from where Termux is from (F-Droid), open it once, then: pkg install termux-api',
      };

const heat: Check = ({ reading }) => {
  const hot = celsiusOf(reading);
  if (!hot || hot.celsius < HOT[hot.of]) return undefined;
  return {
    code: 'hot',
    effect: 'slows',
    found: `the ${hot.of} has ${hot.celsius.toFixed(0)} °C, and is slowed down`,
    remedy:
      'let it cool down: out of its case, out of the sun, off a fast charger; --max-celsius 40 and --gentle keep it cooler',
  };
};

const battery: Check = ({ reading: { battery } }) =>
  !battery || battery.charging || battery.percent >= LEAST_BATTERY
    ? undefined
    : {
        code: 'low-battery',
        effect: 'kills',
        found: `the battery is at ${battery.percent} % and not charging`,
        remedy: 'plug it in; --while-charging waits for that',
      };

const memory: Check = ({ reading: { freeMemory } }) =>
  freeMemory >= LEAST_MEMORY
    ? undefined
    : {
        code: 'low-memory',
        effect: 'kills',
        found: `only ${bytes(freeMemory)} of memory are free`,
        remedy: 'close other apps, or start the device anew; --layers top:4 and a smaller model take less',
      };

const storage: Check = ({ places: { home } }) =>
  home.free === undefined || home.free >= LEAST_DISK
    ? undefined
    : {
        code: 'low-storage',
        effect: 'kills',
        found: `only ${bytes(home.free)} are free on the disk of LOAM_HOME`,
        remedy: 'free some space: `loam models list` shows what models take, `loam models rm NAME` removes one',
      };

const sharedModels: Check = ({ places: { home, models } }) =>
  models
    .filter(({ shared }) => shared)
    .map(({ name, path }) => ({
      code: 'shared-models',
      effect: 'slows',
      found: `the model ${name} lies on shared storage, where it is read many times slower`,
      remedy: home.shared
        ? 'set LOAM_HOME to a folder in the home of Termux, such as ~/.loam'
        : `have it copied into LOAM_HOME: loam doctor --fix, or: loam models rm ${name} && cp '${path}' ~/ && loam models add ~/${path.slice(path.lastIndexOf('/') + 1)} --name ${name}`,
      fix: home.shared
        ? undefined
        : async () => ((await takeIn(name)) ? `the model ${name} is in LOAM_HOME now` : undefined),
    }));

const sharedHome: Check = ({ places: { home } }) =>
  home.shared
    ? {
        code: 'shared-home',
        effect: 'slows',
        found: 'LOAM_HOME lies on shared storage, which is slow, and other apps can read it',
        remedy: 'set LOAM_HOME to a folder in the home of Termux, such as ~/.loam, and move what is there',
      }
    : undefined;

const temporary: Check = ({ places: { home, temporary } }) => {
  if (home.inMemory) {
    return {
      code: 'home-in-memory',
      effect: 'kills',
      found:
        'LOAM_HOME lies in memory (tmpfs): what a run keeps there takes the memory it needs, and is gone after a restart',
      remedy: 'set LOAM_HOME to a folder on a disk',
    };
  }
  return temporary.inMemory
    ? {
        code: 'temporary-in-memory',
        effect: 'slows',
        found: `the folder for temporary files (${temporary.path}) lies in memory (tmpfs)`,
        remedy: 'name a folder on a disk: mkdir -p ~/tmp && export TMPDIR=~/tmp',
      }
    : undefined;
};

const clock: Check = ({ reading: { at }, places: { newestChange } }) => {
  const now = at.getTime();
  if (now >= BUILT && now >= newestChange - DAY) return undefined;
  return {
    code: 'clock',
    effect: 'waits',
    found: `the clock says ${at.toISOString().slice(0, 10)}, which has been: downloads and --hours go by it`,
    remedy: 'set the date: Settings > System > Date and time > automatic; elsewhere: sudo timedatectl set-ntp true',
    fix: opens('date', 'the settings of date and time are open on the screen'),
  };
};

const lockedVault: Check = ({ server: { vault } }) =>
  vault !== 'passphrase'
    ? undefined
    : {
        code: 'locked-vault',
        effect: 'waits',
        found: 'the vault has a passphrase, so jobs do not go on after a restart until somebody types it',
        remedy: 'type it on the page after each start, or start with `loam serve --passphrase-file FILE`',
      };

const page: Check = ({ server: { page: broken, running } }) => {
  if (broken !== undefined) {
    return {
      code: 'no-page',
      effect: 'waits',
      found: `the page cannot be served: ${broken}`,
      remedy: 'install Loam again, or in a checkout run `npm run build`',
    };
  }
  if (running === undefined || running === 'current') return undefined;
  return {
    code: running === 'other' ? 'other-page' : 'silent-server',
    effect: 'waits',
    found:
      running === 'other'
        ? 'the server that runs hands out the page, and its service worker, of another version of Loam'
        : 'a server holds this folder and does not answer',
    remedy: 'stop it (Ctrl-C where it runs) and start `loam serve` again; then reload the page twice',
  };
};

const checks: readonly Check[] = [
  phantoms,
  batteryOptimised,
  wakeLock,
  memory,
  storage,
  battery,
  temporary,
  dotprod,
  plainLayout,
  heat,
  sharedHome,
  sharedModels,
  termuxApi,
  clock,
  lockedVault,
  page,
];

/** The gravest first. */
const order: readonly Finding['effect'][] = ['kills', 'slows', 'waits', 'unknown'];

export function findObstacles(circumstances: Circumstances): Finding[] {
  const found = checks.flatMap((check) => check(circumstances) ?? []);
  return found.sort((a, b) => order.indexOf(a.effect) - order.indexOf(b.effect));
}
