// The app: the frame around every page, which page an address means, and going from one to the other.
import { at, currentPlace } from './base/address';
import { liveRegion } from './base/dialogs';
import { el, mark, say } from './base/element';
import { icon, setIcon, type IconName } from './base/icons';
import { connected, listen, start } from './live/events';
import { homePage } from './home/page';
import { jobPage } from './job/page';
import { isBusy, uploads, watchUploads } from './upload/queue';
import { catchFiles } from './upload/catch';
import { workersPage } from './workers/page';
import { percent } from './base/words';

/** A page: what it shows, what it is called, and how to end it. */
export interface Page { node: HTMLElement; title: string; close: () => void }

const main = el('main', { id: 'main', tabindex: '-1' });
let open: Page | undefined;

function show(scroll: boolean): void {
  open?.close();
  const place = currentPlace();
  open =
    place.page === 'home' ? homePage()
    : place.page === 'job' ? jobPage(place.id, setTitle)
    : place.page === 'workers' ? workersPage()
    : { node: lost(), title: 'Not found', close: () => undefined };
  main.replaceChildren(open.node);
  main.dataset['page'] = place.page;
  setTitle(open.title);
  for (const [name, link] of Object.entries(links)) mark(link, 'aria-current', name === place.page ? 'page' : null);
  if (scroll) {
    window.scrollTo(0, 0);
    // A reader who follows a link with the keyboard goes on in what it opened.
    main.focus({ preventScroll: true });
  }
}

const setTitle = (title: string): void => void (document.title = title === '' ? 'StreamForge' : `${title} · StreamForge`);

const lost = (): HTMLElement =>
  el('section.empty', {}, el('h1', {}, 'There is nothing here'), el('p', {}, 'The address names no page.'), el('p', {}, el('a', { href: at('') }, 'All videos')));

const links = {
  home: el('a', { href: at('') }, 'Videos'),
  workers: el('a', { href: at('workers') }, 'Workers'),
};

export function go(address: string): void {
  if (address !== location.href) history.pushState(null, '', address);
  show(true);
}

function followLinks(): void {
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin || link.dataset['leave'] === '') return;
    const before = location.href;
    const path = new URL(link.href).pathname;
    const base = new URL(document.baseURI).pathname;
    if (!path.startsWith(base) || path.startsWith(`${base}api/`) || path.startsWith(`${base}embed/`)) return;
    event.preventDefault();
    if (link.href !== before) go(link.href);
  });
  window.addEventListener('popstate', () => show(false));
}

function schemeSwitch(): HTMLElement {
  const schemes: [string, IconName, string][] = [['', 'half', 'as the system'], ['light', 'sun', 'light'], ['dark', 'moon', 'dark']];
  const sign = icon('half');
  const button = el('button.plain.round', { type: 'button' }, sign);
  const paint = (): void => {
    const now = document.documentElement.dataset['scheme'] ?? '';
    const [, name, words] = schemes.find(([scheme]) => scheme === now) ?? schemes[0]!;
    setIcon(sign, name);
    mark(button, 'aria-label', `Colours: ${words}. Change`);
    mark(button, 'title', `Colours: ${words}`);
  };
  button.addEventListener('click', () => {
    const now = document.documentElement.dataset['scheme'] ?? '';
    const next = schemes[(schemes.findIndex(([scheme]) => scheme === now) + 1) % schemes.length]![0];
    if (next === '') delete document.documentElement.dataset['scheme'];
    else document.documentElement.dataset['scheme'] = next;
    try {
      if (next === '') localStorage.removeItem('streamforge.scheme');
      else localStorage.setItem('streamforge.scheme', next);
    } catch {
      // Not remembered then.
    }
    paint();
  });
  paint();
  return button;
}

function connection(): HTMLElement {
  const node = el('span.live', {});
  const paint = (): void => {
    node.dataset['live'] = String(connected());
    say(node, connected() ? 'Live' : 'Connecting…');
  };
  listen((news) => void (news.kind === 'connection' && paint()));
  paint();
  return node;
}

/** Uploads go on while the reader looks at other pages: this says how far they are and leads back. */
function uploadChip(): HTMLElement {
  const chip = el('a.chip', { href: at(''), hidden: true });
  watchUploads(() => {
    const busy = uploads().filter(isBusy);
    chip.hidden = busy.length === 0;
    const total = busy.reduce((sum, entry) => sum + entry.file.size, 0);
    const sent = busy.reduce((sum, entry) => sum + entry.meter.bytes, 0);
    say(chip, `${busy.length} ${busy.length === 1 ? 'upload' : 'uploads'}, ${percent(total > 0 ? sent / total : 0)}`);
  });
  return chip;
}

function frame(): void {
  const skip = el('button.skip', { type: 'button', onclick: () => main.focus() }, 'Skip to the content');
  const brand = el('a.brand', { href: at(''), 'aria-label': 'StreamForge, all videos' },
    el('img', { src: document.querySelector<HTMLLinkElement>('link[rel=icon]')?.href ?? '', alt: '', width: 28, height: 28 }), el('span', {}, 'StreamForge'));
  const header = el('header.top', {}, el('div.wide', {}, brand,
    el('nav', { 'aria-label': 'Pages' }, links.home, links.workers), el('div.ends', {}, uploadChip(), connection(), schemeSwitch())));
  const footer = el('footer.bottom', {}, el('div.wide', {},
    el('span', {}, 'StreamForge turns one upload into every quality.'), el('a', { href: at('api/docs') }, 'HTTP and events')));
  document.body.replaceChildren(skip, header, main, footer, liveRegion());
}

frame();
followLinks();
catchFiles(() => {
  if (currentPlace().page !== 'home') go(at(''));
});
start();
show(false);
