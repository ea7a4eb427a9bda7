// Walks the console's pages in Chromium: console.mjs BASE COOKIE PATH... Prints what is wrong, a line
// for each, and exits 0. The rules of WCAG are axe's.
import { chromium } from 'playwright-core';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const [base, cookie, ...paths] = process.argv.slice(2);
let passkeySession = null;
const wrong = new Set();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox'],
});

async function context(colorScheme, width, more) {
  const made = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, ...more });
  await made.addCookies([{ name: '__Host-blueteam', value: passkeySession ?? cookie, url: base.replace('http:', 'https:'), secure: true }]);
  const page = await made.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error') wrong.add(`${page.url()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => wrong.add(`${page.url()}: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(base)) wrong.add(`${page.url()} asks ${request.url()}`);
  });
  return [made, page];
}

// Every page, light and dark, wide and narrow.
for (const [scheme, width] of [['light', 1280], ['dark', 320]]) {
  const [made, page] = await context(scheme, width);
  for (const path of paths) {
    const answer = await page.goto(base + path);
    const place = `${path} (${scheme}, ${width})`;
    if (answer.status() !== 200) wrong.add(`${place}: ${answer.status()}`);
    await page.evaluate(axe);
    const found = await page.evaluate((tags) => window.axe.run(document, { runOnly: tags }), TAGS);
    for (const one of found.violations) {
      wrong.add(`${place}: ${one.id} at ${one.nodes[0].target} (${one.nodes[0].any[0]?.message || one.help})`);
    }
    const seen = await page.evaluate(() => ({
      inline: document.querySelectorAll('[style], [onclick], script:not([src]), img').length,
      sideways: document.documentElement.scrollWidth > innerWidth + 1,
      times: [...document.querySelectorAll('td, dd, p')].filter((part) =>
        /\d{4}-\d\d-\d\dT/.test([...part.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join(''))).length,
    }));
    if (seen.inline) wrong.add(`${place}: ${seen.inline} elements with style or code of their own`);
    if (seen.sideways) wrong.add(`${place}: scrolls sideways`);
    if (seen.times) wrong.add(`${place}: a time that no <time> shows`);
  }
  await made.close();
}

// By keys alone: three alerts are picked and acknowledged with eight strokes at most.
{
  const [made, page] = await context('light', 1280);
  await page.goto(`${base}/alerts`);
  for (const key of ['j', 'x', 'j', 'x', 'j', 'x', 'a']) await page.keyboard.press(key);
  await page.waitForURL(/done=/);
  const said = await page.textContent('.notice');
  if (!said.includes('acknowledged 3 alerts')) wrong.add(`by keys: ${said}`);

  // A filter keeps what is picked out of the way, and the address says what is shown.
  await page.selectOption('select[name="show"]', 'all');
  await page.click('.filter button');
  await page.waitForURL(/show=all/);
  if (!(await page.textContent('table')).includes('system-admin')) wrong.add('nobody has acknowledged');
  await page.keyboard.press('?');
  if (!(await page.isVisible('dialog#help'))) wrong.add('no list of keys');
  await made.close();
}

// Without a script: the same by forms.
{
  const [made, page] = await context('light', 1280, { javaScriptEnabled: false });
  await page.goto(`${base}/alerts`);
  await page.click('tbody tr:first-child input[type="checkbox"]');
  await page.click('button.primary');
  const said = await page.textContent('.notice');
  if (!said.includes('acknowledged 1 alert')) wrong.add(`without a script: ${said}`);
  await made.close();
}

// A passkey is added, and lets in by itself: one press, no password.
{
  const [made, page] = await context('light', 1280);
  const session = await made.newCDPSession(page);
  await session.send('WebAuthn.enable');
  await session.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  await page.goto(`${base}/account`);
  await page.fill('#passkey-name', 'of the test');
  await page.click('#add-passkey');
  await page.waitForFunction(() => document.querySelector('#passkey-said').textContent !== '');
  const added = await page.textContent('#passkey-said');
  if (!added.includes('is added')) wrong.add(`passkey: ${added}`);
  await made.clearCookies();
  await page.goto(`${base}/sign-in?next=/alerts`);
  await page.click('[data-passkey]');
  await page.waitForURL(`${base}/alerts`, { timeout: 15000 }).catch(async () => {
    wrong.add(`by passkey: ${await page.textContent('[data-said]')}`);
  });
  await page.goto(`${base}/account`);
  if (!(await page.textContent('main')).includes('of the test')) wrong.add('the passkey is not listed');
  // The session of the cookie that was given may have ended: the last steps take this one.
  passkeySession = (await made.cookies()).find((one) => one.name === '__Host-blueteam')?.value;
  await made.close();
}

// Left alone the page covers itself, and the way back shows nothing.
{
  const [made, page] = await context('light', 1280);
  await page.goto(`${base}/alerts`);
  await page.goto(`${base}/locked`);
  await page.goBack();
  await page.waitForURL(/\/locked/);
  if ((await page.textContent('body')).includes('Brute force')) wrong.add('a locked page shows alerts');
  await made.close();
}

await browser.close();
console.log([...wrong].join('\n'));
