// The list of jobs that is held: bounded, newest first, told what changes. Pure: knows no network and no page.
import { isEnd, type Job, type State, type Status } from '../base/shapes';

export const MOST = 500;

export interface Row { job: Job; stage: string | null; etaSeconds: number | null }

export class Roll {
  private rows = new Map<string, Row>();
  private order: Row[] = [];
  /** Whether rows were let go to stay within the bound. */
  isCut = false;

  constructor(private readonly most: number = MOST) {}

  get all(): readonly Row[] {
    return this.order;
  }

  get size(): number {
    return this.order.length;
  }

  has(id: string): boolean {
    return this.rows.has(id);
  }

  row(id: string): Row | undefined {
    return this.rows.get(id);
  }

  /** Forgets all, for another filter. */
  clear(): void {
    this.rows.clear();
    this.order = [];
    this.isCut = false;
  }

  /** Takes the first page as the truth: what should be on it and is not, is gone. */
  replaceHead(jobs: readonly Job[], hasMore: boolean): void {
    const listed = new Set(jobs.map((job) => job.id));
    const oldest = jobs.at(-1);
    for (const row of this.order) {
      const belongs = !hasMore || (oldest !== undefined && isNewer(row.job, oldest));
      if (belongs && !listed.has(row.job.id)) this.rows.delete(row.job.id);
    }
    this.add(jobs);
  }

  add(jobs: readonly Job[]): void {
    for (const job of jobs) {
      const known = this.rows.get(job.id);
      // A page asked for before an event and answered after it must not turn the bar back.
      if (known && isEnd(known.job.state) && !isEnd(job.state)) continue;
      const progress = Math.max(job.progress, known?.job.progress ?? 0);
      this.rows.set(job.id, { job: { ...job, progress }, stage: known?.stage ?? null, etaSeconds: isEnd(job.state) ? null : (known?.etaSeconds ?? null) });
    }
    this.order = [...this.rows.values()].sort((a, b) => (isNewer(a.job, b.job) ? -1 : 1));
    while (this.order.length > this.most) {
      const last = this.order.pop();
      if (last) this.rows.delete(last.job.id);
      this.isCut = true;
    }
  }

  remove(id: string): boolean {
    if (!this.rows.delete(id)) return false;
    this.order = this.order.filter((row) => row.job.id !== id);
    return true;
  }

  /** Takes a status in. Says whether the job is known, and whether the rest of it must be asked for again. */
  take(status: Status): { known: boolean; isStale: boolean } {
    const row = this.rows.get(status.id);
    if (!row) return { known: false, isStale: true };
    const { job } = row;
    const isStale = job.state !== status.state || job.playable !== status.playable || row.stage !== status.stage || isEnd(status.state);
    job.state = status.state;
    job.playable = status.playable;
    job.progress = Math.max(job.progress, status.progress);
    row.stage = status.stage;
    row.etaSeconds = isEnd(status.state) ? null : status.eta_s;
    return { known: true, isStale };
  }

  filtered(state: State | '', words: string): readonly Row[] {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    if (state === '' && wanted.length === 0) return this.order;
    return this.order.filter(({ job }) => {
      if (state !== '' && job.state !== state) return false;
      if (wanted.length === 0) return true;
      const text = `${job.name} ${job.id} ${job.content?.kind ?? ''} ${job.content?.labels.map((label) => label.name).join(' ') ?? ''}`.toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
  }
}

// Ids are ULIDs: they sort by time where two jobs came in the same moment.
const isNewer = (a: Job, b: Job): boolean =>
  a.received_at === b.received_at ? a.id > b.id : Date.parse(a.received_at) > Date.parse(b.received_at);
