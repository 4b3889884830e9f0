/** What an adapter says about its base model. Empty strings where the file does not say. */
export interface BaseIdentity {
  architecture: string;
  name: string;
  /** sha256 of the model file, hex. */
  sha256: string;
  /** `baseFingerprint`, hex. */
  fingerprint: string;
  /** sha256 of the chat template the adapter learnt under, hex. */
  templateSha256: string;
}

/** Keys that Loam adds to an adapter's metadata. Adapters of other tools lack them. */
export const keys = {
  version: 'loam.version',
  baseName: 'loam.base.name',
  baseSha256: 'loam.base.sha256',
  baseFingerprint: 'loam.base.fingerprint',
  templateSha256: 'loam.chat_template.sha256',
  stopTokens: 'loam.stop_tokens',
  recipe: 'loam.recipe',
  metrics: 'loam.metrics',
} as const;
