/** A syntax error in JSON: where, and what stands there. Becomes a LoamError with line and column, or a Problem of one line. */
export class JsonFault extends Error {
  constructor(
    /** Byte offset in the text that was read. */
    readonly offset: number,
    readonly found: string,
    readonly expected?: string,
    readonly fix?: string,
  ) {
    super(found);
  }
}
