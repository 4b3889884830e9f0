import { stat } from 'node:fs/promises';
import { thisDevice } from '../../base/device/thisDevice.js';
import { LoamError } from '../../base/errors.js';
import { loamHome } from '../../base/process.js';
import { addShortcut, forgetPhone, openRunning, startWithPhone } from '../../serve/phone.js';
import { Vault } from '../../store/Vault.js';
import { type Command, command, commandGroup, jsonOption } from '../command.js';

const startVerb = command({
  name: 'start',
  summary: 'has the server started with the phone, and again when Android has ended it: jobs go on by themselves',
  usage: '',
  options: jsonOption,
  positionals: [0, 0],
  async run({ output }) {
    const device = thisDevice();
    const entries = await startWithPhone(device);
    output.line(`written: ${entries.boot}`);
    if (!(await device.android())?.programs.boot)
      output.line('it needs the app Termux:Boot, from where Termux is from (F-Droid); install it and open it once');
    output.line(
      entries.scheduled
        ? 'Android looks every quarter of an hour whether the server runs, and starts it'
        : 'Termux:API does not answer: without it nothing starts the server again when Android has ended it',
    );
    if (Vault.state(loamHome()) === 'passphrase')
      output.line('the vault has a passphrase: jobs go on once you have typed it on the page');
    output.event({ type: 'result', ...entries });
  },
});

const shortcutVerb = command({
  name: 'shortcut',
  summary: 'writes a button for the home screen that opens the page (Termux:Widget)',
  usage: '',
  options: jsonOption,
  positionals: [0, 0],
  async run({ output }) {
    const path = await addShortcut();
    output.line(`written: ${path}`);
    output.line('install the app Termux:Widget, press long on the home screen, choose Widgets, Termux:Widget, Loam');
    output.event({ type: 'result', path });
  },
});

const openVerb = command({
  name: 'open',
  summary: 'opens the page of the server that runs',
  usage: '',
  options: jsonOption,
  positionals: [0, 0],
  async run({ output }) {
    await openRunning(thisDevice());
    output.event({ type: 'result' });
  },
});

const shareVerb = command({
  name: 'share',
  summary: 'hands a file, such as an adapter, to another app',
  usage: 'FILE',
  options: jsonOption,
  positionals: [1, 1],
  async run({ positionals, output }) {
    const path = positionals[0]!;
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile()) throw new LoamError({ code: 'not-found', found: 'there is no such file', where: path });
    if (!(await thisDevice().desk.share(path))) {
      const fix = 'on Android, install the Termux:API app and `pkg install termux-api`';
      throw new LoamError({ code: 'unsupported', found: 'this device has no way to share a file', fix });
    }
    output.event({ type: 'result', path });
  },
});

const removeVerb = command({
  name: 'remove',
  summary: 'takes away what the others have written',
  usage: '',
  options: jsonOption,
  positionals: [0, 0],
  async run({ output }) {
    await forgetPhone(thisDevice());
    output.event({ type: 'result' });
  },
});

export const phoneCommand: Command = commandGroup({
  name: 'phone',
  summary: 'Makes Loam at home on an Android phone: starts with it, a button on its home screen.',
  verbs: [startVerb, shortcutVerb, openVerb, shareVerb, removeVerb],
  more: 'docs/phone.md goes through all of it.',
});
