import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import type { Client, ServerProcess } from './server.js';

/** The processes of a server's jobs, found in /proc (Linux), and what they come to. */

/** The adapter file of a job; names are of one length, so that nothing but the name may differ. */
export async function adapterOf(client: Client, name: string): Promise<string> {
  assert.equal(name.length, 5);
  const { adapters } = await client.ok('GET', '/api/adapters');
  const { id, versions } = adapters.find((adapter: { name: string }) => adapter.name === name);
  const answer = await fetch(`${client.base}/api/adapters/${id}/versions/${versions[0].id}/export?confirm=1`, {
    headers: { authorization: `Bearer ${client.token}` },
  });
  const bytes = Buffer.from(await answer.arrayBuffer()).toString('latin1');
  assert.ok(bytes.startsWith('GGUF'));
  return bytes.replaceAll(name, 'NAME!');
}

/** The tuner of a server: its only child of that kind. */
export function tunerOf(server: ServerProcess): number {
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readStat(name);
      if (stat.parent === server.child.pid && stat.command.includes('tuneWorker')) return Number(name);
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error('no tuner');
}

function readStat(pid: string): { parent: number; command: string } {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return {
    parent: Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]),
    command: readFileSync(`/proc/${pid}/cmdline`, 'latin1'),
  };
}

export function isAlive(pid: number): boolean {
  try {
    // A zombie waits for nothing but its parent.
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
