// How fast an upload goes and how long it will take; pure. Progress that is shown never goes down.

const WINDOW_MS = 8_000;

export class Meter {
  private samples: { at: number; bytes: number }[] = [];
  private shown = 0;

  /** Takes a new count of bytes; a smaller one (a resumed upload begins at what the server has) only restarts the speed. */
  count(bytes: number, at: number): void {
    const last = this.samples.at(-1);
    if (last && bytes < last.bytes) this.samples = [];
    this.samples.push({ at, bytes });
    while (this.samples.length > 2 && at - this.samples[0]!.at > WINDOW_MS) this.samples.shift();
    if (this.samples.length > 200) this.samples.splice(1, 100);
    this.shown = Math.max(this.shown, bytes);
  }

  /** A pause is not slowness. */
  rest(): void {
    this.samples = [];
  }

  get bytes(): number {
    return this.shown;
  }

  get speed(): number | null {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < 400) return null;
    return ((last.bytes - first.bytes) / (last.at - first.at)) * 1_000;
  }

  secondsLeft(total: number): number | null {
    const { speed } = this;
    const real = this.samples.at(-1)?.bytes ?? this.shown;
    return speed !== null && speed > 0 ? Math.max(0, (total - real) / speed) : null;
  }
}
