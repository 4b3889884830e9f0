import assert from 'node:assert/strict';
import { it } from 'node:test';
import { retryDelay, type SseEvent, SseParser } from './sse.js';

const parse = (...pieces: string[]): SseEvent[] => {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

it('the examples of the HTML standard', () => {
  assert.deepEqual(parse('data: YHOO\ndata: +2\ndata: 10\n\n'), [
    { id: '', event: 'message', data: 'YHOO\n+2\n10', own: false },
  ]);
  assert.deepEqual(
    parse(': test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n'),
    [
      { id: '1', event: 'message', data: 'first event', own: true },
      { id: '', event: 'message', data: 'second event', own: true },
      { id: '', event: 'message', data: ' third event', own: false },
    ],
  );
  assert.deepEqual(parse('data\n\ndata\ndata\n\ndata:'), [
    { id: '', event: 'message', data: '', own: false },
    { id: '', event: 'message', data: '\n', own: false },
  ]);
});

it('wherever the text is cut, and whatever ends its lines, the events are the same', () => {
  const text = 'id: e-7\nevent: step\ndata: {"a":1}\n\n: alive\n\nretry: 1500\nid: e-8\ndata: x\ndata: y\n\n';
  const whole = parse(text);
  assert.equal(whole.length, 2);
  for (const end of ['\n', '\r', '\r\n']) {
    const ended = text.replaceAll('\n', end);
    for (let size = 1; size <= ended.length; size++) {
      const pieces = ended.match(new RegExp(`[^]{1,${size}}`, 'g'))!;
      assert.deepEqual(parse(...pieces), whole, `${JSON.stringify(end)}, pieces of ${size}`);
    }
  }
});

it('an event that the stream breaks off in is not given', () => {
  assert.deepEqual(parse('data: whole\n\ndata: half\n'), [{ id: '', event: 'message', data: 'whole', own: false }]);
});

it('an id holds for the events after it, a type for one event', () => {
  const [first, second] = parse('id: e-1\nevent: step\ndata: a\n\ndata: b\n\n');
  assert.deepEqual([first!.id, first!.event], ['e-1', 'step']);
  assert.deepEqual([second!.id, second!.event], ['e-1', 'message']);
  // An event of this moment only: to continue after it is to continue after the one before.
  assert.deepEqual([first!.own, second!.own], [true, false]);
});

it('waits longer each time, up to ten seconds, and never less than half of what it might', () => {
  for (let attempt = 1; attempt < 40; attempt++) {
    const [least, most] = [retryDelay(attempt, 0), retryDelay(attempt, 1)];
    assert.equal(most, Math.min(10_000, 500 * 2 ** (attempt - 1)));
    assert.equal(least, most / 2);
  }
});
