import { call } from '../api.js';
import { useResource } from '../live.js';
import { Dialog } from '../parts/Dialog.js';
import { Fault } from '../parts/Fault.js';
import { Loading } from '../parts/Loading.js';
import { plural } from '../readable.js';

interface Preview {
  usable: number;
  trainedTokens: number;
  tooLong: unknown[];
  examples: { line: number; tokens: number; trained: number; pieces: { text: string; trained: boolean }[] }[];
  histogram: { from: number; to: number; count: number }[];
  maxTokens?: number;
}

/** The very text that the model reads, and which part of it counts. */
export function WhatIsLearnt({ id, onClose }: { id: string; onClose: () => void }) {
  const { data, error } = useResource((signal) => call<Preview>('GET', `/api/datasets/${id}/preview`, { signal }), []);
  const most = Math.max(1, ...(data?.histogram ?? []).map(({ count }) => count));
  return (
    <Dialog wide title="What is learnt" onClose={onClose}>
      <Fault error={error} />
      {!data && !error && <Loading what="Counting tokens" />}
      {data && (
        <>
          <p>
            {plural(data.usable, 'example')} with {plural(data.trainedTokens, 'token')} of answers to learn.
            {data.tooLong.length > 0 &&
              ` ${plural(data.tooLong.length, 'example is', 'examples are')} too long and left out whole.`}
          </p>
          <h3>Lengths</h3>
          <table class="histogram">
            <caption class="unseen">Examples by number of tokens</caption>
            <tbody>
              {data.histogram.map(({ from, to, count }) => (
                <tr key={from}>
                  <th scope="row">
                    {from.toLocaleString('en-US')}–{to.toLocaleString('en-US')}
                  </th>
                  <td>
                    <span class="histogram-bar" style={{ width: `${(100 * count) / most}%` }} />
                  </td>
                  <td>{count.toLocaleString('en-US')}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <h3>As the model reads it</h3>
          <p class="quiet">The marked part is learnt; the rest is read before it.</p>
          {data.examples.map(({ line, tokens, trained, pieces }) => (
            <section key={line} class="rendered">
              <p class="quiet">
                line {line.toLocaleString('en-US')}: {plural(tokens, 'token')}, {trained.toLocaleString('en-US')} learnt
              </p>
              <p class="prose mono">
                {pieces.map((piece, i) =>
                  piece.trained ? (
                    <mark key={i} class="learnt">
                      {piece.text}
                    </mark>
                  ) : (
                    piece.text
                  ),
                )}
              </p>
            </section>
          ))}
        </>
      )}
    </Dialog>
  );
}
