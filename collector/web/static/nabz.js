// Times that stay true, the search key, and what the stream tells has moved.
import { follow } from "./live.js";

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

const title = document.title;
const moves = new Set(); // the centers that moved since the order was made

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
  const answer = await fetch(`/rows?codes=${shown.map(encodeURIComponent).join(",")}`).catch(() => null);
  if (!answer?.ok || answer.redirected) return trouble(answer?.status ?? 0);
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

// What could not be loaded is said where the reader looks; what stands there stays, and is said to be old.
function trouble(status) {
  const bar = document.querySelector(".trouble");
  if (!bar) return;
  for (const said of bar.querySelectorAll("[data-why]")) said.hidden = said.dataset.why !== (status ? "refused" : "away");
  bar.querySelector("[data-status]").textContent = status || "";
  bar.hidden = status === 401; // the header asks the reader to log in
}
addEventListener("htmx:response:error", (event) => trouble(event.detail.ctx.response.status));
addEventListener("htmx:error", () => trouble(0));
addEventListener("htmx:after:swap", () => { const bar = document.querySelector(".trouble"); if (bar) bar.hidden = true; });

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

function missed() {
  if (center) refresh();
  else { moves.add(""); announce(); }
}

follow(document.querySelector(".live"), { news: tell, missed, duration });
