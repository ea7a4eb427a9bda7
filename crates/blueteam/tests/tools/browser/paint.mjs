// How soon Today is painted, and whether it moves then: paint.mjs BASE COOKIE TIMES. Prints the median of
// the first contentful paints in milliseconds, and the worst layout shift. Each time is a browser context
// of its own, so that nothing is cached.
import { chromium } from 'playwright-core';

const [base, cookie, times] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
const paints = [];
let shift = 0;
for (let n = 0; n < Number(times); n += 1) {
  const made = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await made.addCookies([{ name: '__Host-blueteam', value: cookie, url: base.replace('http:', 'https:'), secure: true }]);
  const page = await made.newPage();
  await page.goto(`${base}/`, { waitUntil: 'networkidle' });
  const seen = await page.evaluate(() => new Promise((done) => {
    let moved = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) moved += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => {
      const [paint] = performance.getEntriesByName('first-contentful-paint');
      done({ paint: paint.startTime, moved });
    }, 200);
  }));
  paints.push(seen.paint);
  shift = Math.max(shift, seen.moved);
  await made.close();
}
await browser.close();
paints.sort((a, b) => a - b);
console.log(JSON.stringify({ paint_ms: paints[Math.floor(paints.length / 2)], shift }));
