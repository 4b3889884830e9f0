/** A refusal that HTTP has a number for. The message goes to the client as it is: no text of the user's in it. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  constructor(
    readonly status: number,
    message: string,
    /** A word for programs; default: one of the status. */
    readonly code?: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}
