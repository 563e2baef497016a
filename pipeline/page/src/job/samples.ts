// Figures of each frame, and their thinning for a chart: every column of pixels shows the lowest and the mean; pure.

export interface Series { name: string; times: Float64Array; values: Float64Array }
export interface Column { from: number; lowest: number; lowestAt: number; mean: number; highest: number }

/** Reads the table of a rendition. Columns without any figure are left out; a figure that is missing is not counted. */
export function readTable(csv: string): Series[] {
  const lines = csv.split(/\r?\n/);
  const names = (lines[0] ?? '').split(',');
  const timeColumn = names.indexOf('time_s');
  if (timeColumn < 0) return [];
  const found = names.map((name) => ({ name, times: [] as number[], values: [] as number[] }));
  for (let i = 1; i < lines.length; i += 1) {
    const cells = (lines[i] ?? '').split(',');
    const time = Number(cells[timeColumn]);
    if (cells.length < 2 || !Number.isFinite(time)) continue;
    found.forEach((series, column) => {
      const cell = cells[column];
      if (column === timeColumn || series.name === 'frame' || cell === undefined || cell === '') return;
      const value = Number(cell);
      if (!Number.isFinite(value)) return;
      series.times.push(time);
      series.values.push(value);
    });
  }
  return found.filter((series) => series.values.length > 0)
    .map((series) => ({ name: series.name, times: Float64Array.from(series.times), values: Float64Array.from(series.values) }));
}

/** One column a pixel at most; a column without a frame is not there. */
export function thin(series: Series, end: number, columns: number): Column[] {
  const found: Column[] = [];
  const width = end / Math.max(1, columns);
  let at = -1;
  let sum = 0;
  let many = 0;
  let now: Column | undefined;
  const close = (): void => {
    if (now) now.mean = sum / many;
  };
  for (let i = 0; i < series.values.length; i += 1) {
    const time = series.times[i]!;
    const value = series.values[i]!;
    const column = Math.min(columns - 1, Math.max(0, Math.floor(time / width)));
    if (column !== at || !now) {
      close();
      now = { from: time, lowest: value, lowestAt: time, mean: value, highest: value };
      found.push(now);
      at = column;
      sum = 0;
      many = 0;
    }
    sum += value;
    many += 1;
    if (value < now.lowest) [now.lowest, now.lowestAt] = [value, time];
    if (value > now.highest) now.highest = value;
  }
  close();
  return found;
}

/** The column that is nearest to a time. */
export function nearest(columns: readonly Column[], time: number): Column | undefined {
  let low = 0;
  let high = columns.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (columns[middle]!.from < time) low = middle + 1;
    else high = middle;
  }
  const after = columns[low];
  const before = columns[low - 1];
  if (!after || !before) return after ?? before;
  return time - before.from <= after.from - time ? before : after;
}
