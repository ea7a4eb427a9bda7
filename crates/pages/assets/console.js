// What the pages do beyond links and forms: keys, picking rows, a counter of what is new, and a
// cover when nobody is here. Without it every page works.

const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

// Text from our own server is the only text that becomes part of a page.
const policy = window.trustedTypes
  ? window.trustedTypes.createPolicy('blueteam', { createHTML: (html) => html })
  : { createHTML: (html) => html };

// --- Parts of a page, fetched

async function swap(url, push) {
  let response;
  try {
    response = await fetch(url, { headers: { accept: 'text/html' }, redirect: 'follow' });
  } catch {
    location.assign(url);
    return;
  }
  const isPage = response.ok && (response.headers.get('content-type') || '').startsWith('text/html');
  const page = isPage && new DOMParser().parseFromString(policy.createHTML(await response.text()), 'text/html');
  const main = page && $('main#main', page);
  // Another kind of page, such as the one to sign in: as a whole.
  if (!main || page.body.classList.contains('door')) {
    location.assign(url);
    return;
  }
  const picked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  $('main').replaceWith(document.adoptNode(main));
  document.title = page.title;
  if (push) history.pushState({}, '', url);
  boxes().forEach((box) => { if (picked.has(box.value) && !box.disabled) box.checked = true; });
  seen = new Set(rows().map((row) => row.dataset.row));
  here = -1;
  tell();
}

addEventListener('popstate', () => swap(location.href, false));

document.addEventListener('click', (event) => {
  const link = event.target.closest('.pager a, #news');
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    swap(link.href, true);
  }
});

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (form.matches('[data-filter]')) {
    event.preventDefault();
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ''));
    swap(`${form.getAttribute('action')}?${query}`, true);
    return;
  }
  // One press, one request.
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = 'yes';
});
addEventListener('pageshow', () => $$('form').forEach((form) => delete form.dataset.sent));

// --- Rows: one of them is here, some are picked

const rows = () => $$('tr[data-row]');
const boxes = () => $$('[data-pick] input[name="id"]');
let here = -1;
let last = -1;

function tell() {
  const count = boxes().filter((box) => box.checked).length;
  const place = $('[data-picked]');
  if (place) place.textContent = count ? `${count} selected` : '';
}
document.addEventListener('change', tell);

function move(by) {
  const all = rows();
  if (!all.length) return;
  all[here]?.classList.remove('here');
  here = Math.max(0, Math.min(all.length - 1, here + by));
  all[here].classList.add('here');
  all[here].scrollIntoView({ block: 'nearest' });
  $('a', all[here])?.focus({ preventScroll: true });
}

function pick(range) {
  const all = rows();
  if (here < 0) return;
  const [from, to] = range && last >= 0 ? [Math.min(here, last), Math.max(here, last)] : [here, here];
  const wanted = range ? true : !$('input[name="id"]', all[here])?.checked;
  for (let i = from; i <= to; i += 1) {
    const box = $('input[name="id"]', all[i]);
    if (box && !box.disabled) box.checked = wanted;
  }
  last = here;
  tell();
}

function acknowledge() {
  const button = $('button[data-key="a"]');
  if (!button) return;
  if (boxes().length && !boxes().some((box) => box.checked)) pick(false);
  if (!boxes().length || boxes().some((box) => box.checked)) button.click();
}

// --- Keys; never while somebody types, and off where their account says so (WCAG 2.1.4)

const KEYS = [
  ['j, k', 'next, previous row'], ['x', 'select the row'], ['Shift x', 'select up to the row'],
  ['o, Enter', 'open the row'], ['a', 'acknowledge'], ['u', 'undo'], ['r', 'show what is new'],
  ['/', 'to the first field'], ['b', 'back to the list'], ['g then t a i e s c r d v', 'go to a page'],
  ['?', 'this list'], ['Esc', 'close'],
];

function help() {
  let dialog = $('dialog#help');
  if (!dialog) {
    dialog = document.createElement('dialog');
    dialog.id = 'help';
    dialog.setAttribute('aria-label', 'Keys');
    const list = document.createElement('dl');
    list.className = 'facts';
    for (const [key, what] of KEYS) {
      const term = document.createElement('dt');
      const text = document.createElement('dd');
      term.textContent = key;
      text.textContent = what;
      list.append(term, text);
    }
    const close = document.createElement('button');
    close.textContent = 'Close';
    close.addEventListener('click', () => dialog.close());
    dialog.append(list, close);
    document.body.append(dialog);
  }
  dialog.showModal();
}

let go = 0;
document.addEventListener('keydown', (event) => {
  const typing = event.target.closest('input:not([type="checkbox"]), textarea, select');
  const off = document.body.dataset.keys === 'off' || $('dialog[open]');
  if (typing || off || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key;
  if (Date.now() - go < 1500) {
    go = 0;
    const link = $(`[data-go="${CSS.escape(key)}"]`);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  const acts = {
    j: () => move(1), k: () => move(-1), x: () => pick(false), X: () => pick(true),
    o: () => $('a', rows()[here])?.click(), a: acknowledge, r: () => $('#news:not([hidden])')?.click(),
    b: () => $('[data-back]')?.click(), u: () => $('button[data-key="u"]')?.click(), g: () => { go = Date.now(); }, '?': help,
    '/': () => $('.filter input, .filter select')?.focus(),
  };
  if (acts[key]) {
    event.preventDefault();
    acts[key]();
  }
});

// --- What is new: a number, and never a row that moves under the pointer

let seen = new Set(rows().map((row) => row.dataset.row));

async function look() {
  const place = $('#news');
  const path = $('[data-live]')?.dataset.live;
  if (!place || !path || document.hidden) return;
  try {
    const response = await fetch(path, { headers: { accept: 'application/json' } });
    if (!response.ok) return;
    const fresh = (await response.json()).ids.filter((id) => !seen.has(id)).length;
    place.hidden = fresh === 0;
    place.textContent = `${fresh} new: press r`;
  } catch { /* The next look tells. */ }
}
setInterval(look, 15000);

// --- A cover when nobody is here: the server locks the session by itself (3.1.10)

let active = Date.now();
const limit = Number(document.body.dataset.locksAfter || 0) * 1000;
for (const name of ['keydown', 'pointerdown', 'pointermove', 'scroll']) {
  addEventListener(name, () => { active = Date.now(); }, { passive: true, capture: true });
}
// What was typed waits on the server, not in this browser, until its person is back.
async function draft() {
  const typed = (field) => field.matches('input:not([type="password"]), textarea') && field.value !== field.defaultValue;
  const form = $$('form[method="post"]').find((one) => [...one.elements].some((field) => field.name && typed(field)));
  if (!form) return false;
  const body = new URLSearchParams({ action: new URL(form.action).pathname });
  for (const [name, value] of new FormData(form)) {
    if (typeof value === 'string') body.append(name === 'form_token' ? name : `field-${name}`, value);
  }
  try {
    const patience = AbortSignal.timeout(2000);
    const answer = await fetch('/draft', { method: 'POST', body, signal: patience });
    return answer.ok;
  } catch { return false; }
}
let covered = false;
async function cover() {
  if (covered) return;
  covered = true;
  document.body.classList.add('cover');
  const next = await draft() ? '/draft' : location.pathname + location.search;
  location.replace(`/locked?next=${encodeURIComponent(next)}`);
}
if (limit) {
  setInterval(() => { if (Date.now() - active > limit) cover(); }, 1000);
}
addEventListener('pageshow', (event) => {
  // A page from the browser's memory may be of a session that is over.
  if (event.persisted) {
    document.body.classList.add('cover');
    location.reload();
  }
});
tell();
