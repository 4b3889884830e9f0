/** One server-sent event. `data` is JSON; its `type` names the event. */
export interface ServerEvent {
  /** `EPOCH-N`: what a client sends as Last-Event-ID to go on after it. */
  readonly id?: string;
  readonly data: Readonly<Record<string, unknown>> & { readonly type: string };
  /** Sent instead of `data`, without an event's name: OpenAI's streams. */
  readonly raw?: string;
}
