import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appFiles, contentSecurityPolicy } from '../../app/appFiles.js';
import { flag, integer, text } from '../../base/options.js';
import { framesOf, loamHome } from '../../base/process.js';
import { startServer } from '../../serve/startServer.js';
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
    newToken: flag('Make a new access token: links and programs with the old one stop working.'),
    host: text('ADDRESS', 'Address to listen on; one that other devices can reach needs --expose.', {
      default: '127.0.0.1',
    }),
    expose: flag('Let other devices in: anyone with the link can read everything, and traffic is not encrypted.'),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [0, 0],
  more: [
    "The link contains the page's access token: keep it to yourself. Chat programs that speak OpenAI's API take the token as API key,",
    'with http://127.0.0.1:PORT/v1 as base URL. A vault with a passphrase is unlocked on the page, or with --passphrase-file.',
  ].join('\n'),
  async run({ options, output, signal }) {
    const { port, host, expose, newToken } = options;
    const home = loamHome();
    // Asked for on the page rather than on the terminal, unless it was given.
    const given = options.passphraseFile !== undefined || process.env.LOAM_PASSPHRASE !== undefined;
    const ask = Vault.state(home) === 'passphrase' && !given;
    await using server = await startServer({
      home,
      at: { port, host, expose, newToken },
      openVault: ask ? undefined : () => openVault(options, output),
      page: { files: await appFiles(), contentSecurityPolicy },
      onBug: (error) =>
        output.line(
          `an unexpected ${error instanceof Error ? error.name : 'error'}, which is a bug in Loam; please report it:\n${framesOf(error)}`,
        ),
    });
    if (server.exposed)
      output.line('WARNING: other devices can reach this; the link and everything it shows travel unencrypted.');
    output.line(`Loam is here: ${server.link}`);
    output.line('Ctrl-C stops it; a running job continues the next time.');
    output.event({ type: 'ready', link: server.link, port: server.port, token: server.token });
    if (options.open) openBrowser(server.link);
    if (!signal.aborted) await once(signal, 'abort');
  },
});

/** Best effort: the link is printed in any case. */
function openBrowser(link: string): void {
  const [program, ...args] =
    process.env.TERMUX_VERSION !== undefined
      ? ['termux-open-url', link]
      : process.platform === 'darwin'
        ? ['open', link]
        : process.platform === 'win32'
          ? ['rundll32', 'url.dll,FileProtocolHandler', link]
          : ['xdg-open', link];
  const child = spawn(program!, args, { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
}
