// What the video shows and says: labels, captions, pictures.
import { el } from '../base/element';
import { icon } from '../base/icons';
import type { Captions, Content, Pictures } from '../base/shapes';
import { clock, count, percent, title } from '../base/words';
import { sentence } from '../base/ask';
import type { Part } from './page';

/** A part that shows one member of the job, made anew only when that member changes. */
function memberPart<T>(heading: string, member: (job: Parameters<Part['update']>[0]) => T | null, make: (value: T) => (HTMLElement | null)[]): Part {
  const body = el('div', {});
  const node = el('section.card', { hidden: true }, el('h2', {}, heading), body);
  let seen = '';
  return {
    node,
    update: (job) => {
      const value = member(job);
      const now = JSON.stringify(value);
      if (now === seen) return;
      seen = now;
      node.hidden = value === null;
      if (value !== null) body.replaceChildren(...make(value).filter((one) => one !== null));
    },
  };
}

export const labelsPart = (): Part => memberPart<Content>('Content', (job) => job.content, (content) => {
  if (content.unavailable) return [el('p.hint', {}, sentence(content.unavailable))];
  const labels = content.labels.map((label) => el('li', { title: label.because === '' ? null : label.because },
    el('span', { dir: 'auto' }, label.name), el('span.hint', {}, ` ${percent(label.confidence)}`)));
  return [
    content.kind ? el('p', {}, el('strong', {}, title(content.kind))) : null,
    labels.length > 0 ? el('ul.tags', {}, ...labels) : el('p.hint', {}, 'No label fits.'),
    el('p.hint', {}, [content.model !== '' ? `Seen by ${content.model}` : '', `${count(content.frames)} pictures looked at`].filter(Boolean).join(', '), '.'),
    content.no_model ? el('p.hint', {}, sentence(content.no_model)) : null,
  ];
});

export const captionsPart = (): Part => memberPart<Captions>('Captions', (job) => job.captions, (captions) => {
  const links = ([['WebVTT', captions.vtt], ['SubRip', captions.srt]] as const)
    .filter(([, url]) => url !== null)
    .map(([name, url]) => el('a', { href: url, download: '' }, icon('download'), name));
  const maker = captions.model === '' ? '' : `Written by ${[captions.model, captions.version].filter(Boolean).join(' ')}.`;
  return [
    el('p', {}, captions.reason ? sentence(captions.reason) : `${count(captions.cues)} captions${languageName(captions.language)}.`),
    links.length > 0 ? el('p.links', {}, ...links) : null,
    maker === '' ? null : el('p.hint', {}, maker),
  ];
});

function languageName(tag: string): string {
  if (tag === '' || tag === 'und' || tag === 'zxx') return '';
  try {
    return ` in ${new Intl.DisplayNames(undefined, { type: 'language' }).of(tag) ?? tag}`;
  } catch {
    return ` in ${tag}`;
  }
}

const THUMBNAILS_MOST = 24;

export const picturesPart = (seek: (seconds: number) => void): Part => memberPart<Pictures>('Pictures', (job) => job.pictures, (pictures) => {
  if (pictures.unavailable) return [el('p.hint', {}, sentence(pictures.unavailable))];
  const shots = (pictures.thumbnails ?? []).slice(0, THUMBNAILS_MOST);
  const posters = [pictures.poster, ...pictures.alternatives].filter((one) => one !== null);
  const show = (address: string, width: number, height: number): HTMLImageElement => el('img', { src: address, alt: '', width, height, loading: 'lazy', decoding: 'async' });
  return [
    posters.length > 0 ? el('h3', {}, 'Posters') : null,
    posters.length > 0 ? el('ul.pictures', {}, ...posters.map((one, index) => el('li', {}, el('a', { href: one.url, target: '_blank', rel: 'noopener' },
      show(one.url, one.width, one.height), el('span', {}, index === 0 ? 'Poster' : `Alternative ${index}`, el('span.quiet', {}, ' (opens in a new tab)')))))) : null,
    shots.length > 0 ? el('h3', {}, `Shots`, el('span.hint', {}, ` ${count(pictures.shots)}`)) : null,
    shots.length > 0 ? el('ul.pictures.small', {}, ...shots.map((shot) => el('li', {}, el('button.plain', { type: 'button', onclick: () => seek(shot.start_s), 'aria-label': `Go to ${clock(shot.start_s)}` },
      show(shot.url, shot.width, shot.height), el('span', {}, clock(shot.start_s)))))) : null,
  ];
});
