// Every page at two widths in both schemes: a picture of each, axe-core, no sideways scroll, no error in the console.
import { join } from 'node:path';
import { violationsOn } from './axe.mjs';

export async function pages({ browser, page: base, shots, check, axe, jobs }) {
  const known = await jobs();
  const ready = known.find((job) => job.state === 'ready' && job.pictures && job.renditions.length > 1) ?? known.find((job) => job.state === 'ready');
  const failed = known.find((job) => job.state === 'failed');
  const list = [['home', ''], ['workers', 'workers'], ['lost', 'jobs/01M8BTBDYR32F62TYE4HWVCPWX']];
  if (ready) list.push(['job', `jobs/${ready.id}`], ['embed', `embed/${ready.id}`]);
  if (failed) list.push(['failed', `jobs/${failed.id}`]);
  for (const width of [360, 1440]) {
    for (const scheme of ['light', 'dark']) {
      const context = await browser.newContext({ viewport: { width, height: width === 360 ? 740 : 900 }, colorScheme: scheme, locale: 'en-GB', bypassCSP: false });
      for (const [name, path] of list) {
        const tab = await context.newPage();
        const errors = [];
        tab.on('console', (message) => void (message.type() === 'error' && !/404|409/.test(message.text()) && errors.push(message.text())));
        tab.on('pageerror', (error) => errors.push(String(error)));
        await tab.goto(new URL(path, base).href);
        await tab.waitForTimeout(name === 'job' || name === 'embed' ? 3_000 : 1_200);
        const where = `${name} ${width} ${scheme}`;
        const sideways = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        check(sideways <= 0, `${where}: no sideways scroll (${sideways})`);
        check(errors.length === 0, `${where}: quiet console ${errors.join(' | ').slice(0, 400)}`);
        await tab.screenshot({ path: join(shots, `${name}-${width}-${scheme}.png`), fullPage: name !== 'embed' });
        const violations = await violationsOn(tab, axe);
        check(violations.length === 0, `${where}: axe ${violations.length === 0 ? 'finds nothing' : JSON.stringify(violations).slice(0, 900)}`);
        await tab.close();
      }
      await context.close();
    }
  }
}
