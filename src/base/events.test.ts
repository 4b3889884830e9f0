import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import { StoppedError, throwIfStopped } from './errors.js';
import { eventStream } from './events.js';

async function collect<E, R>(run: AsyncGenerator<E, R>): Promise<{ events: E[]; result: R }> {
  const events: E[] = [];
  for (;;) {
    const { done, value } = await run.next();
    if (done) return { events, result: value };
    events.push(value);
  }
}
const turn = () => new Promise((resolve) => setImmediate(resolve));
const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

describe('eventStream', () => {
  it('gives every event in order, however they come, and returns the result', async () => {
    const run = eventStream<number, string>(async (emit) => {
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
    const run = eventStream<number, void>(async (emit) => {
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
  });

  it('starts nothing before it is asked for the first event', async () => {
    let started = false;
    const run = eventStream<number, void>(async () => {
      started = true;
    });
    await turn();
    assert.equal(started, false);
    await run.return(undefined as never);
    await turn();
    assert.equal(started, false);
  });

  it('a consumer that stops early stops the work and waits for its end', async () => {
    let ended = false;
    const run = eventStream<number, void>(async (emit, signal) => {
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
  });

  it("hands the caller's signal on, with its reason, and lets go of it at the end", async () => {
    const controller = new AbortController();
    const run = eventStream<number, void>(async (emit, signal) => {
      emit(1);
      await untilAborted(signal);
      assert.equal(signal.reason, 'enough');
      throwIfStopped(signal);
    }, controller.signal);
    assert.deepEqual(await run.next(), { done: false, value: 1 });
    const next = run.next();
    controller.abort('enough');
    await assert.rejects(next, StoppedError);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  });

  it('passes on a signal that has fired before', async () => {
    const run = eventStream<number, boolean>(async (_, signal) => signal.aborted, AbortSignal.abort());
    assert.equal((await collect(run)).result, true);
  });

  it('does not hang on to listeners when the work ends by itself', async () => {
    const { signal } = new AbortController();
    await collect(eventStream<number, void>(async () => {}, signal));
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });
});
