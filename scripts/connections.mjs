// Runs the tests under strace (Linux) and tells where every process of theirs connected or sent to: node scripts/connections.mjs
// [ARGUMENTS of test.mjs]. Exit code 1 if something other than this device was asked for anything, but for downloads that were started.
// LOAM_CONNECTIONS names a log of an earlier run, which is read instead.
import { spawnSync } from 'node:child_process';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const tests = join(dirname(fileURLToPath(import.meta.url)), 'test.mjs');
const folder = mkdtempSync(join(tmpdir(), 'loam-connections-'));
const log = process.env.LOAM_CONNECTIONS ?? join(folder, 'log');
if (!process.env.LOAM_CONNECTIONS) {
  // What a socket is connected to or sends to, and who is who: programs, and which thread or process began which.
  const calls = 'trace=connect,sendto,sendmsg,sendmmsg,execve,clone,clone3,fork,vfork';
  const strace = ['-f', '--seccomp-bpf', '-qq', '-s', '400', '-e', calls, '-o', log];
  const { status, error } = spawnSync('strace', [...strace, process.execPath, tests, ...process.argv.slice(2)], {
    stdio: 'inherit',
  });
  if (error) throw new Error(`strace is needed: ${error.message}`);
  if (status !== 0) console.log(`the tests ended with exit code ${status}`);
}

/** Of each thread the one that began it, and the program that it runs, if it is not its parent's. */
const parents = new Map();
const programs = new Map();
function programOf(thread) {
  for (let at = thread; at !== undefined; at = parents.get(at)) if (programs.has(at)) return programs.get(at);
  return 'the tests';
}

/** A command line without what differs from run to run. */
const shown = (args) =>
  [...args.matchAll(/"((?:[^"\\]|\\.)*)"/g)]
    .map(([, arg]) => arg.replace(/\/tmp\/[^ ]*\//, '').replace(/^.*\/(node|chromium|loam\.js|dist)/, '$1'))
    .slice(0, 8)
    .join(' ')
    .slice(0, 140);

const local = /^(127(\.\d+){3}|0\.0\.0\.0|::1?|::ffff:127(\.\d+){3})$/;
const isDownload = (program) => /loam\.js models (get|add)|commandWorker\.js models|\bpip\b/.test(program);

/** Chromium looks by it whether there is a route to IPv6: a datagram's socket, by which nothing is sent. */
const isProbe = (to, program) => to === '2001:4860:4860::8888' && program.includes('--utility-sub-type=network');

let [processes, all, here, downloads, probes] = [0, 0, 0, 0, 0];
const others = new Map();
for await (const line of createInterface({ input: createReadStream(log) })) {
  const [, thread, call, rest] = /^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$/.exec(line) ?? [];
  if (call === undefined) continue;
  if (call === 'execve' && rest.startsWith('"')) {
    programs.set(thread, shown(/\[(.*?)\](?:, 0x|$)/.exec(rest)?.[1] ?? rest));
    processes++;
  } else if (/^(clone3?|v?fork)$/.test(call)) {
    const child = /= (\d+)$/.exec(rest)?.[1];
    if (child !== undefined) parents.set(child, thread);
  } else {
    for (const [, , four, six] of rest.matchAll(
      /sa_family=AF_INET(6?), .*?(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")/g,
    )) {
      all++;
      const to = four ?? six;
      const port = /port=htons\((\d+)\)/.exec(rest)?.[1];
      const program = programOf(thread);
      if (local.test(to)) here++;
      else if (isDownload(program)) downloads++;
      else if (isProbe(to, program)) probes++;
      else {
        const what = `${call} ${to} port ${port}: ${program}`;
        others.set(what, (others.get(what) ?? 0) + 1);
      }
    }
  }
}
for (const [what, times] of others) console.log(`${times} x ${what}`);
console.log(
  `${processes} programs, ${all} connections and addresses: ${here} of this device, ${downloads} of downloads, ${probes} by which Chromium looks for IPv6, ${others.size} others`,
);
rmSync(folder, { recursive: true, force: true });
process.exitCode = all > 0 && others.size === 0 ? 0 : 1;
