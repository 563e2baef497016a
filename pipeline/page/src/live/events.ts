// The one EventSource of the whole app. Others listen here; nobody else opens a stream.
import { at } from '../base/address';
import type { Status } from '../base/shapes';

export type News =
  | { kind: 'status'; status: Status }
  | { kind: 'deleted'; id: string }
  /** Something may have been missed: what is shown must be asked for again. */
  | { kind: 'refresh' }
  | { kind: 'connection'; live: boolean };

type Listener = (news: News) => void;

const listeners = new Set<Listener>();
let source: EventSource | undefined;
let wait = 1_000;
let timer = 0;
let isLive = false;
let wasOpen = false;

/** Listens until the returned function is called. */
export function listen(listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export const connected = (): boolean => isLive;

function tell(news: News): void {
  for (const listener of [...listeners]) listener(news);
}

function setLive(live: boolean): void {
  if (live === isLive) return;
  isLive = live;
  tell({ kind: 'connection', live });
}

export function start(): void {
  clearTimeout(timer);
  source?.close();
  source = new EventSource(at('api/events'));
  source.addEventListener('open', () => {
    wait = 1_000;
    setLive(true);
    // The first answer needs no reload: pages ask for what they show when they open.
    if (wasOpen) tell({ kind: 'refresh' });
    wasOpen = true;
  });
  source.addEventListener('error', () => {
    setLive(false);
    // A broken connection is taken up again by the browser itself; a refused one (a proxy's 502) is not.
    if (source?.readyState === EventSource.CLOSED) {
      timer = window.setTimeout(start, wait);
      wait = Math.min(wait * 2, 15_000);
    }
  });
  const status = (event: MessageEvent<string>): void => {
    const heard = parsed<Status>(event.data);
    if (heard?.id) tell({ kind: 'status', status: heard });
  };
  source.addEventListener('progress', status);
  source.addEventListener('end', status);
  source.addEventListener('deleted', (event: MessageEvent<string>) => {
    const heard = parsed<{ id: string }>(event.data);
    if (heard?.id) tell({ kind: 'deleted', id: heard.id });
  });
  source.addEventListener('refresh', () => tell({ kind: 'refresh' }));
  window.addEventListener('online', again);
}

function again(): void {
  if (source?.readyState === EventSource.CLOSED) start();
}

function parsed<T>(text: string): T | null {
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}
