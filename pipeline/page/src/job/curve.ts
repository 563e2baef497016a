// The curve of one measure over time: mean and lowest per pixel. Point at it to read it, click or press Enter to go there.
import { el, mark, say, svg } from '../base/element';
import { clock } from '../base/words';
import { ticks } from './lanes';
import { type Column, nearest, type Series, thin } from './samples';

const HEIGHT = 180;
const LEFT = 46;
const BOTTOM = 22;
const TOP = 8;

export function curve(seek: (seconds: number) => void) {
  const hint = 'Point at the curve to read it; click to go there in the player.';
  const readout = el('p.hint.readout', {}, hint);
  const image = svg('svg', { class: 'curve', 'aria-hidden': 'true', focusable: 'false' });
  const slider = el('div.chart', { role: 'slider', tabindex: '0', 'aria-label': 'Time in the quality curve', 'aria-valuemin': 0 }, image);
  const node = el('div', {}, slider, readout);
  const needle = svg('line', { class: 'needle', y1: TOP, y2: HEIGHT - BOTTOM });
  let shown: { series: Series; name: string; words: (value: number) => string; end: number } | undefined;
  let columns: Column[] = [];
  let width = 0;
  let at = 0;

  const x = (time: number): number => LEFT + (shown ? (time / shown.end) * (width - LEFT - 6) : 0);

  function draw(): void {
    if (!shown || slider.clientWidth === 0) return;
    width = Math.floor(slider.clientWidth);
    const { series, end, words } = shown;
    columns = thin(series, end, Math.max(50, width - LEFT - 6));
    let low = Infinity;
    let high = -Infinity;
    for (const column of columns) {
      low = Math.min(low, column.lowest);
      high = Math.max(high, column.mean);
    }
    if (high - low < 0.02) [low, high] = [low - 0.01, high + 0.01];
    const room = (high - low) * 0.08;
    low = Math.max(0, low - room);
    high += room;
    const y = (value: number): number => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    mark(image, 'viewBox', `0 0 ${width} ${HEIGHT}`);
    mark(image, 'width', String(width));
    mark(image, 'height', String(HEIGHT));
    const parts: SVGElement[] = [];
    for (const value of ticks(low, high, 4)) {
      parts.push(svg('line', { class: 'grid', x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
        svg('text', { class: 'axis', x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, words(value).replace(' dB', '')));
    }
    for (const time of ticks(0, end, Math.max(2, width / 120))) {
      parts.push(svg('text', { class: 'axis', x: x(time), y: HEIGHT - 5, 'text-anchor': time === 0 ? 'start' : x(time) > width - 24 ? 'end' : 'middle' }, clock(time)));
    }
    const line = (of: (column: Column) => number): string => columns.map((column, index) => `${index === 0 ? 'M' : 'L'}${x(column.from).toFixed(1)} ${y(of(column)).toFixed(1)}`).join('');
    const back = [...columns].reverse().map((column) => `L${x(column.from).toFixed(1)} ${y(column.lowest).toFixed(1)}`).join('');
    parts.push(svg('path', { class: 'band', d: `${line((column) => column.mean)}${back}Z` }), svg('path', { class: 'lowest', d: line((column) => column.lowest) }), svg('path', { class: 'mean', d: line((column) => column.mean) }), needle);
    needle.style.display = 'none';
    image.replaceChildren(...parts);
    mark(slider, 'aria-valuemax', String(Math.round(end)));
    point(at, false);
  }

  function point(time: number, isShown: boolean): void {
    if (!shown) return;
    const column = nearest(columns, Math.min(shown.end, Math.max(0, time)));
    if (!column) return;
    at = column.from;
    const text = Math.abs(column.mean - column.lowest) < 1e-9
      ? `${clock(column.from)}: ${shown.words(column.mean)}`
      : `${clock(column.from)}: mean ${shown.words(column.mean)}, lowest ${shown.words(column.lowest)}`;
    mark(slider, 'aria-valuenow', String(Math.round(column.from)));
    mark(slider, 'aria-valuetext', text);
    if (!isShown) return;
    say(readout, text);
    needle.style.display = '';
    mark(needle, 'x1', String(x(column.from)));
    mark(needle, 'x2', String(x(column.from)));
  }

  const timeAt = (event: PointerEvent | MouseEvent): number => {
    const box = slider.getBoundingClientRect();
    return shown ? ((event.clientX - box.x - LEFT) / (width - LEFT - 6)) * shown.end : 0;
  };
  slider.addEventListener('pointermove', (event) => point(timeAt(event), true));
  slider.addEventListener('pointerleave', () => {
    needle.style.display = 'none';
    say(readout, hint);
  });
  slider.addEventListener('click', (event) => {
    point(timeAt(event), true);
    seek(at);
  });
  slider.addEventListener('keydown', (event) => {
    if (!shown) return;
    const step = shown.end / 100;
    const moves: Record<string, number> = { ArrowRight: at + step, ArrowUp: at + step, ArrowLeft: at - step, ArrowDown: at - step, PageUp: at + step * 10, PageDown: at - step * 10, Home: 0, End: shown.end };
    const wanted = moves[event.key];
    if (wanted !== undefined) point(wanted, true);
    else if (event.key === 'Enter' || event.key === ' ') seek(at);
    else return;
    event.preventDefault();
  });
  const observer = new ResizeObserver(draw);
  observer.observe(slider);

  return {
    node,
    show(series: Series, name: string, words: (value: number) => string, duration: number) {
      shown = { series, name, words, end: Math.max(duration, series.times.at(-1) ?? 0, 0.1) };
      mark(slider, 'aria-label', `${name} over time. Arrow keys read it, Enter goes there in the player.`);
      draw();
    },
    close: () => observer.disconnect(),
  };
}
