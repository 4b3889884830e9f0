/**
 * What the questions of an adapter are about: a plane between the embeddings of the questions that it learnt to answer and those of general
 * ones. A question on the other side is one that it can be left out of.
 */

export interface Subject {
  /** Of length as the embeddings. */
  weights: Float32Array;
  bias: number;
}

/** Share of the embeddings' mean square that is added to every direction: a hundred questions tell little of hundreds of directions. */
const RIDGE = 0.1;
const STEPS = 100;

/**
 * Least squares with a ridge, both kinds weighing the same, 1 for its own and -1 for general questions.
 * @param own embeddings, at least one; those of the base model
 * @param general the same
 */
export function fitSubject(own: readonly Float32Array[], general: readonly Float32Array[]): Subject {
  const width = own[0]!.length;
  const [a, b] = [meanOf(own, width), meanOf(general, width)];
  const centre = a.map((x, i) => (x + b[i]!) / 2);
  const rows = [own, general].flatMap((list, kind) =>
    list.map((vector) => ({
      values: Float64Array.from(vector, (x, i) => x - centre[i]!),
      weight: 1 / list.length,
      wanted: kind === 0 ? 1 : -1,
    })),
  );
  const size = rows.reduce((sum, { values, weight }) => sum + weight * dot(values, values), 0) / 2;
  const times = (u: Float64Array) => {
    const product = u.map((x) => RIDGE * size * x);
    for (const { values, weight } of rows) add(product, values, weight * dot(values, u));
    return product;
  };
  const target = new Float64Array(width);
  for (const { values, weight, wanted } of rows) add(target, values, weight * wanted);
  const weights = solve(times, target);
  return { weights: Float32Array.from(weights), bias: -dot(weights, centre) };
}

/** Conjugate gradients (Hestenes and Stiefel 1952). */
function solve(times: (u: Float64Array) => Float64Array, target: Float64Array): Float64Array {
  const found = new Float64Array(target.length);
  const rest = target.slice();
  const direction = target.slice();
  let size = dot(rest, rest);
  const enough = size * 1e-16;
  for (let step = 0; step < STEPS && size > enough; step++) {
    const product = times(direction);
    const by = size / dot(direction, product);
    add(found, direction, by);
    add(rest, product, -by);
    const next = dot(rest, rest);
    for (let i = 0; i < direction.length; i++) direction[i] = rest[i]! + (next / size) * direction[i]!;
    size = next;
  }
  return found;
}

function meanOf(vectors: readonly Float32Array[], width: number): Float64Array {
  const mean = new Float64Array(width);
  for (const vector of vectors) add(mean, vector, 1 / vectors.length);
  return mean;
}

type Vector = Float32Array | Float64Array;

function dot(a: Vector, b: Vector): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function add(to: Float64Array, what: Vector, by: number): void {
  for (let i = 0; i < to.length; i++) to[i]! += by * what[i]!;
}

/** Whether a question is of the adapter's own kind. @param vector the embedding of the base model */
export function isAbout({ weights, bias }: Subject, vector: Float32Array): boolean {
  return dot(weights, vector) + bias > 0;
}

/** As it stands in an adapter's metadata: JSON, the weights as f32 in base64, the lowest byte first. */
export function writeSubject({ weights, bias }: Subject): string {
  const bytes = Buffer.from(weights.buffer, weights.byteOffset, weights.byteLength);
  return JSON.stringify({ weights: bytes.toString('base64'), bias });
}

/** @returns undefined for anything but a subject of this width */
export function readSubject(note: string | undefined, width: number): Subject | undefined {
  try {
    const { weights: text, bias } = JSON.parse(note ?? 'null') as { weights: string; bias: number };
    const bytes = Buffer.from(text, 'base64');
    const weights = new Float32Array(Uint8Array.from(bytes).buffer);
    const isWhole = weights.length === width && weights.every(Number.isFinite) && Number.isFinite(bias);
    return isWhole ? { weights, bias } : undefined;
  } catch {
    return undefined;
  }
}
