import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { type ReportInput, renderReport, type StepMetric } from './report.js';

const random = new Random(3);

/** A run as it goes: noisy loss, validation that turns, warm-up and cosine. */
function metricsOf(steps: number): StepMetric[] {
  return Array.from({ length: steps }, (_, i) => {
    const t = i / Math.max(1, steps - 1);
    const metric: StepMetric = {
      step: i + 1,
      epoch: 3 * t,
      loss: 2.2 + 1.3 * Math.exp(-6 * t) - 0.4 * t + 0.15 * random.normal(),
      learningRate: 2e-3 * Math.min(1, t / 0.05) * (0.5 + 0.5 * Math.cos(Math.PI * t)),
      gradientNorm: 0.4 + 0.8 * Math.exp(-8 * t) + 0.1 * random.uniform(),
      tokensPerSecond: 410 + 15 * random.normal(),
      rssBytes: 6.1e8,
      seconds: 1.7 * i,
    };
    if (i % 20 === 19) metric.validation = 2.46 + (t - 0.55) ** 2 + 0.01 * random.normal();
    return metric;
  });
}

const input: ReportInput = {
  title: 'biomed-train-lora',
  createdAt: '2026-11-24T10:00:00.000Z',
  version: '0.1.0',
  model: 'SmolLM2 135M Instruct',
  method: 'auto',
  recipe: { rank: 8, alpha: 16, learningRate: 0.002, layers: 'top:15', rslora: false, seed: 1 },
  nll: { base: 3.5124, adapted: 2.4587, teacher: 2.9 },
  measuredOn: 'heldout',
  seconds: 812.3,
  peakRssBytes: 6.4e8,
  energyJoules: 21_000,
  quote: { seconds: 790, memoryBytes: 6.6e8, diskBytes: 1.2e8 },
  metrics: metricsOf(400),
  samples: [{ prompt: 'What is a kinase?', before: 'It is.', after: 'An enzyme.', expected: 'An enzyme that …' }],
};

/** Elements that have no end in HTML. */
const VOID = new Set(['meta', 'link', 'br', 'img', 'hr', 'input']);

/** Holds the nesting of elements, their quotes, ids and references against the rules; returns the tags. */
function checkWellFormed(html: string): string[] {
  const tags: string[] = [];
  const open: string[] = [];
  const body = html.replace('<!doctype html>', '').replace(/<style>[^<]*<\/style>/, '');
  let text = '';
  let at = 0;
  for (const match of body.matchAll(/<(\/?)([a-z][a-z0-9]*)((?:\s+[a-zA-Z0-9:-]+="[^"<>]*")*)\s*(\/?)>/g)) {
    text += body.slice(at, match.index);
    at = match.index + match[0].length;
    const [tag, end, name, , empty] = match as unknown as [string, string, string, string, string];
    tags.push(tag);
    if (end) assert.equal(open.pop(), name, `</${name}> ends what was opened last`);
    else if (!empty && !VOID.has(name)) open.push(name);
  }
  text += body.slice(at);
  assert.deepEqual(open, [], 'all elements are ended');
  assert.doesNotMatch(text, /[<>]/, 'nothing that looks like a tag is left over');
  assert.doesNotMatch(text.replace(/&(amp|lt|gt|quot|#39);/g, ''), /&/);
  const all = tags.join('');
  const ids = [...all.matchAll(/ id="([^"]*)"/g)].map((match) => match[1]!);
  assert.equal(new Set(ids).size, ids.length, 'ids are unique');
  for (const [, references] of all.matchAll(/ aria-labelledby="([^"]*)"/g)) {
    for (const id of references!.split(' ')) assert.ok(ids.includes(id), id);
  }
  return tags;
}

function checkSelfContained(html: string, tags: string[]): void {
  const all = tags.join('');
  assert.doesNotMatch(all, /<(script|link|img|iframe|object|embed|base|a|form|image|use)\b/);
  assert.doesNotMatch(all, /\s(src|href|srcset|action|style|on[a-z]+)=/);
  assert.doesNotMatch(all, /https?:/);
  assert.doesNotMatch(/<style>([^<]*)<\/style>/.exec(html)![1]!, /url\(|@import|https?:/);
}

function checkNumbers(html: string): void {
  assert.doesNotMatch(html, /NaN|Infinity|undefined|null|\[object/);
  for (const [, name, value] of html.matchAll(/ (x|y|x1|x2|y1|y2|cx|cy|r)="([^"]*)"/g)) {
    assert.match(value!, /^-?\d+(\.\d+)?$/, `${name}="${value}"`);
    assert.ok(Number(value) > -20 && Number(value) < 350, `${name}="${value}" is in the drawing`);
  }
  for (const [, points] of html.matchAll(/ points="([^"]*)"/g)) {
    for (const point of points!.split(' ')) assert.match(point, /^\d+(\.\d+)?,\d+(\.\d+)?$/);
  }
}

function check(report: ReportInput): string {
  const html = renderReport(report);
  checkSelfContained(html, checkWellFormed(html));
  checkNumbers(html);
  return html;
}

describe('renderReport', () => {
  it('is one sound file that loads nothing, with every curve', () => {
    const html = check(input);
    for (const title of ['Training loss', 'Validation loss', 'Learning rate', 'Gradient norm', 'Tokens per second']) {
      assert.equal(html.split(`<h3>${title}`).length, 2, title);
    }
    assert.equal(html.match(/<svg /g)!.length, 5);
    assert.equal(html.match(/<title id=/g)!.length, 5);
    assert.equal(html.match(/<desc id=/g)!.length, 5);
    assert.equal(html.match(/class="faint"/g)!.length, 1);
    assert.equal(html.match(/class="mark"/g)!.length, 1);
    for (const text of ['3.512', '2.459', '30 % less', '13 min 32 s', '640.0 MB', '5.83 Wh', '660.0 MB was expected']) {
      assert.ok(html.includes(text), text);
    }
  });

  it('marks the best validation in the curve and in the table', () => {
    const html = check(input);
    const best = Math.min(...input.metrics.flatMap(({ validation }) => validation ?? []));
    assert.ok(html.includes(`>best: ${Number(best.toPrecision(4))}<`));
    const kept = /<tr class="kept">(.*?)<\/tr>/.exec(html)![1]!;
    assert.ok(kept.includes(`<td>${best.toPrecision(4)}</td>`), kept);
  });

  for (const count of [0, 1, 2, 41, 100_000]) {
    it(`holds for ${count} metrics`, () => {
      const html = check({ ...input, metrics: metricsOf(count) });
      assert.equal(html.includes('No steps were recorded'), count === 0);
      assert.ok(html.length < 200_000, `${html.length} bytes`);
      assert.ok((html.match(/<tr>/g)?.length ?? 0) < 60);
    });
  }

  it('leaves out what was not measured', () => {
    const { energyJoules, quote, ...rest } = input;
    const html = check({
      ...rest,
      nll: { base: 3, adapted: 3.3 },
      metrics: [
        { step: 1, epoch: 0.1, loss: 3 },
        { step: 2, epoch: 0.2, loss: 2.9 },
      ],
      samples: [],
    });
    assert.equal(html.match(/<svg /g)!.length, 1);
    assert.ok(html.includes('10 % more'));
    for (const text of ['Energy', 'Disk', 'was expected', 'teacher', 'Tokens', 'Before and after', 'your data'])
      assert.ok(!html.includes(text), text);
  });

  it('holds for figures that are none: they are dashes or gaps', () => {
    const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null as unknown as number, 1e300];
    const metrics: StepMetric[] = bad.flatMap((value, i) => [
      { step: 2 * i, epoch: 0, loss: value, validation: value, gradientNorm: value, learningRate: value },
      { step: 2 * i + 1, epoch: value, loss: 2, validation: i, tokensPerSecond: 0 },
    ]);
    metrics.push({ step: Number.NaN, epoch: 0, loss: 1 });
    for (const value of [...bad.slice(0, 3), 0]) {
      check({
        ...input,
        nll: { base: value, adapted: value, teacher: value },
        seconds: value,
        peakRssBytes: value,
        energyJoules: value,
        quote: { seconds: value, memoryBytes: value, diskBytes: value },
        metrics,
      });
    }
    check({ ...input, metrics: bad.map((loss, step) => ({ step, epoch: 0, loss })) });
  });

  it('escapes all text', () => {
    const attack = `</pre></title><script src="http://x.invalid/a.js">alert(1)</script><img src=x onerror='x'>&"`;
    const html = check({
      ...input,
      title: attack,
      createdAt: attack,
      version: attack,
      model: attack,
      method: attack,
      recipe: { [attack]: attack },
      samples: [{ prompt: attack, before: attack, after: attack, expected: attack }],
    });
    const escaped = '&lt;/pre&gt;&lt;/title&gt;&lt;script src=&quot;';
    // Title twice, date, model twice, method twice, version twice, recipe's name and value, four texts of the sample.
    assert.equal(html.split(escaped).length - 1, 15);
  });

  it('keeps the text of samples as it is, empty lines at the beginning too', () => {
    const html = check({ ...input, samples: [{ prompt: '\n  one\n\ntwo', before: '', after: '' }] });
    // HTML drops one line feed after <pre>.
    assert.ok(html.includes('<pre dir="auto">\n\n  one\n\ntwo</pre>'));
  });
});
