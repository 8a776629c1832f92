// Times that stay true, the search key, and the one stream that tells what moved.
const root = document.body;
const plurals = new Intl.PluralRules(document.documentElement.lang);
const form = (forms, n) => forms[plurals.select(n)] ?? forms.other; // the text for this number
const units = JSON.parse(root.dataset.units);
const skew = Date.now() - Number(root.dataset.now); // this PC's clock may be wrong; the page's is the collector's

export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const parts = s < 60 ? [[s, "s"]] : s < 3600 ? [[Math.floor(s / 60), "min"]]
    : s < 86400 ? [[Math.floor(s / 3600), "h"], [Math.floor((s % 3600) / 60), "min"]]
    : [[Math.floor(s / 86400), "d"], [Math.floor((s % 86400) / 3600), "h"]];
  return parts.filter(([n]) => n || parts.length === 1).map(([n, name]) => `${n}\u00a0${form(units[name], n)}`).join("\u00a0");
}

function tick() {
  for (const time of document.querySelectorAll("time[data-ms]")) {
    const said = duration((Date.now() - skew - time.dataset.ms) / 1000);
    if (time.textContent !== said) time.firstElementChild.textContent = said;
  }
}
setInterval(tick, 5000);

addEventListener("keydown", (event) => {
  const q = document.getElementById("q");
  if (event.key !== "/" || !q || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  event.preventDefault();
  q.focus();
  q.select();
});

const menu = document.querySelector(".menu");
addEventListener("click", (event) => { if (menu && !menu.contains(event.target)) menu.open = false; });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// ---------------------------------------------------------------- live

const light = document.querySelector(".live");
const title = document.title;
const moves = new Set(); // the centers that moved since the order was made

function say(on) {
  light.dataset.live = on ? "on" : "off";
  for (const word of light.querySelectorAll("[data-say]")) word.hidden = (word.dataset.say === "on") !== on;
}

function heard(news) {
  for (const [code, ms] of Object.entries(news.heard)) {
    const cell = document.getElementById(`c-${code}`)?.querySelector(".heard");
    const time = cell?.querySelector("time");
    if (time && ms) time.dataset.ms = ms;
  }
  tick();
}

async function refetch(codes) {
  const shown = codes.filter((code) => document.getElementById(`c-${code}`)).slice(0, 400);
  if (!shown.length) return;
  const answer = await fetch(`/rows?codes=${shown.map(encodeURIComponent).join(",")}`);
  if (!answer.ok || answer.redirected) return;
  const holder = document.createElement("template");
  holder.innerHTML = `<table><tbody>${await answer.text()}</tbody></table>`;
  for (const fresh of holder.content.querySelectorAll("tr")) {
    const old = document.getElementById(fresh.id);
    if (!old) continue;
    const focused = old.contains(document.activeElement);
    fresh.classList.add("moved");
    old.replaceWith(fresh);
    if (focused) fresh.querySelector("a").focus({ preventScroll: true });
  }
}

function announce() {
  const bar = document.querySelector(".news");
  if (!bar) return;
  const place = bar.querySelector("span");
  place.textContent = form(JSON.parse(place.dataset.forms), moves.size).replace("{n}", moves.size);
  bar.hidden = false;
}

function count(counts) {
  const bad = counts.silent + counts.below;
  document.title = bad ? `(${bad}) ${title}` : title;
  for (const chip of document.querySelectorAll("[data-counts-all] [data-state]")) {
    chip.querySelector("b").textContent = counts[chip.dataset.state].toLocaleString("en");
  }
}

function centersNews(news) {
  heard(news);
  count(news.counts);
  if (!news.moved.length) return;
  for (const code of news.moved) moves.add(code);
  refetch(news.moved);
  announce();
}

const main = document.getElementById("main");
const center = main?.dataset.center;

function tell(news) {
  if (!center) return centersNews(news);
  if (center in news.heard || news.moved.includes(center)) refresh();
}

function refresh() {
  const place = document.getElementById("main");
  place.dispatchEvent(new CustomEvent("nabz:news", { bubbles: true }));
}

let stream = null;
let after = light?.dataset.after; // the last event that this page knows

function missed() {
  if (center) refresh();
  else { moves.add(""); announce(); }
}

function open() {
  stream = new EventSource(`/api/v1/live?after=${encodeURIComponent(after)}`);
  stream.onopen = () => say(true);
  stream.onerror = () => say(false);
  stream.onmessage = (event) => { after = event.lastEventId; tell(JSON.parse(event.data)); };
  stream.addEventListener("lost", (event) => { after = event.lastEventId; missed(); });
}
function shut() {
  stream?.close();
  stream = null;
}
if (light) {
  open();
  // A hidden tab gives its connection back: browsers allow few to one address.
  document.addEventListener("visibilitychange", () => (document.hidden ? shut() : stream ?? open()));
  addEventListener("pagehide", shut);
  addEventListener("pageshow", (event) => { if (event.persisted && !stream) open(); });
}
