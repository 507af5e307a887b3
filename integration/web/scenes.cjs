// What a browser has to see, scene by scene: node scenes.cjs SCENE URL. The test that
// starts it, TestPage, sets the scene; where it changes, say() and what comes of it on the
// page keep the two in step.
'use strict';
const assert = require('node:assert/strict');
const { accessible, cells, fits, live, run, say, shoot, verdict, visit } = require('./browser.cjs');

const text = (page, selector) => page.locator(selector).innerText();

// tabTo presses Tab until an element of a kind has the focus, and it shows.
async function tabTo(page, selector) {
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate((wanted) => {
      const node = document.activeElement, style = getComputedStyle(node);
      return { there: node.matches(wanted), shows: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, node: node.outerHTML.slice(0, 80) };
    }, selector);
    if (at.there) {
      assert.ok(at.shows, `the focus on ${at.node} can't be seen`);
      return;
    }
  }
  assert.fail(`Tab never comes to ${selector}`);
}

run({
  async steady(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await verdict(page, 'ok', 'All is well');
      await live(page);
      assert.match(await page.title(), /^✓ All is well/);
      assert.match(await text(page, '#verdict-line'), /^2 of 2 targets in sync · pg\d leads main$/);
      for (const role of ['banner', 'main', 'contentinfo']) assert.equal(await page.getByRole(role).count(), 1, role);

      const [head, edge] = await cells(page, 'Targets');
      assert.deepEqual(head, ['Target', 'Leader', 'State', 'Rendered', 'Applied', 'Verified', 'Age']);
      assert.match(edge.join('|'), /^pgbouncer\.edge\|pg\d\|in sync\|([0-9a-f]{8})\|\1\|followed\|\d+ (s|min)/);
      const members = await cells(page, /^Cluster main steady for/);
      assert.deepEqual(members[0], ['Member', 'Host', 'Role', 'State', 'TL', 'Lag']);
      assert.match(members[1].join('|'), /^pg\d\|127\.0\.0\.1:\d+\|Leader\|confirmed by [a-z-]+\|\d+\|$/);
      assert.match(members[2].join('|'), /^pg\d\|127\.0\.0\.1:\d+\|Replica\|(streaming|running)\|\d+\|\d+ [kM]?B$/);
      assert.match((await cells(page, 'Stores'))[1].join('|'), /^consul\|answers\|\d+\|\d+ s ago$/);
      await shoot(page, 'steady');

      // By keyboard alone: to the leader change, and what it changed.
      await page.locator('body').press('Home');
      await tabTo(page, '.move summary');
      const summary = page.locator('summary:focus');
      await page.keyboard.press('Enter');
      const panel = page.locator('details[open] .panel');
      await panel.getByRole('region', { name: 'What changed in' }).waitFor();
      assert.match(await panel.innerText(), /\n-.*port=\d+\s*\n(.*\n)*\+.*port=\d+/);
      assert.match((await cells(page, /^Steps of change/)).flat().join('|'), /render\|[\d.]+ m?s\|.*reload\|[\d.]+ m?s\|.*total\|/);
      assert.match(await summary.getByRole('img').getAttribute('aria-label'), /render [\d.]+ ms/);
      await accessible(page, 'a change that is open');
      await tabTo(page, 'pre');
      await page.keyboard.press('Shift+Tab');
      await page.keyboard.press('Enter');
      await panel.waitFor({ state: 'detached' });

      // A file that not everybody may read is named, and not shown.
      const closed = page.locator('summary', { hasText: 'exec.limits' }).first();
      await closed.click();
      await page.getByText('Not every user of that machine may read this file').waitFor();
      await page.getByRole('radio', { name: 'leader changes' }).check({ force: true });
      assert.equal(await page.locator('summary', { hasText: 'exec.limits' }).count(), 0);
    });
    await visit(browser, url, 'dark', async (page) => {
      await verdict(page, 'ok', 'All is well');
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), 'rgb(15, 21, 28)');
      await page.locator('summary').first().click();
      await accessible(page, 'dark');
    });
    await visit(browser, url, 'phone', async (page) => {
      await verdict(page, 'ok', 'All is well');
      await page.locator('.move summary').first().tap();
      await page.locator('details[open] pre').waitFor();
      await fits(page);
      assert.match((await cells(page, 'Targets'))[1].join('|'), /^pgbouncer\.edge\|pg\d\|in sync\|/, 'a table is one on a telephone too');
      await accessible(page, 'a telephone');
    });
    await visit(browser, url, 'still', async (page) => {
      await live(page);
      await page.locator('summary').first().waitFor();
      assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('summary .took'), '::after').transitionProperty), 'none');
    });
    await visit(browser, url, 'scriptless', async (page) => {
      await page.getByRole('link', { name: 'status.json' }).first().click();
      assert.match(await text(page, 'body'), /"line": "2 of 2 targets in sync"/);
    });
  },

  // Clients are held; then the leader changes, and they go on.
  async switching(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await verdict(page, 'ok', 'All is well');
      const before = await page.locator('.move').count();
      say('ask for a switchover');
      await verdict(page, 'moving', 'Switching over, clients wait');
      const notice = page.locator('.notice.hold');
      assert.match(await notice.innerText(), /^Clients wait: pgbouncer\.edge\s+.*\s+for \d+ s, released in .*\d+ s at the latest$/s);
      assert.match(await text(page, '#clusters caption'), /main\s+switching/);
      await page.locator('summary', { hasText: 'under way' }).waitFor();
      await shoot(page, 'switching');
      await accessible(page, 'switching');
      say('let it go on');
      await verdict(page, 'ok', 'All is well');
      await notice.waitFor({ state: 'detached' });
      await page.waitForFunction((n) => document.querySelectorAll('.move').length > n, before);
    });
    await visit(browser, url, 'phone', async (page) => {
      await verdict(page, 'ok', 'All is well');
      await page.locator('.move summary').first().tap();
      await page.locator('details[open] table').waitFor();
      const steps = (await cells(page, /^Steps of change/)).map((row) => row[0]);
      for (const step of ['hold', 'render', 'reload', 'release', 'held', 'total']) assert.ok(steps.includes(step), `${step} is not among ${steps}`);
      await fits(page);
    });
  },

  async refused(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await verdict(page, 'bad', '1 thing is not as wanted');
      const row = page.getByRole('table', { name: 'Targets' }).locator('tbody').first();
      assert.match(await row.innerText(), /^exec\.limits\s.*failing\s.*the check refuses the files, the last good ones stay, \d+ times? in a row, tried again in \d+ s\s+Hint: pgbaton status/s);
      assert.doesNotMatch(await text(page, 'body'), /SECRET/, 'the words of a check are not for everybody');
      const next = await row.locator('time[data-counts=until]').innerText();
      await page.waitForFunction((old) => document.querySelector('#targets time[data-counts=until]').innerText !== old, next);
      await page.locator('summary', { hasText: /failed \d+ times?: check/ }).waitFor();
      await page.getByRole('radio', { name: 'failures' }).check({ force: true });
      assert.match(await page.locator('#timeline > li').first().innerText(), /exec\.limits\s+failed/);
      await page.getByRole('radio', { name: 'all' }).check({ force: true });
      await shoot(page, 'refused');
      await accessible(page, 'refused');
    });
    await visit(browser, url, 'phone', async (page) => {
      await verdict(page, 'bad', '1 thing is not as wanted');
      await fits(page);
    });
  },

  async 'store-away'(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await live(page);
      say('take the store away');
      await verdict(page, 'bad', 'A store can’t be asked');
      assert.match((await cells(page, 'Stores'))[1].join('|'), /^consul\|stale for \d+ (s|min).*\|\d+ of \d+ can’t be confirmed\|/);
      assert.match(await text(page, '#clusters'), /its keys can’t be confirmed: this is as of \d\d:\d\d:\d\d/);
      await shoot(page, 'store-away');
    });
    await visit(browser, url, 'dark', async (page) => {
      await verdict(page, 'bad', 'A store can’t be asked');
      await accessible(page, 'store-away, dark');
    });
  },

  // Names come from the store, and whoever writes there may call a member what he likes.
  async hostile(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await live(page);
      await page.getByRole('table', { name: /^Cluster main/ }).waitFor();
      const members = (await cells(page, /^Cluster main/)).map((row) => row[0]);
      assert.ok(members.includes('<script>alert(1)'), `members are ${members}`);
      assert.ok(members.includes('<img src=x onerror=alert(2)>'), `members are ${members}`);
      await page.locator('.move summary').first().click();
      await page.locator('pre', { hasText: '<b>bold</b>' }).waitFor();
      assert.equal(await page.locator('main script, main img, main b:has-text("bold")').count(), 0);
      await fits(page);
    });
  },

  // Of many clusters those that are well are one folded table.
  async many(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await verdict(page, 'moving', 'Switching over');
      assert.equal(await page.locator('#clusters .card').count(), 2);
      assert.equal((await cells(page, /^Cluster c1 switching/)).length, 2);
      await tabTo(page, '.fold summary');
      assert.equal(await text(page, '.fold summary'), '7 steady clusters');
      await page.keyboard.press('Enter');
      const rows = await cells(page, 'Steady clusters');
      assert.match(rows[1].join('|'), /^c2\|pg1\|127\.0\.0\.1:5002\|\d+ s\|\d*\|3\|0$/);
      assert.equal(rows.length, 8);
      await fits(page);
    });
  },

  // pgbaton goes, and comes back.
  async line(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await live(page);
      assert.equal(await text(page, '#line-text'), 'live');
      say('stop pgbaton');
      await page.locator('body[data-line="lost"]').waitFor();
      assert.match(await text(page, '#line-text'), /^reconnecting since \d\d:\d\d:\d\d$/);
      assert.match(await text(page, '#asof'), /^Last known, as of \d\d:\d\d:\d\d\. pgbaton does not answer/);
      assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('main')).filter), 'grayscale(1)');
      assert.match(await page.title(), /^\? All is well/);
      const age = await text(page, '#targets time');
      await accessible(page, 'not live');
      say('start pgbaton');
      await live(page);
      assert.equal(await page.locator('#asof').isVisible(), false);
      assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('main')).filter), 'none');
      await page.waitForFunction((old) => document.querySelector('#targets time').innerText !== old, age);
    }, { mayFail: true });
  },

  // Too many look already: the page asks again and again.
  async crowded(browser, url) {
    await visit(browser, url, 'light', async (page) => {
      await page.locator('body[data-line="polling"]').waitFor();
      assert.equal(await text(page, '#line-text'), 'asked every 5 s');
      await verdict(page, 'ok', 'All is well');
      await page.locator('#timeline > li').first().waitFor();
    }, { mayFail: true });
  },
});
