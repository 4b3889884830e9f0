import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { type Dirent, readdirSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { TSchema } from 'typebox';
import Value from 'typebox/value';
import { addModel } from '../models/manage.js';
import { AnthropicErrorBody } from '../serve/contract/anthropic.js';
import { ErrorBody, ErrorEvent } from '../serve/contract/errors.js';
import type { Job } from '../serve/contract/jobs.js';
import { OpenAiErrorBody } from '../serve/contract/openai.js';
import type { Page } from '../serve/http/HttpServer.js';
import { type AnyRoute, matchRoute, type Response } from '../serve/http/route.js';
import { validate } from '../serve/http/validate.js';
import type { Services } from '../serve/Services.js';
import { apiRoutes, type RunningServer, startServer } from '../serve/startServer.js';
import { scratchFolder } from './scratch.js';
import { type TinyModelOptions, writeTinyModel } from './tinyModel.js';

/** What the tests of the server share: a home with a tiny model, servers within the test and as processes of their own, clients. */

const program = fileURLToPath(new URL('../../bin/loam.js', import.meta.url));

export const page: Page = {
  files: new Map([
    ['/', { body: Buffer.from('<!doctype html>'), type: 'text/html', etag: '"1"', cacheControl: 'no-cache' }],
  ]),
  contentSecurityPolicy: "default-src 'self'",
};

export interface Pair {
  instruction: string;
  input: string;
  output: string;
}

export function sayings(n: number): Pair[] {
  return Array.from({ length: n }, (_, i) => ({
    instruction: `Say number ${i}`,
    input: '',
    output: `the thing in the ${['inn', 'inner tin', 'theatre'][i % 3]}`,
  }));
}

/** A LOAM_HOME in a scratch folder, which is the one of this process too. */
export function newHome(): string {
  const home = join(scratchFolder(), 'home');
  process.env.LOAM_HOME = home;
  return home;
}

/** Gives a home a model named "tiny". */
export async function addTinyModel(home: string, options: TinyModelOptions = {}): Promise<string> {
  const path = await writeTinyModel(join(scratchFolder(), 'tiny.gguf'), options);
  await addModel(path, 'tiny', { home }).result;
  return path;
}

/** A server in this process, ended with the tests. */
export async function serve(home: string): Promise<RunningServer> {
  const server = await startServer({
    home,
    at: { port: 0 },
    page,
    onBug: (error) => console.error(error),
  });
  after(() => server[Symbol.asyncDispose]());
  return server;
}

/** Registered here, since within a test `after` means the end of that test. */
const started = new Set<ChildProcess>();
after(async () => {
  await Promise.all([...started].map((child) => endOf(child, 'SIGKILL')));
});

async function endOf(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  await ended;
}

/** `loam serve` as a process of its own. */
export class ServerProcess {
  private constructor(
    readonly child: ChildProcess,
    readonly client: Client,
    readonly output: () => string,
    readonly link: string,
  ) {}

  /** @param within a program that gets the command to run as its last arguments */
  static async start(
    home: string,
    env: NodeJS.ProcessEnv = {},
    args: readonly string[] = [],
    within: readonly string[] = [],
  ): Promise<ServerProcess> {
    const [first, ...rest] = [...within, process.execPath, program, 'serve', '--port', '0', '--json', ...args];
    const child = spawn(first!, rest, {
      env: { ...process.env, ...env, LOAM_HOME: home, HF_ENDPOINT: 'http://127.0.0.1:9' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.add(child);
    let output = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (process.env.LOAM_TEST_LOG) console.error(text);
    });
    const ready = await new Promise<{ port: number; token: string; link: string }>((resolve, reject) => {
      let text = '';
      child.stdout!.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        output += piece;
        const line = text.split('\n').find((one) => one.includes('"ready"'));
        if (line) resolve(JSON.parse(line));
      });
      child.once('exit', (code) => reject(new Error(`loam serve ended (${code}): ${output}`)));
    });
    return new ServerProcess(child, new Client(ready.port, ready.token), () => output, ready.link);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    await endOf(this.child, signal);
  }
}

export interface Reply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every form
  json: any;
}

/** Asks a server; every JSON answer and every event is held against the contract. */
export class Client {
  constructor(
    readonly port: number,
    readonly token: string,
  ) {}

  get base(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Sends exactly these headers, besides Host. */
  raw(method: string, path: string, headers: Record<string, string> = {}, body?: string | Uint8Array): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          host: '127.0.0.1',
          port: this.port,
          method,
          path,
          headers,
          agent: false,
          setHost: headers.host === undefined,
        },
        (response) => {
          const pieces: Buffer[] = [];
          response.on('data', (piece: Buffer) => pieces.push(piece));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(pieces).toString('utf8');
            const isJson = String(response.headers['content-type']).startsWith('application/json');
            resolve({
              status: response.statusCode!,
              headers: response.headers,
              text,
              json: isJson && text ? JSON.parse(text) : undefined,
            });
          });
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  }

  async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    const bytes = body instanceof Uint8Array;
    const type: Record<string, string> =
      body === undefined ? {} : { 'content-type': bytes ? 'application/octet-stream' : 'application/json' };
    const reply = await this.raw(
      method,
      path,
      { authorization: `Bearer ${this.token}`, ...type, ...headers },
      body === undefined ? undefined : bytes ? body : JSON.stringify(body),
    );
    checkAnswer(method, path, reply);
    return reply;
  }

  /** The JSON of an answer that must have been given. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every form
  async ok(method: string, path: string, body?: unknown): Promise<any> {
    const reply = await this.send(method, path, body);
    assert.ok(reply.status < 300, `${method} ${path}: ${reply.status} ${reply.text}`);
    return reply.json;
  }

  /** A job once it satisfies a condition. */
  async job(id: string, when: (job: Job) => boolean, limit = 240_000): Promise<Job> {
    const until = Date.now() + limit;
    for (;;) {
      const job = (await this.ok('GET', `/api/jobs/${id}`)) as Job;
      if (when(job)) return job;
      assert.ok(Date.now() < until, `the job is ${job.state}: ${job.message}`);
      await sleep(50);
    }
  }
}

/** Schemas whose objects take no property that is not declared: a field that the contract does not know is a fault of the server. */
const strict = new WeakMap<TSchema, TSchema>();

function strictly(schema: TSchema): TSchema {
  const known = strict.get(schema);
  if (known) return known;
  const close = (node: unknown): unknown => {
    if (typeof node !== 'object' || node === null) return node;
    if (Array.isArray(node)) return node.map(close);
    const closed = Object.fromEntries(Object.entries(node).map(([name, value]) => [name, close(value)]));
    if (closed.type === 'object' && 'properties' in closed) closed.additionalProperties ??= false;
    return closed;
  };
  const closed = close(schema) as TSchema;
  strict.set(schema, closed);
  return closed;
}

/** What a route of the list says that it answers; undefined for an address of a test's own. */
function declared(method: string, path: string): AnyRoute<Services> | undefined {
  try {
    return matchRoute(apiRoutes, method, path.split('?')[0]!).route;
  } catch {
    return undefined;
  }
}

/** Holds a JSON answer against the contract. */
function checkAnswer(method: string, path: string, { status, json }: Reply): void {
  if (json === undefined) return;
  const response = status >= 400 ? errorSchema(method, path) : jsonOf(declared(method, path)?.response);
  if (response) validate(strictly(response), json, `${method} ${path}`);
}

function errorSchema(method: string, path: string): TSchema {
  const { errors } = declared(method, path) ?? { errors: path.startsWith('/v1/') ? 'openai' : undefined };
  if (errors === 'anthropic') return AnthropicErrorBody;
  return errors === 'openai' ? OpenAiErrorBody : ErrorBody;
}

function jsonOf(response: Response | undefined): TSchema | undefined {
  if (response === undefined || 'bytes' in response) return undefined;
  return 'events' in response ? response.json : response;
}

/** Holds an event of a stream against the contract. */
function checkEvent(method: string, path: string, data: unknown): void {
  const response = declared(method, path)?.response;
  if (response === undefined || !('events' in response) || data === '[DONE]') return;
  const { errors } = declared(method, path)!;
  const broken = errors === undefined ? ErrorEvent : errorSchema(method, path);
  validate(strictly(Value.Check(broken, data) ? broken : response.events), data, `an event of ${method} ${path}`);
}

export interface SentEvent {
  id?: string;
  event?: string;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  data: any;
}

/** Reads server-sent events until `until` is true of one, or the stream ends. */
export async function readEvents(
  client: Client,
  path: string,
  options: {
    method?: string;
    body?: unknown;
    lastId?: string;
    until?: (event: SentEvent) => boolean;
    signal?: AbortSignal;
  } = {},
): Promise<SentEvent[]> {
  const { method = 'GET', body, lastId, until = () => false } = options;
  const controller = new AbortController();
  options.signal?.addEventListener('abort', () => controller.abort());
  const answer = await fetch(`${client.base}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${client.token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(lastId !== undefined && { 'last-event-id': lastId }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: controller.signal,
  });
  assert.equal(answer.status, 200, answer.status === 200 ? '' : await answer.text());
  assert.match(answer.headers.get('content-type') ?? '', /^text\/event-stream/);
  const events: SentEvent[] = [];
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of answer.body!) {
    text += decoder.decode(piece as Uint8Array, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const block = text.slice(0, end);
      text = text.slice(end + 2);
      const field = (name: string) =>
        block
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2);
      const data = field('data');
      if (data === undefined) continue;
      const event = { id: field('id'), event: field('event'), data: data === '[DONE]' ? data : JSON.parse(data) };
      checkEvent(method, path, event.data);
      events.push(event);
      // Leaving the loop ends the request.
      if (until(event)) return events;
    }
  }
  return events;
}

/** All entries; listed again if a folder disappeared in the meantime. */
function entriesBelow(folder: string, attempts = 5): Dirent[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempts === 1) throw error;
    return entriesBelow(folder, attempts - 1);
  }
}

/** A file that a running job has renamed or removed since it was listed holds nothing any more. */
function bytesOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}

/** Files below a folder that hold a text in any usual encoding. */
export function filesWith(folder: string, text: string): string[] {
  const forms = [
    Buffer.from(text),
    Buffer.from(text, 'utf16le'),
    Buffer.from(Buffer.from(text).toString('base64').replace(/=*$/, '').slice(0, -2)),
    Buffer.from(Buffer.from(text).toString('hex')),
  ];
  return entriesBelow(folder)
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => {
      const bytes = bytesOf(path);
      return path.includes(text) || forms.some((form) => bytes.includes(form));
    });
}
