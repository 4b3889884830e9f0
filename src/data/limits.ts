/** Limits on files from outside. Each refuses with a sentence that names it. */

/**
 * Largest example file. The file is held in memory once while it is read, and its text once more as examples; twice this is what
 * a laptop can spare and a phone cannot, and no device tunes on that much text in a week.
 */
export const MAX_FILE_BYTES = 512 * 1024 * 1024;

/** Most records in a file: a record costs about 500 bytes of heap beside its text, so a million keeps below Node's default heap. */
export const MAX_RECORDS = 1_000_000;

/** Longest single text: some 250,000 tokens, far past the context of every model Loam tunes. */
export const MAX_FIELD_BYTES = 1_000_000;

/** Longest record, all its messages together. Parsing one blocks the event loop, for about 50 ms at this size. */
export const MAX_RECORD_BYTES = 8_000_000;

/** Deepest nesting of a record. The formats need 4; unused fields may hold more. */
export const MAX_DEPTH = 64;
