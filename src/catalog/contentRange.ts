/** The first and last byte and the total of a 206's Content-Range (RFC 9110, 14.4). */
export function contentRange(value: string | undefined): { start: number; total: number | undefined } | null {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(value ?? '');
  return match === null ? null : { start: Number(match[1]), total: match[3] === '*' ? undefined : Number(match[3]) };
}
