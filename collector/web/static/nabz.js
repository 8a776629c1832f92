// Lists and the page of a center: what the stream tells has moved.
import { follow } from "./live.js";
import { duration, form, shaped, tick } from "./page.js";

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

// An answer of many rows shows its first screen at once; the others are laid out when that has been drawn.
addEventListener("htmx:after:swap", () => requestAnimationFrame(() => setTimeout(() => {
  for (const rows of document.querySelectorAll("tbody.later")) rows.classList.remove("later");
})));

function announce() {
  const bar = document.querySelector(".news");
  if (!bar) return;
  const place = bar.querySelector("span");
  place.textContent = form(JSON.parse(place.dataset.forms), moves.size).replace("{n}", shaped(moves.size));
  bar.hidden = false;
}

function count(counts) {
  const bad = counts.silent + counts.below;
  document.title = bad ? `(${bad}) ${title}` : title;
  for (const chip of document.querySelectorAll("[data-counts-all] [data-state]")) {
    chip.querySelector("b").textContent = shaped(counts[chip.dataset.state].toLocaleString("en"));
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
