// How long the stages of the job that is shown took; the timeline finds it out, the flow shows it too.
import type { Timeline } from '../base/shapes';

let shown: { id: string; seconds: Map<string, number> } | undefined;
const watchers = new Set<() => void>();

export function setTimes(timeline: Timeline): void {
  shown = { id: timeline.id, seconds: secondsOf(timeline) };
  for (const watcher of watchers) watcher();
}

export function secondsOf(timeline: Timeline): Map<string, number> {
  const found = new Map<string, number>();
  for (const { name, began_at: began, ended_at: ended } of timeline.stages) {
    if (began === null || ended === null) continue;
    const seconds = (Date.parse(ended) - Date.parse(began)) / 1_000;
    if (Number.isFinite(seconds) && seconds >= 0) found.set(name, seconds);
  }
  return found;
}

export const stageSeconds = (id: string, stage: string): number | null => (shown?.id === id ? (shown.seconds.get(stage) ?? null) : null);

export function watchTimes(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => void watchers.delete(watcher);
}
