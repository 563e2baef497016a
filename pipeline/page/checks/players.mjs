// Players and validators of other people: nothing that they read may make them say a word.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import HLS from 'hls-parser';

import { Server } from './server.mjs';

let bad = 0;
const check = (isRight, words) => {
  console.log(`${isRight ? 'ok  ' : 'BAD '} ${words}`);
  if (!isRight) bad += 1;
};
/** Runs a program that is to say nothing. */
const quiet = (program, args, words, isFine = (text) => text === '') => {
  const ran = spawnSync(program, args, { encoding: 'utf8', timeout: 120_000 });
  if (ran.error?.code === 'ENOENT') return console.log(`not run here: ${words} (there is no ${program})`);
  const said = `${ran.stdout}${ran.stderr}`.trim();
  const isWell = ran.status === 0 && isFine(said);
  check(isWell, isWell ? words : `${words}: ${said.slice(0, 600)}`);
};

const server = await Server.start();
try {
  const clip = join(server.folder, 'clip.mp4');
  execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=1280x720:rate=30:duration=12', '-f', 'lavfi', '-i', 'sine=frequency=440:duration=12',
    '-c:v', 'libx264', '-preset', 'ultrafast', '-c:a', 'aac', clip]);
  const answer = await fetch(`${server.url}/api/upload?name=clip.mp4`, { method: 'POST', body: readFileSync(clip), headers: { 'content-type': 'video/mp4' } });
  let job = await answer.json();
  const growing = [];
  while (!['ready', 'failed', 'cancelled'].includes(job.state)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    job = await server.json(`/api/jobs/${job.id}`);
    if (job.playable && job.state === 'processing') growing.push(await (await fetch(`${server.url}/api/stream/${job.id}/360p/index.m3u8`)).text());
  }
  if (job.state !== 'ready') throw new Error(`the job is ${job.state}: ${JSON.stringify(job.error)}`);

  HLS.setOptions({ strictMode: true, silent: false });
  const base = `${server.url}/api/stream/${job.id}/`;
  const text = async (path) => (await fetch(new URL(path, base))).text();
  const warned = [];
  console.warn = (...words) => warned.push(words.join(' '));
  console.error = (...words) => warned.push(words.join(' '));
  const valid = (name, playlist) => {
    warned.length = 0;
    try {
      const read = HLS.parse(playlist);
      check(warned.length === 0, `hls-parser, strict, takes ${name}${warned.length === 0 ? '' : `: ${warned.join('; ')}`}`);
      return read;
    } catch (error) {
      check(false, `hls-parser, strict, takes ${name}: ${error.message}`);
      return null;
    }
  };
  const master = valid('master.m3u8', await text('master.m3u8'));
  const media = master.variants.map((variant) => variant.uri);
  for (const variant of master.variants) for (const audio of variant.audio) if (audio.uri && !media.includes(audio.uri)) media.push(audio.uri);
  for (const uri of media) {
    const playlist = valid(uri, await text(uri));
    check(playlist?.endlist && playlist.segments.length > 1, `${uri} has an end and ${playlist?.segments.length} segments`);
    const over = playlist.segments.filter((segment) => Math.round(segment.duration) > playlist.targetDuration);
    check(over.length === 0, `no segment of ${uri} is longer than its target duration of ${playlist.targetDuration} s`);
  }
  for (const [index, playlist] of growing.entries()) if (index === 0 || index === growing.length - 1) valid(`the growing playlist (look ${index + 1} of ${growing.length})`, playlist);

  const best = `${base}${job.renditions[0].quality}`;
  for (const [name, address] of [['master.m3u8', `${base}master.m3u8`], ...media.map((uri) => [uri, new URL(uri, base).href]), ['the progressive file', best]]) {
    quiet('ffprobe', ['-v', 'warning', '-of', 'csv=p=0', '-show_entries', 'stream=codec_type', address], `ffprobe reads ${name}`, (said) => /^(video|audio)(\s+(video|audio))*$/.test(said));
    quiet('ffmpeg', ['-nostdin', '-v', 'warning', '-i', address, '-f', 'null', '-'], `ffmpeg decodes ${name}`);
  }
  for (const [name, address] of [['master.m3u8', `${base}master.m3u8`], ['the progressive file', best]]) {
    quiet('mpv', ['--no-config', '--vo=null', '--ao=null', '--untimed', '--msg-level=all=warn,statusline=no', address], `mpv plays ${name}`);
  }
} finally {
  await server.stop();
}
console.log(bad === 0 ? 'every player is content' : `${bad} things are not well`);
process.exitCode = bad === 0 ? 0 : 1;
