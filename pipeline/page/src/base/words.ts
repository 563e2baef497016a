// Numbers, times and states in words a reader likes.
import type { StageState, State } from './shapes';

const number = (value: number, digits: number): string =>
  value.toLocaleString(undefined, { minimumFractionDigits: 0, maximumFractionDigits: digits });

/** Sizes in decimal units, as disks and networks are sold. */
export function size(bytes: number): string {
  if (bytes < 1_000) return `${number(bytes, 0)} bytes`;
  if (bytes < 100_000) return `${number(bytes / 1e3, 0)} kB`;
  if (bytes < 1e9) return `${number(bytes / 1e6, bytes < 10e6 ? 1 : 0)} MB`;
  return `${number(bytes / 1e9, 2)} GB`;
}

export const rate = (bytesPerSecond: number): string => `${size(bytesPerSecond)}/s`;

export const bitrate = (bits: number): string => (bits < 1e6 ? `${number(bits / 1e3, 0)} kbit/s` : `${number(bits / 1e6, 1)} Mbit/s`);

export const count = (value: number): string => number(value, 0);

export const decimal = (value: number, digits: number): string =>
  value.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });

export const percent = (share: number): string => `${Math.floor(Math.min(1, Math.max(0, share)) * 100)} %`;

/** A length of time in words: "8.4 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  if (seconds < 10) return `${number(seconds, 1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3_600) return joined(Math.floor(whole / 60), 'min', whole % 60, 's');
  const minutes = Math.round(whole / 60);
  if (minutes < 2_880) return joined(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  return joined(Math.floor(minutes / 1_440), 'd', Math.floor((minutes % 1_440) / 60), 'h');
}

const joined = (big: number, bigUnit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;

/** A place in a video as players write it: "1:23", "1:02:03". */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3_600);
  const minutes = Math.floor((whole % 3_600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

let relative: Intl.RelativeTimeFormat | undefined;

/** How long ago something was, in the reader's language. */
export function ago(iso: string, now: number = Date.now()): string {
  const seconds = (now - Date.parse(iso)) / 1_000;
  if (!Number.isFinite(seconds)) return '';
  relative ??= new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'long' });
  if (seconds < 45) return 'just now';
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [[60, 'minute'], [3_600, 'hour'], [86_400, 'day'], [2_592_000, 'month'], [31_536_000, 'year']];
  let [unitSeconds, unit] = steps[0]!;
  for (const [length, name] of steps) if (seconds >= length * 0.9) [unitSeconds, unit] = [length, name];
  return relative.format(-Math.max(1, Math.round(seconds / unitSeconds)), unit);
}

export const date = (iso: string): string =>
  new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export const timeOfDay = (iso: string): string => new Date(iso).toLocaleTimeString(undefined, { timeStyle: 'medium' });

export const stateWord: Record<State, string> = {
  received: 'Received', processing: 'Processing', ready: 'Ready', failed: 'Failed', cancelled: 'Cancelled',
};

export const stageWord: Record<StageState, string> = {
  waiting: 'Waiting', running: 'Running', done: 'Done', failed: 'Failed', skipped: 'Skipped',
};

export const title = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** Names that come from outside may be empty or thousands of characters long. */
export function shownName(name: string): string {
  const trimmed = name.replace(/\s+/g, ' ').trim();
  if (trimmed === '') return 'Video without a name';
  const letters = [...trimmed.slice(0, 400)];
  return letters.length > 160 ? `${letters.slice(0, 159).join('')}…` : letters.join('');
}
