// Uploads that an earlier visit began and did not end. A browser keeps no file: the reader chooses it again, or
// permits it with one click where the browser remembers where it lies; the upload then goes on where it stopped.
import { announce } from '../base/dialogs';
import { el, Keyed, nameOf, say } from '../base/element';
import { icon } from '../base/icons';
import { percent, shownName, size } from '../base/words';
import { begunWords } from './area';
import { forget, recall, remembers } from './handles';
import { type Leftover, leftoversIn } from './policy';
import { uploads } from './queue';

const TUS = { 'Tus-Resumable': '1.0.0' };

interface Known extends Leftover { offset: number | null; isRemembered: boolean }

export function leftArea(take: (files: File[]) => void): { node: HTMLElement; refresh: () => void; close: () => void } {
  const list = el('ul.uploads', {});
  const node = el('div.left', { hidden: true }, el('h2', {}, 'Not finished yet'),
    el('p.hint', {}, 'These uploads were interrupted. Choose the same file again and they go on where they stopped.'), list);
  const rows = new Keyed<Known>(list, (one) => one.key, (one) => makeRow(one, take, () => refresh()));
  const checked = new Map<string, Known>();
  let isClosed = false;

  function refresh(): void {
    const here = uploads();
    // What is being sent in this visit, or lies there twice, needs no mention.
    const left = stored().filter((one) => !here.some((entry) => entry.file.name === one.name && entry.file.size === one.size));
    for (const one of left) {
      if (checked.has(one.key)) continue;
      checked.set(one.key, { ...one, offset: null, isRemembered: false });
      void look(one);
    }
    const shown = left.map((one) => checked.get(one.key)!).filter((one) => one.offset !== null);
    rows.show(shown);
    node.hidden = shown.length === 0;
  }

  async function look(one: Leftover): Promise<void> {
    try {
      const response = await fetch(one.url, { method: 'HEAD', headers: TUS });
      if (response.status === 404 || response.status === 410 || response.status === 403) drop(one.key);
      const offset = response.ok ? Number(response.headers.get('Upload-Offset') ?? 0) : 0;
      checked.set(one.key, { ...one, offset, isRemembered: await remembers(one.name, one.size) });
    } catch {
      // The server is away: still worth mentioning, as the upload can go on later.
      checked.set(one.key, { ...one, offset: 0, isRemembered: await remembers(one.name, one.size) });
    }
    if (!isClosed) refresh();
  }

  refresh();
  return { node, refresh, close: () => void (isClosed = true) };
}

function stored(): Leftover[] {
  try {
    return leftoversIn(localStorage);
  } catch {
    return [];
  }
}

function drop(key: string): void {
  try {
    localStorage.removeItem(key);
  } catch {
    // Nothing was kept then.
  }
}

function makeRow(one: Known, take: (files: File[]) => void, changed: () => void): { node: HTMLElement; update: (one: Known) => void } {
  const shown = shownName(one.name);
  const about = el('span.hint', {});
  const input = el('input', { type: 'file', class: 'quiet', tabindex: '-1', 'aria-hidden': 'true' });
  const fits = (file: File): void => {
    if (file.name === one.name && file.size === one.size) take([file]);
    else announceMismatch(about, one);
  };
  input.addEventListener('change', () => {
    const [file] = input.files ?? [];
    if (file) fits(file);
    input.value = '';
  });
  const go = el('button.small', { type: 'button', 'aria-label': `Go on with ${shown}` }, icon('play'), 'Go on');
  go.addEventListener('click', () => {
    void (async () => {
      const file = one.isRemembered ? await recall(one.name, one.size) : null;
      if (file) take([file]);
      else input.click();
    })();
  });
  const away = el('button.plain.round', { type: 'button', 'aria-label': `Give up the upload of ${shown}` }, icon('close'));
  away.addEventListener('click', () => {
    void fetch(one.url, { method: 'DELETE', headers: TUS }).catch(() => undefined);
    void forget(one.name, one.size);
    drop(one.key);
    changed();
  });
  const node = el('li.upload-row', {}, el('span.upload-name', {}, nameOf(shown, one.name)), about,
    el('progress', { max: 1, value: 0, 'aria-label': `What is there of ${shown}` }), el('span.actions', {}, go, input, away));
  return {
    node,
    update: (now) => {
      one = now;
      const share = now.size > 0 ? (now.offset ?? 0) / now.size : 0;
      node.querySelector('progress')!.value = share;
      say(about, [`${size(now.offset ?? 0)} of ${size(now.size)}, ${percent(share)}`, begunWords(now.begunAt)].filter(Boolean).join(' · '));
    },
  };
}

function announceMismatch(node: Element, one: Leftover): void {
  const words = `That is another file. Choose ${shownName(one.name)} with ${size(one.size)}.`;
  say(node, words);
  announce(words);
}
