// Prints what a first visit to the web app loads, compressed as the server sends it, and what of it is largest. The budget is 200 kB.
//
//     npm run build && node bench/appSize.mjs
import { appFiles } from '../dist/app/appFiles.js';

const budget = 200_000;
const files = await appFiles();
// What index.html names, and the worker with the files that it takes in beside them. Icons for home screens are fetched at installation.
// Of the languages one is loaded at most: the largest counts.
const all = [...files]
  .filter(([path]) => !path.endsWith('.png'))
  .map(([path, { body, gzip }]) => ({ path, plain: body.length, sent: (gzip ?? body).length }))
  .sort((a, b) => b.sent - a.sent);
const [language] = all.filter(({ path }) => path.startsWith('/languages/'));
const rows = all.filter((row) => row === language || !row.path.startsWith('/languages/'));
const total = rows.reduce((sum, { sent }) => sum + sent, 0);
const plain = rows.reduce((sum, row) => sum + row.plain, 0);
for (const row of rows.slice(0, 12)) console.log(`${String(row.sent).padStart(8)}  ${row.path}`);
console.log(
  `${String(total).padStart(8)}  bytes compressed in ${rows.length} files (${plain} plain), budget ${budget}`,
);
process.exitCode = total < budget ? 0 : 1;
