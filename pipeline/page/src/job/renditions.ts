// The renditions with their files, and the addresses to play and embed the video elsewhere.
import { at } from '../base/address';
import { copyButton } from '../base/dialogs';
import { el } from '../base/element';
import { icon } from '../base/icons';
import type { Job } from '../base/shapes';
import { bitrate, clock, count, decimal, shownName, size } from '../base/words';
import type { Part } from './page';

export function renditionsPart(): Part {
  const rows = el('tbody', {});
  const node = el('section.card', { hidden: true }, el('h2', {}, 'Renditions'),
    el('div.scroll-x', { tabindex: '0', role: 'region', 'aria-label': 'Renditions' }, el('table', {}, el('thead', {}, el('tr', {},
      ...['Quality', 'Picture', 'Codec', 'Bitrate', 'Size', 'Frames', 'PSNR', 'File'].map((text) => el('th', { scope: 'col' }, text)))), rows)));
  let seen = '';
  return {
    node,
    update: (job) => {
      const now = JSON.stringify(job.renditions);
      if (now === seen) return;
      seen = now;
      node.hidden = job.renditions.length === 0;
      const stem = shownName(job.name).replace(/\.[a-z0-9]{2,4}$/i, '');
      rows.replaceChildren(...job.renditions.map((one) => el('tr', {},
        el('th', { scope: 'row' }, one.quality), el('td', {}, `${one.width} × ${one.height}`), el('td', {}, codecName(one.codec)), el('td', {}, bitrate(one.bitrate_bps)),
        el('td', {}, size(one.bytes)), el('td', {}, count(one.frames)), el('td', {}, typeof one.psnr_db === 'number' ? `${decimal(one.psnr_db, 1)} dB` : '–'),
        el('td', {}, el('a', { href: one.url, download: `${stem}-${one.quality}.${isWebm(one.url) ? 'webm' : 'mp4'}` }, icon('download'), isWebm(one.url) ? 'WebM' : 'MP4', el('span.quiet', {}, ` in ${one.quality}`))))));
    },
  };
}

const isWebm = (url: string): boolean => /\.webm(\?|$)/.test(url);

const codecName = (codec: string): string => ({ h264: 'H.264', hevc: 'H.265', vp9: 'VP9', av1: 'AV1' })[codec] ?? codec;

export function sharePart(time: () => number | null): Part {
  const list = el('div.addresses', {});
  const node = el('section.card', { hidden: true }, el('h2', {}, 'Share and embed'), list);
  let seen = '';
  return {
    node,
    update: (job) => {
      const now = `${job.playable}${job.hls}${job.dash}${job.captions?.vtt}`;
      if (now === seen) return;
      seen = now;
      node.hidden = !job.playable;
      list.replaceChildren(...addresses(job, time));
    },
  };
}

function addresses(job: Job, time: () => number | null): HTMLElement[] {
  const page = at(`jobs/${encodeURIComponent(job.id)}`);
  const whole = (path: string): string => new URL(path, document.baseURI).href;
  const shape = job.source?.video;
  const ratio = shape && shape.width > 0 ? `${shape.width} / ${shape.height}` : '16 / 9';
  const snippet = `<iframe src="${at(`embed/${encodeURIComponent(job.id)}`)}" style="width:100%;aspect-ratio:${ratio};border:0" allow="fullscreen; picture-in-picture; autoplay" title="Video"></iframe>`;
  const rows: HTMLElement[] = [address('Link', 'the link', page)];
  if (job.hls) rows.push(address('HLS', 'the address of the HLS playlist', whole(job.hls)));
  if (job.dash) rows.push(address('DASH', 'the address of the DASH manifest', whole(job.dash)));
  rows.push(address('Embed', 'the code to embed', snippet));
  const now = copyButton('a link to this moment', () => `${page}?t=${Math.floor(time() ?? 0)}`, 'Copy link at this moment');
  now.title = `Such as ${clock(time() ?? 83)}`;
  rows.push(el('p', {}, now));
  return rows;
}

function address(name: string, what: string, text: string): HTMLElement {
  return el('div.address', {}, el('span.address-name', {}, name), el('code', { tabindex: '0', role: 'textbox', 'aria-readonly': 'true', 'aria-label': what }, text), copyButton(what, () => text));
}
