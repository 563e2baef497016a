// Drives the page in a real browser: every page in both schemes at two widths, axe-core, the player, uploads, the heap.
//   node try.mjs --page http://127.0.0.1:5173/ --media folder-with-videos --shots folder [--only pages,player,upload,growing,heap]
// The page is that of dev-server.mjs, with at least one finished job behind it.
import { mkdir, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { pages } from './try/pages.mjs';
import { player } from './try/player.mjs';
import { upload } from './try/upload.mjs';
import { growing } from './try/growing.mjs';
import { heap } from './try/heap.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at > 0 ? process.argv[at + 1] : otherwise;
};
const page = option('page', 'http://127.0.0.1:5173/');
const shots = option('shots', 'build/shots');
const media = option('media', 'build/media');
const only = option('only', 'pages,player,upload,growing,heap').split(',');
await mkdir(shots, { recursive: true });

const browser = await chromium.launch({
  executablePath: option('browser', '/usr/bin/chromium'),
  args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--js-flags=--expose-gc'],
});
let failed = 0;
const check = (isRight, words) => {
  console.log(`${isRight ? 'ok  ' : 'BAD '} ${words}`);
  if (!isRight) failed += 1;
};
const setting = {
  browser, page, shots, check,
  axe: createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  videos: async () => (await readdir(media)).filter((name) => /\.(mp4|mov|webm|mkv)$/.test(name)).map((name) => join(media, name)),
  jobs: async () => (await (await fetch(new URL('api/jobs?limit=100', page))).json()).jobs,
};
const rounds = { pages, player, upload, growing, heap };
for (const name of only) {
  console.log(`\n# ${name}`);
  await rounds[name](setting);
}
await browser.close();
console.log(failed === 0 ? '\nall well' : `\n${failed} bad`);
process.exitCode = failed === 0 ? 0 : 1;
