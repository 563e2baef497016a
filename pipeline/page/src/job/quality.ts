// The quality of the renditions: the verdict, the figures, and the curve of every frame, which leads into the player.
import { jobApi } from '../base/address';
import { getJson, getText, sentence } from '../base/ask';
import { el, mark, say } from '../base/element';
import type { Job, QualityReport, RenditionQuality } from '../base/shapes';
import { clock, decimal } from '../base/words';
import { curve } from './curve';
import type { Part } from './page';
import { readTable, type Series } from './samples';

const metricName: Record<string, string> = {
  vmaf: 'VMAF', psnr_y: 'PSNR of luma', psnr_all: 'PSNR', psnr_encoded: 'PSNR, by the encoder', ssim_y: 'SSIM of luma', ssim_all: 'SSIM',
};

export const figure = (metric: string, value: number): string =>
  metric.startsWith('ssim') ? decimal(value, 4) : metric.startsWith('psnr') ? `${value >= 100 ? '≥ 100' : decimal(value, 1)} dB` : decimal(value, 1);

export function qualityPart(signal: AbortSignal, seek: (seconds: number) => void): Part {
  const tabs = el('div.filters', { role: 'group', 'aria-label': 'Rendition' });
  const verdict = el('p.verdict-words', {});
  const notes = el('ul.warnings', { hidden: true });
  const rows = el('tbody', {});
  const figures = el('div.scroll-x', { tabindex: '0', role: 'region', 'aria-label': 'Figures' }, el('table', {}, el('thead', {}, el('tr', {},
    ...['Measure', 'Mean', '95 % are above', 'Worst', 'Worst at'].map((text) => el('th', { scope: 'col' }, text)))), rows));
  const metrics = el('select', { 'aria-label': 'Measure of the curve' });
  const board = curve(seek);
  const chart = el('div', { hidden: true }, el('div.chart-head', {}, el('h3', {}, 'Frame by frame'), metrics), board.node);
  const node = el('section.card', { hidden: true }, el('h2', {}, 'Quality'), tabs, verdict, notes, figures, chart);
  let report: QualityReport | undefined;
  let chosen = '';
  let seen = '';
  let tables: Series[] = [];
  let tableOf = '';
  let duration = 0;

  const ask = (job: Job): void => {
    getJson<QualityReport>(jobApi(job.id, '/quality'), signal).then(
      (found) => {
        report = found;
        node.hidden = found.renditions.length === 0;
        if (!found.renditions.some((one) => one.quality === chosen)) chosen = found.renditions[0]?.quality ?? '';
        show();
      },
      () => undefined,
    );
  };

  function show(): void {
    const one = report?.renditions.find((rendition) => rendition.quality === chosen);
    if (!report || !one) return;
    if (tabs.childElementCount !== report.renditions.length) {
      tabs.replaceChildren(...report.renditions.map(({ quality }) => el('button.filter', { type: 'button', 'data-quality': quality, onclick: () => {
        chosen = quality;
        show();
      } }, quality)));
    }
    for (const tab of tabs.children) mark(tab, 'aria-pressed', String((tab as HTMLElement).dataset['quality'] === chosen));
    say(verdict, one.trouble ? `${one.verdict} ${sentence(one.trouble)}` : one.verdict);
    notes.hidden = one.notes.length === 0;
    notes.replaceChildren(...one.notes.map((note) => el('li', { dir: 'auto' }, note)));
    fillFigures(one);
    const address = `${one.csv}#${one.assessed}`;
    if (tableOf === address) return;
    tableOf = address;
    getText(one.csv, signal).then(
      (csv) => {
        if (tableOf !== address) return;
        tables = readTable(csv);
        const before = metrics.value;
        metrics.replaceChildren(...order(tables.map(({ name }) => name)).map((name) => el('option', { value: name }, metricName[name] ?? name)));
        if (tables.some(({ name }) => name === before)) metrics.value = before;
        chart.hidden = tables.length === 0;
        draw();
      },
      () => (tableOf = ''),
    );
  }

  function fillFigures(one: RenditionQuality): void {
    rows.replaceChildren(...order(Object.keys(one.metrics)).map((name) => {
      const summary = one.metrics[name]!;
      return el('tr', {}, el('th', { scope: 'row' }, metricName[name] ?? name), el('td', {}, figure(name, summary.mean)), el('td', {}, figure(name, summary.percentile_5)),
        el('td', {}, figure(name, summary.worst)), el('td', {}, el('button.plain.small', { type: 'button', 'aria-label': `Go to the worst frame, at ${clock(summary.worst_at_s)}`, onclick: () => seek(summary.worst_at_s) }, clock(summary.worst_at_s))));
    }));
  }

  function draw(): void {
    const series = tables.find(({ name }) => name === metrics.value);
    if (series) board.show(series, metricName[series.name] ?? series.name, (value) => figure(series.name, value), duration);
  }
  metrics.addEventListener('change', draw);

  return {
    node,
    update: (job) => {
      duration = job.source?.duration_s ?? 0;
      const now = `${job.state}${job.stages.find((stage) => stage.name === 'assess')?.done ?? ''}`;
      if (now === seen || job.renditions.length === 0 || job.state !== 'ready') return;
      seen = now;
      ask(job);
    },
    close: board.close,
  };
}

/** The measures that say most come first. */
function order(names: string[]): string[] {
  const best = ['vmaf', 'psnr_y', 'psnr_all', 'ssim_all', 'ssim_y', 'psnr_encoded'];
  return [...names].sort((a, b) => (best.indexOf(a) + 1 || 99) - (best.indexOf(b) + 1 || 99));
}
