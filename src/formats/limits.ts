/** Limits of the readers of arrays, each with its reason. */

/** NPY_MAXDIMS of numpy 2 is 64, of numpy 1 32; no tensor of a model has more than 5. */
export const MAX_DIMENSIONS = 64;

/** numpy.lib.format reads no longer header than this unless told to trust the file. */
export const MAX_NPY_HEADER = 10_000;

/** Layers times kinds of arrays, or examples one by one: a hundred thousand members is more than any of these. */
export const MAX_NPZ_MEMBERS = 100_000;

/**
 * An archive may unpack to this many times its size, or to MIN_UNPACKED_LIMIT where that is more. Deflate reaches 1032:1 on zeros;
 * activations, weights and indices stay below 20:1.
 */
export const MAX_UNPACK_RATIO = 100;

/** A small archive of mostly zeros is no danger up to here. */
export const MIN_UNPACKED_LIMIT = 256 * 1024 * 1024;

/** The safetensors library itself reads no longer header (MAX_HEADER_SIZE of tensor.rs). */
export const MAX_SAFETENSORS_HEADER = 100_000_000;

/** The index of the largest models (90,000 tensors) takes 10 MB. */
export const MAX_INDEX_BYTES = 64 * 1024 * 1024;

/** The largest mixture-of-experts models are published in 200 to 1,000 shards. */
export const MAX_SHARDS = 10_000;

/** Bytes a piece of streamed data, unless told otherwise: large enough for the disk, small beside a phone's memory. */
export const PIECE_BYTES = 4 * 1024 * 1024;
