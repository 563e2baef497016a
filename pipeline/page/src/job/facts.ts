// What is known about the source, what stitch counted, and what happened so far.
import { jobApi } from '../base/address';
import { getJson } from '../base/ask';
import { el } from '../base/element';
import { icon } from '../base/icons';
import type { Explanation, Job, Ledger } from '../base/shapes';
import { count, date, decimal, duration, size } from '../base/words';
import type { Part } from './page';

type Fact = [string, string | null | undefined];

export function factList(facts: Fact[]): HTMLElement {
  return el('dl.facts-list', {}, ...facts.filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', { dir: 'auto' }, value ?? ''))));
}

export function sourcePart(): Part {
  const body = el('div', {});
  const node = el('section.card', {}, el('h2', {}, 'Source'), body);
  let seen = '';
  return {
    node,
    update: (job) => {
      const now = JSON.stringify([job.source, job.received_at, job.finished_at]);
      if (now === seen) return;
      seen = now;
      body.replaceChildren(factList(sourceFacts(job)));
    },
  };
}

function sourceFacts(job: Job): Fact[] {
  const { source } = job;
  const video = source?.video;
  const audio = source?.audio;
  const took = job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.received_at)) / 1_000 : null;
  const waited = job.playable_at ? (Date.parse(job.playable_at) - Date.parse(job.received_at)) / 1_000 : null;
  return [
    ['Uploaded', date(job.received_at)],
    ['Size', source ? size(source.bytes) : null],
    ['Length', typeof source?.duration_s === 'number' ? duration(source.duration_s) : null],
    ['Container', source?.container],
    ['Picture', video ? `${video.codec}, ${video.width} × ${video.height}, ${decimal(video.fps, video.fps % 1 === 0 ? 0 : 2)} fps${video.rotation ? `, turned by ${video.rotation}°` : ''}` : null],
    ['Sound', audio ? `${audio.codec}, ${audio.channels} ${audio.channels === 1 ? 'channel' : 'channels'}, ${decimal(audio.sample_rate / 1_000, 1)} kHz` : source?.video ? 'none' : null],
    ['Watchable after', waited !== null ? duration(waited) : null],
    ['Done after', took !== null && job.state === 'ready' ? duration(took) : null],
    ['Id', job.id],
  ];
}

export function ledgerPart(signal: AbortSignal): Part {
  const body = el('div', {});
  const node = el('section.card', { hidden: true }, el('h2', {}, 'Ledger'), body);
  let isAsked = false;
  return {
    node,
    update: (job) => {
      if (isAsked || job.renditions.length === 0 || job.state === 'processing' || job.state === 'received') return;
      isAsked = true;
      getJson<Ledger>(jobApi(job.id, '/ledger'), signal).then(
        (ledger) => {
          node.hidden = false;
          body.replaceChildren(...ledgerWords(ledger));
        },
        () => (isAsked = false),
      );
    },
  };
}

function ledgerWords(ledger: Ledger): HTMLElement[] {
  const verdict = el('p.verdict', { 'data-good': String(ledger.balanced) }, icon(ledger.balanced ? 'check' : 'warn'),
    ledger.balanced ? 'Balanced: every frame that went in came out.' : `Not balanced: ${count(ledger.findings.length)} ${ledger.findings.length === 1 ? 'finding' : 'findings'}.`);
  const findings = ledger.findings.map((finding) => el('li', { dir: 'auto' }, typeof finding === 'string' ? finding : JSON.stringify(finding)));
  return [
    verdict,
    ...(findings.length > 0 ? [el('ul', {}, ...findings)] : []),
    factList([
      ['Frames in', typeof ledger.frames_in === 'number' ? count(ledger.frames_in) : null],
      ['Frames out', ledger.renditions?.map((one) => `${one.quality}: ${count(one.frames_out)}`).join(', ')],
      ['Damaged', ledger.damaged ? count(ledger.damaged) : null],
      ['Chunks', ledger.chunks ? count(ledger.chunks.length) : null],
      ['End differs by', typeof ledger.output_end_difference_s === 'number' ? `${decimal(Math.abs(ledger.output_end_difference_s) * 1_000, 0)} ms` : null],
    ]),
  ];
}

export function historyPart(): { node: HTMLElement; show: (explained: Explanation) => void } {
  const list = el('ol.history', {});
  const node = el('section.card', { hidden: true }, el('h2', {}, 'History'), list);
  let seen = '';
  return {
    node,
    show: (explained) => {
      const now = JSON.stringify(explained.history);
      if (now === seen) return;
      seen = now;
      node.hidden = explained.history.length === 0;
      list.replaceChildren(...explained.history.map(({ at, what }) => el('li', {}, el('span', { dir: 'auto' }, what), at === null ? null : el('time', { datetime: at }, date(at)))));
    },
  };
}
