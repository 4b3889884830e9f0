#!/usr/bin/env node
// Starts the compiled command line. A checkout without lib/ gets told what to run instead of a module-not-found trace.
import { existsSync } from 'node:fs';

const entry = new URL('../lib/cli/run.js', import.meta.url);
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 4)) {
  process.stderr.write(
    `loam: found Node ${process.versions.node}, expected Node 20.4 or newer; update Node and run again.\n`,
  );
  process.exit(1);
} else if (!existsSync(entry)) {
  process.stderr.write('loam: this checkout is not built yet; run `npm ci` (or `npm run build`) in it first.\n');
  process.exit(1);
} else {
  await import(entry);
}
