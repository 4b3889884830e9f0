import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Desk, sayings } from '../testing/cli.js';
import { type JsonLine, jsonLines, resultOf } from '../testing/runLoam.js';
import { allRules, contentPhone, disturbances, Simulator } from '../testing/simulator.js';

/** `loam tune` with rules on when it may run, on a simulated device. */

const desk = new Desk();
const model = await desk.model('tiny.gguf', { layers: 2 });
const data = desk.file('data.json', sayings(32));
const flags = (out: string) => [
  ...['--model', model, '--method', 'qlora', '--lr', '1e-2', '--patience', '99', '--runs', '1', '--threads', '1'],
  ...['--epochs', '4', '--skip-general', '--out', out, '--json'],
];
const rules = [
  ...['--while-charging', '--min-battery', '30', '--max-celsius', '38', '--hours', allRules.hours],
  ...['--idle', '60s', '--min-memory', '100'],
];

describe('a run with rules', () => {
  let undisturbed: Buffer;

  it('runs at once while they are kept, and holds the device awake', async () => {
    const out = desk.path('whole.gguf');
    const simulator = new Simulator(contentPhone);
    const result = resultOf(await desk.run(['tune', data, ...flags(out), ...rules], { env: simulator.env }));
    assert.equal(result.adapter, out);
    undisturbed = readFileSync(out);
    const plain = desk.newFolder('plain');
    resultOf(await desk.run(['tune', data, ...flags(`${plain}/whole.gguf`)]));
    assert.ok(readFileSync(`${plain}/whole.gguf`).equals(undisturbed), 'rules change nothing of what is computed');
    const names = simulator.actions.map(([name]) => name);
    assert.deepEqual([names[0], names.at(-1)], ['keepAwake', 'sleep']);
  });

  it('pauses at a checkpoint for whatever is in the way, goes on by itself, and comes to the same adapter', async () => {
    const folder = desk.newFolder('disturbed');
    const out = `${folder}/whole.gguf`;
    const simulator = new Simulator(contentPhone);
    const left = Object.entries(disturbances);
    const seen: string[] = [];
    let text = '';
    const onStdout = (piece: string) => {
      text += piece;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const event = JSON.parse(text.slice(0, end)) as JsonLine;
        text = text.slice(end + 1);
        if (event.type === 'waiting' && (event.reasons as string[]).length > 0) {
          seen.push((event.reasons as string[]).join('; '));
          simulator.set(contentPhone);
        }
        // Each at its own moment.
        if (event.type === 'step' && (event.step as number) >= 2 * seen.length + 2) {
          const next = left[seen.length];
          if (next) simulator.set(next[1][0]);
        }
      }
    };
    const env = { ...simulator.env, LOAM_CHECKPOINT_SECONDS: '0' };
    const run = await desk.run(['tune', data, ...flags(out), ...rules], { env, onStdout });
    resultOf(run);
    assert.equal(seen.length, left.length, seen.join('\n'));
    for (const [i, [name, [, why]]] of left.entries()) assert.match(seen[i]!, why, name);
    const resumed = jsonLines(run).filter(({ type }) => type === 'resumed');
    assert.ok(resumed.length > 0 && resumed.every(({ step }) => (step as number) > 0));
    assert.ok(readFileSync(out).equals(undisturbed));
    const names = simulator.actions.map(([name]) => name).filter((name) => name !== 'notify' && name !== 'unnotify');
    assert.deepEqual(names, ['keepAwake', 'sleep'], 'no wake lock while it waits is asked for twice');
  });

  it('waits before it begins, and Ctrl-C ends that', async () => {
    const simulator = new Simulator({ ...contentPhone, ...disturbances.unplugged[0] });
    const stopWhen = { signal: 'SIGINT' as const, when: (stdout: string) => stdout.includes('"waiting"') };
    const run = await desk.run(['tune', data, ...flags(desk.path('never.gguf')), ...rules], {
      env: simulator.env,
      stopWhen,
    });
    assert.equal(run.code, 130, run.stderr);
  });

  it('refuses a rule about what the device does not tell, and hours that are none', async () => {
    const simulator = new Simulator({ battery: { percent: 50, charging: true } });
    const told = await desk.run(['tune', data, ...flags(desk.path('x.gguf')), ...rules], { env: simulator.env });
    assert.deepEqual([told.code, jsonLines(told).at(-1)!.code], [1, 'unsupported']);
    const odd = await desk.run(['tune', data, ...flags(desk.path('x.gguf')), '--hours', 'night'], {
      env: simulator.env,
    });
    assert.equal(odd.code, 2, odd.stderr);
  });

  it('tells what it has taken of the battery, and the next run what it will take', async () => {
    const battery = (percent: number, celsius: number) => ({
      battery: { percent, charging: false, celsius, left: { coulombs: 200 * percent, volts: 4 } },
    });
    const simulator = new Simulator({ ...contentPhone, ...battery(80, 30) });
    // Of its own: what is learnt is kept there.
    const home = desk.newFolder('battery home');
    const options = { home, env: { ...simulator.env, LOAM_CHECKPOINT_SECONDS: '0' } };
    const onStdout = (piece: string) => {
      if (piece.includes('"step":4')) simulator.set(battery(74, 39));
    };
    const first = await desk.run(['tune', data, ...flags(desk.path('first.gguf'))], { ...options, onStdout });
    const { batteryPercent, peakCelsius, energyJoules } = resultOf(first);
    assert.deepEqual([batteryPercent, peakCelsius], [6, 39]);
    // Where the processor's own counters may be read, it is theirs.
    if (!existsSync('/sys/class/powercap/intel-rapl:0')) assert.equal(energyJoules, 6 * 200 * 4);
    assert.match(first.stderr, /^took .*, 6\.0 % of the battery, up to 39 °C$/m);
    assert.equal(jsonLines(first).find(({ type }) => type === 'quote')!.batteryPercent, undefined);
    simulator.set(battery(3, 30));
    const second = await desk.run(['tune', data, ...flags(desk.path('second.gguf'))], options);
    const quote = jsonLines(second).find(({ type }) => type === 'quote')!;
    assert.ok((quote.batteryPercent as number) > 0, JSON.stringify(quote));
    assert.match(second.stderr, /this takes about \d+ % of the battery, which has 3 %: plug it in/);
    // On its charger it takes nothing of it.
    simulator.set(contentPhone);
    const third = await desk.run(['tune', data, ...flags(desk.path('third.gguf'))], options);
    assert.equal(jsonLines(third).find(({ type }) => type === 'quote')!.batteryPercent, undefined);
    assert.equal(resultOf(third).batteryPercent, undefined);
  });
});
