// The held list of jobs, and the errands that fetch single ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job, Status } from '../base/shapes';
import { Errands } from '../live/errands';
import { Roll } from '../live/roll';

const job = (number: number, more: Partial<Job> = {}): Job => ({
  id: `J${String(number).padStart(6, '0')}`, name: `video ${number}`, state: 'processing', progress: 0, playable: false,
  received_at: new Date(1_700_000_000_000 + number * 1_000).toISOString(), playable_at: null, finished_at: null, source: null, stages: [], renditions: [],
  hls: null, dash: null, poster: null, storyboard: null, pictures: null, captions: null, content: null, error: null, warnings: [], ...more,
});
const status = (number: number, progress: number, more: Partial<Status> = {}): Status =>
  ({ id: job(number).id, state: 'processing', progress, playable: false, stage: null, eta_s: 5, ...more });

test('newest first, bounded', () => {
  const roll = new Roll(3);
  roll.add([job(1), job(4), job(2), job(3)]);
  assert.deepEqual(roll.all.map((row) => row.job.name), ['video 4', 'video 3', 'video 2']);
  assert.ok(roll.isCut);
  assert.ok(!roll.has(job(1).id));
});

test('progress never goes down, and an end is not taken back by a late page', () => {
  const roll = new Roll();
  roll.add([job(1)]);
  roll.take(status(1, 0.6));
  roll.take(status(1, 0.4));
  roll.add([job(1, { progress: 0.5 })]);
  assert.equal(roll.row(job(1).id)?.job.progress, 0.6);
  roll.take(status(1, 1, { state: 'ready' }));
  roll.add([job(1, { progress: 0.9 })]);
  assert.equal(roll.row(job(1).id)?.job.state, 'ready');
});

test('a status says whether the rest of the job has to be asked for', () => {
  const roll = new Roll();
  roll.add([job(1)]);
  assert.deepEqual(roll.take(status(1, 0.1)), { known: true, isStale: false });
  assert.equal(roll.take(status(1, 0.1, { playable: true })).isStale, true);
  assert.equal(roll.take(status(1, 0.1, { playable: true, stage: 'stitch' })).isStale, true);
  assert.deepEqual(roll.take(status(9, 0.1)), { known: false, isStale: true });
});

test('a first page takes away what is gone, and leaves what is older than it', () => {
  const roll = new Roll();
  roll.add([job(1), job(2), job(3), job(4)]);
  roll.replaceHead([job(4), job(2)], true);
  assert.deepEqual(roll.all.map((row) => row.job.name), ['video 4', 'video 2', 'video 1']);
  roll.replaceHead([job(4)], false);
  assert.deepEqual(roll.all.map((row) => row.job.name), ['video 4']);
});

test('search looks at names and labels, all words must fit', () => {
  const roll = new Roll();
  const content = { unavailable: null, kind: 'camera', labels: [{ name: 'Little motion', confidence: 1, origin: 'signals' as const, because: '' }], frames: 1, maker: '', model: '', version: '', no_model: null };
  roll.add([job(1, { content }), job(2, { state: 'failed' })]);
  assert.equal(roll.filtered('', 'motion VIDEO').length, 1);
  assert.equal(roll.filtered('failed', '').length, 1);
  assert.equal(roll.filtered('', 'nothing').length, 0);
});

test('many asks for one job become few fetches, a flood becomes one reload', async () => {
  let fetched = 0;
  let reloads = 0;
  const errands = new Errands(async () => void (fetched += 1), () => (reloads += 1), () => 0);
  for (let i = 0; i < 50; i += 1) errands.ask('one');
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(fetched, 1);
  errands.forget('one');
  for (let i = 0; i < 150; i += 1) errands.ask(`job ${i}`);
  assert.ok(reloads >= 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
});
