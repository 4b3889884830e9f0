import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import { StoppedError, throwIfStopped } from './errors.js';
import { Run, Wakeup } from './events.js';

async function collect<E, R>(run: Run<E, R>): Promise<{ events: E[]; result: R }> {
  const events: E[] = [];
  for await (const event of run) events.push(event);
  return { events, result: await run.result };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));
const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

describe('Run', () => {
  it('gives every event in order, however they come, and returns the result', async () => {
    const run = new Run<number, string>(async (emit) => {
      emit(1);
      emit(2);
      await turn();
      emit(3);
      await turn();
      await turn();
      emit(4);
      return 'done';
    });
    assert.deepEqual(await collect(run), { events: [1, 2, 3, 4], result: 'done' });
  });

  it('gives the events before a failure, then the failure itself', async () => {
    const problem = new Error('no');
    const seen: number[] = [];
    const run = new Run<number, void>(async (emit) => {
      emit(1);
      throw problem;
    });
    await assert.rejects(
      async () => {
        for await (const event of run) seen.push(event);
      },
      (error) => error === problem,
    );
    assert.deepEqual(seen, [1]);
    await assert.rejects(run.result, (error) => error === problem);
  });

  it('runs to its end for the result alone, and drops the events', async () => {
    const run = new Run<number, string>(async (emit) => {
      emit(1);
      await turn();
      return 'done';
    });
    assert.equal(await run.result, 'done');
    for await (const event of run) assert.fail(`${event} was kept`);
    assert.equal(await run.result, 'done');
  });

  it('keeps every event for a reader who comes right after the result was asked for', async () => {
    const run = new Run<number, void>(async (emit) => emit(1));
    const { result } = run;
    const seen: number[] = [];
    for await (const event of run) seen.push(event);
    await result;
    assert.deepEqual(seen, [1]);
  });

  it('a failure that nobody has looked at yet is no unhandled rejection', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', note);
    try {
      const { result } = new Run<number, void>(async () => {
        throw new Error('no');
      });
      for (let i = 0; i < 3; i++) await turn();
      assert.deepEqual(unhandled, []);
      await assert.rejects(result, /no/);
    } finally {
      process.off('unhandledRejection', note);
    }
  });

  it('starts nothing before it is asked for the first event', async () => {
    let started = false;
    const run = new Run<number, void>(async () => {
      started = true;
    });
    await turn();
    assert.equal(started, false);
    await run[Symbol.asyncIterator]().return();
    await turn();
    assert.equal(started, false);
  });

  it('a consumer that stops early stops the work and waits for its end', async () => {
    let ended = false;
    const run = new Run<number, void>(async (emit, signal) => {
      emit(1);
      await untilAborted(signal);
      await turn();
      ended = true;
      throw new StoppedError();
    });
    for await (const event of run) {
      assert.equal(event, 1);
      break;
    }
    assert.equal(ended, true);
    await assert.rejects(run.result, StoppedError);
  });

  it("hands the caller's signal on, with its reason, and lets go of it at the end", async () => {
    const controller = new AbortController();
    const run = new Run<number, void>(async (emit, signal) => {
      emit(1);
      await untilAborted(signal);
      assert.equal(signal.reason, 'enough');
      throwIfStopped(signal);
    }, controller.signal);
    await assert.rejects(async () => {
      for await (const _ of run) controller.abort('enough');
    }, StoppedError);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  });

  it('passes on a signal that has fired before', async () => {
    const run = new Run<number, boolean>(async (_, signal) => signal.aborted, AbortSignal.abort());
    assert.equal((await collect(run)).result, true);
  });

  it('does not hang on to listeners when the work ends by itself', async () => {
    const { signal } = new AbortController();
    await collect(new Run<number, void>(async () => {}, signal));
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });
});

describe('Wakeup', () => {
  it('ends a sleep, the present one or else the next, once however often it was woken', async () => {
    const wakeup = new Wakeup();
    const order: string[] = [];
    const loop = (async () => {
      for (const name of ['first', 'second', 'third']) {
        await wakeup.sleep();
        order.push(name);
      }
    })();
    wakeup.wake();
    wakeup.wake();
    await turn();
    assert.deepEqual(order, ['first']);
    wakeup.wake();
    await turn();
    wakeup.wake();
    await loop;
    assert.deepEqual(order, ['first', 'second', 'third']);
  });
});
