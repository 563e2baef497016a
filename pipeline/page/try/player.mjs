// The player: plays to 3 s, seeks, changes the quality and sees the picture's height change, keys, start time, embedding.
import http from 'node:http';
import { join } from 'node:path';
import { checkAxe } from './axe.mjs';
import { fallbacks } from './fallbacks.mjs';

export async function player(setting) {
  const { browser, page: base, shots, check, jobs } = setting;
  const job = (await jobs()).filter((one) => one.state === 'ready').sort((a, b) => b.renditions.length - a.renditions.length)[0];
  if (!job) return check(false, 'there is no finished job to play');
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const tab = await context.newPage();
  tab.on('pageerror', (error) => check(false, `page error ${error}`));
  await tab.goto(new URL(`jobs/${job.id}`, base).href);
  await tab.waitForFunction(() => window.streamforgePlayer?.levels().length > 0, null, { timeout: 120_000 });
  const video = (expression) => tab.evaluate(`(() => { const v = window.streamforgePlayer.video; return ${expression}; })()`);
  console.log('levels', JSON.stringify(await tab.evaluate(() => window.streamforgePlayer.levels())), 'by', await tab.evaluate(() => window.streamforgePlayer.kind()));
  check((await video('v.currentTime')) === 0, 'begins at 0');
  await tab.locator('media-controller').focus();
  await tab.keyboard.press('k');
  await tab.waitForFunction(() => window.streamforgePlayer.video.currentTime >= 3, null, { timeout: 120_000 });
  check(true, `plays to ${await video('v.currentTime')}`);
  await video('v.currentTime = 8');
  await tab.waitForFunction(() => window.streamforgePlayer.video.currentTime > 8.3 && !window.streamforgePlayer.video.seeking, null, { timeout: 120_000 });
  check(true, `plays on after a seek, at ${await video('v.currentTime')}`);
  const levels = await tab.evaluate(() => window.streamforgePlayer.levels());
  for (const level of [levels[0], levels.at(-1)]) {
    await tab.evaluate((index) => window.streamforgePlayer.setLevel(index), level.index);
    await video('v.currentTime = 1');
    await video('v.play()');
    const wanted = Math.min(level.height, level.height);
    const came = await tab.waitForFunction((height) => window.streamforgePlayer.video.videoHeight === height, wanted, { timeout: 120_000 }).then(() => true, () => false);
    check(came, `quality ${level.height}: the picture has ${await video('v.videoHeight')} lines`);
  }
  await video('v.pause()');
  await tab.locator('media-controller').focus();
  await tab.keyboard.press('5');
  check(Math.abs((await video('v.currentTime / v.duration')) - 0.5) < 0.05, 'the digit 5 leads to the middle');
  await tab.keyboard.press('m');
  check(await video('v.muted'), 'm mutes');
  await tab.keyboard.press('m');
  const before = await video('v.currentTime');
  await tab.keyboard.press('ArrowLeft');
  check((await video('v.currentTime')) < before, `the left arrow goes back from ${before} to ${await video('v.currentTime')}`);
  await tab.keyboard.press('l');
  check(Math.abs((await video('v.currentTime')) - before) < 6, `l goes on to ${await video('v.currentTime')}`);
  await tab.mouse.move(500, 400);
  await tab.locator('.player-settings > button').click();
  await tab.waitForTimeout(400);
  await tab.locator('.screen').screenshot({ path: join(shots, 'player-menu.png') });
  await checkAxe(setting, tab, 'the open settings');
  await tab.getByRole('menuitemradio', { name: '2 ×' }).click();
  check((await video('v.playbackRate')) === 2, 'the menu sets the speed');
  await tab.getByRole('menuitemradio', { name: '720p' }).click();
  await video('v.currentTime = 1');
  await tab.waitForFunction(() => window.streamforgePlayer.video.videoHeight === 720, null, { timeout: 120_000 }).then(() => check(true, 'the menu sets the quality: 720 lines'), () => check(false, 'the menu sets the quality'));
  const here = await video('v.currentTime');
  await tab.keyboard.press('ArrowDown');
  check((await video('v.currentTime')) === here, 'arrows move in the menu and do not seek');
  await tab.keyboard.press('Escape');
  await tab.setViewportSize({ width: 360, height: 740 });
  await tab.locator('.player-settings > button').click();
  await tab.waitForTimeout(400);
  await tab.locator('.screen').screenshot({ path: join(shots, 'player-menu-360.png') });
  await tab.keyboard.press('Escape');
  await tab.setViewportSize({ width: 1440, height: 900 });
  await tab.waitForTimeout(400);
  const range = await tab.locator('media-time-range').boundingBox();
  await tab.mouse.move(range.x + range.width * 0.6, range.y + range.height / 2);
  await tab.waitForTimeout(700);
  await tab.locator('.screen').screenshot({ path: join(shots, 'player-scrub.png') });
  const preview = await tab.locator('media-preview-thumbnail').first().evaluate((node) => node.getAttribute('mediapreviewimage'));
  check(job.storyboard === null || preview !== null, `the scrub bar has a picture: ${preview}`);
  await tab.goto(new URL(`jobs/${job.id}?t=0m7s`, base).href);
  await tab.waitForFunction(() => window.streamforgePlayer?.video.readyState >= 2, null, { timeout: 120_000 });
  check(Math.abs((await video('v.currentTime')) - 7) < 0.2, `?t=0m7s begins at ${await video('v.currentTime')}`);

  // A frame on a page of another origin.
  const host = http.createServer((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><iframe src="${new URL(`embed/${job.id}?autoplay=1&muted=1&t=2`, base).href}" style="width:640px;height:360px;border:0" allow="autoplay; fullscreen"></iframe>`);
  });
  await new Promise((resolve) => host.listen(0, '127.0.0.1', resolve));
  await tab.goto(`http://localhost:${host.address().port}/`);
  const frame = tab.frames().find((one) => one.url().includes('/embed/'));
  await frame.waitForFunction(() => window.streamforgePlayer?.video.currentTime > 2.5, null, { timeout: 120_000 });
  check(await frame.evaluate(() => window.streamforgePlayer.video.muted), 'the embedded player plays by itself, muted, in a frame of another origin');
  await tab.screenshot({ path: join(shots, 'embed-in-frame.png') });
  host.close();
  await fallbacks(setting, job);
  await context.close();
}
