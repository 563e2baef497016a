// Runs axe-core on a page as it is at this moment.
import { readFile } from 'node:fs/promises';

export async function violationsOn(tab, axe) {
  // The page's policy lets no foreign script in: axe is put in by the debugger.
  const session = await tab.context().newCDPSession(tab);
  await session.send('Runtime.evaluate', { expression: await readFile(axe, 'utf8') });
  const words = "(node) => node.target.join(' ') + ' :: ' + (node.any[0]?.message ?? node.all[0]?.message ?? node.none[0]?.message ?? '')";
  const { result } = await session.send('Runtime.evaluate', {
    expression: `axe.run(document).then((found) => JSON.stringify(found.violations.map((one) => [one.id, one.impact, one.nodes.slice(0, 4).map(${words}).join('; ')])))`,
    awaitPromise: true,
    returnByValue: true,
  });
  await session.detach();
  return JSON.parse(result.value ?? '[["axe","did not run",""]]');
}

export async function checkAxe({ axe, check }, tab, where) {
  const violations = await violationsOn(tab, axe);
  check(violations.length === 0, `${where}: axe ${violations.length === 0 ? 'finds nothing' : JSON.stringify(violations).slice(0, 900)}`);
}
