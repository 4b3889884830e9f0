import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError, StoppedError } from '../../base/errors.js';
import { queuedJob } from '../../testing/runEvents.js';
import { Obstacles } from './obstacles.js';

const job = () => ({ ...queuedJob, id: 'a' });
const failure = (code: 'disk-full' | 'busy' | 'process-died' | 'no-gain' | 'confirm', more = {}) =>
  new LoamError({ code, found: `the reason is ${code}`, ...more });

it('a full disk is waited for longer and longer, and other jobs go first meanwhile', () => {
  const obstacles = new Obstacles();
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    const { state, message } = obstacles.after(job(), failure('disk-full', { where: '/disk' }));
    assert.equal(state, 'interrupted');
    assert.equal(message, 'the reason is disk-full (/disk); it goes on by itself when there is room');
    const { left, blocks } = obstacles.of('a');
    waits.push(left);
    assert.equal(blocks, false);
  }
  assert.ok(waits.every((wait, i) => i === 0 || wait > waits[i - 1]! || wait > 290_000));
  assert.ok(waits.at(-1)! <= 300_000);
  // Of the system, in no words of ours.
  const raw = Object.assign(new Error('write'), { code: 'ENOSPC', syscall: 'write', path: '/x' });
  assert.equal(obstacles.after(job(), raw).state, 'interrupted');
  obstacles.forget('a');
  assert.equal(obstacles.of('a').left, 0);
});

it('another process is waited for, and never counted as a death', () => {
  const obstacles = new Obstacles();
  const waiting = job();
  for (let i = 0; i < 20; i++) obstacles.after(waiting, failure('busy'));
  assert.equal(waiting.deaths, 0);
  assert.ok(obstacles.of('a').left <= 2000);
});

it('a run that dies is tried again twice, and then waits for somebody', () => {
  const obstacles = new Obstacles([10, 20]);
  const dying = job();
  assert.equal(obstacles.after(dying, failure('process-died')).message, 'interrupted by the system');
  assert.equal(obstacles.of('a').blocks, true);
  assert.equal(obstacles.after(dying, new StoppedError()).message, 'interrupted by the system');
  assert.equal(obstacles.isHopeless(dying.deaths), false);
  assert.match(obstacles.after(dying, failure('process-died')).message, /3 times without progress; .*resume it/);
  assert.equal(obstacles.isHopeless(dying.deaths), true);
});

it('anything else has failed: with its code, or as a bug', () => {
  const obstacles = new Obstacles();
  assert.deepEqual(obstacles.after(job(), failure('no-gain')), {
    state: 'failed',
    message: 'the reason is no-gain.',
    code: 'no-gain',
  });
  const asks = obstacles.after(job(), failure('confirm', { where: '/runs/x', fix: 'give --restart' }));
  assert.doesNotMatch(asks.message, /runs/);
  const bug = obstacles.after(job(), new RangeError('private text'));
  assert.deepEqual([bug.state, bug.code], ['failed', undefined]);
  assert.doesNotMatch(bug.message, /private/);
});
