// Lanes, axes and the thinning of curves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Span } from '../base/shapes';
import { lanesOf, ticks } from '../job/lanes';
import { nearest, readTable, thin } from '../job/samples';
import { secondsOf } from '../job/times';

const begin = Date.parse('2026-01-01T00:00:00Z');
const iso = (seconds: number): string => new Date(begin + seconds * 1_000).toISOString();
const span = (worker: string, from: number, to: number | null, label = ''): Span =>
  ({ stage: 'transcode', label, index: 0, worker, began_at: iso(from), ended_at: to === null ? null : iso(to) });

test('work at the same time gets lanes of its own, one after the other shares one', () => {
  const chart = lanesOf({ id: 'a', received_at: iso(0), stages: [], spans: [span('b', 0, 4), span('a', 1, 3), span('a', 2, 5), span('a', 3, 4)] }, begin);
  assert.deepEqual(chart.lanes.map((lane) => [lane.worker, lane.slot, lane.bars.length]), [['a', 1, 2], ['a', 2, 1], ['b', 1, 1]]);
  assert.equal(chart.to, 5);
});

test('running work ends now; clocks that differ give nothing negative', () => {
  const chart = lanesOf({ id: 'a', received_at: iso(0), stages: [], spans: [span('a', -2, null)] }, begin + 7_000);
  assert.deepEqual([chart.lanes[0]?.bars[0]?.from, chart.lanes[0]?.bars[0]?.to, chart.lanes[0]?.bars[0]?.isOpen], [0, 7, true]);
  assert.equal(lanesOf({ id: 'a', received_at: iso(0), stages: [], spans: [] }, begin).lanes.length, 0);
});

test('stages that run have no length yet', () => {
  const found = secondsOf({ id: 'a', received_at: iso(0), spans: [], stages: [{ name: 'probe', began_at: iso(1), ended_at: iso(2.5) }, { name: 'split', began_at: iso(2), ended_at: null }] });
  assert.deepEqual([...found], [['probe', 1.5]]);
});

test('axes have round numbers', () => {
  assert.deepEqual(ticks(0, 20, 4), [0, 5, 10, 15, 20]);
  assert.deepEqual(ticks(31.2, 44.8, 3), [35, 40]);
  assert.deepEqual(ticks(5, 5, 3), [5]);
});

test('tables are read by the names of their columns, empty figures are left out', () => {
  const tables = readTable('frame,time_s,psnr_y,vmaf\n0,0.0,40,\n1,0.5,,\n2,1.0,30,\nbroken\n');
  assert.deepEqual(tables.map(({ name, values }) => [name, [...values]]), [['psnr_y', [40, 30]]]);
  assert.deepEqual(readTable(''), []);
});

test('thinning keeps the lowest value and where it was', () => {
  const many = 100_000;
  const series = { name: 'x', times: Float64Array.from({ length: many }, (_, i) => i / 100), values: Float64Array.from({ length: many }, (_, i) => (i === 54_321 ? 1 : 40)) };
  const columns = thin(series, 1_000, 500);
  assert.equal(columns.length, 500);
  const worst = columns.reduce((a, b) => (b.lowest < a.lowest ? b : a));
  assert.equal(worst.lowestAt, 543.21);
  assert.ok(worst.mean > 39.7 && worst.mean < 40);
  assert.equal(nearest(columns, 543)?.lowest, 1);
  assert.equal(nearest([], 1), undefined);
});
