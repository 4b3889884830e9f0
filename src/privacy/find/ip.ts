import { isIPv6 } from 'node:net';
import type { Span } from '../types.js';

const V4 = /(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?![\w-]|\.\d)/g;
const V6 = /(?<![\w:.])[0-9A-Fa-f:]{6,39}(?:\.\d{1,3}){0,3}(?![\w:])/g;
const MAC = /(?<![\w:-])(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])/g;

/** Addresses of machines: IPv4, IPv6, MAC. Loopback, masks and version numbers are not. */
export function findIps(text: string): Span[] {
  const spans: Span[] = [];
  const add = (label: string, { index: start, 0: { length } }: RegExpExecArray) =>
    spans.push({ kind: 'ip', label, certainty: 'certain', start, end: start + length });
  for (const match of text.matchAll(V4)) {
    if (/^(?:127\.|0\.|255\.255\.)|\.0\.0\.0$/.test(match[0])) continue;
    if (
      /(?:version|release|v\.?|section|chapter|§|firmware|build)\s?$/i.test(
        text.slice(Math.max(0, match.index - 10), match.index),
      )
    )
      continue;
    add('IP address', match);
  }
  for (const match of text.matchAll(V6)) {
    // `::1` and what a programming language writes with colons are none.
    if (!/\d/.test(match[0]) || match[0].split(':').filter((group) => group !== '').length < 3) continue;
    if (isIPv6(match[0])) add('IP address', match);
  }
  for (const match of text.matchAll(MAC)) add('MAC address', match);
  return spans;
}
