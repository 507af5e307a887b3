// The status page. Names and words on it come from others, Consul among them: they become
// text nodes and attributes by h() alone, never markup.
'use strict';

// ---- Elements ----

// h makes an element. Attributes that are null or false are left out; kids are nodes,
// texts, lists of them, or nothing.
function h(tag, attrs, ...kids) {
  const svg = ['svg', 'path', 'circle'].includes(tag);
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...kids.flat(Infinity).filter((kid) => kid !== null && kid !== undefined && kid !== false && kid !== ''));
  return node;
}

const id = (name) => document.getElementById(name);

// say sets a text, and leaves one that is the same alone: a screen reader would read it again.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// keyed makes the last kids of a parent those of a list, by key. One whose data is the same
// is left as it is, with the focus and the selection that may be in it.
function keyed(parent, list, key, make, update) {
  const kids = [...parent.children].filter((node) => 'key' in node.dataset);
  const old = new Map(kids.map((node) => [node.dataset.key, node]));
  let next = kids[0] || null;
  for (const item of list) {
    const k = String(key(item)), data = JSON.stringify(item);
    let node = old.get(k);
    if (!node) {
      node = make(item);
      node.dataset.key = k;
    }
    old.delete(k);
    if (node.shows !== data) {
      node.shows = data;
      update(node, item);
    }
    if (node === next) next = node.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  for (const node of old.values()) node.remove();
}

// ---- Words ----

const words = (word) => (word || '').replaceAll('_', ' ');
const plural = (n, one, many = one + 's') => `${n} ${n === 1 ? one : many}`;
const short = (hash) => (hash || '').slice(0, 8);

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

function millis(ms) {
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(ms >= 1 ? 1 : 2)} ms`;
}

function bytes(n) {
  for (const unit of ['B', 'kB', 'MB']) {
    if (n < 1024) return `${Math.floor(n)} ${unit}`;
    n /= 1024;
  }
  return `${n.toFixed(1)} GB`;
}

const pad = (n) => String(n).padStart(2, '0');
const day = (d) => `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;

// clock is a time of day, with its date if that is another day.
function clock(date) {
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return day(date) === day(now()) ? time : `${day(date)} ${time}`;
}

// at is a time of day; since and until count, once a second.
const at = (time) => h('time', { datetime: time, title: time }, clock(new Date(time)));
const counted = (time, how) => {
  const node = h('time', { datetime: time, title: clock(new Date(time)), 'data-counts': how });
  count(node);
  return node;
};
const since = (time) => counted(time, 'since');
const until = (time) => counted(time, 'until');

function count(node) {
  const ms = now() - new Date(node.dateTime);
  say(node, duration(node.dataset.counts === 'since' ? ms : -ms));
}

// ---- The time of the machine that pgbaton runs on ----

let ahead = 0; // how far its clock is ahead of this one's, in ms
let stopped = null; // when what is shown is from, while nothing new comes

const now = () => stopped || new Date(Date.now() + ahead);

const countAll = () => document.querySelectorAll('time[data-counts]').forEach(count);

setInterval(() => {
  if (!stopped) countAll();
}, 1000);

// ---- The verdict ----

const moving = { switching: 'Switching over', promoting: 'A new leader is coming', starting: 'Looking for the leader', unknown: 'Looking for the leader' };
const gone = { lost: 'The leader is lost', leaderless: 'There is no leader' };
const signs = { ok: 'M14 25l7 7 13-15', moving: 'M13 19h20l-6-6M35 29H15l6 6', bad: 'M24 12v15M24 34v1' };

// judge says in a few words how all stands: ok, moving (nothing to be done), or bad.
function judge(s) {
  const inSync = s.targets.filter((t) => t.in_sync).length;
  const line = `${inSync} of ${plural(s.targets.length, 'target')} in sync`;
  const held = s.targets.some((t) => t.held.length > 0);
  if (s.ok) return { level: 'ok', title: held ? 'All is well, and clients wait' : 'All is well', line };
  const waits = held ? ', clients wait' : '';
  const lost = s.clusters.find((c) => c.leader && gone[c.phase]);
  const change = s.clusters.find((c) => c.leader && moving[c.phase]);
  const wrong = s.clusters.some((c) => c.alarms.length > 0) || s.targets.some((t) => t.error || (t.frozen && !t.in_sync)) ||
    s.stores.some((st) => st.stale) || s.process.refused;
  if (s.clusters.some((c) => c.alarms.length > 0)) return { level: 'bad', title: 'Somebody has to look at this', line };
  if (lost) return { level: 'bad', title: gone[lost.phase] + waits, line };
  if (change && !wrong) return { level: 'moving', title: moving[change.phase] + waits, line };
  if (s.stores.some((st) => st.stale)) return { level: 'bad', title: 'A store can’t be asked', line };
  if (wrong) return { level: 'bad', title: plural(s.troubles.length, 'thing is', 'things are') + ' not as wanted', line };
  if (s.targets.some((t) => t.waiting.length > 0)) return { level: 'moving', title: 'Waiting for what is missing', line };
  return { level: 'moving', title: 'Catching up', line };
}

// leads says who leads, where that is few enough to be said here.
function leads(s) {
  const led = s.clusters.filter((c) => c.leader && c.phase === 'steady' && !c.stale);
  return s.clusters.length <= 3 ? led.map((c) => `${c.leader.name} leads ${c.name}`) : [];
}

function showVerdict(s) {
  const v = judge(s);
  id('verdict').dataset.level = v.level;
  id('sign').setAttribute('d', signs[v.level]);
  say(id('verdict-title'), v.title);
  say(id('verdict-line'), [v.line, ...leads(s)].join(' · '));
  keyed(id('troubles'), s.troubles, (t) => t, () => h('li'), (node, t) => say(node, t));
  document.title = `${{ ok: '✓', moving: '↻', bad: '!' }[v.level]} ${v.title} · pgbaton`;
}

// ---- Notices ----

function notices(s) {
  const list = [];
  for (const c of s.clusters) {
    for (const a of c.alarms) list.push({ kind: 'alarm', key: c.name + a.kind, head: `Alarm: cluster ${c.name}`, text: [a.code, a.text].filter(Boolean).join(' '), since: a.since });
  }
  for (const t of s.targets) {
    for (const hold of t.held) {
      list.push({ kind: 'hold', key: t.id + hold.cluster, head: `Clients wait: ${t.id}${hold.by_hand ? ', by hand' : ''}`, text: hold.names.join(', '), since: hold.since, until: hold.until });
    }
    if (t.frozen) {
      const f = t.frozen;
      list.push({ kind: 'freeze', key: t.id, head: `Frozen: ${t.id}`, text: `by ${f.by}${f.reason ? ': ' + f.reason : ''}`, since: f.since, until: f.until });
    }
    if (t.drift.length > 0) list.push({ kind: 'freeze', key: t.id, head: `Changed by somebody else: ${t.id}`, text: t.drift.join(', ') });
  }
  if (s.process.refused) list.push({ kind: 'alarm', key: '', head: 'The config was not taken up', text: s.process.refused.text, since: s.process.refused.at });
  return list;
}

function showNotices(s) {
  const list = notices(s);
  id('notices').hidden = list.length === 0;
  keyed(id('notices').firstElementChild, list, (n) => n.kind + n.key, () => h('li'), (node, n) => {
    node.className = 'notice ' + n.kind;
    node.replaceChildren(h('strong', {}, n.head), h('span', {}, n.text), h('span', { class: 'when' },
      n.since && ['for ', since(n.since)],
      n.until && [n.since && ', ', n.kind === 'hold' ? 'released in ' : 'thawed in ', until(n.until), n.kind === 'hold' && ' at the latest']));
  });
}

// ---- Tables ----

// table makes one whose rows can be shown as cards on a narrow screen: the roles say what
// they are, however they are laid out.
function table(caption, heads, ...bodies) {
  return h('table', { role: 'table' }, h('caption', {}, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads.map((head) => h('th', { role: 'columnheader', scope: 'col' }, head)))), bodies);
}

function row(heads, cells, attrs) {
  return h('tr', { role: 'row', ...attrs }, cells.map((cell, i) =>
    i === 0 ? h('th', { role: 'rowheader', scope: 'row' }, cell) : h('td', { role: 'cell', 'data-head': heads[i], class: cell === '' && 'empty' }, h('span', {}, cell))));
}

const badge = (level, text) => h('span', { class: 'badge ' + level }, text);
const code = (text) => h('code', {}, text);

// ---- Targets ----

const states = { in_sync: 'ok', pending: 'moving', waiting: 'moving', failing: 'bad', frozen: 'cold', drifted: 'moving' };

// What to try next, by the kind of error. What the daemon said is not for everybody.
const hints = {
  template: 'pgbaton check says where in the template; the last good file is served meanwhile',
  check: 'pgbaton status on that machine has the words of the check; pgbaton render -check shows the whole file',
  guard: 'see what the store lacks; if it is meant so: pgbaton apply -force',
  apply: 'pgbaton status on that machine has the whole of it; look at the disk, and at who may write there',
  reload: 'pgbaton status on that machine has the daemon’s words; its console and its log have more',
  drift: 'see who else writes these files',
  locked: 'see which other pgbaton has this target, and whether its state folder can be used',
};

function ledBy(list) {
  return list.map((l) => (list.length > 1 ? `${l.cluster}=${l.name}` : l.name)).join(' ');
}

function leaderOf(t) {
  const follows = ledBy(t.follows), wanted = ledBy(t.leaders);
  if (wanted && follows && wanted !== follows) return [follows, ' → ', wanted];
  return follows || wanted || '–';
}

function verified(t) {
  if (!t.followed) return '–';
  if (t.followed !== t.wanted) return badge('moving', 'behind');
  return badge('ok', t.proof || 'followed');
}

const targetHeads = ['Target', 'Leader', 'State', 'Rendered', 'Applied', 'Verified', 'Age'];

function targetNote(t) {
  const notes = [];
  const e = t.error;
  if (e) {
    notes.push(h('p', { class: 'error' }, e.code && [code(e.code), ' '], e.text, e.failures > 0 && `, ${plural(e.failures, 'time')} in a row`, e.again && [', tried again in ', until(e.again)]));
    const hint = [hints[e.kind], e.code && [hints[e.kind] ? '; ' : '', code(`pgbaton explain ${e.code}`), ' says more']];
    if (hints[e.kind] || e.code) notes.push(h('p', { class: 'hint' }, h('b', {}, 'Hint: '), hint));
  }
  for (const w of t.waiting) notes.push(h('p', {}, 'waits for ', w.for, w.since && [' for ', since(w.since)]));
  return notes;
}

function showTargets(s) {
  const place = id('targets');
  place.hidden = s.targets.length === 0;
  if (!place.firstElementChild) place.append(h('div', { class: 'card' }, table('Targets', targetHeads)));
  const worst = (t) => (t.in_sync ? 1 : 0);
  const list = [...s.targets].sort((a, b) => worst(a) - worst(b));
  keyed(place.querySelector('table'), list, (t) => t.id, () => h('tbody', { role: 'rowgroup' }), (node, t) => {
    const note = targetNote(t);
    const same = t.committed === t.wanted;
    node.replaceChildren(
      row(targetHeads, [t.id, leaderOf(t), badge(states[t.state] || 'bad', words(t.state)), t.wanted ? code(short(t.wanted)) : '–',
        t.committed ? h('code', { class: same ? null : 'differs' }, short(t.committed)) : '–', verified(t), since(t.since)]),
      ...(note.length > 0 ? [h('tr', { role: 'row', class: 'note' }, h('td', { role: 'cell', colspan: targetHeads.length }, note))] : []));
  });
}

// ---- Clusters ----

const memberHeads = ['Member', 'Host', 'Role', 'State', 'TL', 'Lag'];
const phases = { steady: 'ok', switching: 'moving', promoting: 'moving', starting: 'moving', lost: 'bad', leaderless: 'bad' };

function clusterCaption(c) {
  const facts = [];
  if (c.term) facts.push(`term ${c.term}`);
  if (c.timeline) facts.push(`timeline ${c.timeline}`);
  if (c.system) facts.push(c.system);
  if (c.scope && c.scope !== c.name) facts.push(`scope ${c.scope}`);
  return h('span', { class: 'caption' }, h('span', {}, 'Cluster ', h('b', {}, c.name)), ' ', badge(phases[c.phase] || 'bad', words(c.phase)),
    c.since && [' for ', since(c.since)], c.paused && [' ', badge('cold', 'Patroni is paused')], c.fenced && [' ', badge('bad', 'fenced')], h('span', { class: 'facts' }, facts.join(' · ')));
}

const unfit = (probes) => (probes || []).filter((p) => !p.fit).map((p) => [' ', badge('bad', `unfit: ${p.name}`)]);

function memberRows(c) {
  const rows = [];
  if (c.leader) {
    rows.push(row(memberHeads, [c.leader.name, `${c.leader.host}:${c.leader.port}`, h('b', {}, c.standby ? 'Standby Leader' : 'Leader'),
      c.confirmed_by ? [`confirmed by ${c.confirmed_by}`, unfit(c.leader_probes)] : '–', String(c.timeline || ''), ''], { class: 'leads' }));
  }
  for (const r of c.replicas) {
    const lag = r.lag_bytes === undefined ? 'unknown' : bytes(r.lag_bytes);
    rows.push(row(memberHeads, [r.name, `${r.host}:${r.port}`, r.sync ? 'Sync Standby' : 'Replica', [r.state, !r.serves && [' ', badge('moving', 'does not serve')], unfit(r.probes)],
      String(r.timeline || ''), [r.lag === 'far' ? badge('moving', lag + ' behind') : lag, r.delay_seconds > 0 && ` ${r.delay_seconds.toFixed(1)} s`]]));
  }
  if (rows.length === 0) rows.push(row(memberHeads, ['nobody', '', '', '', '', '']));
  return rows;
}

// Of more than so many clusters those of which nothing is to be said have a row each, in one
// table that is folded.
const fewClusters = 6;
const calmHeads = ['Cluster', 'Leader', 'Host', 'For', 'Term', 'TL', 'Replicas'];

const calm = (c) => c.phase === 'steady' && c.leader && !c.stale && !c.paused && c.leader_key === c.leader.name &&
  c.alarms.length + c.problems.length === 0 && c.replicas.every((r) => r.serves && r.fit && r.lag !== 'far');

function calmRow(c) {
  return row(calmHeads, [c.name, c.leader.name, `${c.leader.host}:${c.leader.port}`, c.since ? since(c.since) : '–', String(c.term || ''), String(c.timeline || ''), String(c.replicas.length)]);
}

function showClusters(s) {
  id('clusters').hidden = s.clusters.length === 0;
  const many = s.clusters.length > fewClusters;
  const rest = many ? s.clusters.filter(calm) : [];
  const told = s.clusters.filter((c) => !rest.includes(c)).sort((a, b) => calm(a) - calm(b));
  const cards = [...told, ...(rest.length > 0 ? [rest] : [])];
  keyed(id('clusters'), cards, (c) => c.name || '', () => h('div', { class: 'card' }), (node, c) => {
    if (Array.isArray(c)) {
      if (!node.firstElementChild) node.append(h('details', { class: 'fold' }, h('summary'), h('div')));
      const [head, body] = node.firstElementChild.children;
      say(head, plural(c.length, 'steady cluster'));
      body.replaceChildren(table('Steady clusters', calmHeads, h('tbody', { role: 'rowgroup' }, c.map(calmRow))));
      return;
    }
    const notes = [];
    if (c.leader && c.leader_key && c.leader_key !== c.leader.name) notes.push(`the leader key names ${c.leader_key}, which is not confirmed yet`);
    if (c.stale) notes.push(c.stale.never ? 'its keys were never read' : [`its keys can’t be confirmed: this is as of `, at(c.stale.since)]);
    for (const p of c.problems) notes.push(`the key ${p.key} can’t be read`);
    node.replaceChildren(table(clusterCaption(c), memberHeads, h('tbody', { role: 'rowgroup' }, memberRows(c))), ...notes.map((n) => h('p', { class: 'under' }, n)));
  });
}

// ---- Stores ----

const storeHeads = ['Store', 'State', 'Watches', 'Last answer'];
const storeStates = { answers: 'ok', stale: 'bad', asked: 'moving', unused: 'cold' };

function showStores(s) {
  const list = s.stores.filter((st) => st.state !== 'unused');
  id('stores').hidden = list.length === 0;
  keyed(id('stores'), [list], () => '', () => h('div', { class: 'card' }), (node) => {
    node.replaceChildren(table('Stores', storeHeads, h('tbody', { role: 'rowgroup' }, list.map((st) =>
      row(storeHeads, [st.name, [badge(storeStates[st.state] || 'bad', words(st.state)), st.stale && [st.stale.never ? ' ever' : [' for ', since(st.stale.since)], st.stale.code && [' ', code(st.stale.code)]]],
        st.failing > 0 ? `${st.failing} of ${st.watches} can’t be confirmed` : String(st.watches), st.confirmed ? [since(st.confirmed), ' ago'] : '–'])))));
  });
}

// ---- Changes ----

const steps = {
  detect: 'from the first sign until the leader key names another server: the cluster’s own time',
  confirm: 'from then until that one was seen to take writes',
  hold: 'to keep clients waiting',
  render: 'to execute the templates',
  check: 'of the daemon’s check',
  reload: 'to swap the files in and tell the daemon',
  verify: 'until the daemon was seen to follow',
  release: 'until those who had waited were served',
};
const spans = {
  held: 'that clients waited at most',
  applied: 'from the cause, as pgbaton saw it, until the daemon followed',
  total: 'from the beginning to the end',
};
const reasons = { leader: 'another leader', content: 'content', start: 'start of pgbaton', repair: 'repair', forced: 'asked for by an operator', hold: 'clients held' };
const took = (c, step) => c.steps[step + '_ms'] || 0;

let changes = [];
let shown = 20;
const diffs = new Map(); // of files, by the change's ID and end

for (const step of Object.keys(steps)) id('legend').append(h('li', { title: steps[step] }, h('i', { class: 'step ' + step, 'aria-hidden': 'true' }), step));

function led(c) {
  return c.moves.map((m) => [c.moves.length > 1 || !m.from ? m.cluster + ': ' : '', m.from || '', m.from ? ' → ' : '', h('b', {}, m.to)]);
}

function outcome(c) {
  switch (c.outcome) {
    case 'applied': return badge('ok', (c.proof || 'applied') + (c.tries > 0 ? ` after ${plural(c.tries, 'failure')}` : ''));
    case 'failed': return badge('bad', `failed ${plural(c.tries, 'time')}: ${c.error ? c.error.kind : ''}`);
    case 'released': return badge('cold', 'released');
    case 'open': return badge('moving', 'under way');
  }
  return badge('moving', c.outcome);
}

function bar(c) {
  const taken = Object.keys(steps).filter((step) => took(c, step) > 0);
  const node = h('span', { class: 'bar', role: 'img', 'aria-label': taken.map((step) => `${step} ${millis(took(c, step))}`).join(', ') || 'nothing was measured' });
  const sum = taken.reduce((ms, step) => ms + took(c, step), 0), all = Math.max(sum, took(c, 'total')) || 1;
  const add = (kind, title, ms) => {
    const part = h('i', { class: kind, title });
    part.style.flexGrow = 1000 * ms / all;
    node.append(part);
  };
  for (const step of taken) add('step ' + step, `${step} ${millis(took(c, step))}`, took(c, step));
  if (all > sum) add('rest', `waiting ${millis(all - sum)}`, all - sum);
  return node;
}

function makeChange() {
  const node = h('li', {}, h('details', {}, h('summary'), h('div', { class: 'panel' })));
  const details = node.firstElementChild;
  details.addEventListener('toggle', () => { if (details.open) open(node); });
  return node;
}

function updateChange(node, c) {
  node.change = c;
  node.className = c.moves.length > 0 ? 'move' : 'plain';
  node.querySelector('summary').replaceChildren(
    h('span', { class: 'when' }, at(c.began)),
    h('span', { class: 'what' }, c.moves.length > 0 ? led(c) : words(reasons[c.why] || c.why)),
    h('span', { class: 'whose' }, c.target),
    h('span', { class: 'result' }, outcome(c)),
    h('span', { class: 'took' }, took(c, 'total') > 0 ? millis(took(c, 'total')) : ''),
    bar(c));
  if (node.firstElementChild.open) open(node);
}

function open(node) {
  const c = node.change, panel = node.querySelector('.panel');
  const facts = [`change ${c.id}`, reasons[c.why] || c.why];
  for (const m of c.moves) facts.push(`${m.to} is at ${m.address}${m.timeline ? `, timeline ${m.timeline}` : ''}`);
  if (c.reason) facts.push(`released: ${c.reason}`);
  if (c.hash) facts.push(`files ${short(c.hash)}`);
  const heads = ['Step', 'Took', 'What it is'];
  const rows = Object.entries({ ...steps, ...spans }).filter(([step]) => took(c, step) > 0).map(([step, what]) =>
    row(heads, [steps[step] ? [h('i', { class: 'step ' + step, 'aria-hidden': 'true' }), step] : step, millis(took(c, step)), what], { class: spans[step] && 'span' }));
  const files = h('div', { class: 'files' });
  panel.replaceChildren(h('p', { class: 'facts' }, facts.join(' · ')),
    rows.length > 0 ? h('div', { class: 'steps' }, table(`Steps of change ${c.id}`, heads, h('tbody', { role: 'rowgroup' }, rows))) : '', files);
  showFiles(files, c);
}

// showFiles shows what a change changed in the files, once that is known.
async function showFiles(place, c) {
  if (c.files.length === 0) {
    place.replaceChildren(h('p', { class: 'quiet' }, c.outcome === 'open' ? 'No file was changed yet.' : 'No file was changed.'));
    return;
  }
  const key = `${c.id} ${c.ended || ''} ${c.hash || ''}`;
  let files = diffs.get(key);
  if (!files) {
    if (!place.hasChildNodes()) place.append(h('p', { class: 'quiet' }, 'Asking what changed …'));
    try {
      const answer = await fetch(`history.json?id=${c.id}`, { cache: 'no-store' });
      if (!answer.ok) throw new Error(String(answer.status));
      files = (await answer.json()).changes[0].files;
      if (files.some((f) => f.diff)) diffs.set(key, files);
      else if (files.some((f) => f.open) && now() - new Date(c.ended) < 10000) setTimeout(() => place.isConnected && showFiles(place, c), 1000); // still to be compared
    } catch {
      place.replaceChildren(h('p', { class: 'quiet' }, 'What changed can’t be had now. Open this again to ask again.'));
      return;
    }
  }
  place.replaceChildren(...files.map((f) => h('section', { class: 'file', 'aria-label': f.path }, h('h3', {}, code(f.path)), f.diff ? diff(f) : h('p', { class: 'quiet' }, f.open
    ? 'What differs is not known any more, or was too much.'
    : ['Not every user of that machine may read this file: ', code(`pgbaton history -diff ${c.id}`), ' shows it there, or here with ', code('diffs = true'), ' in the status block.']))));
}

function diff(f) {
  const kinds = { '+': 'add', '-': 'del', '@': 'hunk' };
  const lines = f.diff.replace(/\n$/, '').split('\n').slice(2); // the first two name the file
  return h('pre', { tabindex: 0, role: 'region', 'aria-label': `What changed in ${f.path}` }, lines.map((line) => h('span', { class: kinds[line[0]] || null }, line + '\n')));
}

function showChanges() {
  const filter = document.querySelector('input[name=filter]:checked').value;
  const list = changes.filter((c) => filter === 'all' || (filter === 'leader' ? c.moves.length > 0 : c.outcome === 'failed' || c.tries > 0));
  id('changes').hidden = false;
  keyed(id('timeline'), list.slice(0, shown), (c) => c.id, makeChange, updateChange);
  id('no-changes').hidden = list.length > 0;
  say(id('no-changes'), changes.length === 0 ? 'Nothing was changed yet.' : 'None of the changes that are remembered is one of these.');
  id('more').hidden = list.length <= shown;
}

id('filter').addEventListener('change', showChanges);
id('more').addEventListener('click', () => {
  shown += 20;
  showChanges();
});

// ---- All of it ----

function showProcess(s) {
  const p = s.process;
  id('process').replaceChildren(`pgbaton ${p.version}, process ${p.pid} of ${p.user}, up `, since(p.started), `, config ${p.config.join(' ')}`);
}

function showStatus(s) {
  ahead = new Date(s.at) - Date.now();
  stopped = null;
  latest = new Date(s.at);
  showVerdict(s);
  showNotices(s);
  showTargets(s);
  showClusters(s);
  showStores(s);
  showProcess(s);
}

function showHistory(list) {
  changes = list.changes;
  showChanges();
}

// ---- The line to pgbaton ----

const silence = 12000; // from when on it is taken for dead; pgbaton speaks every 5 s
const answerTime = 5000;
const retry = 2000;
const poll = 5000;

let latest = null; // when what is shown is from
let last = null; // when something was heard
let lost = null; // since when nothing is
let stream = null;
let timer = 0;
let tries = 0; // an answer to one of before is none
let lookAgain = 0; // when a stream may be tried again

function line(state, text) {
  document.body.dataset.line = state;
  say(id('line-text'), text);
  const stale = state === 'lost' && latest !== null;
  id('main').classList.toggle('stale', stale);
  id('asof').hidden = !stale;
  if (stale) {
    stopped = latest;
    countAll();
    document.title = document.title.replace(/^\S+/, '?');
    id('asof').replaceChildren('Last known, as of ', at(latest.toISOString()), '. pgbaton does not answer: this may have changed.');
  }
}

function later(ms, f) {
  clearTimeout(timer);
  timer = setTimeout(f, ms);
}

function hangUp() {
  tries++;
  if (stream) stream.close();
  stream = null;
  clearTimeout(timer);
}

function connect() {
  hangUp();
  stream = new EventSource('events');
  const heard = (show) => (event) => {
    lost = null;
    last = new Date();
    line('live', 'live');
    show(JSON.parse(event.data));
    later(silence, ask);
  };
  stream.addEventListener('status', heard(showStatus));
  stream.addEventListener('history', heard(showHistory));
  stream.onerror = ask;
  later(silence, ask);
}

// ask is for when there is no stream: too many look, or nobody answers.
async function ask() {
  hangUp();
  if (document.hidden) return;
  const mine = tries, limited = { cache: 'no-store', signal: AbortSignal.timeout(answerTime) };
  try {
    const [status, history] = await Promise.all(['status.json', 'history.json?brief'].map(async (path) => {
      const answer = await fetch(path, limited);
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.json();
    }));
    if (mine !== tries) return;
    last = new Date();
    if (lost || !lookAgain) { // it is back, or has only now begun: a stream may be had
      lost = null;
      lookAgain = Date.now() + 30000;
      later(0, connect);
      return;
    }
    showStatus(status);
    showHistory(history);
    line('polling', `asked every ${poll / 1000} s`);
    if (Date.now() > lookAgain) lookAgain = 0;
    later(poll, ask);
  } catch {
    if (mine !== tries) return;
    lost = lost || last || new Date();
    line('lost', `reconnecting since ${pad(lost.getHours())}:${pad(lost.getMinutes())}:${pad(lost.getSeconds())}`);
    later(retry, ask);
  }
}

// Whoever does not look needs no stream: a browser has six connections for all of its tabs.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) hangUp();
  else connect();
});

if (!document.hidden) connect();
