// The qualities that a reader can choose, in the form that media-chrome's menu listens to (`video.videoRenditions`).
import type Hls from 'hls.js';

export interface Quality { id: string; width: number; height: number; bitrate: number }

/** A list that media-chrome reads: indexed, iterable, tells of changes. `selectedIndex` -1 is automatic. */
export class Qualities extends EventTarget implements Iterable<Quality> {
  [index: number]: Quality;
  private many = 0;
  private selected = -1;
  choose: (index: number) => void = () => undefined;

  get length(): number {
    return this.many;
  }

  get selectedIndex(): number {
    return this.selected;
  }

  set selectedIndex(index: number) {
    this.selected = index >= 0 && index < this.many ? index : -1;
    this.choose(this.selected);
    this.dispatchEvent(new Event('change'));
  }

  *[Symbol.iterator](): Iterator<Quality> {
    for (let i = 0; i < this.many; i += 1) yield this[i]!;
  }

  fill(qualities: readonly Quality[]): void {
    for (let i = 0; i < this.many; i += 1) delete this[i];
    qualities.forEach((quality, index) => (this[index] = quality));
    this.many = qualities.length;
    if (this.selected >= this.many) this.selected = -1;
    this.dispatchEvent(new Event(this.many === 0 ? 'removerendition' : 'addrendition'));
  }
}

export function followLevels(hls: Hls, qualities: Qualities, Events: typeof Hls.Events): void {
  const fill = (): void =>
    qualities.fill(hls.levels.map((level, index) => ({ id: `${index}-${level.height}`, width: level.width, height: level.height, bitrate: level.bitrate })));
  hls.on(Events.MANIFEST_PARSED, fill);
  hls.on(Events.LEVELS_UPDATED, fill);
  // Switching at the next piece keeps the picture going, where `currentLevel` would stop it to load anew.
  qualities.choose = (index) => void (hls.nextLevel = index);
}
