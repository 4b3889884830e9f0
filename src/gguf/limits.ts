/** Limits of the GGUF reader and writer, each with its reason. A file past one of them is refused before anything of that size is allocated. */

/** Versions read. 1 had 32-bit counts and is no longer read by llama.cpp; 2 and 3 differ only in that 3 admits big-endian files. */
export const READABLE_VERSIONS: readonly number[] = [2, 3];

/** The version written: `GGUF_VERSION` of gguf.h. */
export const WRITTEN_VERSION = 3;

/** `GGUF_DEFAULT_ALIGNMENT` of gguf.h: alignment of tensor data where `general.alignment` says nothing. */
export const DEFAULT_ALIGNMENT = 32;

/** The GGUF specification asks for a multiple of 8; below it a mapped f64 or i64 would be read unaligned by native code. */
export const MIN_ALIGNMENT = 8;

/** 64 KiB is the largest memory page of the systems Loam runs on; more would only pad the file. */
export const MAX_ALIGNMENT = 65_536;

/** Models carry 20 to 100 keys. llama.cpp compares each new key with all before it, so the count also bounds that square. */
export const MAX_METADATA_KEYS = 4_096;

/** The GGUF specification: a key is at most 2^16 - 1 bytes. */
export const MAX_KEY_BYTES = 65_535;

/** Chat templates reach 100 kB, whole tokenizer.json texts (`tokenizer.huggingface.json`) tens of MB. llama.cpp allows 1 GiB. */
export const MAX_STRING_BYTES = 64 * 1024 * 1024;

/** Gemma's 514,000 merges are the longest array known; this is four times that. llama.cpp allows 2^30. */
export const MAX_ARRAY_ELEMENTS = 2 ** 21;

/** Gemma's tokeniser has 1.3 million elements in all. As short strings these many take 200 MB of JavaScript's memory and a second to read (measured). */
export const MAX_TOTAL_ARRAY_ELEMENTS = 2 ** 22;

/** The bytes of each string that is not UTF-8 are kept, 300 bytes with their objects (measured): 80 MB for a whole vocabulary of them. */
export const MAX_RAW_STRINGS = 2 ** 18;

/** The largest tokenisers take 20 MB; a phone with 4 GB should not be asked to hold more than this of anything but weights. */
export const MAX_METADATA_BYTES = 128 * 1024 * 1024;

/** The largest models have about 2,000 tensors, their adapters twice that. llama.cpp compares each name with all before it. */
export const MAX_TENSORS = 16_384;

/** `GGML_MAX_NAME` of ggml.h is 64 with the closing NUL; llama.cpp refuses longer names. */
export const MAX_TENSOR_NAME_BYTES = 63;

/** `GGML_MAX_DIMS` of ggml.h. */
export const MAX_DIMS = 4;

/** Every entry at its longest: name length, name, number of dimensions, dimensions, type, offset. Names too long are read on, to report all problems, but not for ever. */
export const MAX_TENSOR_TABLE_BYTES = MAX_TENSORS * (8 + MAX_TENSOR_NAME_BYTES + 4 + MAX_DIMS * 8 + 4 + 8);

/** A damaged table can have a problem per tensor; ten show the pattern. */
export const MAX_REPORTED_PROBLEMS = 10;
