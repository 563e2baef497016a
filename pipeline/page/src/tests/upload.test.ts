// What the uploads decide: speed, retries, ids, leftovers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Meter } from '../upload/meter';
import { jobIdOf, leftoversIn, mayPass, RETRY_DELAYS_MS } from '../upload/policy';

test('the bytes shown never go down, and a step back starts the speed anew', () => {
  const meter = new Meter();
  meter.count(1_000, 0);
  meter.count(5_000, 1_000);
  assert.equal(meter.speed, 4_000);
  meter.count(2_000, 1_500);
  assert.equal(meter.bytes, 5_000);
  assert.equal(meter.speed, null);
  meter.count(3_000, 2_500);
  assert.equal(meter.speed, 1_000);
  assert.equal(meter.secondsLeft(13_000), 10);
});

test('old samples leave the window and the samples held are few', () => {
  const meter = new Meter();
  for (let i = 0; i <= 20_000; i += 1) meter.count(i < 10_000 ? 0 : (i - 10_000) * 10, i);
  assert.ok(Math.abs((meter.speed ?? 0) - 10_000) < 1_000, String(meter.speed));
});

test('a pause forgets the speed', () => {
  const meter = new Meter();
  meter.count(0, 0);
  meter.count(1_000, 1_000);
  meter.rest();
  assert.equal(meter.speed, null);
  assert.equal(meter.bytes, 1_000);
});

test('what may pass by itself is tried again, refusals are not', () => {
  for (const status of [0, 409, 423, 429, 500, 502, 503]) assert.ok(mayPass(status), String(status));
  for (const status of [400, 404, 410, 413, 415, 507]) assert.ok(!mayPass(status), String(status));
});

test('retries outlast a restart of 20 s', () => {
  assert.ok(RETRY_DELAYS_MS.reduce((sum, delay) => sum + delay, 0) >= 60_000);
});

test('the job is named by the header, else by the address of the upload', () => {
  assert.equal(jobIdOf('01ABC', 'http://host/api/uploads/other'), '01ABC');
  assert.equal(jobIdOf(null, 'http://host/p/api/uploads/01XYZ/?a=b'), '01XYZ');
  assert.equal(jobIdOf(undefined, null), null);
});

test('leftovers are read from storage, foreign entries are not', () => {
  const entries: [string, string][] = [
    ['tus::a::1', JSON.stringify({ size: 10, metadata: { filename: 'x.mp4' }, creationTime: 'now', uploadUrl: 'u' })],
    ['tus::b::2', '{broken'],
    ['tus::c::3', JSON.stringify({ size: null, uploadUrl: 'u' })],
    ['other', '1'],
  ];
  const storage = { length: entries.length, key: (i: number) => entries[i]?.[0] ?? null, getItem: (key: string) => new Map(entries).get(key) ?? null };
  assert.deepEqual(leftoversIn(storage), [{ key: 'tus::a::1', name: 'x.mp4', size: 10, begunAt: 'now', url: 'u' }]);
});
