// The qualities that a reader can choose, and the one that was chosen; -1 is automatic.
import type Hls from 'hls.js';

export interface Quality { width: number; height: number; bitrate: number }

export class Qualities {
  all: readonly Quality[] = [];
  chosen = -1;
  /** What plays now, for the word behind "Auto". */
  playing: () => number = () => -1;
  apply: (index: number) => void = () => undefined;
  changed: () => void = () => undefined;

  choose(index: number): void {
    this.chosen = index >= 0 && index < this.all.length ? index : -1;
    this.apply(this.chosen);
    this.changed();
  }
}

/** As people call it: the shorter side of the picture. */
export const qualityName = ({ width, height }: Quality): string => `${Math.min(width, height)}p`;

export function followLevels(hls: Hls, qualities: Qualities, Events: typeof Hls.Events): void {
  const fill = (): void => {
    const before = qualities.all[qualities.chosen];
    qualities.all = hls.levels.map(({ width, height, bitrate }) => ({ width, height, bitrate }));
    // A playlist that was loaded anew may number them otherwise.
    const again = before ? qualities.all.findIndex(({ height }) => height === before.height) : -1;
    qualities.chosen = again;
    if (again >= 0) hls.nextLevel = again;
    qualities.changed();
  };
  hls.on(Events.MANIFEST_PARSED, fill);
  hls.on(Events.LEVELS_UPDATED, fill);
  hls.on(Events.LEVEL_SWITCHED, () => qualities.changed());
  qualities.playing = () => hls.currentLevel;
  // Switching at the next piece keeps the picture going, where `currentLevel` would stop it to load anew.
  qualities.apply = (index) => void (hls.nextLevel = index);
}
