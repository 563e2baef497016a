// The jobs as the app knows them: asks for pages, takes the events in, tells those who show them.
import { at, jobApi } from '../base/address';
import { getJson, Refusal, wordsOf } from '../base/ask';
import { isEnd, type Job, type JobPage, type State } from '../base/shapes';
import { Errands } from './errands';
import { listen } from './events';
import { Roll, type Row } from './roll';

const PAGE = 50;

export type Change = { what: 'list' } | { what: 'row'; row: Row };

export class Jobs {
  readonly roll = new Roll();
  cursor: string | null = null;
  isLoading = false;
  isLoaded = false;
  trouble = '';
  private state: State | '' = '';
  private round = 0;
  private readonly watchers = new Set<(change: Change) => void>();
  private readonly errands = new Errands((id) => this.fetchOne(id), () => void this.reload());

  constructor() {
    listen((news) => {
      if (news.kind === 'refresh') void this.reload();
      if (news.kind === 'deleted') this.remove(news.id);
      if (news.kind !== 'status') return;
      const { known, isStale } = this.roll.take(news.status);
      const row = this.roll.row(news.status.id);
      if (row) this.tell({ what: 'row', row });
      if (isStale && (known || this.isLoaded)) this.errands.ask(news.status.id);
    });
  }

  watch(watcher: (change: Change) => void): () => void {
    this.watchers.add(watcher);
    return () => void this.watchers.delete(watcher);
  }

  get filter(): State | '' {
    return this.state;
  }

  setFilter(state: State | ''): void {
    if (state === this.state) return;
    this.state = state;
    this.roll.clear();
    this.cursor = null;
    this.isLoaded = false;
    void this.reload();
  }

  async reload(): Promise<void> {
    await this.load(null);
  }

  async older(): Promise<void> {
    if (this.cursor !== null) await this.load(this.cursor);
  }

  /** Takes a job in that was fetched elsewhere, such as by its own page. */
  put(job: Job): void {
    if (!this.roll.has(job.id)) return;
    this.roll.add([job]);
    const row = this.roll.row(job.id);
    if (row) this.tell({ what: 'row', row });
  }

  remove(id: string): void {
    this.errands.forget(id);
    if (this.roll.remove(id)) this.tell({ what: 'list' });
  }

  private async load(after: string | null): Promise<void> {
    const round = ++this.round;
    this.isLoading = true;
    this.tell({ what: 'list' });
    const query = new URLSearchParams({ limit: String(PAGE), ...(after !== null && { after }), ...(this.state !== '' && { state: this.state }) });
    try {
      const page = await getJson<JobPage>(at(`api/jobs?${query}`));
      if (round !== this.round) return;
      const hadMore = this.roll.size > PAGE;
      if (after === null) this.roll.replaceHead(page.jobs, page.next !== null);
      else this.roll.add(page.jobs);
      // A reload of the newest leaves the older ones that are shown, and with them the place to go on from.
      if (after !== null || !hadMore) this.cursor = page.next;
      this.trouble = '';
      this.isLoaded = true;
    } catch (error) {
      if (round === this.round) this.trouble = wordsOf(error);
    } finally {
      if (round === this.round) {
        this.isLoading = false;
        this.tell({ what: 'list' });
      }
    }
  }

  private async fetchOne(id: string): Promise<void> {
    try {
      const job = await getJson<Job>(jobApi(id));
      const isNew = !this.roll.has(id);
      if (isNew && this.state !== '' && job.state !== this.state) return;
      this.roll.add([job]);
      const row = this.roll.row(id);
      if (isNew) this.tell({ what: 'list' });
      else if (row) this.tell({ what: 'row', row });
    } catch (error) {
      if (error instanceof Refusal && error.status === 404) this.remove(id);
    }
  }

  private tell(change: Change): void {
    for (const watcher of [...this.watchers]) watcher(change);
  }
}

export const jobs = new Jobs();

export const isRunning = (job: Job): boolean => !isEnd(job.state);
