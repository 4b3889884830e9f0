import type { MemorisedReport } from '../privacy/types.js';
import type { Json } from '../vault/types.js';
import type { Vault } from '../vault/Vault.js';

/** Results kept beside a version; the worst come first. */
const MAX_RESULTS = 200;

/** Keeps what a probe found beside the version. `reproduced` is what an export asks for. */
export async function noteMemorised(vault: Vault, version: string, report: MemorisedReport): Promise<void> {
  const results = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  const kept = {
    ...report,
    reproduced: report.verdicts.reproduced,
    at: new Date().toISOString(),
    results: results.slice(0, MAX_RESULTS),
  };
  await vault.adapters.annotate(version, { memorised: kept as unknown as Json });
}
