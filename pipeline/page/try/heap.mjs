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
  await context.close();
}
