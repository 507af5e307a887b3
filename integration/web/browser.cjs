// A browser that looks at a pgbaton's status page, and watches it while it does: the page
// has no error, asks nobody but who it came from, and is accessible.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { chromium } = require('playwright-core');

const deadline = 60000; // generous: it costs nothing when all is well

// Without the sandbox, as the tests run as root; what else is switched off would ask hosts
// of its own.
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

const shapes = {
  light: { viewport: { width: 1040, height: 860 }, colorScheme: 'light' },
  dark: { viewport: { width: 1040, height: 860 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: 'light', hasTouch: true },
  still: { viewport: { width: 1040, height: 860 }, reducedMotion: 'reduce' },
  scriptless: { javaScriptEnabled: false },
};

// visit opens a page in a shape, and hands it to look.
async function visit(browser, url, shape, look, { mayFail = false } = {}) {
  const context = await browser.newContext(shapes[shape]);
  context.setDefaultTimeout(deadline);
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) wrong.push(`console: ${m.text()}`); });
  page.on('pageerror', (e) => wrong.push(`page: ${e.stack}`));
  page.on('request', (r) => { if (new URL(r.url()).origin !== new URL(url).origin) wrong.push(`request to ${r.url()}`); });
  page.on('dialog', (d) => { wrong.push(`dialog ${d.message()}`); d.dismiss(); });
  await page.goto(url);
  await look(page);
  await context.close();
  // While pgbaton is away a browser says that it can't reach it; nothing else may be wrong.
  assert.deepEqual(wrong.filter((text) => !(mayFail && /ERR_|503/.test(text))), [], `${shape}: what is wrong`);
}

// axe looks for what keeps people out. The page's policy lets no script in, so it is
// handed over by the browser.
async function accessible(page, what) {
  await page.evaluate(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' ').slice(0, 300)}`), [], `${what}: for axe`);
}

// verdict waits until the page says so, and is up to date.
async function verdict(page, level, title) {
  await page.locator(`#verdict[data-level="${level}"]`).waitFor();
  await page.getByRole('heading', { level: 2, name: title }).waitFor();
}

const live = (page) => page.locator('body[data-line="live"]').waitFor();

// fits says that nothing is wider than the screen.
async function fits(page) {
  const { content, screen } = await page.evaluate(() => ({ content: document.documentElement.scrollWidth, screen: innerWidth }));
  assert.ok(content <= screen, `the page is ${content} wide, the screen ${screen}`);
}

// cells are the texts of a table's rows, as a screen reader has them.
async function cells(page, table) {
  const rows = page.getByRole('table', { name: table }).getByRole('row');
  return Promise.all((await rows.all()).map(async (row) =>
    (await row.locator('th, td').allInnerTexts()).map((text) => text.trim().replace(/\s+/g, ' '))));
}

// shoot takes the picture for the documentation, if one is wanted.
async function shoot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  await page.evaluate(() => scrollTo(0, 0));
  const height = await page.evaluate(() => Math.min(document.documentElement.scrollHeight, 1150));
  await page.setViewportSize({ width: shapes.light.viewport.width, height });
  await page.screenshot({ path: `${folder}/${name}.png`, animations: 'disabled' });
}

// say tells the test that starts this how far it is.
const say = (text) => process.stdout.write(text + '\n');

async function run(scenes) {
  const [scene, url] = process.argv.slice(2);
  assert.ok(scenes[scene], `there is no scene ${scene}`);
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args });
  try {
    await scenes[scene](browser, url);
    say('scene over');
  } finally {
    await browser.close();
  }
}

module.exports = { accessible, cells, fits, live, run, say, shoot, verdict, visit };
