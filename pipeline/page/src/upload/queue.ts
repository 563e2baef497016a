// The uploads of this visit: two at a time, the rest wait; pause, resume, remove; goes on after breaks of any length.
import type { DetailedError, Upload as TusUpload } from 'tus-js-client';
import { at } from '../base/address';
import { refusalOf, wordsOf } from '../base/ask';
import { Meter } from './meter';
import { AT_ONCE, jobIdOf, LONG_WAIT_MS, mayPass, PIECE_BYTES, RETRY_DELAYS_MS } from './policy';

export type Phase = 'queued' | 'sending' | 'paused' | 'interrupted' | 'refused' | 'done';

export interface Entry {
  readonly key: string;
  readonly file: File;
  readonly meter: Meter;
  phase: Phase;
  jobId: string | null;
  problem: string;
  tus: TusUpload | null;
  retryTimer: number;
}

const entries: Entry[] = [];
const watchers = new Set<() => void>();
let numbered = 0;

export const uploads = (): readonly Entry[] => entries;

export function watchUploads(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => void watchers.delete(watcher);
}

export const isBusy = (entry: Entry): boolean => entry.phase === 'queued' || entry.phase === 'sending' || entry.phase === 'interrupted';

function tell(): void {
  for (const watcher of [...watchers]) watcher();
}

export function add(files: Iterable<File>): Entry[] {
  const added: Entry[] = [];
  for (const file of files) {
    // The same file dropped twice is one upload.
    const twin = entries.find((other) => isSame(other.file, file) && other.phase !== 'done' && other.phase !== 'refused');
    if (twin) {
      if (twin.phase === 'paused') resume(twin);
      continue;
    }
    const entry: Entry = {
      key: String((numbered += 1)), file, meter: new Meter(), phase: 'queued', jobId: null, problem: '', tus: null, retryTimer: 0,
    };
    if (file.size === 0) {
      entry.phase = 'refused';
      entry.problem = 'The file is empty.';
    }
    entries.push(entry);
    added.push(entry);
  }
  pump();
  return added;
}

export const isSame = (a: File, b: File): boolean => a.name === b.name && a.size === b.size && a.lastModified === b.lastModified;

export function pause(entry: Entry): void {
  if (!isBusy(entry)) return;
  set(entry, 'paused');
  void entry.tus?.abort();
  entry.meter.rest();
  pump();
}

export function resume(entry: Entry): void {
  if (entry.phase === 'done') return;
  entry.problem = '';
  set(entry, 'queued');
  pump();
}

/** Takes an upload away; what the server has of it is given up. */
export function remove(entry: Entry): void {
  const place = entries.indexOf(entry);
  if (place >= 0) entries.splice(place, 1);
  const wasDone = entry.phase === 'done';
  entry.phase = 'paused';
  clearTimeout(entry.retryTimer);
  if (!wasDone) void entry.tus?.abort(true).catch(() => undefined);
  tell();
  pump();
}

function set(entry: Entry, phase: Phase): void {
  entry.phase = phase;
  clearTimeout(entry.retryTimer);
  tell();
}

function pump(): void {
  const sending = entries.filter((entry) => entry.phase === 'sending').length;
  for (const entry of entries.filter((one) => one.phase === 'queued').slice(0, Math.max(0, AT_ONCE - sending))) void begin(entry);
  tell();
}

async function begin(entry: Entry): Promise<void> {
  set(entry, 'sending');
  try {
    if (!entry.tus) {
      const tus = await import('tus-js-client');
      entry.tus = new tus.Upload(entry.file, {
        endpoint: at('api/uploads'),
        chunkSize: PIECE_BYTES,
        retryDelays: RETRY_DELAYS_MS,
        storeFingerprintForResuming: true,
        removeFingerprintOnSuccess: true,
        metadata: { filename: entry.file.name, filetype: entry.file.type },
        onShouldRetry: (error) => {
          const again = entry.phase === 'sending' && navigator.onLine && mayPass(statusOf(error));
          if (again) {
            entry.problem = 'The connection broke. Trying again…';
            entry.meter.rest();
            tell();
          }
          return again;
        },
        onProgress: (sent) => {
          entry.problem = '';
          entry.meter.count(sent, performance.now());
          tell();
        },
        onAfterResponse: (_, response) => {
          const job = response.getHeader('StreamForge-Job');
          if (job) entry.jobId = job;
        },
        onSuccess: () => {
          entry.meter.count(entry.file.size, performance.now());
          entry.jobId = jobIdOf(entry.jobId, entry.tus?.url ?? null);
          set(entry, 'done');
          pump();
        },
        onError: (error) => failed(entry, error),
      });
      const [previous] = await entry.tus.findPreviousUploads();
      if (previous) entry.tus.resumeFromPreviousUpload(previous);
    }
    // Paused while the client was being loaded.
    if (entry.phase === 'sending') entry.tus.start();
  } catch (error) {
    failed(entry, error);
  }
}

const statusOf = (error: unknown): number => (error as Partial<DetailedError>).originalResponse?.getStatus() ?? 0;

function failed(entry: Entry, error: unknown): void {
  if (entry.phase !== 'sending') return;
  entry.meter.rest();
  const response = (error as Partial<DetailedError>).originalResponse;
  const request = (error as Partial<DetailedError>).originalRequest;
  const status = statusOf(error);
  if (response && !mayPass(status)) {
    entry.problem = wordsOf(refusalOf(status, response.getBody()));
    set(entry, 'refused');
  } else if (!response && !request && !(error instanceof TypeError)) {
    // No request was made: the file cannot be read any more, or the client could not be loaded.
    entry.problem = 'The file could not be read. It may have been moved or changed.';
    set(entry, 'refused');
  } else {
    entry.problem = navigator.onLine ? 'The server cannot be reached. It goes on by itself.' : 'There is no network. It goes on by itself.';
    set(entry, 'interrupted');
    entry.retryTimer = window.setTimeout(() => goOn(entry), LONG_WAIT_MS);
  }
  pump();
}

function goOn(entry: Entry): void {
  if (entry.phase !== 'interrupted') return;
  set(entry, 'queued');
  pump();
}

window.addEventListener('online', () => entries.forEach(goOn));

window.addEventListener('beforeunload', (event) => {
  if (entries.some(isBusy)) event.preventDefault();
});
