// The flow: the stages as the graph that they are, with what is done of each.
import { el, mark, say, svg } from '../base/element';
import { icon, setIcon } from '../base/icons';
import type { Job, Stage } from '../base/shapes';
import { count, duration, stageWord, title } from '../base/words';
import { stageIcon } from './badge';
import type { Part } from './page';
import { stageSeconds, watchTimes } from './times';

interface Stop { name: string; after: string | null; does: string; additional: boolean }

const stops: Stop[] = [
  { name: 'probe', after: null, does: 'Looks at the file', additional: false },
  { name: 'split', after: 'probe', does: 'Cuts it into chunks', additional: false },
  { name: 'transcode', after: 'split', does: 'Encodes each chunk', additional: false },
  { name: 'stitch', after: 'transcode', does: 'Joins the renditions', additional: false },
  { name: 'assess', after: 'stitch', does: 'Measures the quality', additional: true },
  { name: 'illustrate', after: 'probe', does: 'Makes the pictures', additional: true },
  { name: 'caption', after: 'probe', does: 'Writes what is said', additional: true },
  { name: 'classify', after: 'probe', does: 'Names what is seen', additional: true },
];

export function flowPart(): Part {
  const lines = svg('svg', { class: 'flow-lines', 'aria-hidden': 'true', focusable: 'false' });
  const nodes = new Map(stops.map((stop) => [stop.name, makeStop(stop)]));
  const list = el('ol.flow', {}, ...stops.map((stop) => nodes.get(stop.name)!.node));
  const board = el('div.flow-board', {}, lines, list);
  const node = el('section.card', {}, el('h2', {}, 'Flow'), board);
  const paths = new Map(stops.filter((stop) => stop.after !== null).map((stop) => {
    const path = svg('path', {});
    lines.append(path);
    return [stop.name, path];
  }));

  const draw = (): void => {
    const frame = board.getBoundingClientRect();
    if (frame.width === 0) return;
    mark(lines, 'viewBox', `0 0 ${frame.width} ${frame.height}`);
    const box = (name: string): { x: number; y: number; w: number; h: number } => {
      const rect = nodes.get(name)!.node.getBoundingClientRect();
      return { x: rect.x - frame.x, y: rect.y - frame.y, w: rect.width, h: rect.height };
    };
    // The style decides by the room there is; the lines follow what it did.
    const isUpright = Math.abs(box('probe').x - box('split').x) < 4;
    for (const stop of stops) {
      if (stop.after === null) continue;
      mark(paths.get(stop.name)!, 'd', route(box(stop.after), box(stop.name), isUpright));
    }
  };
  const observer = new ResizeObserver(draw);
  observer.observe(board);
  let last: Job | undefined;
  const show = (job: Job): void => {
    last = job;
    for (const stop of stops) {
      const stage = stageOf(job, stop.name);
      nodes.get(stop.name)!.show(stage, stageSeconds(job.id, stop.name));
      const path = paths.get(stop.name);
      if (path) path.dataset['state'] = stage?.state ?? 'waiting';
    }
  };
  const stopTimes = watchTimes(() => void (last && show(last)));
  return {
    node,
    update: show,
    close: () => {
      observer.disconnect();
      stopTimes();
    },
  };
}

/**
 * A server that was restarted no longer lists a stage whose result it still has: figures of quality come of assess alone. Of a job that
 * came to nothing, nothing begins any more.
 */
function stageOf(job: Job, name: string): Stage | undefined {
  const listed = job.stages.find((one) => one.name === name);
  if (!listed && (job.state === 'failed' || job.state === 'cancelled')) return { name, state: 'skipped', done: 0, total: 1 };
  if (listed || name !== 'assess' || !job.renditions.some((one) => typeof one.psnr_db === 'number')) return listed;
  return { name, state: 'done', done: 1, total: 1 };
}

interface Box { x: number; y: number; w: number; h: number }

/** The way of a line between two boxes: straight where they are neighbours, else along a rail with round corners. */
function route(from: Box, to: Box, isUpright: boolean): string {
  const isBeside = Math.abs(from.y - to.y) < 4;
  if (isBeside) return `M${from.x + from.w} ${from.y + from.h / 2}H${to.x}`;
  const isBelow = Math.abs(from.x - to.x) < 4;
  if (isBelow) return `M${from.x + from.w / 2} ${from.y + from.h}V${to.y}`;
  const corner = 10;
  if (isUpright) {
    const rail = to.x - 12;
    const end = to.y + to.h / 2;
    return `M${from.x + from.w} ${from.y + from.h / 2}H${rail - corner}Q${rail} ${from.y + from.h / 2} ${rail} ${from.y + from.h / 2 + corner}V${end - corner}Q${rail} ${end} ${to.x} ${end}`;
  }
  const start = from.x + from.w / 2;
  const rail = to.y - 18;
  const end = to.x + to.w / 2;
  return `M${start} ${from.y + from.h}V${rail - corner}Q${start} ${rail} ${start + corner} ${rail}H${end - corner}Q${end} ${rail} ${end} ${rail + corner}V${to.y}`;
}

function makeStop(stop: Stop): { node: HTMLElement; show: (stage: Stage | undefined, seconds: number | null) => void } {
  const sign = icon('clock');
  const state = el('span.stop-state', {});
  const counts = el('span.stop-count', {});
  const time = el('span.stop-time', {});
  const fill = el('span.stop-fill', { 'aria-hidden': 'true' });
  const node = el('li.stop', { class: `stop stop-${stop.name}` }, fill, el('strong', {}, title(stop.name)), sign,
    el('span.stop-does', {}, stop.does), el('span.quiet', {}, stop.after === null ? '. First stage. ' : `. After ${stop.after}. `), el('span.stop-line', {}, state, counts, time));
  node.classList.toggle('additional', stop.additional);
  return {
    node,
    show: (stage, seconds) => {
      const now = stage?.state ?? 'waiting';
      node.dataset['state'] = now;
      setIcon(sign, stageIcon[now]);
      say(state, stage ? stageWord[now] : 'Not begun');
      say(counts, stage && stage.total > 1 ? ` ${count(stage.done)}/${count(stage.total)}` : '');
      say(time, seconds === null ? '' : ` ${duration(seconds)}`);
      fill.style.setProperty('--share', String(now === 'done' ? 1 : stage && stage.total > 0 ? stage.done / stage.total : 0));
    },
  };
}
