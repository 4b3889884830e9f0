import type Koffi from 'koffi';
import { clauseOf, LoamError } from '../base/errors.js';

/**
 * The foreign function interface: the only file that imports koffi. A C function is declared once, by descriptors of its result and
 * parameters that carry koffi's name of the type and the TypeScript type together, so that the typed function follows from the
 * declaration. Structures are declared the same way.
 */

/** koffi, or why it cannot be loaded: it comes with a binary for each system, and what needs no engine works without. */
const loaded = await import('koffi').then(
  (module) => module.default,
  (error: unknown) => new Error('koffi', { cause: error }),
);

/** @throws LoamError if koffi has no binary for this system */
function koffi(): typeof Koffi {
  if (!(loaded instanceof Error)) return loaded;
  const said = clauseOf(loaded.cause).split('\n')[0];
  throw new LoamError(
    {
      code: 'engine',
      found: `koffi, which calls the engine, has no binary that loads under Node ${process.versions.node} on ${process.platform}-${process.arch} (${said})`,
      fix: 'install Loam again on this device, with this Node and without --omit=optional',
    },
    { cause: loaded.cause },
  );
}

declare const brand: unique symbol;
/** Address of a native object. Zero stands for NULL. */
export type Handle<Name extends string> = bigint & { readonly [brand]: Name };

/** Bytes that native code may read or write: a typed array or Buffer of ours, or an address. */
export type Bytes = ArrayBufferView | bigint | null;

/** A C type: koffi's name for it, what JavaScript passes for it, and what it gets back. */
export interface CType<In, Out = In> {
  readonly name: string;
  /** Only in the type system. */
  readonly types?: { in: In; out: Out };
}

// biome-ignore lint/suspicious/noExplicitAny: stands for every C type
type AnyType = CType<any, any>;
type In<T> = T extends CType<infer I, infer _> ? I : never;
type Out<T> = T extends CType<infer _, infer O> ? O : never;
type InAll<P extends readonly AnyType[]> = { -readonly [K in keyof P]: In<P[K]> };

const ctype = <I, O = I>(name: string): CType<I, O> => ({ name });

export const none = ctype<never, void>('void');
export const bool = ctype<boolean>('bool');
export const int = ctype<number>('int');
export const i32 = ctype<number>('int32');
export const u8 = ctype<number>('uint8');
export const u32 = ctype<number>('uint32');
export const float = ctype<number>('float');
/** koffi gives 64-bit integers as numbers when they are safe and as bigints otherwise. */
export const i64 = ctype<number | bigint>('int64');
export const size = ctype<number | bigint>('size_t');
export const long = ctype<number | bigint>('long');
export const string = ctype<string>('str');
export const bytes = ctype<Bytes, bigint | null>('void*');
export const pointer = ctype<bigint | null>('void*');
/** A pointer to an object that JavaScript holds by its address, never NULL. */
export const handle = <H extends bigint>(): CType<H> => ctype('void*');
/** The same type, or NULL. */
export const orNull = <I, O>({ name }: CType<I, O>): CType<I | null, O | null> => ({ name });

/** A structure, by its fields in the order of the C declaration. */
export function struct<F extends Record<string, AnyType>>(
  name: string,
  fields: F,
): CType<{ [K in keyof F]: In<F[K]> }> {
  const types = Object.fromEntries(Object.entries(fields).map(([field, type]) => [field, type.name]));
  if (!(loaded instanceof Error)) loaded.struct(name, types);
  return { name };
}
/** A pointer to a structure, to an array of them, or NULL. */
export const pointerTo = <S>({ name }: CType<S>): CType<S | readonly S[] | null> => ({ name: `${name}*` });
/** The same to one structure, whose fields are read back after the call. */
export const inout = <S>({ name }: CType<S>): CType<S> => ({ name: `_Inout_ ${name}*` });

/** A declared C function; `.async` runs it on a worker thread of libuv. */
export type NativeFunction<F extends (...args: never[]) => unknown> = F & {
  async(...args: [...Parameters<F>, (error: unknown, result: ReturnType<F>) => void]): void;
};

export interface Declaration<P extends readonly AnyType[], R extends AnyType> {
  readonly name: string;
  readonly result: R;
  readonly parameters: P;
}
/** The function that a declaration stands for. */
export type Callable<D> = D extends Declaration<infer P, infer R> ? (...args: InAll<P>) => Out<R> : never;
type AnyDeclaration = Declaration<readonly AnyType[], AnyType>;

/** Declares a C function. */
export function fn<const P extends readonly AnyType[], R extends AnyType>(
  name: string,
  result: R,
  parameters: P,
): Declaration<P, R> {
  return { name, result, parameters };
}

const prototypeOf = ({ result, parameters }: AnyDeclaration) =>
  koffi().proto(
    result.name,
    parameters.map((type) => type.name),
  );

/** A library without functions that it ought to have: one of another release. */
export class MissingFunctions extends Error {
  constructor(readonly names: readonly string[]) {
    super(`no function ${names.join(', ')}`);
  }
}

export class Library {
  private readonly handle: ReturnType<typeof Koffi.load>;

  /**
   * @param path of the shared library; null for what this process has loaded already, the C library among it
   * @param global whether libraries that are loaded later find its functions
   */
  constructor(path: string | null, global = true) {
    this.handle = koffi().load(path, { global });
  }

  /** The declared functions of this library. @throws MissingFunctions */
  functions<D extends Record<string, AnyDeclaration>>(
    declarations: D,
  ): { [K in keyof D]: NativeFunction<Callable<D[K]>> } {
    const missing: string[] = [];
    const entries = Object.entries(declarations).map(([key, { name, result, parameters }]) => {
      if (!this.has(name)) missing.push(name);
      const types = parameters.map((type) => type.name);
      return [key, missing.length > 0 ? undefined : this.handle.func(name, result.name, types)];
    });
    if (missing.length > 0) throw new MissingFunctions(missing);
    return Object.fromEntries(entries);
  }

  private has(name: string): boolean {
    try {
      return this.handle.symbol(name) !== 0n;
    } catch {
      return false;
    }
  }

  /** Lets go of the library; none of its functions may be called any more. */
  unload(): void {
    this.handle.unload();
  }

  /** Address of a function, to be handed to native code as a callback. */
  address(name: string): bigint {
    return this.handle.symbol(name);
  }
}

/** Runs a native function off the event loop. The caller keeps every buffer it passed alive until the promise settles. */
export function callAsync<F extends (...args: never[]) => unknown>(
  fn: NativeFunction<F>,
  ...args: Parameters<F>
): Promise<ReturnType<F>> {
  return new Promise((resolve, reject) => {
    fn.async(...args, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

const prototypes = new WeakMap<object, ReturnType<typeof Koffi.proto>>();

/** The function at an address, which must be of the declared type. */
export function functionAt<D extends AnyDeclaration>(address: bigint, declaration: D): Callable<D> {
  const type = prototypes.get(declaration) ?? prototypeOf(declaration);
  prototypes.set(declaration, type);
  return ((...args: unknown[]) => koffi().call(address, type, ...args)) as Callable<D>;
}

/** A function of the C library of this system, or undefined if it has none of this name. */
export function systemFunction<D extends AnyDeclaration>(declaration: D): NativeFunction<Callable<D>> | undefined {
  try {
    return new Library(null).functions({ declaration }).declaration;
  } catch {
    return undefined;
  }
}

/** A JavaScript function as a native one, for callers on this thread only; it lives until the process ends. */
export function functionForever<D extends AnyDeclaration>(declaration: D, f: Callable<D>): bigint {
  return koffi().address(koffi().register(f, koffi().pointer(prototypeOf(declaration))));
}

/** Bytes of native memory as an ArrayBuffer; valid only while their owner lives. */
export function viewMemory(address: bigint, bytes: number): ArrayBuffer {
  return koffi().view(address, bytes);
}

/** Reads the pointer stored at `address`. */
export function readPointer(address: bigint): bigint {
  return (koffi().decode(address, 'void*') as bigint | null) ?? 0n;
}

/** Writes a pointer to `address`. */
export function writePointer(address: bigint, value: bigint): void {
  koffi().encode(address, 'void*', value === 0n ? null : value);
}

/** Reads a NUL-terminated string. */
export function readString(address: bigint): string {
  return koffi().decode.string(address);
}

/** Allocates `bytes` zeroed bytes that live until the process ends. */
export function allocateForever(bytes: number): bigint {
  return koffi().address(koffi().alloc('uint8', bytes));
}
