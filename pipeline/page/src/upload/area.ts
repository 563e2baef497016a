// The upload area of the home page: where files are chosen, the rows of this visit, and what an earlier visit left.
import { at } from '../base/address';
import { announce } from '../base/dialogs';
import { el, Keyed, mark, nameOf, say } from '../base/element';
import { icon, setIcon } from '../base/icons';
import { ago, duration, percent, rate, shownName, size } from '../base/words';
import { onceAFrame } from '../live/once-a-frame';
import { canPick, pick } from './handles';
import { leftArea } from './leftovers';
import { add, type Entry, isBusy, pause, remove, resume, uploads, watchUploads } from './queue';

export function uploadArea(): { node: HTMLElement; close: () => void } {
  const input = el('input', { type: 'file', multiple: true, accept: 'video/*,.mkv,.mts,.m2ts,.ts,.mxf,.avi', class: 'quiet', tabindex: '-1', 'aria-hidden': 'true' });
  const take = (files: Iterable<File>): void => {
    const added = add(files);
    if (added.length > 0) announce(`${added.length} ${added.length === 1 ? 'file' : 'files'} added to the uploads.`);
  };
  input.addEventListener('change', () => {
    take(input.files ?? []);
    input.value = '';
  });
  const choose = async (): Promise<void> => {
    const files = canPick() ? await pick() : null;
    if (files === null) input.click();
    else take(files);
  };
  const button = el('button.drop', { type: 'button', onclick: () => void choose() },
    el('span.drop-sign', {}, icon('upload')),
    el('span.drop-words', {}, el('strong', {}, 'Upload videos'), el('span', {}, 'Drop them anywhere on this page, paste them, or click to choose.')));

  const list = el('ul.uploads', { 'aria-label': 'Uploads', hidden: true });
  const rows = new Keyed<Entry>(list, (entry) => entry.key, makeRow);
  const clear = el('button.plain.small', { type: 'button', hidden: true, onclick: () => uploads().filter((entry) => entry.phase === 'done').forEach(remove) }, 'Clear finished');
  const left = leftArea(take);
  const said = new Map<string, string>();

  const paint = onceAFrame(() => {
    const all = uploads();
    list.hidden = all.length === 0;
    clear.hidden = !all.some((entry) => entry.phase === 'done');
    rows.show(all);
    for (const entry of all) {
      if (said.get(entry.key) === entry.phase) continue;
      said.set(entry.key, entry.phase);
      const name = shownName(entry.file.name);
      if (entry.phase === 'done') announce(`${name} is uploaded.`);
      if (entry.phase === 'refused') announce(`${name} was not taken. ${entry.problem}`);
      if (entry.phase === 'done' || entry.phase === 'sending') left.refresh();
    }
  });
  const stop = watchUploads(paint.ask);
  paint.ask();
  return {
    node: el('section.upload', { 'aria-label': 'Upload' }, button, input, left.node, list, el('div.row-end', {}, clear)),
    close: () => {
      stop();
      paint.stop();
      left.close();
    },
  };
}

function makeRow(entry: Entry): { node: HTMLElement; update: (entry: Entry) => void } {
  const whole = entry.file.name;
  const shown = shownName(whole);
  const title = el('span.upload-name', {}, nameOf(shown, whole));
  const link = el('a.upload-name', { hidden: true }, nameOf(shown, whole));
  const about = el('span.hint', {});
  const bar = el('progress', { max: 1, value: 0, 'aria-label': `Upload of ${shown}` });
  const toggleSign = icon('pause');
  const toggle = el('button.plain.round', { type: 'button' }, toggleSign);
  toggle.addEventListener('click', () => (isBusy(entry) ? pause(entry) : resume(entry)));
  const drop = el('button.plain.round', { type: 'button', onclick: () => remove(entry) }, icon('close'));
  const node = el('li.upload-row', {}, title, link, about, bar, el('span.actions', {}, toggle, drop));
  return {
    node,
    update: () => {
      node.dataset['phase'] = entry.phase;
      const share = entry.phase === 'done' ? 1 : entry.file.size > 0 ? entry.meter.bytes / entry.file.size : 0;
      bar.value = share;
      say(about, words(entry, share));
      toggle.hidden = entry.phase === 'done' || (entry.phase === 'refused' && entry.file.size === 0);
      setIcon(toggleSign, isBusy(entry) ? 'pause' : entry.phase === 'refused' ? 'again' : 'play');
      mark(toggle, 'aria-label', `${isBusy(entry) ? 'Pause' : entry.phase === 'refused' ? 'Try again with' : 'Resume'} ${shown}`);
      mark(drop, 'aria-label', entry.phase === 'done' ? `Take ${shown} off this list` : `Remove the upload of ${shown}`);
      const isLinked = entry.phase === 'done' && entry.jobId !== null;
      title.hidden = isLinked;
      link.hidden = !isLinked;
      if (isLinked && entry.jobId) mark(link, 'href', at(`jobs/${encodeURIComponent(entry.jobId)}`));
    },
  };
}

function words(entry: Entry, share: number): string {
  const whole = size(entry.file.size);
  if (entry.phase === 'done') return `${whole}. Uploaded, see how it is coming along.`;
  if (entry.phase === 'refused') return `${whole}. ${entry.problem}`;
  if (entry.phase === 'queued') return `${whole}. Waiting for its turn.`;
  const sent = `${size(entry.meter.bytes)} of ${whole}, ${percent(share)}`;
  if (entry.phase === 'paused') return `${sent}. Paused.`;
  if (entry.problem !== '') return `${sent}. ${entry.problem}`;
  const { speed } = entry.meter;
  const left = entry.meter.secondsLeft(entry.file.size);
  return [sent, speed !== null ? rate(speed) : '', left !== null ? `${duration(Math.ceil(left))} left` : ''].filter(Boolean).join(' · ');
}

export const begunWords = (iso: string): string => (iso === '' || Number.isNaN(Date.parse(iso)) ? '' : `begun ${ago(new Date(iso).toISOString())}`);
