// Puts spans of work into lanes: one group a worker, and in it as many lanes as it worked on things at once; pure.
import type { Span, Timeline } from '../base/shapes';

export interface Bar { span: Span; from: number; to: number; isOpen: boolean }
export interface Lane { worker: string; slot: number; bars: Bar[] }
export interface Chart { lanes: Lane[]; from: number; to: number }

export function lanesOf(timeline: Timeline, now: number): Chart {
  const begin = Date.parse(timeline.received_at);
  const bars = timeline.spans
    .map((span): Bar => ({
      span,
      from: (Date.parse(span.began_at) - begin) / 1_000,
      to: ((span.ended_at === null ? now : Date.parse(span.ended_at)) - begin) / 1_000,
      isOpen: span.ended_at === null,
    }))
    .filter((bar) => Number.isFinite(bar.from) && Number.isFinite(bar.to))
    // Clocks of machines differ a little: a span is never shorter than nothing, and none begins before the upload.
    .map((bar) => ({ ...bar, from: Math.max(0, bar.from), to: Math.max(0, bar.from, bar.to) }))
    .sort((a, b) => a.from - b.from);
  const workers = new Map<string, Lane[]>();
  for (const bar of bars) {
    const lanes = workers.get(bar.span.worker) ?? [];
    workers.set(bar.span.worker, lanes);
    const free = lanes.find((lane) => (lane.bars.at(-1)?.to ?? 0) <= bar.from + 0.001);
    if (free) free.bars.push(bar);
    else lanes.push({ worker: bar.span.worker, slot: lanes.length + 1, bars: [bar] });
  }
  const lanes = [...workers.entries()].sort(([a], [b]) => a.localeCompare(b)).flatMap(([, own]) => own);
  const to = Math.max(0.1, ...bars.map((bar) => bar.to));
  return { lanes, from: 0, to };
}

/** Round numbers for an axis: about as many as wanted, each 1, 2 or 5 times a power of ten (or minutes). */
export function ticks(from: number, to: number, wanted: number): number[] {
  const span = to - from;
  if (!(span > 0)) return [from];
  const rough = span / Math.max(1, wanted);
  const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400];
  const step = steps.find((one) => one >= rough) ?? Math.ceil(rough / 86_400) * 86_400;
  const found: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to + step / 1_000; at += step) found.push(Number(at.toFixed(6)));
  return found;
}
