// The live list of jobs: filter, search, rows updated in place, older ones on request.
import { el, Keyed, mark, say } from '../base/element';
import { icon } from '../base/icons';
import type { State } from '../base/shapes';
import { count, stateWord } from '../base/words';
import { jobs } from '../live/jobs';
import { onceAFrame } from '../live/once-a-frame';
import { MOST, type Row } from '../live/roll';
import { makeRow } from './row';

const states: (State | '')[] = ['', 'processing', 'ready', 'failed', 'cancelled', 'received'];

let words = '';

export function jobList(): { node: HTMLElement; close: () => void } {
  const list = el('ol.jobs', { 'aria-label': 'Videos, newest first' });
  const note = el('div.empty', { hidden: true });
  const trouble = el('p.trouble', { role: 'alert', hidden: true });
  const older = el('button.plain', { type: 'button', onclick: () => void jobs.older() }, 'Older');
  const tail = el('p.hint', {});
  const total = el('span.hint', { 'aria-live': 'off' });
  const search = el('input', { type: 'search', placeholder: 'Name or label', 'aria-label': 'Search the videos that are loaded by name or label', value: words, autocomplete: 'off', spellcheck: 'false' });
  const filters = states.map((state) => {
    const button = el('button.filter', { type: 'button', 'aria-pressed': 'false' }, state === '' ? 'All' : stateWord[state]);
    button.addEventListener('click', () => {
      jobs.setFilter(state);
      paint.ask();
    });
    return { state, button };
  });
  const rows = new Keyed<Row>(list, (row) => row.job.id, makeRow);

  const paint = onceAFrame(() => {
    const { roll } = jobs;
    const shown = roll.filtered(jobs.filter, words);
    for (const { state, button } of filters) mark(button, 'aria-pressed', String(state === jobs.filter));
    rows.show(shown);
    list.hidden = shown.length === 0;
    list.setAttribute('aria-busy', String(jobs.isLoading));
    trouble.hidden = jobs.trouble === '';
    say(trouble, jobs.trouble);
    note.hidden = shown.length > 0 || (!jobs.isLoaded && jobs.trouble === '') || jobs.trouble !== '';
    if (!note.hidden) say(note, nothing());
    const isFull = roll.size >= MOST;
    older.hidden = jobs.cursor === null || isFull;
    older.disabled = jobs.isLoading;
    say(total, roll.size === 0 ? '' : words === '' ? count(shown.length) : `${count(shown.length)} of ${count(roll.size)}`);
    say(tail, isFull ? `The newest ${count(MOST)} are shown. Filter by state to see others.`
      : words !== '' && jobs.cursor !== null ? `Searched ${count(roll.size)} videos that are loaded. “Older” loads more.` : '');
    tail.hidden = tail.textContent === '';
  });

  const nothing = (): string =>
    words !== '' ? (jobs.cursor === null ? 'No video fits the search.' : 'No video that is loaded fits the search. “Older” loads more.')
    : jobs.filter !== '' ? `No video is in the state “${stateWord[jobs.filter]}”.`
    : 'No videos yet. The first one you upload appears here, and you can watch it while it is still being made.';

  search.addEventListener('input', () => {
    words = search.value;
    paint.ask();
  });
  const stop = jobs.watch(paint.ask);
  // Ages are words such as "3 minutes ago", which change without an event.
  const ages = window.setInterval(paint.ask, 30_000);
  if (!jobs.isLoaded) void jobs.reload();
  paint.ask();
  const bar = el('div.bar', {}, el('h2', {}, 'Videos ', total),
    el('div.filters', { role: 'group', 'aria-label': 'Filter by state' }, ...filters.map(({ button }) => button)),
    el('div.search', {}, icon('search'), search));
  return {
    node: el('section.list', { 'aria-label': 'Videos' }, bar, trouble, list, note, el('div.older', {}, tail, older)),
    close: () => {
      stop();
      paint.stop();
      clearInterval(ages);
    },
  };
}
