// The player where things are missing: no MSE, no HLS at all, a master playlist that is gone, captions beside the playlist.

export async function fallbacks({ browser, page: base, check }, job) {
  const open = async (prepare, route) => {
    const context = await browser.newContext({ viewport: { width: 1000, height: 800 } });
    const tab = await context.newPage();
    if (prepare) await tab.addInitScript(prepare);
    if (route) await route(tab);
    await tab.goto(new URL(`jobs/${job.id}?t=4`, base).href);
    await tab.waitForFunction(() => window.streamforgePlayer !== undefined, null, { timeout: 120_000 });
    return tab;
  };
  const plays = (tab) => tab.evaluate(() => void window.streamforgePlayer.video.play())
    .then(() => tab.waitForFunction(() => window.streamforgePlayer.video.currentTime > 4.5, null, { timeout: 120_000 }))
    .then(() => true, () => false);

  const noMse = () => ['MediaSource', 'ManagedMediaSource', 'WebKitMediaSource'].forEach((name) => delete window[name]);
  let tab = await open(noMse);
  check(await plays(tab), `without MSE it plays from 4 s on, by ${await tab.evaluate(() => window.streamforgePlayer.kind())}`);
  await tab.context().close();

  tab = await open(() => {
    ['MediaSource', 'ManagedMediaSource', 'WebKitMediaSource'].forEach((name) => delete window[name]);
    const can = HTMLMediaElement.prototype.canPlayType;
    HTMLMediaElement.prototype.canPlayType = function (type) {
      return /mpegurl/i.test(type) ? '' : can.call(this, type);
    };
  });
  check((await plays(tab)) && (await tab.evaluate(() => window.streamforgePlayer.kind())) === 'file', `without any HLS it plays the best file, ${await tab.evaluate(() => window.streamforgePlayer.video.videoHeight)} lines`);
  await tab.context().close();

  let isGone = true;
  tab = await open(null, (one) => one.route('**/master.m3u8', (route) => (isGone ? route.fulfill({ status: 404, body: '' }) : route.continue())));
  await tab.waitForSelector('.player-trouble:not([hidden])', { timeout: 120_000 });
  console.log('without a playlist it says:', await tab.locator('.player-trouble p').innerText());
  isGone = false;
  await tab.locator('.player-trouble button').click();
  check(await plays(tab), 'and plays after “Try again”');
  await tab.context().close();

  tab = await open(null, (one) => one.route(`**/api/jobs/${job.id}`, async (route) => {
    const real = await (await route.fetch()).json();
    const captions = { language: 'en', cues: 1, vtt: new URL('api/made-up.vtt', base).pathname, srt: null, model: 'made up', version: '1', written_at: real.received_at, reason: null };
    await route.fulfill({ json: { ...real, captions } });
  }).then(() => one.route('**/made-up.vtt', (route) => route.fulfill({ contentType: 'text/vtt', body: 'WEBVTT\n\n00:00.000 --> 00:20.000\nHello there\n' }))));
  await tab.waitForTimeout(2_500);
  const button = tab.locator('media-captions-button');
  check(await button.isVisible(), 'captions that are not in the playlist have their button');
  await tab.locator('media-controller').focus();
  await tab.keyboard.press('c');
  const shown = await tab.waitForFunction(() => [...window.streamforgePlayer.video.textTracks].find((track) => track.kind !== 'metadata' && track.mode === 'showing')?.cues?.[0]?.text, null, { timeout: 120_000 }).then((found) => found.jsonValue(), () => null);
  check(shown === 'Hello there', `c shows them: ${shown}`);
  await tab.context().close();
}
