import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { appFiles, contentSecurityPolicy } from '../../app/appFiles.js';
import { environmentOf } from '../../base/child.js';
import { thisDevice } from '../../base/device/thisDevice.js';
import { LoamError } from '../../base/errors.js';
import { writeFileAtomic } from '../../base/io.js';
import { flag, integer, text } from '../../base/options.js';
import { framesOf, loamHome } from '../../base/process.js';
import { serverFolder } from '../../serve/http/apiKeys.js';
import { type RunningServer, startServer } from '../../serve/startServer.js';
import { Vault } from '../../store/Vault.js';
import { command, jsonOption, vaultOptions } from '../command.js';
import { openVault } from '../vault.js';

const DEFAULT_PORT = 4184;

export const serveCommand = command({
  name: 'serve',
  summary: 'Serves the web app and the API, on this device only.',
  usage: '[options]',
  options: {
    port: integer([0, 65535], 'Port; 0 picks a free one.', { default: DEFAULT_PORT }),
    open: flag('Open the page in the browser.'),
    newToken: flag('Make a new link: browsers that were let in by the old one have to open the new one.'),
    host: text('ADDRESS', 'Address to listen on; one that other devices can reach needs --expose.', {
      default: '127.0.0.1',
    }),
    expose: flag('Let other devices in: anyone with the link can read everything, and traffic is not encrypted.'),
    allowHost: text(
      'NAME',
      'Answer under this host name, too (a proxy that passes it on, a container); several with commas.',
    ),
    allowOrigin: text(
      'ORIGIN',
      'Let web apps of this origin (https://app.example) in, with an API key; several with commas.',
    ),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [0, 0],
  more: [
    "The link lets a browser in: keep it to yourself. Chat programs that speak OpenAI's API need a key of loam keys add, and",
    'http://127.0.0.1:PORT/v1 as base URL. A vault with a passphrase is unlocked on the page, or with --passphrase-file.',
  ].join('\n'),
  async run({ options, output, signal }) {
    const { port, host, expose, newToken } = options;
    const list = (names: string | undefined) => names?.split(',').map((name) => name.trim());
    const allowed = { hosts: list(options.allowHost), origins: list(options.allowOrigin) };
    const home = loamHome();
    // Collected early: left to itself the engine lets what a flood of connections leaves behind grow to a hundred megabytes.
    setFlagsFromString('--optimize-for-size');
    const tellBug = (error: unknown) =>
      output.line(
        `an unexpected ${error instanceof Error ? error.name : 'error'}, which is a bug in Loam; please report it:\n${framesOf(error)}`,
      );
    // Asked for on the page rather than on the terminal, unless it was given.
    const given = options.passphraseFile !== undefined || process.env.LOAM_PASSPHRASE !== undefined;
    const ask = Vault.state(home) === 'passphrase' && !given;
    await using server = await startServer({
      home,
      at: { port, host, expose, allowed, newToken },
      openVault: ask ? undefined : () => openVault(options, output),
      page: { files: await appFiles(), contentSecurityPolicy },
      onBug: tellBug,
    });
    using _goesOn = goOn(tellBug);
    if (server.exposed)
      output.line('WARNING: other devices can reach this; the link and everything it shows travel unencrypted.');
    if (server.readOnly)
      output.line(
        `NOTE: ${home} cannot be written: it answers and shows what is there, and refuses changes; conversations are not kept, jobs do not run.`,
      );
    output.line(`Loam is here: ${server.link}`);
    for (const origin of server.origins.slice(1)) output.line(`    also at ${origin}`);
    if (server.origins.length === 0) {
      output.line(
        "There is no network now, or this system does not tell its addresses: on another device, put this device's address in place of the link's.",
      );
    }
    output.line('Ctrl-C stops it; a running job continues the next time.');
    output.event({ type: 'ready', link: server.link, port: server.port, token: server.token });
    await using _ = options.open ? await openPage(server, home) : undefined;
    await Promise.race([signal, server.lost].map(async (one) => one.aborted || (await once(one, 'abort'))));
    if (server.lost.aborted) {
      throw new LoamError({
        code: 'busy',
        found: 'another process has taken this folder over, because this one seemed to have ended',
        where: home,
        fix: 'let one of them serve it',
      });
    }
  },
});

/**
 * The last resort of a server: what nothing else has caught is told, and it goes on. So it does when nobody reads what it prints any more,
 * or the disk of its log is full.
 */
function goOn(tell: (error: unknown) => void): Disposable {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error');
    stream.on('error', () => {});
  }
  process.on('uncaughtException', tell);
  return { [Symbol.dispose]: () => process.off('uncaughtException', tell) };
}

/** Milliseconds that a browser may take to begin and to read the file. */
const OPENING_MS = 60_000;

/**
 * Opens the page, if it can be done: the link is printed in any case. Every user of the device may read a program's arguments, so what
 * stands there is the path of a file that only this user can read, which sends the browser on. Termux's browser is another app, which
 * cannot read files here, and on Android no other app can see arguments: it gets a code that is good for one browser and a minute.
 */
async function openPage(server: RunningServer, home: string): Promise<AsyncDisposable> {
  if (thisDevice().mobile) {
    const code = server.services.access.onceCode(OPENING_MS);
    await thisDevice().desk.open(`${new URL(server.link).origin}/#code=${code}`);
    return { async [Symbol.asyncDispose]() {} };
  }
  const path = join(serverFolder(home), 'open.html');
  const remove = () => rm(path, { force: true }).catch(() => {});
  const html = `<!doctype html><meta http-equiv="refresh" content="0;url=${server.link}"><title>Loam</title>\n`;
  // On a full disk the server is worth more than the convenience.
  const isThere = await writeFileAtomic(path, html).then(
    () => true,
    () => false,
  );
  if (!isThere) return { async [Symbol.asyncDispose]() {} };
  const { href } = pathToFileURL(path);
  if (process.platform === 'darwin') open('open', href);
  else if (process.platform === 'win32') open('rundll32', 'url.dll,FileProtocolHandler', href);
  else open('xdg-open', href);
  const timer = setTimeout(remove, OPENING_MS);
  return {
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await remove();
    },
  };
}

function open(program: string, ...args: string[]): void {
  const child = spawn(program, args, { stdio: 'ignore', detached: true, env: environmentOf('desktop') });
  child.on('error', () => {});
  child.unref();
}
