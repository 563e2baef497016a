// The page of one job: watches it, keeps its parts up to date, and loads the player when there is something to play.
import type { Page } from '../app';
import { go } from '../app';
import { at, jobApi } from '../base/address';
import { getJson, Refusal, sentence, wordsOf } from '../base/ask';
import { el, mark, nameOf, say } from '../base/element';
import { icon } from '../base/icons';
import { type Explanation, isEnd, type Job, type Status } from '../base/shapes';
import { duration, percent, shownName } from '../base/words';
import { listen } from '../live/events';
import { isRunning, jobs } from '../live/jobs';
import { cancelJob, deleteJob } from './actions';
import { badge } from './badge';
import { captionsPart, labelsPart, picturesPart } from './content';
import { flowPart } from './flow';
import { historyPart, ledgerPart, sourcePart } from './facts';
import { playerPart } from './watch';
import { qualityPart } from './quality';
import { renditionsPart, sharePart } from './renditions';
import { timelinePart } from './timeline';

/** A part of the page. `update` is called with every new picture of the job; parts that ask for more do so themselves. */
export interface Part { node: HTMLElement; update: (job: Job) => void; close?: () => void }

const REFETCH_APART_MS = 1_200;

export function jobPage(id: string, setTitle: (title: string) => void): Page {
  const stopped = new AbortController();
  const node = el('div.wide.one-job', {}, el('p.hint.loading', {}, 'Loading…'));
  const view = makeView(stopped.signal);
  let job: Job | undefined;
  let fetchedAt = 0;
  let timer = 0;
  let stage: string | null = null;

  async function load(): Promise<void> {
    fetchedAt = Date.now();
    try {
      const [found, explained] = await Promise.all([
        getJson<Job>(jobApi(id), stopped.signal),
        getJson<Explanation>(jobApi(id, '/explain'), stopped.signal).catch(() => null),
      ]);
      const before = job?.progress ?? 0;
      job = { ...found, progress: Math.max(found.progress, before) };
      jobs.put(job);
      if (!view.node.isConnected) node.replaceChildren(view.node);
      setTitle(shownName(job.name));
      view.update(job, explained);
    } catch (error) {
      if (stopped.signal.aborted) return;
      if (error instanceof Refusal && (error.status === 404 || error.status === 400)) gone('There is no such video', 'It may have been deleted, or the address has a mistake.');
      else if (!job) gone('The video could not be loaded', wordsOf(error));
    }
  }

  function refetch(): void {
    clearTimeout(timer);
    timer = window.setTimeout(() => void load(), Math.max(0, fetchedAt + REFETCH_APART_MS - Date.now()));
  }

  function gone(heading: string, words: string): void {
    view.close();
    clearTimeout(timer);
    node.replaceChildren(el('section.empty', {}, el('h1', {}, heading), el('p', {}, words), el('p', {}, el('a', { href: at('') }, 'All videos'))));
  }

  const stop = listen((news) => {
    if (news.kind === 'refresh') refetch();
    if (news.kind === 'deleted' && news.id === id) gone('This video is deleted', 'Its renditions and everything else that was made of it are gone.');
    if (news.kind !== 'status' || news.status.id !== id) return;
    const { status } = news;
    const isStale = !job || job.state !== status.state || job.playable !== status.playable || stage !== status.stage || status.progress - job.progress > 0.004 || isEnd(status.state);
    stage = status.stage;
    if (job) {
      job = { ...job, state: status.state, playable: status.playable, progress: Math.max(job.progress, status.progress) };
      view.live(job, status);
    }
    if (isStale) refetch();
  });
  void load();
  return {
    node,
    title: 'Video',
    close: () => {
      stopped.abort();
      clearTimeout(timer);
      stop();
      view.close();
    },
  };
}

function makeView(signal: AbortSignal) {
  let current: Job | undefined;
  const heading = el('h1', {});
  const state = badge();
  const because = el('p.because', {});
  const news = el('section.card', { 'aria-label': 'How it is coming along' });
  const bar = el('progress', { max: 1, value: 0, 'aria-label': 'Progress' });
  const left = el('span.hint', {});
  const progress = el('div.job-progress', { hidden: true }, bar, left);
  const warnings = el('ul.warnings', { hidden: true });
  const cancel = el('button.plain', { type: 'button', onclick: () => void (current && cancelJob(current)) }, icon('stop'), 'Cancel');
  const drop = el('button.plain', { type: 'button' }, icon('trash'), 'Delete');
  drop.addEventListener('click', () => {
    if (!current) return;
    void deleteJob(current).then((isGone) => void (isGone && go(at(''))));
  });
  const failure = el('section.card.failure', { hidden: true, 'aria-label': 'What went wrong' });
  const watch = playerPart();
  const history = historyPart();
  const quality = qualityPart(signal, (seconds) => watch.seek(seconds));
  const parts: Part[] = [];
  const put = (part: Part): HTMLElement => {
    parts.push(part);
    return part.node;
  };

  const node = el('article', {},
    el('p.crumb', {}, el('a', { href: at('') }, icon('back'), 'All videos')),
    el('header.job-head', {}, el('div.job-title', {}, heading, state.node), el('div.actions', {}, cancel, drop)),
    failure,
    el('div.job-top', {},
      el('div.watching', {}, put(watch), put(flowPart())),
      el('div.side', {}, news, put(sourcePart()), put(labelsPart()))),
    el('div.parts', {},
      put(renditionsPart()), put(quality), put(timelinePart(signal)),
      el('div.half.stack.first', {}, put(sharePart(() => watch.time())), put(captionsPart())),
      el('div.half.stack', {}, put(ledgerPart(signal)), history.node),
      put(picturesPart((seconds) => watch.seek(seconds)))));

  news.append(because, progress, warnings);

  function live(job: Job, status?: Status): void {
    current = job;
    state.show(job.state);
    progress.hidden = !isRunning(job);
    bar.value = job.progress;
    if (status || progress.hidden) say(left, [percent(job.progress), typeof status?.eta_s === 'number' ? `about ${duration(Math.ceil(status.eta_s))} left` : ''].filter(Boolean).join(' · '));
    cancel.hidden = !isRunning(job);
  }

  return {
    node,
    live,
    update(job: Job, explained: Explanation | null) {
      live(job);
      const shown = shownName(job.name);
      if (heading.dataset['name'] !== shown) {
        heading.dataset['name'] = shown;
        heading.replaceChildren(nameOf(shown, job.name));
      }
      if (explained) say(because, sentence(explained.because));
      mark(because, 'hidden', because.textContent === '' ? '' : null);
      warnings.hidden = job.warnings.length === 0;
      if (warnings.childElementCount !== job.warnings.length) warnings.replaceChildren(...job.warnings.map((text) => el('li', { dir: 'auto' }, text)));
      showFailure(failure, job, explained);
      // The sheet above says it already.
      news.hidden = !failure.hidden && job.warnings.length === 0;
      for (const part of parts) part.update(job);
      if (explained) history.show(explained);
    },
    close() {
      for (const part of parts) part.close?.();
    },
  };
}

function showFailure(node: HTMLElement, job: Job, explained: Explanation | null): void {
  node.hidden = job.error === null || job.state !== 'failed';
  if (node.hidden || !job.error) return;
  node.replaceChildren(
    el('h2', {}, icon('warn'), 'It failed'),
    el('p', { dir: 'auto' }, sentence(job.error.message)),
    ...(explained && !explained.because.includes(job.error.message) ? [el('p', { dir: 'auto' }, sentence(explained.because))] : []),
    ...(explained?.advice ? [el('p', {}, explained.advice)] : []),
    el('dl.facts-list', {}, el('div', {}, el('dt', {}, 'Stage'), el('dd', {}, job.error.stage)), el('div', {}, el('dt', {}, 'Code'), el('dd', {}, el('code', {}, job.error.code)))));
}
