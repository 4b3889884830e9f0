import type { Reading } from './Reading.js';

/**
 * The device that work is done on, as jobs and `loam doctor` see it: what it tells of its power, heat and use, what it may do to a job,
 * and what can be asked of it. One implementation for each kind of system, and a simulated one for tests.
 */
export interface Device {
  /** What tells of it: "Termux", "Linux", "macOS", "simulated". */
  readonly name: string;
  /** Whether it puts busy programs to sleep, and ends them, unless it is asked not to. */
  readonly mobile: boolean;
  /** How things stand now. Never rejects: what cannot be read is left out. */
  read(): Promise<Reading>;
  /** The disk that a folder lies on, or will. */
  place(folder: string): Promise<Place>;
  /** What Android may do to a job, and what of Termux is there; undefined elsewhere. */
  android(): Promise<Android | undefined>;
  /** Keeps the device from sleeping until it is disposed of; undefined if it cannot. */
  keepAwake(): Promise<AsyncDisposable | undefined>;
  readonly desk: Desk;
}

export interface Place {
  /** Bytes that may still be written; undefined if the system does not say. */
  free?: number;
  /** What lies there takes memory (tmpfs). */
  inMemory: boolean;
  /** Storage that Android shares between apps (/sdcard), which is slow to read and open to others. */
  shared: boolean;
}

export interface Android {
  /** API level: 31 is Android 12. Undefined if it is not told. */
  level?: number;
  /** Whether child processes are counted and ended (Android 12 and later). */
  phantomLimit: 'on' | 'off' | 'unknown';
  /** Whether the system lets Termux work in the background at any time. */
  batteryOptimised: 'on' | 'off' | 'unknown';
  /** What of Termux can be asked: programs that answer. */
  programs: { wakeLock: boolean; api: boolean; scheduler: boolean; boot: boolean };
}

/** What a device shows to its user, and does for him. Each tells whether it could be done. */
export interface Desk {
  /** Shows a notice, or another text in the place of the one with this id. */
  notify(notice: Notice): Promise<boolean>;
  unnotify(id: string): Promise<boolean>;
  share(path: string): Promise<boolean>;
  open(url: string): Promise<boolean>;
  /** Opens a page of the system's settings. */
  settings(page: SettingsPage): Promise<boolean>;
  /** Has a program started every quarter of an hour, also after the device was started again; without one, no more. */
  schedule(id: number, script: string | undefined): Promise<boolean>;
}

/** Of Android: which apps may work in the background at any time, the developer options, the clock. */
export type SettingsPage = 'battery' | 'developer' | 'date';

export interface Notice {
  /** Of letters and digits. */
  id: string;
  title: string;
  text: string;
  /** Stays until it is taken away, and makes no sound. */
  ongoing?: boolean;
  /** A button, and the command line that it runs in a shell. */
  button?: { label: string; command: string };
}

/** A desk where nothing can be done. */
export const emptyDesk: Desk = {
  notify: async () => false,
  unnotify: async () => false,
  share: async () => false,
  open: async () => false,
  settings: async () => false,
  schedule: async () => false,
};
