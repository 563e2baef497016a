// Words, addresses and start times.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeOf } from '../base/address';
import { refusalOf, sentence } from '../base/ask';
import { ago, clock, duration, shownName, size } from '../base/words';
import { startTime } from '../player/start';
import { readTask } from '../workers/task';

test('addresses below any prefix', () => {
  assert.deepEqual(placeOf('/', '/'), { page: 'home' });
  assert.deepEqual(placeOf('/media', '/media/'), { page: 'home' });
  assert.deepEqual(placeOf('/media/jobs/01A', '/media/'), { page: 'job', id: '01A' });
  assert.deepEqual(placeOf('/media/jobs/01A/', '/media/'), { page: 'job', id: '01A' });
  assert.deepEqual(placeOf('/workers', '/'), { page: 'workers' });
  assert.deepEqual(placeOf('/jobs', '/'), { page: 'lost' });
  assert.deepEqual(placeOf('/jobs/a/b', '/'), { page: 'lost' });
  assert.deepEqual(placeOf('/jobs/%E0%A4', '/'), { page: 'job', id: '%E0%A4' });
});

test('start times', () => {
  for (const [text, seconds] of [['83', 83], ['83s', 83], ['1m23s', 83], ['1h2m3s', 3_723], ['2m', 120], ['1:23', 83], ['1:02:03', 3_723], ['7.5', 7.5]] as const) {
    assert.equal(startTime(`?t=${text}`), seconds, text);
  }
  for (const text of ['', 'x', '1m23', '-5', '1:2']) assert.equal(startTime(`?t=${text}`), null, text);
  assert.equal(startTime('?a=1'), null);
});

test('sizes, durations and clocks', () => {
  assert.equal(size(999), '999 bytes');
  assert.match(size(1_874_097), /^1[.,]9 MB$/);
  assert.equal(duration(83), '1 min 23 s');
  assert.equal(duration(59.7), '1 min');
  assert.equal(duration(7_500), '2 h 5 min');
  assert.equal(duration(Number.NaN), '–');
  assert.equal(clock(3_723), '1:02:03');
  assert.equal(clock(83.9), '1:23');
});

test('ages say the unit that fits', () => {
  const now = Date.parse('2026-01-10T12:00:00Z');
  assert.equal(ago('2026-01-10T11:59:50Z', now), 'just now');
  assert.match(ago('2026-01-10T09:00:00Z', now), /3/);
  assert.equal(ago('never', now), '');
});

test('names of thousands of letters are cut between letters, never within one', () => {
  const cut = shownName('🏖'.repeat(4_000));
  assert.equal([...cut].length, 160);
  assert.ok(!/[\ud800-\udbff]$/.test(cut.slice(0, -1).slice(-1)) || cut.endsWith('…'));
  assert.equal(shownName(' \n '), 'Video without a name');
});

test('problems speak for themselves, other answers get words', () => {
  assert.equal(refusalOf(413, '{"detail":"the file has more than 500 MB","code":"too_large"}').message, 'The file has more than 500 MB.');
  assert.equal(refusalOf(502, '<html>').message, 'The server answered 502.');
  assert.equal(refusalOf(500, 'null').message, 'The server answered 500.');
  assert.equal(sentence('  what?'), 'What?');
});

test('tasks of workers name a job', () => {
  assert.deepEqual(readTask('transcode 3/9 of 01M8BTBDYR32F62TYE4HWVCPWK, attempt 1'), { before: 'transcode 3/9 of', job: '01M8BTBDYR32F62TYE4HWVCPWK', after: ', attempt 1' });
  assert.equal(readTask('idle'), null);
});
