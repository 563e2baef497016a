// A video that is watched while it is made: begins at 0, can be seeked in what there is, gets the rest by itself.
import { openAsBlob } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { statSync } from 'node:fs';
import { join } from 'node:path';

export async function growing({ browser, page: base, shots, check, videos }) {
  const biggest = (await videos()).sort((a, b) => statSync(b).size - statSync(a).size)[0];
  const body = openAsBlob ? await openAsBlob(biggest) : await readFile(biggest);
  const answer = await fetch(new URL(`api/upload?name=growing-${Date.now()}.mp4`, base), { method: 'POST', headers: { 'content-type': 'video/mp4' }, body });
  const job = await answer.json();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const tab = await context.newPage();
  tab.on('pageerror', (error) => check(false, `page error ${error}`));
  await tab.goto(new URL(`jobs/${job.id}`, base).href);
  const state = () => tab.evaluate(() => {
    const hook = window.streamforgePlayer;
    const { video } = hook;
    return { at: video.currentTime, end: video.seekable.length > 0 ? video.seekable.end(0) : 0, duration: video.duration, levels: hook.levels().length, badge: document.querySelector('.badge').innerText };
  });
  await tab.waitForFunction(() => window.streamforgePlayer?.video.readyState >= 2, null, { timeout: 180_000 });
  const early = await state();
  console.log('as soon as it can be watched:', JSON.stringify(early));
  check(early.at < 0.5, `begins at ${early.at}`);
  await tab.screenshot({ path: join(shots, 'growing.png') });
  await tab.evaluate(() => void window.streamforgePlayer.video.play());
  await tab.waitForFunction(() => window.streamforgePlayer.video.currentTime > 1, null, { timeout: 120_000 });
  check((await state()).at < 6, `plays from its beginning, now at ${(await state()).at.toFixed(1)} s`);
  await tab.evaluate((to) => void (window.streamforgePlayer.video.currentTime = to), Math.max(0.5, early.end * 0.7));
  await tab.waitForFunction(() => !window.streamforgePlayer.video.seeking, null, { timeout: 120_000 });
  const shares = [];
  const look = setInterval(() => void tab.locator('.one-job .job-progress progress').evaluate((bar) => bar.value).then((value) => shares.push(value), () => undefined), 250);
  await tab.waitForFunction(() => document.querySelector('.job-title .badge')?.innerText === 'Ready', null, { timeout: 180_000 });
  clearInterval(look);
  check(shares.every((value, index) => index === 0 || value >= shares[index - 1]), `progress never went down (${shares.length} looks)`);
  await tab.waitForFunction((all) => window.streamforgePlayer.levels().length === all && window.streamforgePlayer.video.duration > 1, (await (await fetch(new URL(`api/jobs/${job.id}`, base))).json()).renditions.length, { timeout: 120_000 })
    .then(() => check(true, 'has all qualities when it is ready'), async () => check(false, `qualities when ready: ${JSON.stringify(await state())}`));
  await tab.waitForTimeout(8_000);
  console.log('ready:', JSON.stringify(await state()));
  check(!(await tab.locator('.player-trouble').isVisible()), 'no trouble is said');
  await fetch(new URL(`api/jobs/${job.id}`, base), { method: 'DELETE' });
  await tab.waitForSelector('.empty h1', { timeout: 120_000 });
  check(/deleted/.test(await tab.locator('.empty h1').innerText()), 'the page says when its video is deleted elsewhere');
  await context.close();
}
