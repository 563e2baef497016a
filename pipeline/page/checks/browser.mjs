// The page in a real browser, before a real server: dropped, watched, played, reloaded, killed, deleted, looked at.
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { violationsOn } from '../try/axe.mjs';
import { launch, openTab } from './chromium.mjs';
import { Server } from './server.mjs';

const shots = process.env.PAGE_SHOTS;
const patience = { timeout: 120_000 };
let bad = 0;
const check = (isRight, words) => {
  console.log(`${isRight ? 'ok  ' : 'BAD '} ${words}`);
  if (!isRight) bad += 1;
};

const server = await Server.start();
const clip = join(server.folder, 'holiday.mp4');
execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=1280x720:rate=25:duration=16', '-f', 'lavfi', '-i', 'sine=frequency=440:duration=16',
  '-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '30', '-c:a', 'aac', clip]);
// Begins like a video and is long enough to be interrupted.
const large = join(server.folder, 'large.mp4');
writeFileSync(large, Buffer.concat([Buffer.from('\0\0\0\x18ftypisom\0\0\x02\0isommp42', 'latin1'), randomBytes(48 << 20)]));
const sumOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

const browser = await launch();
const open = (options) => openTab(browser, check, options);
const shoot = async (tab, name, options = {}) => {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await tab.screenshot({ path: join(shots, `${name}.png`), ...options });
};

/** What the bar of the first upload shows, over and over; answers every value. */
const watchBar = (tab) => {
  const seen = [];
  const timer = setInterval(async () => {
    const value = await tab.locator('.upload > .uploads progress').first().evaluate((bar) => bar.value, null, { timeout: 500 }).catch(() => null);
    if (value !== null) seen.push(value);
  }, 100);
  return () => (clearInterval(timer), seen);
};
const onlyRises = (seen) => seen.every((value, index) => index === 0 || value >= seen[index - 1]);
const jobOfFirstUpload = async (tab) => {
  const link = tab.locator('.upload > .uploads a.upload-name').first();
  await link.waitFor(patience);
  return new URL(await link.evaluate((node) => node.href)).pathname.split('/').pop();
};

async function dropAndPlay() {
  const { context, tab } = await open();
  await tab.goto(server.url);
  const bytes = readFileSync(clip).toString('base64');
  const files = await tab.evaluateHandle(([text, name]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type: 'video/mp4' }));
    return transfer;
  }, [bytes, 'holiday.mp4']);
  const stop = watchBar(tab);
  for (const event of ['dragenter', 'dragover', 'drop']) await tab.dispatchEvent('body', event, { dataTransfer: files });
  const id = await jobOfFirstUpload(tab);
  check(onlyRises(stop()), 'the progress of the upload only rises');
  check((await server.json(`/api/jobs/${id}`)).source.sha256 === sumOf(clip), 'what was dropped is what has arrived');
  await shoot(tab, 'uploaded');

  // The list follows the job by events alone.
  const asked = [];
  tab.on('request', (request) => asked.push(new URL(request.url()).pathname));
  const row = tab.locator('.job').first();
  const progress = [];
  for (let look = 0; look < 600; look += 1) {
    const state = await row.getAttribute('data-state');
    if (state === 'ready' || state === 'failed') break;
    progress.push(await row.locator('progress').evaluate((bar) => bar.value));
    await tab.waitForTimeout(200);
  }
  check((await row.getAttribute('data-state')) === 'ready', 'the list says that the job is ready');
  check(onlyRises(progress), `the progress of the job only rises (${progress.length} looks)`);
  check(asked.filter((path) => path === '/api/jobs').length === 0, 'the list is not asked for again');

  await row.locator('a.job-name').click();
  await tab.waitForFunction(() => window.streamforgePlayer?.levels().length > 1, null, patience);
  await tab.locator('media-controller').focus();
  await tab.keyboard.press('k');
  await tab.waitForFunction(() => window.streamforgePlayer.video.currentTime >= 3, null, patience);
  check(true, 'it plays to 3 s');
  await tab.evaluate(() => (window.streamforgePlayer.video.currentTime = 9));
  await tab.waitForFunction(() => window.streamforgePlayer.video.currentTime > 9.3, null, patience);
  check(true, 'it plays on behind a seek to 9 s');
  for (const height of [360, 720]) {
    await tab.evaluate((wanted) => {
      const { levels, setLevel, video } = window.streamforgePlayer;
      setLevel(levels().find((level) => level.height === wanted).index);
      video.currentTime = 1;
      return video.play();
    }, height);
    await tab.waitForFunction((wanted) => window.streamforgePlayer.video.videoHeight === wanted, height, patience);
    check(true, `with ${height}p chosen, pictures of ${height} lines are decoded`);
  }
  const text = await tab.locator('main').innerText();
  for (const word of ['transcode', '720p', '360p']) check(text.toLowerCase().includes(word), `the page of the job speaks of ${word}`);
  check((await tab.locator('svg rect').count()) > 3, 'the timeline is drawn');
  await context.close();
  return id;
}

/** Uploads slowly; `interrupt` comes when a part is there. */
async function interrupted(name, interrupt) {
  const { context, tab } = await open();
  await tab.goto(server.url);
  const network = await context.newCDPSession(tab);
  const speed = (bytes) => network.send('Network.emulateNetworkConditions', { offline: false, latency: 2, downloadThroughput: -1, uploadThroughput: bytes });
  await network.send('Network.enable');
  await speed(10_000_000);
  await tab.setInputFiles('.upload input[type=file]', large);
  const bar = tab.locator('.upload > .uploads progress').first();
  await tab.waitForFunction(() => document.querySelector('.upload > .uploads progress')?.value > 0.4, null, patience);
  const offsets = [];
  tab.on('request', (request) => void (request.method() === 'PATCH' && offsets.push(Number(request.headers()['upload-offset']))));
  const stop = await interrupt({ tab, bar, speed });
  const id = await jobOfFirstUpload(tab);
  if (stop) check(onlyRises(stop()), `${name}: the progress only rises`);
  check(offsets[0] > 0, `${name}: it goes on at byte ${offsets[0]}`);
  check((await server.json(`/api/jobs/${id}`)).source.sha256 === sumOf(large), `${name}: what was chosen is what has arrived`);
  await context.close();
  return id;
}

async function remove(id) {
  const { context, tab } = await open();
  await tab.goto(`${server.url}/jobs/${id}`);
  await tab.getByRole('button', { name: 'Delete' }).click();
  const words = await tab.locator('dialog').innerText();
  check(/cannot be undone/i.test(words), 'before a delete, the page says that it cannot be undone');
  await shoot(tab, 'delete');
  await tab.locator('dialog button.danger').click();
  await tab.waitForSelector('.jobs', patience);
  check((await tab.locator(`a[href$="${id}"]`).count()) === 0, 'what was deleted is not listed');
  check((await fetch(`${server.url}/api/jobs/${id}`)).status === 404, 'and it is gone');
  await context.close();
}

/** Every page at two widths in both schemes: nothing sideways, nothing said in the console, nothing found by axe-core. */
async function look(ready, failed) {
  const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
  const pages = [['home', ''], ['job', `jobs/${ready}`], ['failed', `jobs/${failed}`], ['workers', 'workers'], ['embed', `embed/${ready}`], ['lost', 'jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV']];
  for (const width of [360, 1440]) {
    for (const colorScheme of ['light', 'dark']) {
      const { context } = await open({ viewport: { width, height: width === 360 ? 740 : 900 }, colorScheme });
      for (const [name, path] of pages) {
        const tab = await context.newPage();
        const said = [];
        tab.on('console', (message) => void (message.type() === 'error' && !/40[49]/.test(message.text()) && said.push(message.text())));
        await tab.goto(`${server.url}/${path}`);
        await tab.waitForLoadState('networkidle', { timeout: 4_000 }).catch(() => undefined);
        const where = `${name} at ${width} px, ${colorScheme}`;
        await shoot(tab, `${name}-${width}-${colorScheme}`, { fullPage: name !== 'embed' });
        const sideways = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        const violations = await violationsOn(tab, axe);
        check(sideways <= 0 && said.length === 0 && violations.length === 0, `${where}: axe ${JSON.stringify(violations)}, console ${JSON.stringify(said)}, ${sideways} px sideways`);
        await tab.close();
      }
      await context.close();
    }
  }
}

/** A page that is left open: the heap over thousands of events. */
async function leftOpen(id) {
  const { context, tab } = await open();
  const status = (progress) => `event: progress\ndata: ${JSON.stringify({ id, state: 'processing', progress, playable: true, stage: 'transcode', eta_s: 5 })}\n\n`;
  const thousand = Array.from({ length: 1_000 }, (_, index) => `id: ${index}\n${status(index / 1_000)}`).join('');
  await tab.route('**/api/events', (route) => route.fulfill({ contentType: 'text/event-stream', body: `retry: 300\n\n${thousand}` }));
  await tab.goto(server.url);
  const session = await context.newCDPSession(tab);
  await session.send('Performance.enable');
  const measure = async () => {
    await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.getMetrics');
    const of = (name) => metrics.find((one) => one.name === name).value;
    return { heap: of('JSHeapUsedSize'), nodes: of('Nodes'), listeners: of('JSEventListeners') };
  };
  const streams = [];
  tab.on('response', (answer) => void (answer.url().endsWith('/api/events') && streams.push(answer)));
  const after = async (count) => {
    while (streams.length < count) await tab.waitForTimeout(50);
    await tab.waitForTimeout(500);
    return measure();
  };
  const first = await after(2);
  const last = await after(10);
  check(last.heap < first.heap * 1.2 && last.nodes <= first.nodes + 50 && last.listeners <= first.listeners + 20,
    `over 8,000 events the heap goes from ${Math.round(first.heap / 1000)} to ${Math.round(last.heap / 1000)} kB, nodes from ${first.nodes} to ${last.nodes}, listeners from ${first.listeners} to ${last.listeners}`);
  await context.close();
}

/** Files from the clipboard, and a job that somebody changes their mind about. */
async function pasteAndCancel() {
  const { context, tab } = await open();
  const film = join(server.folder, 'film.mp4');
  execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=1920x1080:rate=30:duration=40', '-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '40', film]);
  await tab.goto(server.url);
  await tab.evaluate(([text, name]) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type: 'video/mp4' }));
    document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  }, [readFileSync(film).toString('base64'), 'film.mp4']);
  const id = await jobOfFirstUpload(tab);
  check((await server.json(`/api/jobs/${id}`)).source.sha256 === sumOf(film), 'what was pasted is what has arrived');
  await tab.goto(`${server.url}/jobs/${id}`);
  await tab.getByRole('button', { name: 'Cancel' }).click();
  await tab.locator('dialog button.danger').click();
  await tab.locator('.job-head [data-state=cancelled]').waitFor(patience);
  check((await server.json(`/api/jobs/${id}`)).state === 'cancelled', 'a job is cancelled on its page');
  await context.close();
}

/** Names that are meant to do harm, in a list as narrow as a phone. */
async function hostileNames() {
  const names = ['../../etc/<img src=x onerror="document.title=1">.mp4', 'holiday\u202egpj.mp4', `${'\u{1f3d6}'.repeat(2_000)}.mp4`, 'x'.repeat(4_000), '\u0000\u001b[2J.mp4'];
  const ids = [];
  for (const name of names) {
    const answer = await fetch(`${server.url}/api/upload?name=${encodeURIComponent(name)}`, { method: 'POST', body: readFileSync(clip), headers: { 'content-type': 'video/mp4' } });
    ids.push((await answer.json()).id);
  }
  const { context, tab } = await open({ viewport: { width: 360, height: 740 } });
  for (const path of ['', ...ids.map((id) => `jobs/${id}`)]) {
    await tab.goto(`${server.url}/${path}`);
    await tab.locator('main .name').first().waitFor(patience);
    const found = await tab.evaluate(() => ({
      sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      made: document.querySelectorAll('main img[src=x]').length,
      title: document.title,
    }));
    check(found.sideways <= 0 && found.made === 0 && /StreamForge/.test(found.title), `hostile names are only shown: /${path}`);
  }
  await shoot(tab, 'hostile-360');
  await context.close();
  for (const id of ids) await fetch(`${server.url}/api/jobs/${id}`, { method: 'DELETE' });
}

/** What is too large is refused with a sentence before its bytes travel. */
async function tooLarge() {
  const small = await Server.start('--max-upload-bytes', '1 MB');
  const { context, tab } = await open();
  try {
    await tab.goto(small.url);
    await tab.setInputFiles('.upload input[type=file]', large);
    const row = tab.locator('.upload > .uploads li[data-phase=refused]');
    await row.waitFor(patience);
    const words = await row.innerText();
    check(/at most 1,?000,?000 bytes/.test(words), `a file that is too large is refused in words: ${words.replace(/\s+/g, ' ')}`);
  } finally {
    await context.close();
    await small.stop();
  }
}

try {
  const ready = await dropAndPlay();
  await pasteAndCancel();
  await hostileNames();
  await tooLarge();
  await interrupted('reload', async ({ tab, speed }) => {
    await tab.reload();
    await speed(-1);
    await tab.locator('.left .upload-row').waitFor(patience);
    await shoot(tab, 'left-over');
    await tab.locator('.left input[type=file]').setInputFiles(large);
  });
  const failed = await interrupted('server killed', async ({ tab, speed }) => {
    const stop = watchBar(tab);
    await server.kill();
    await tab.waitForTimeout(1_000);
    await shoot(tab, 'server-away');
    await server.again();
    await speed(-1);
    return stop;
  });
  await leftOpen(ready);
  for (let wait = 0; wait < 100 && (await server.json(`/api/jobs/${failed}`)).state !== 'failed'; wait += 1) await new Promise((resolve) => setTimeout(resolve, 200));
  await look(ready, failed);
  await remove(ready);
} finally {
  await browser.close();
  await server.stop();
}
console.log(bad === 0 ? 'the page is well' : `${bad} things are not well`);
process.exitCode = bad === 0 ? 0 : 1;
