// Small talk with the reader: a question before something final, a word in the live region, the clipboard.
import { el } from './element';
import { icon, setIcon } from './icons';

let region: HTMLElement | undefined;

/** The live region that screen readers follow; made once by the frame of the page. */
export function liveRegion(): HTMLElement {
  region ??= el('div.quiet', { role: 'status', 'aria-live': 'polite' });
  return region;
}

export function announce(text: string): void {
  const node = liveRegion();
  node.textContent = '';
  // Saying the same twice is only heard when the region was empty in between.
  setTimeout(() => (node.textContent = text), 60);
}

export interface Question { heading: string; about?: Node; words: string[]; yes: string; no: string }

/** Asks before something final; the safe answer has the focus. */
export function ask(question: Question): Promise<boolean> {
  return new Promise((resolve) => {
    const no = el('button.plain', { type: 'button', onclick: () => dialog.close('no') }, question.no);
    const yes = el('button.danger', { type: 'button', onclick: () => dialog.close('yes') }, question.yes);
    const heading = el('h2', { id: 'question' }, question.heading);
    const dialog = el('dialog', { 'aria-labelledby': 'question' }, heading, question.about ?? null,
      ...question.words.map((text) => el('p', {}, text)), el('div.answers', {}, no, yes));
    dialog.addEventListener('close', () => {
      resolve(dialog.returnValue === 'yes');
      dialog.remove();
    });
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close('no');
    });
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}

async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Plain http on another host has no clipboard: the old way still works there.
  const field = el('textarea', { readonly: true, class: 'quiet' });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand('copy');
  field.remove();
}

export function copyButton(what: string, text: () => string, label = 'Copy'): HTMLButtonElement {
  const sign = icon('copy');
  const words = el('span', {}, label);
  const button = el('button.plain.small', { type: 'button', 'aria-label': `${label} ${what}` }, sign, words);
  let back = 0;
  button.addEventListener('click', () => {
    copy(text()).then(
      () => {
        setIcon(sign, 'check');
        words.textContent = 'Copied';
        announce(`Copied ${what}.`);
        clearTimeout(back);
        back = window.setTimeout(() => {
          setIcon(sign, 'copy');
          words.textContent = label;
        }, 2_000);
      },
      () => announce(`The browser did not allow copying ${what}.`),
    );
  });
  return button;
}
