// The page of the workers: who is there, on which stages, with what in hand. Asks every 5 s, only while it is seen.
import type { Page } from '../app';
import { at } from '../base/address';
import { getJson, wordsOf } from '../base/ask';
import { el, Keyed, mark, say } from '../base/element';
import { icon } from '../base/icons';
import type { Worker } from '../base/shapes';
import { ago, percent, title } from '../base/words';
import { readTask } from './task';

const APART_MS = 5_000;

export function workersPage(): Page {
  const list = el('ul.workers', {});
  const rows = new Keyed<Worker>(list, (worker) => worker.id, makeCard);
  const summary = el('p.hint', {}, 'Loading…');
  const trouble = el('p.trouble', { role: 'alert', hidden: true });
  const node = el('div.wide', {}, el('h1', {}, 'Workers'), summary, trouble, list);
  const stopped = new AbortController();
  let timer = 0;

  async function load(): Promise<void> {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const { workers } = await getJson<{ workers: Worker[] }>(at('api/workers'), stopped.signal);
      rows.show(workers);
      const alive = workers.filter((worker) => worker.state === 'alive');
      const slots = alive.flatMap((worker) => worker.stages).reduce((sum, stage) => sum + stage.slots, 0);
      const busy = alive.flatMap((worker) => worker.stages).reduce((sum, stage) => sum + stage.busy, 0);
      say(summary, alive.length === 0 ? 'No worker is there: uploads wait until one comes.' : `${alive.length} ${alive.length === 1 ? 'worker' : 'workers'}, ${busy} of ${slots} slots busy.`);
      trouble.hidden = true;
    } catch (error) {
      if (stopped.signal.aborted) return;
      trouble.hidden = false;
      say(trouble, wordsOf(error));
    }
    timer = window.setTimeout(() => void load(), APART_MS);
  }
  const seen = (): void => void (document.hidden || load());
  document.addEventListener('visibilitychange', seen);
  void load();
  return {
    node,
    title: 'Workers',
    close: () => {
      stopped.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    },
  };
}

function makeCard(first: Worker): { node: HTMLElement; update: (worker: Worker) => void } {
  const sign = el('span.badge', {});
  const facts = el('span.hint', {});
  const load = el('meter', { min: 0, max: 1, value: 0, 'aria-label': `Load of ${first.id}` });
  const share = el('span.hint', {});
  const stages = el('ul.slots', {});
  const tasks = el('ul.tasks', {});
  const idle = el('p.hint', {}, 'Has nothing in hand.');
  const node = el('li.card.worker', {}, el('div.worker-head', {}, el('h2', {}, el('bdi', { class: 'name' }, first.id)), sign), facts,
    el('div.load', {}, load, share), stages, tasks, idle);
  let shownStages = '';
  let shownTasks: string | null = null;
  return {
    node,
    update: (worker) => {
      const isAlive = worker.state === 'alive';
      mark(sign, 'data-state', isAlive ? 'ready' : 'cancelled');
      if (sign.childElementCount === 0 || sign.dataset['word'] !== worker.state) {
        sign.dataset['word'] = worker.state;
        sign.replaceChildren(icon(isAlive ? 'check' : 'stop'), el('span', {}, isAlive ? 'Alive' : 'Gone'));
      }
      say(facts, `Version ${worker.version}, started ${ago(worker.started_at)}${isAlive ? '' : `, last seen ${ago(worker.seen_at)}`}`);
      load.value = worker.load;
      say(share, `${percent(worker.load)} busy`);
      const nowStages = JSON.stringify(worker.stages);
      if (nowStages !== shownStages) {
        shownStages = nowStages;
        stages.replaceChildren(...worker.stages.map(slotRow));
      }
      const nowTasks = JSON.stringify(worker.current);
      if (nowTasks !== shownTasks) {
        shownTasks = nowTasks;
        tasks.replaceChildren(...worker.current.map(taskRow));
        tasks.hidden = worker.current.length === 0;
        idle.hidden = worker.current.length > 0;
      }
    },
  };
}

function slotRow(stage: Worker['stages'][number]): HTMLElement {
  const dots = el('span.dots', { 'aria-hidden': 'true' });
  for (let i = 0; i < Math.min(stage.slots, 32); i += 1) dots.append(el('i', { 'data-busy': i < stage.busy ? '' : null }));
  return el('li', {}, el('span', {}, title(stage.name)), dots, el('span.hint', {}, `${stage.busy} of ${stage.slots}`));
}

function taskRow(text: string): HTMLElement {
  const task = readTask(text);
  if (!task) return el('li', {}, text);
  return el('li', {}, `${task.before} `, el('a', { href: at(`jobs/${encodeURIComponent(task.job)}`) }, task.job), task.after);
}
