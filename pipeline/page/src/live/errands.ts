// Fetches jobs one by one, a few at a time and each no more often than once a second, however many events ask for it.

const AT_ONCE = 3;
const APART_MS = 1_000;
const QUEUE_MOST = 100;

export class Errands {
  private readonly waiting = new Set<string>();
  private readonly asked = new Map<string, number>();
  private running = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly run: (id: string) => Promise<void>,
    /** Called when so many jobs are new that asking for the list is cheaper. */
    private readonly overflow: () => void,
    private readonly now: () => number = Date.now,
  ) {}

  ask(id: string): void {
    if (this.waiting.size >= QUEUE_MOST) {
      this.waiting.clear();
      this.overflow();
      return;
    }
    this.waiting.add(id);
    this.go();
  }

  forget(id: string): void {
    this.waiting.delete(id);
  }

  private go(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const now = this.now();
    for (const [id, when] of this.asked) if (now - when > APART_MS) this.asked.delete(id);
    for (const id of this.waiting) {
      if (this.running >= AT_ONCE) return;
      if (this.asked.has(id)) continue;
      this.waiting.delete(id);
      this.asked.set(id, now);
      this.running += 1;
      void this.run(id).catch(() => undefined).finally(() => {
        this.running -= 1;
        this.go();
      });
    }
    if (this.waiting.size > 0) this.timer = setTimeout(() => this.go(), APART_MS / 4);
  }
}
