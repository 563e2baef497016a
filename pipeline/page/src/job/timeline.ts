// The timeline: which worker did what when, as a chart, and the same as a table for those who read it.
import { jobApi } from '../base/address';
import { getJson } from '../base/ask';
import { el, mark, svg } from '../base/element';
import { isEnd, type Job, type Timeline } from '../base/shapes';
import { duration, timeOfDay, title } from '../base/words';
import { lanesOf, ticks } from './lanes';
import type { Part } from './page';
import { setTimes } from './times';

const LANE = 30;
const TOP = 26;
const TABLE_MOST = 500;

export function timelinePart(signal: AbortSignal): Part {
  const chart = el('div.chart.scroll-x', {});
  const rows = el('tbody', {});
  const more = el('p.hint', { hidden: true });
  const readout = el('p.hint.readout', {}, 'Point at a bar to read it.');
  const table = el('details', {}, el('summary', {}, 'As a table'), el('div.scroll-x', { tabindex: '0', role: 'region', 'aria-label': 'Timeline as a table' },
    el('table', {}, el('thead', {}, el('tr', {}, ...['Stage', 'What', 'Worker', 'Began', 'Took'].map((text) => el('th', { scope: 'col' }, text)))), rows)), more);
  const node = el('section.card', { hidden: true }, el('h2', {}, 'Timeline'), el('p.legend', { 'aria-hidden': 'true' }), chart, readout, table);
  let last: Timeline | undefined;
  let isAbsent = false;
  let seen = '';

  const draw = (): void => {
    if (last) paint(last, chart, node.querySelector<HTMLElement>('.legend')!, readout);
  };
  const observer = new ResizeObserver(draw);
  observer.observe(node);

  return {
    node,
    update: (job: Job) => {
      const now = `${job.state}${job.stages.map((stage) => stage.state + stage.done).join()}`;
      if (isAbsent || now === seen) return;
      seen = now;
      getJson<Timeline>(jobApi(job.id, '/timeline'), signal).then(
        (timeline) => {
          last = timeline;
          setTimes(timeline);
          node.hidden = timeline.spans.length === 0;
          draw();
          fillTable(timeline, rows, more, isEnd(job.state));
        },
        () => {
          // A server that does not tell has no timeline to show.
          isAbsent = !signal.aborted && last === undefined;
        },
      );
    },
    close: () => observer.disconnect(),
  };
}

function paint(timeline: Timeline, chart: HTMLElement, legend: HTMLElement, readout: HTMLElement): void {
  const width = Math.max(300, Math.floor(chart.clientWidth));
  const { lanes, to } = lanesOf(timeline, Date.now());
  const labels = width < 560 ? 0 : 130;
  const plot = width - labels - 12;
  const height = TOP + lanes.length * LANE + 4;
  const x = (seconds: number): number => labels + (seconds / to) * plot;
  const image = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `Timeline of ${timeline.spans.length} pieces of work over ${duration(to)}. The table below says the same.` });
  for (const at of ticks(0, to, Math.max(2, width / 140))) {
    image.append(svg('line', { x1: x(at), x2: x(at), y1: TOP - 6, y2: height, class: 'grid' }),
      svg('text', { x: x(at), y: 12, class: 'axis', 'text-anchor': at === 0 ? 'start' : x(at) > width - 40 ? 'end' : 'middle' }, at === 0 ? '0 s' : duration(at)));
  }
  lanes.forEach((lane, index) => {
    const y = TOP + index * LANE;
    if (labels > 0) image.append(svg('text', { x: 0, y: y + LANE / 2 + 4, class: 'axis' }, lane.slot === 1 ? cut(lane.worker, 17) : ''));
    for (const bar of lane.bars) {
      const from = x(bar.from);
      const long = Math.max(3, x(bar.to) - from - 1);
      const words = `${title(bar.span.stage)}${bar.span.label === '' ? '' : `, ${bar.span.label}`}: ${duration(bar.to - bar.from)}${bar.isOpen ? ' so far' : ''}, from ${duration(bar.from)} on, by ${bar.span.worker}`;
      const group = svg('g', { class: 'bar', 'data-stage': bar.span.stage }, svg('title', {}, words), svg('rect', { x: from, y: y + 3, width: long, height: LANE - 6, rx: 4 }));
      if (bar.isOpen) mark(group, 'data-open', '');
      const label = bar.span.label.replace(/^chunk /, '') || bar.span.stage;
      if (long > label.length * 7 + 10) group.append(svg('text', { x: from + 6, y: y + LANE / 2 + 4 }, label));
      group.addEventListener('pointerenter', () => (readout.textContent = words));
      image.append(group);
    }
  });
  chart.replaceChildren(image);
  const stages = [...new Set(timeline.spans.map((span) => span.stage))];
  legend.replaceChildren(...stages.map((stage) => el('span.key', { 'data-stage': stage }, title(stage))));
}

const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function fillTable(timeline: Timeline, rows: HTMLElement, more: HTMLElement, isOver: boolean): void {
  const now = Date.now();
  rows.replaceChildren(...timeline.spans.slice(0, TABLE_MOST).map((span) => {
    const took = ((span.ended_at === null ? now : Date.parse(span.ended_at)) - Date.parse(span.began_at)) / 1_000;
    return el('tr', {}, el('td', {}, title(span.stage)), el('td', {}, span.label), el('td', {}, span.worker), el('td', {}, timeOfDay(span.began_at)),
      el('td', {}, span.ended_at === null ? (isOver ? 'stopped' : `${duration(took)} so far`) : duration(took)));
  }));
  more.hidden = timeline.spans.length <= TABLE_MOST;
  more.textContent = `The first ${TABLE_MOST} of ${timeline.spans.length}.`;
}
