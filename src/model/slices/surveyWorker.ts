import { endWithParent, packError } from '../../base/process.js';
import { openTensors } from '../../formats/gguf/Gguf.js';
import { readGguf } from '../../formats/gguf/readGguf.js';
import { surveyModel } from './survey.js';
import type { SurveyReport, SurveyRequest } from './surveyApart.js';

/** A short-lived process that looks how a model leads into its residual stream, and where it can be cut (`surveyApart`). */

const tell = (report: SurveyReport) =>
  new Promise<void>((resolve) => {
    process.send!(report, undefined, undefined, () => resolve());
  });

async function survey({ model, folder, threads, tokens }: SurveyRequest): Promise<void> {
  const gguf = await readGguf(model);
  await using file = await openTensors(gguf);
  const survey = await surveyModel({ gguf, file, folder, threads }, tokens, (news) => tell({ type: 'news', ...news }));
  await tell({ type: 'surveyed', survey });
}

endWithParent();
process.on('message', (request: SurveyRequest) => {
  void survey(request).catch((error: unknown) => tell({ type: 'failed', error: packError(error) }));
});
