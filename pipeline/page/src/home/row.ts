// One row of the list of jobs. Made once, then only updated.
import { at } from '../base/address';
import { el, mark, nameOf, say } from '../base/element';
import { icon } from '../base/icons';
import { ago, clock, date, duration, percent, shownName, size } from '../base/words';
import { cancelJob, deleteJob } from '../job/actions';
import { badge } from '../job/badge';
import { isRunning } from '../live/jobs';
import type { Row } from '../live/roll';

export function makeRow(first: Row): { node: HTMLElement; update: (row: Row) => void } {
  let current = first;
  const shown = shownName(first.job.name);
  const picture = el('span.poster', { 'aria-hidden': 'true' }, icon('film'));
  const length = el('span.length', { hidden: true });
  picture.append(length);
  const link = el('a.job-name', { href: at(`jobs/${encodeURIComponent(first.job.id)}`) }, nameOf(shown, first.job.name));
  const state = badge();
  const when = el('time', {});
  const facts = el('span', {});
  const labels = el('span.labels', {});
  const bar = el('progress', { max: 1, value: 0, 'aria-label': `Progress of ${shown}` });
  const left = el('span.hint.left-time', {});
  const cancel = el('button.plain.round', { type: 'button', 'aria-label': `Cancel ${shown}`, title: 'Cancel', onclick: () => void cancelJob(current.job) }, icon('stop'));
  const drop = el('button.plain.round', { type: 'button', 'aria-label': `Delete ${shown}`, title: 'Delete', onclick: () => void deleteJob(current.job) }, icon('trash'));
  const node = el('li.job', {}, picture,
    el('div.job-words', {}, el('h3', {}, link), el('p.facts', {}, when, facts, labels)),
    el('div.job-state', {}, state.node, el('div.job-progress', {}, bar, left)), el('div.actions', {}, cancel, drop));
  let poster = '';

  return {
    node,
    update: (row) => {
      current = row;
      const { job } = row;
      state.show(job.state);
      node.dataset['state'] = job.state;
      if ((job.poster ?? '') !== poster) {
        poster = job.poster ?? '';
        picture.querySelector('img')?.remove();
        if (poster !== '') picture.prepend(image(poster));
      }
      const seconds = job.source?.duration_s;
      length.hidden = typeof seconds !== 'number';
      if (typeof seconds === 'number') say(length, clock(seconds));
      mark(when, 'datetime', job.received_at);
      mark(when, 'title', date(job.received_at));
      say(when, ago(job.received_at));
      const { source } = job;
      say(facts, [source ? size(source.bytes) : '', source?.video ? `${source.video.width} × ${source.video.height}` : '', job.error && job.state === 'failed' ? job.error.message : '']
        .filter(Boolean).map((text) => ` · ${text}`).join(''));
      say(labels, (job.content?.labels ?? []).slice(0, 3).map((label) => ` · ${label.name}`).join(''));
      const isBusy = isRunning(job);
      bar.parentElement!.hidden = !isBusy;
      if (isBusy) bar.value = job.progress;
      say(left, isBusy ? [percent(job.progress), job.playable ? 'can be watched' : '', row.etaSeconds !== null ? `${duration(row.etaSeconds)} left` : ''].filter(Boolean).join(' · ') : '');
      cancel.hidden = !isBusy;
    },
  };
}

function image(address: string): HTMLImageElement {
  const node = el('img', { src: address, alt: '', loading: 'lazy', decoding: 'async' });
  // Deleted in the meantime: the sign of a film that lies below shows again.
  node.addEventListener('error', () => node.remove(), { once: true });
  return node;
}
