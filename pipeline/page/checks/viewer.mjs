// What viewers do, in a real browser before a real server: keys and menus, a link into the middle, a frame on another page, browsers that
// lack something, a video that is still being made, and captions that were heard.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { growing } from '../try/growing.mjs';
import { player } from '../try/player.mjs';
import { launch, openTab } from './chromium.mjs';
import { Server } from './server.mjs';

const patience = { timeout: 120_000 };
/** A model that knows the words of this sentence. */
const models = join(dirname(fileURLToPath(import.meta.url)), '../../tests/models');
const sentence = 'the old farmer opens a green window';
let bad = 0;
const check = (isRight, words) => {
  console.log(`${isRight ? 'ok  ' : 'BAD '} ${words}`);
  if (!isRight) bad += 1;
};

const hears = existsSync(join(dirname(process.env.STREAMFORGE_BINARY ?? '.'), 'streamforge-ml'));
const server = await Server.start(...(hears ? ['--caption-model', 'seventy-four-words', '--models', models] : []));
const shots = process.env.PAGE_SHOTS ?? join(server.folder, 'shots');
mkdirSync(shots, { recursive: true });
const browser = await launch();

const ffmpeg = (...args) => execFileSync('ffmpeg', ['-v', 'error', ...args]);
const upload = async (file) => {
  const request = { method: 'POST', body: readFileSync(file), headers: { 'content-type': 'video/mp4' } };
  return (await (await fetch(`${server.url}/api/upload?name=clip.mp4`, request)).json()).id;
};
const until = async (id, isThere) => {
  for (;;) {
    const job = await server.json(`/api/jobs/${id}`);
    if (isThere(job)) return job;
    if (['failed', 'cancelled'].includes(job.state)) throw new Error(`the job is ${job.state}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
};

/** What espeak-ng says in a video is read below the picture while it is said. */
async function captions() {
  if (!hears) return console.log('not run here: captions (the program was built without libtorch)');
  const [wav, spoken] = [join(server.folder, 'said.wav'), join(server.folder, 'said.mp4')];
  execFileSync('espeak-ng', ['-v', 'en-us', '-s', '160', '-w', wav, sentence]);
  ffmpeg('-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=25:duration=8', '-i', wav, '-filter_complex', '[1:a]adelay=1500|1500,apad=whole_dur=8[a]',
    '-map', '0:v', '-map', '[a]', '-c:v', 'libx264', '-preset', 'ultrafast', '-c:a', 'aac', spoken);
  const id = await upload(spoken);
  const job = await until(id, (one) => one.state === 'ready' && one.captions !== null);
  check(job.captions.cues > 0 && job.captions.vtt !== null, `captions were written: ${job.captions.cues} in ${job.captions.language}`);
  const { context, tab } = await openTab(browser, check);
  await tab.goto(`${server.url}/jobs/${id}`);
  await tab.waitForFunction(() => window.streamforgePlayer?.levels().length > 0, null, patience);
  await tab.locator('media-captions-button').waitFor(patience);
  await tab.locator('media-controller').focus();
  await tab.keyboard.press('c');
  await tab.evaluate(() => {
    window.streamforgePlayer.video.currentTime = 1.4;
    return window.streamforgePlayer.video.play();
  });
  const showing = () => {
    const track = [...window.streamforgePlayer.video.textTracks].find((one) => one.kind !== 'metadata' && one.mode === 'showing');
    return track?.activeCues?.[0]?.text;
  };
  const words = await (await tab.waitForFunction(showing, null, patience)).jsonValue();
  await tab.screenshot({ path: join(shots, 'captions.png') });
  const [said, read] = [sentence.split(' '), words.toLowerCase().split(/\W+/)];
  check(said.filter((word) => read.includes(word)).length >= 5, `what is said is read: ${words.replace(/\s+/g, ' ')}`);
  const { hls, kind } = await tab.evaluate(() => ({ kind: window.streamforgePlayer.kind(), hls: window.streamforgePlayer.video.textTracks.length }));
  check(kind === 'hls.js' && hls > 0, `the captions come with the playlist, by ${kind}`);
  await context.close();
}

try {
  const [clip, film] = [join(server.folder, 'clip.mp4'), join(server.folder, 'film.mp4')];
  const make = (file, seconds) => ffmpeg('-f', 'lavfi', '-i', `testsrc2=size=1280x720:rate=25:duration=${seconds}`, '-f', 'lavfi', '-i', `sine=frequency=440:duration=${seconds}`,
    '-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '30', '-c:a', 'aac', file);
  make(clip, 16);
  make(film, 40);
  await until(await upload(clip), (job) => job.state === 'ready' && job.storyboard !== null);
  const page = `${server.url}/`;
  const setting = {
    browser, page, shots, check,
    axe: createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
    videos: () => Promise.resolve([film]),
    jobs: async () => (await server.json('/api/jobs?limit=100')).jobs,
  };
  await player(setting);
  await growing(setting);
  await captions();
} finally {
  await browser.close();
  await server.stop();
}
console.log(bad === 0 ? 'viewers are content' : `${bad} things are not well`);
process.exitCode = bad === 0 ? 0 : 1;
