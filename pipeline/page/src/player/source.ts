// Gives a video element something to play: HLS with hls.js, HLS by the browser itself, or the best file.
import Hls, { ErrorTypes, Events, type ErrorData } from 'hls.js';
import type { Job } from '../base/shapes';
import { followLevels, type Qualities } from './qualities';

export interface Feed {
  hls: Hls | null;
  kind: 'hls.js' | 'native' | 'file';
  close: () => void;
}

const MEDIA_RECOVERIES_APART_MS = 8_000;

export function feed(video: HTMLVideoElement, job: Job, from: number, qualities: Qualities, trouble: (words: string) => void): Feed | null {
  if (job.hls !== null && Hls.isSupported()) return feedHls(video, job.hls, from, qualities, trouble);
  if (job.hls !== null && video.canPlayType('application/vnd.apple.mpegurl') !== '') return feedAddress(video, job.hls, from, 'native', trouble);
  const best = [...job.renditions].filter((one) => one.codec === 'h264' || video.canPlayType('video/mp4') !== '').sort((a, b) => b.height * b.width - a.height * a.width)[0];
  return best ? feedAddress(video, best.url, from, 'file', trouble) : null;
}

function feedHls(video: HTMLVideoElement, address: string, from: number, qualities: Qualities, trouble: (words: string) => void): Feed {
  const patient = { maxNumRetry: 6, retryDelayMs: 500, maxRetryDelayMs: 8_000, backoff: 'exponential' as const };
  const hls = new Hls({
    // A playlist that still grows would else begin at its end, as a live stream does.
    startPosition: from,
    liveSyncDuration: 3,
    maxBufferLength: 30,
    backBufferLength: 90,
    capLevelToPlayerSize: false,
    fragLoadPolicy: { default: { maxTimeToFirstByteMs: 15_000, maxLoadTimeMs: 90_000, timeoutRetry: patient, errorRetry: patient } },
  });
  let recoveredAt = 0;
  hls.on(Events.ERROR, (_: unknown, data: ErrorData) => {
    if (!data.fatal) return;
    const now = performance.now();
    if (data.type === ErrorTypes.MEDIA_ERROR && now - recoveredAt > MEDIA_RECOVERIES_APART_MS) {
      recoveredAt = now;
      hls.recoverMediaError();
      return;
    }
    trouble(wordsFor(data.type, data.response?.code ?? 0));
  });
  followLevels(hls, qualities, Events);
  hls.loadSource(address);
  hls.attachMedia(video);
  return { hls, kind: 'hls.js', close: () => hls.destroy() };
}

function feedAddress(video: HTMLVideoElement, address: string, from: number, kind: 'native' | 'file', trouble: (words: string) => void): Feed {
  const begin = (): void => {
    if (from > 0) video.currentTime = from;
  };
  const failed = (): void => trouble(wordsFor(video.error?.code === MediaError.MEDIA_ERR_NETWORK ? ErrorTypes.NETWORK_ERROR : ErrorTypes.MEDIA_ERROR, 0));
  video.addEventListener('loadedmetadata', begin, { once: true });
  video.addEventListener('error', failed);
  video.src = address;
  return {
    hls: null,
    kind,
    close: () => {
      video.removeEventListener('loadedmetadata', begin);
      video.removeEventListener('error', failed);
      video.removeAttribute('src');
      video.load();
    },
  };
}

function wordsFor(type: string, status: number): string {
  if (status === 404 || status === 410) return 'The video is not there any more.';
  if (status === 409) return 'This part of the video is not made yet.';
  if (type === ErrorTypes.NETWORK_ERROR) return 'The video could not be loaded: the server cannot be reached.';
  return 'The browser could not play this part of the video.';
}
