// Uploads: several at once, an outage in the middle, pause, a reload with the same file chosen again, and a refusal.
import { join } from 'node:path';
import { statSync, writeFileSync, copyFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';

export async function upload({ browser, page: base, shots, check, videos, jobs }) {
  const folder = mkdtempSync(join(tmpdir(), 'streamforge-try-'));
  const biggest = (await videos()).sort((a, b) => statSync(b).size - statSync(a).size)[0];
  if (!biggest) return check(false, 'there is no video to upload');
  const file = join(folder, `upload-${Date.now()}.mp4`);
  copyFileSync(biggest, file);
  const text = join(folder, 'notes.mp4');
  writeFileSync(text, 'This is no video at all, whatever its name says.\n'.repeat(50));
  const context = await browser.newContext({ viewport: { width: 1000, height: 900 } });
  const tab = await context.newPage();
  // The picker that gives handles cannot be driven; the plain one can.
  await tab.addInitScript(() => delete window.showOpenFilePicker);
  await tab.goto(base);
  const slow = await context.newCDPSession(tab);
  const speed = (bytes) => slow.send('Network.emulateNetworkConditions', { offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: bytes });
  await slow.send('Network.enable');
  await speed(4_000_000);
  await tab.setInputFiles('.upload input[type=file]', [file, text]);
  const row = tab.locator('.upload > .uploads > .upload-row').first();
  const share = async () => Number(await row.locator('progress').evaluate((bar) => bar.value));
  await tab.waitForTimeout(2_500);
  await tab.screenshot({ path: join(shots, 'upload.png') });
  console.log('row says:', await row.locator('.hint').innerText());
  const other = tab.locator('.upload > .uploads > .upload-row').nth(1);
  await tab.waitForFunction(() => document.querySelectorAll('.upload-row')[1]?.dataset.phase === 'refused', null, { timeout: 20_000 }).catch(() => undefined);
  check((await other.getAttribute('data-phase')) === 'refused', `no video is refused in words: ${await other.locator('.hint').innerText()}`);

  const seen = [];
  const watch = setInterval(() => void share().then((value) => seen.push(value), () => undefined), 200);
  await fetch(new URL('dev/outage?seconds=6', base), { method: 'POST' });
  await tab.waitForTimeout(2_500);
  console.log('in the outage:', await row.locator('.hint').innerText());
  await tab.screenshot({ path: join(shots, 'upload-outage.png') });
  await tab.waitForTimeout(6_500);
  await row.getByRole('button', { name: /Pause/ }).click();
  const paused = await share();
  await tab.waitForTimeout(1_000);
  check((await share()) === paused, `a pause stops it at ${paused.toFixed(3)}`);
  clearInterval(watch);
  check(seen.every((value, index) => index === 0 || value >= seen[index - 1]), `progress never went down (${seen.length} looks, ${seen[0]?.toFixed(3)} to ${seen.at(-1)?.toFixed(3)})`);

  tab.on('dialog', (dialog) => void dialog.accept());
  await tab.reload();
  await tab.waitForSelector('.left .upload-row', { timeout: 10_000 });
  console.log('after the reload:', await tab.locator('.left .upload-row').innerText());
  await tab.screenshot({ path: join(shots, 'upload-left.png') });
  await speed(-1);
  await tab.locator('.left input[type=file]').setInputFiles(text);
  check(/another file/.test(await tab.locator('.left .hint').nth(1).innerText()), 'another file is not taken for it');
  const patches = [];
  tab.on('request', (request) => void (request.method() === 'PATCH' && patches.push(Number(request.headers()['upload-offset']))));
  await tab.locator('.left input[type=file]').setInputFiles(file);
  const link = tab.locator('.upload > .uploads > .upload-row a.upload-name');
  await link.waitFor({ timeout: 60_000 });
  check(patches[0] > 0, `it goes on at ${patches[0]}`);
  check(!(await tab.locator('.left').isVisible()), 'nothing is left over');
  await tab.screenshot({ path: join(shots, 'upload-done.png') });
  await link.click();
  await tab.waitForSelector('.job-head', { timeout: 20_000 });
  const id = tab.url().split('/').pop();
  check((await jobs()).some((job) => job.id === id), `the row leads to its job ${id}`);
  await tab.waitForTimeout(3_000);
  await tab.screenshot({ path: join(shots, 'job-young.png') });
  await tab.getByRole('button', { name: 'Delete' }).click();
  await tab.waitForTimeout(300);
  await tab.screenshot({ path: join(shots, 'delete.png') });
  await tab.locator('dialog button.danger').click();
  await tab.waitForSelector('.jobs', { timeout: 10_000 });
  check(!(await jobs()).some((job) => job.id === id), 'delete removes it');
  await context.close();
}
