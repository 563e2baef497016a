// The page's icons: strokes on a 24-unit square, in the colour of the text around them.
import { svg } from './element';

const strokes = {
  upload: 'M12 16V4m0 0L7 9m5-5 5 5M4 17v2a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-2',
  pause: 'M8 5v14M16 5v14',
  play: 'M7 4.5v15l12-7.5z',
  close: 'M6 6l12 12M18 6 6 18',
  check: 'M5 12.5 10 17.5 19.5 7',
  clock: 'M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18',
  spin: 'M12 3a9 9 0 1 0 9 9',
  warn: 'M12 8v5m0 3.2v.1M12 3 2.5 20h19z',
  stop: 'M5.6 5.6l12.8 12.8M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  download: 'M12 4v12m0 0 5-5m-5 5-5-5M4 20h16',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2m0 16v2M4 12H2m20 0h-2M5 5l1.4 1.4m11.2 11.2L19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5',
  half: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 3v18M12 8h5.5M12 12h9M12 16h5.5',
  back: 'M15 5l-7 7 7 7',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M16 16l4.5 4.5',
  film: 'M4 5h16v14H4zM8 5v14M16 5v14M4 9.5h4m-4 5h4m8-5h4m-4 5h4',
  again: 'M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6',
  skip: 'M5 12h14',
} as const;

export type IconName = keyof typeof strokes;

export function icon(name: IconName, extra = ''): SVGSVGElement {
  return svg('svg', { viewBox: '0 0 24 24', class: `icon ${extra}`.trim(), 'aria-hidden': 'true', focusable: 'false' }, svg('path', { d: strokes[name] }));
}

/** Shows another icon in the place of one that is there. */
export function setIcon(node: SVGSVGElement, name: IconName): void {
  const path = node.firstElementChild;
  if (path && path.getAttribute('d') !== strokes[name]) path.setAttribute('d', strokes[name]);
}
