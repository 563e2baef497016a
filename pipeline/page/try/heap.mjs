// The heap over thousands of events: made-up ones through the development server, for jobs that are listed.

export async function heap({ browser, page: base, check, jobs }) {
  const ids = (await jobs()).slice(0, 20).map((job) => job.id);
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const tab = await context.newPage();
  const session = await context.newCDPSession(tab);
  await session.send('Performance.enable');
  for (const path of ['', `jobs/${ids[0]}`]) {
    await tab.goto(new URL(path, base).href);
    await tab.waitForTimeout(2_500);
    const measure = async () => {
      await session.send('HeapProfiler.collectGarbage');
      const { metrics } = await session.send('Performance.getMetrics');
      const value = (name) => metrics.find((one) => one.name === name)?.value ?? 0;
      return { heapKB: Math.round(value('JSHeapUsedSize') / 1_000), nodes: value('Nodes'), listeners: value('JSEventListeners') };
    };
    const rounds = [];
    for (let round = 0; round < 6; round += 1) {
      rounds.push(await measure());
      console.log(`${path === '' ? 'home' : 'job'} after ${round * 1_000} events`, JSON.stringify(rounds.at(-1)));
      for (let batch = 0; batch < 10; batch += 1) {
        await fetch(new URL(`dev/events?count=100&ids=${ids.join(',')}`, base), { method: 'POST' });
        await tab.waitForTimeout(120);
      }
      await tab.waitForTimeout(1_500);
    }
    const [, first] = rounds;
    const last = rounds.at(-1);
    check(last.nodes <= first.nodes + 20 && last.listeners <= first.listeners + 10 && last.heapKB < first.heapKB * 1.25,
      `nothing piles up: heap ${first.heapKB} to ${last.heapKB} kB, nodes ${first.nodes} to ${last.nodes}, listeners ${first.listeners} to ${last.listeners}`);
  }
  // Going to and fro leaves nothing behind either.
  const sizes = [];
  for (let round = 0; round < 12; round += 1) {
    await tab.locator('.brand').click();
    await tab.locator('.job-name').last().click();
    await tab.waitForFunction(() => window.streamforgePlayer !== undefined, null, { timeout: 10_000 }).catch(() => undefined);
    await tab.waitForTimeout(400);
    await tab.locator('.top nav a').last().click();
    await tab.waitForTimeout(200);
    await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.getMetrics');
    const value = (name) => metrics.find((one) => one.name === name)?.value ?? 0;
    sizes.push({ heapKB: Math.round(value('JSHeapUsedSize') / 1_000), nodes: value('Nodes'), listeners: value('JSEventListeners') });
  }
  console.log('on the workers page after 1, 4, 8, 12 visits of a job:', [0, 3, 7, 11].map((at) => JSON.stringify(sizes[at])).join(' '));
  check(sizes[11].nodes < sizes[3].nodes * 1.5 + 200, `visits do not pile up: nodes ${sizes[3].nodes} to ${sizes[11].nodes}, heap ${sizes[3].heapKB} to ${sizes[11].heapKB} kB`);
  await context.close();
}
