import type { Tool } from '../model/message.js';
import type { ToolForm } from '../model/toolForms/index.js';

/** A call while it is written: who is called, then the arguments as JSON, piece by piece. */
export type CallPart =
  | { type: 'callBegin'; name: string; id?: string }
  /** The texts of one call together are its arguments. */
  | { type: 'callText'; text: string };

/** Reads calls from text that goes on. What it finds is to be held against the whole text at the end. */
export class CallStream {
  /** Up to where the text has been read. */
  private at = 0;
  private state: 'between' | 'json' | 'arguments' = 'between';
  private depth = 0;
  private inString = false;
  private isEscaped = false;
  /** Of the arguments of this call. */
  private schema: Tool['parameters'];
  /** Arguments of this call so far. */
  private number = 0;

  constructor(
    private readonly form: ToolForm,
    private readonly tools: readonly Tool[],
    private readonly emit: (part: CallPart) => void,
  ) {}

  /** @param text all of it from where the calls begin, longer each time */
  read(text: string): void {
    for (let before = -1; before !== this.at; ) {
      before = this.at;
      if (this.state === 'between') this.begin(text);
      if (this.state === 'json') this.readJson(text);
      if (this.state === 'arguments') this.readArguments(text);
    }
  }

  private begin(text: string): void {
    const rest = text.slice(this.at);
    const found = this.form.stream.heads
      .map((head) => head.exec(rest))
      .filter((one) => one !== null)
      .sort((a, b) => a.index - b.index)[0];
    if (!found) return;
    const [all, name = '', id] = found;
    this.at += found.index + all.length;
    this.schema = this.tools.find((tool) => tool.name === name)?.parameters;
    this.emit({ type: 'callBegin', name, ...(id !== undefined && { id }) });
    this.state = this.form.stream.argument ? 'arguments' : 'json';
    [this.depth, this.number] = [0, 0];
  }

  /** To the end of the object that begins here, or as far as it has come. */
  private readJson(text: string): void {
    let written = '';
    while (this.at < text.length) {
      const char = text[this.at++]!;
      // Without the white space between values.
      if (this.inString || !/\s/.test(char)) written += char;
      if (this.isEscaped) this.isEscaped = false;
      else if (this.inString) {
        if (char === '\\') this.isEscaped = true;
        else if (char === '"') this.inString = false;
      } else if (char === '"') this.inString = true;
      else if (char === '{' || char === '[') this.depth++;
      else if ((char === '}' || char === ']') && --this.depth === 0) {
        this.state = 'between';
        break;
      }
    }
    if (written !== '') this.emit({ type: 'callText', text: written });
  }

  /** Whole arguments, one after the other. */
  private readArguments(text: string): void {
    while (this.state === 'arguments') {
      const found = this.form.stream.argument!(text, this.at, this.schema);
      if (!found) return;
      this.at = found.end;
      let written = this.number === 0 ? '{' : '';
      if (found.entry) {
        const [key, value] = found.entry;
        written += `${this.number++ === 0 ? '' : ','}${JSON.stringify(key)}:${JSON.stringify(value)}`;
      }
      if (found.isLast) {
        written += '}';
        this.state = 'between';
      }
      this.emit({ type: 'callText', text: written });
    }
  }
}
