// Builds the page into dist/: hashed names, two HTML files that name them, the player in a chunk of its own.
// With --tests: compiles the unit tests into build/tests/ instead.
import { build } from 'esbuild';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const shared = { bundle: true, format: 'esm', target: ['es2022', 'safari16'], logLevel: 'warning', legalComments: 'none' };

if (process.argv.includes('--tests')) {
  await rm('build/tests', { recursive: true, force: true });
  const tests = (await readdir('src/tests')).filter((name) => name.endsWith('.test.ts'));
  await build({
    ...shared,
    entryPoints: tests.map((name) => join('src/tests', name)),
    outdir: 'build/tests',
    platform: 'node',
    target: 'node18',
    outExtension: { '.js': '.mjs' },
  });
} else {
  await rm('dist', { recursive: true, force: true });
  await mkdir('dist', { recursive: true });
  const result = await build({
    ...shared,
    entryPoints: { app: 'src/app.ts', embed: 'src/embed.ts', theme: 'src/theme.ts', page: 'src/style/page.css', frame: 'src/style/frame.css', icon: 'src/icon.svg' },
    outdir: 'dist',
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.svg': 'copy' },
    splitting: true,
    minify: true,
    metafile: true,
  });
  const named = {};
  for (const [path, output] of Object.entries(result.metafile.outputs)) {
    if (output.entryPoint) named[basename(output.entryPoint)] = basename(path);
  }
  for (const html of ['index.html', 'embed.html']) {
    const template = await readFile(join('src', html), 'utf8');
    const filled = template.replace(/\{\{([a-z.]+)\}\}/g, (_, name) => {
      if (!named[name]) throw new Error(`${html} names ${name}, which was not built`);
      return `assets/${named[name]}`;
    });
    await writeFile(join('dist', html), filled);
  }
  const rows = [];
  for (const name of (await readdir('dist')).sort()) {
    const bytes = await readFile(join('dist', name));
    rows.push([name, bytes.length, gzipSync(bytes, { level: 9 }).length]);
  }
  for (const [name, size, packed] of rows) console.log(`${name.padEnd(36)} ${String(size).padStart(8)} ${String(packed).padStart(8)} gz`);
}
