import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { LoamError, UsageError } from '../util/errors.js';
import { DEFAULT_MODEL } from './catalog.js';
import { isGguf } from './isGguf.js';
import { listModels } from './listModels.js';
import { nearestNames } from './nearestNames.js';

export interface ResolvedModel {
  /** Absolute. */
  path: string;
  /** The catalogue's or the person's name; null for a plain path. */
  name: string | null;
  /** Recorded when it was fetched or added; null for a plain path. */
  sha256: string | null;
}

async function resolvePath(text: string): Promise<ResolvedModel | null> {
  const path = resolve(text);
  const found = await stat(path).catch(() => null);
  if (found === null) return null;
  if (!found.isFile()) throw new LoamError({ found: 'this is not a file', expected: 'a GGUF file', where: path });
  if (!(await isGguf(path))) {
    throw new LoamError({
      found: 'the file does not begin with "GGUF"',
      expected: 'a GGUF model',
      where: path,
      fix: "convert safetensors with llama.cpp's convert_hf_to_gguf.py",
    });
  }
  return { path, name: null, sha256: null };
}

/**
 * The file that a person means by `--model`: a name of the catalogue or one that was added, or the path of a GGUF file. No
 * network. Throws LoamError that says "loam models get NAME" for a model that is not here, or what is wrong with the file;
 * UsageError with the nearest names for an unknown one.
 */
export async function resolveModel(
  nameOrPath: string = DEFAULT_MODEL,
  { home }: { home?: string } = {},
): Promise<ResolvedModel> {
  const { models, warnings } = await listModels({ home });
  const model = models.find((m) => m.name === nameOrPath);
  if (model !== undefined) {
    if (model.installed) return { path: model.path, name: model.name, sha256: model.sha256 };
    const again = model.entry === null ? `add it again with "loam models add"` : `run "loam models get ${model.name}"`;
    throw new LoamError({
      found:
        model.problem === null ? `the model ${model.name} is not on this device` : `${model.name}: ${model.problem}`,
      ...(model.problem === null ? {} : { where: model.path }),
      fix: again,
    });
  }
  const file = await resolvePath(nameOrPath);
  if (file !== null) return file;
  if (/[/\\]|\.gguf$/i.test(nameOrPath)) {
    throw new UsageError({ found: 'there is no such file', where: resolve(nameOrPath), fix: 'check the path' });
  }
  const near = nearestNames(
    nameOrPath,
    models.map((m) => m.name),
  );
  throw new UsageError({
    found: `there is no model named ${JSON.stringify(nameOrPath)}${warnings.length > 0 ? ` (${warnings.join('; ')})` : ''}`,
    fix: near.length > 0 ? `did you mean ${near.join(' or ')}` : 'run "loam models list" to see the names',
  });
}
