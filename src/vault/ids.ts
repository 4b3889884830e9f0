import { createHash, randomBytes } from 'node:crypto';

/** 32 hex digits, random: tells nothing of what it names. */
export function newId(): string {
  return randomBytes(16).toString('hex');
}

/** Lower-case hex. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
