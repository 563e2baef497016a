// A browser of Debian's, and pages in it.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

export function launch() {
  const named = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  return chromium.launch({ executablePath: named, args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required'] });
}

/** A page of its own; what breaks in it is told to `check`. */
export async function openTab(browser, check, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-GB', ...options });
  const tab = await context.newPage();
  // The picker that gives handles cannot be driven; the plain one can.
  await tab.addInitScript(() => delete window.showOpenFilePicker);
  tab.on('pageerror', (error) => check(false, `the page broke: ${error}`));
  tab.on('dialog', (dialog) => void dialog.accept());
  return { context, tab };
}
