import { LoamError, quote } from '../base/errors.js';
import { bytes as inUnits } from '../base/format.js';
import { DataFile } from '../formats/dataFile.js';
import { MemoryFile, readZipDirectory, unpackMember, type ZipMember, type ZipSource } from '../formats/readZip.js';
import { MAX_FILE_BYTES } from './example.js';

/** A chat that a messenger exported together with its pictures, as a zip archive: the chat is taken out, and nothing else is unpacked. */

const START = 'PK\x03\x04';

export function isZip(start: Buffer): boolean {
  return start.toString('latin1', 0, START.length) === START;
}

/**
 * WhatsApp's text is `_chat.txt` on an iPhone, and "WhatsApp Chat with Ben.txt" on Android, in the phone's language; Telegram's is
 * `result.json`. A person may have packed the folder that holds it, and macOS adds members of its own.
 */
function isChat({ name }: ZipMember): boolean {
  return !name.startsWith('__MACOSX/') && /(^|\/)(_chat\.txt|(?!\._)[^/]*whatsapp[^/]*\.txt|result\.json)$/i.test(name);
}

async function chatIn(archive: ZipSource): Promise<Buffer | undefined> {
  const { path } = archive;
  let members: ZipMember[];
  try {
    members = await readZipDirectory(archive);
  } catch (error) {
    // What is no whole archive is told of as any other file that is no text.
    if (error instanceof LoamError && error.code === 'damaged') return undefined;
    throw error;
  }
  const [chat, other] = members.filter(isChat);
  if (!chat) return undefined;
  if (other) {
    const found = `an archive with several chats (${quote(chat.name)}, ${quote(other.name)})`;
    throw new LoamError({ code: 'invalid-data', found, where: path, fix: 'unpack it and give Loam one of them' });
  }
  if (chat.size > MAX_FILE_BYTES) {
    const [found, expected] = [`a chat of ${inUnits(chat.size)}`, `at most ${inUnits(MAX_FILE_BYTES)}`];
    throw new LoamError({ code: 'too-large', found, expected, where: path, fix: 'split it' });
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of unpackMember(archive, chat)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The chat in an archive that lies in memory; all else as it is. @throws LoamError for an archive with several chats, or a hostile one */
export async function withoutMedia<T extends Uint8Array>(bytes: T, name: string): Promise<T | Buffer> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (isZip(buffer) && (await chatIn(new MemoryFile(name, buffer)))) || bytes;
}

/** The chat in an archive on a disk, which may be of any size; undefined if there is none. */
export async function chatInFile(path: string): Promise<Buffer | undefined> {
  return await DataFile.open(path, async (file) => {
    await using archive = file;
    return await chatIn(archive);
  });
}
