import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { peakRss, readMemory } from './memory.js';

const root = scratchFolder();
const GB = 1e9;
/** What version 1 shows where there is no limit: the largest multiple of a page below 2^63. */
const NONE = '9223372036854771712\n';

/** A tree of files as the kernel shows them. */
function tree(files: Record<string, string>): { proc: string; cgroup: string } {
  const folder = mkdtempSync(join(root, 'tree-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return { proc: join(folder, 'proc'), cgroup: join(folder, 'cgroup') };
}

const machine = { 'proc/meminfo': 'MemTotal:       16000000 kB\nMemFree:      100 kB\nMemAvailable:    8000000 kB\n' };
const total = 16e6 * 1024;
const available = 8e6 * 1024;

describe('readMemory', () => {
  it('is the machine itself, where there is no limit', () => {
    const memory = readMemory(tree(machine));
    assert.deepEqual([memory.total, memory.available], [total, available]);
  });

  it('asks the system where there is no /proc', () => {
    const memory = readMemory(tree({}));
    assert.equal(memory.total, totalmem());
    assert.ok(Math.abs(memory.available - freemem()) < 0.5 * totalmem());
  });

  it('tells plausible figures of this process', () => {
    const { total, available, rss, peakRss: peak } = readMemory();
    assert.ok(available > 0 && available <= total);
    assert.ok(rss > 10e6 && rss < total);
    // The two are not read in one moment.
    assert.ok(peak > 0.9 * rss);
  });

  it('is bounded by version 2: what the group has left, cached files that can go counted as free', () => {
    const memory = readMemory(
      tree({
        ...machine,
        'proc/self/cgroup': '0::/user.slice/loam.service\n',
        'cgroup/user.slice/loam.service/memory.max': `${4 * GB}\n`,
        'cgroup/user.slice/loam.service/memory.high': 'max\n',
        'cgroup/user.slice/loam.service/memory.current': `${3 * GB}\n`,
        'cgroup/user.slice/loam.service/memory.stat': `anon 5\nfile 7\ninactive_file ${GB}\nactive_file 9\n`,
      }),
    );
    assert.deepEqual([memory.total, memory.available], [4 * GB, 2 * GB]);
  });

  it('is bounded by every group above, and by the limit from which the kernel slows down', () => {
    const memory = readMemory(
      tree({
        ...machine,
        'proc/self/cgroup': '0::/a/b\n',
        'cgroup/a/b/memory.max': 'max\n',
        'cgroup/a/b/memory.high': `${6 * GB}\n`,
        'cgroup/a/b/memory.current': `${GB}\n`,
        'cgroup/a/memory.max': `${7 * GB}\n`,
        'cgroup/a/memory.current': `${6 * GB}\n`,
      }),
    );
    assert.deepEqual([memory.total, memory.available], [6 * GB, GB]);
  });

  it('is bounded by version 1, and by a container whose path is the one on the host', () => {
    const files = {
      ...machine,
      'proc/self/cgroup': '5:cpu,cpuacct:/docker/0123\n4:hugetlb,memory:/docker/0123\n0::/\n',
      'cgroup/memory/memory.limit_in_bytes': `${2 * GB}\n`,
      'cgroup/memory/memory.usage_in_bytes': `${1.5 * GB}\n`,
      'cgroup/memory/memory.stat': `inactive_file 1\ntotal_inactive_file ${GB / 2}\n`,
    };
    const memory = readMemory(tree(files));
    assert.deepEqual([memory.total, memory.available], [2 * GB, GB]);
    const none = readMemory(tree({ ...files, 'cgroup/memory/memory.limit_in_bytes': NONE }));
    assert.deepEqual([none.total, none.available], [total, available]);
  });

  it('is never below zero, and passes over paths that lead out and lines of no sense', () => {
    const memory = readMemory(
      tree({
        ...machine,
        'proc/self/cgroup': 'nonsense\n0::/../../x\n',
        'cgroup/memory.max': `${GB}\n`,
        'cgroup/memory.current': `${2 * GB}\n`,
        'cgroup/memory.stat': '',
      }),
    );
    assert.deepEqual([memory.total, memory.available], [GB, 0]);
  });
});

describe('peakRss', () => {
  it('is what the kernel notes of this process, else what the system tells', () => {
    assert.equal(peakRss(tree({ 'proc/self/status': 'VmPeak:\t 9 kB\nVmHWM:\t  1776 kB\n' }).proc), 1776 * 1024);
    assert.equal(peakRss(tree({}).proc), 1024 * process.resourceUsage().maxRSS);
    assert.ok(peakRss() > 10e6);
  });

  it('grows with what is used', () => {
    const before = readMemory().rss;
    const block = Buffer.alloc(64 << 20, 1);
    assert.ok(peakRss() >= before + 0.5 * block.length);
  });
});
