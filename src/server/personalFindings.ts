import { type FindingSummary, summarise } from '../privacy/findPersonal.js';
import type { Finding } from '../privacy/types.js';
import type { DatasetInfo, Json } from '../vault/types.js';
import type { Vault } from '../vault/Vault.js';
import type { DatasetViews } from './DatasetViews.js';

/** Searches a data set for private details and keeps their numbers beside it. */
export async function noteFindings(vault: Vault, views: DatasetViews, info: DatasetInfo): Promise<DatasetInfo> {
  const findings = await views.findings(vault, info);
  return await vault.datasets.annotate(info.id, { findings: summarise(findings) as unknown as Json });
}

/** How many private details there are, by kind; undefined where nobody has looked. */
export function readSummary({ findings }: DatasetInfo): FindingSummary | undefined {
  const isSummary = typeof findings === 'object' && findings !== null && 'total' in findings && 'kinds' in findings;
  return isSummary ? (findings as unknown as FindingSummary) : undefined;
}

/** A find as the page shows it: its text is a field of the example where that is shown as fields. */
export function viewFinding(finding: Finding, asFields: boolean) {
  const { id, kind, label, certainty, message, role, start, end, number, preview } = finding;
  const field = !asFields ? `messages.${message}` : role === 'user' ? 'instruction' : 'output';
  return { id, kind, label, certainty, field, message, start, end, number, preview };
}
