// The player: media-chrome's controls around a video element. This module is the chunk that is loaded only when needed.
import 'media-chrome';
import type { Job } from '../base/shapes';
import { controls, type Controls } from './controls';
import { digits } from './keys';
import { Qualities } from './qualities';
import { feed, type Feed } from './source';
import { startTime } from './start';
import { tracks } from './tracks';

export interface Player { update: (job: Job) => void; seek: (seconds: number) => void; time: () => number | null; close: () => void }

/** What tests may rely on, as `window.streamforgePlayer` while a player is on the page. Levels are in the order of the playlist; -1 is automatic. */
export interface PlayerHook {
  video: HTMLVideoElement;
  kind: () => Feed['kind'] | 'none';
  levels: () => { index: number; width: number; height: number; bitrate: number }[];
  level: () => number;
  setLevel: (index: number) => void;
}

declare global {
  interface Window { streamforgePlayer?: PlayerHook }
}

export interface Options { job: Job; label: string; autoplay?: boolean; muted?: boolean; fills?: boolean }

export function mount(frame: HTMLElement, { job: first, label, autoplay = false, muted = false, fills = false }: Options): Player {
  let job = first;
  const video = document.createElement('video');
  video.slot = 'media';
  video.playsInline = true;
  video.preload = 'metadata';
  video.muted = muted;
  video.setAttribute('aria-label', label);
  const qualities = new Qualities();
  const view: Controls = controls(video, label, qualities, { fills, retry: () => begin(video.currentTime, true) });
  const side = tracks(video);
  let fed: Feed | null = null;
  let levelsAtLoad = 0;

  function begin(from: number, isPlaying: boolean): void {
    view.trouble('');
    fed?.close();
    levelsAtLoad = job.renditions.length;
    fed = feed(video, job, from, qualities, (words) => view.trouble(words));
    view.node.dataset['kind'] = fed?.kind ?? 'none';
    if (!fed) view.trouble('This browser cannot play the video yet. It can when the whole video is made.');
    if (fed && isPlaying) void video.play().catch(() => undefined);
  }

  frame.replaceChildren(view.node);
  const stopKeys = digits(view.node, video);
  const start = startTime(location.search) ?? 0;
  begin(start, false);
  side.update(job, () => fed?.hls ?? null);
  view.poster(start > 0 ? null : job.poster);
  if (autoplay) void video.play().catch(() => undefined);

  const hook: PlayerHook = {
    video,
    kind: () => fed?.kind ?? 'none',
    levels: () => qualities.all.map((quality, index) => ({ index, ...quality })),
    level: () => fed?.hls?.currentLevel ?? -1,
    setLevel: (index) => qualities.choose(index),
  };
  window.streamforgePlayer = hook;

  return {
    update(next) {
      const isNew = job.state !== next.state || job.renditions.length !== next.renditions.length || job.hls !== next.hls;
      job = next;
      side.update(job, () => fed?.hls ?? null);
      view.poster(video.currentTime > 0 ? null : job.poster);
      if (!isNew || job.state !== 'ready') return;
      // The playlist that was loaded while the video was made may lack renditions and captions that are there by now.
      const lacks = fed === null || (fed.hls !== null && fed.hls.levels.length < job.renditions.length) || (fed.kind === 'file' && job.renditions.length > levelsAtLoad);
      if (lacks) begin(video.currentTime, !video.paused);
    },
    seek(seconds) {
      video.currentTime = seconds;
    },
    time: () => (Number.isFinite(video.currentTime) ? video.currentTime : null),
    close() {
      stopKeys();
      side.close();
      view.close();
      fed?.close();
      view.node.remove();
      if (window.streamforgePlayer === hook) delete window.streamforgePlayer;
    },
  };
}
