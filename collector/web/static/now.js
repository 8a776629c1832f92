// The desk's home: keys, the same act for many, and news that never moves the row under the reader's hand.
import { follow } from "./live.js";
import { duration, form, shaped } from "./page.js";

const REST_MS = 5000, AGAIN_MS = 30_000; // between two looks at the list
const main = document.getElementById("main");
const rows = () => [...document.querySelectorAll("#list tr.row")];
const current = () => document.activeElement?.closest?.("#list tr.row") ?? document.querySelector("#list tr.current");
const link = (row) => row.querySelector("th a");

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(current());
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  for (const row of all) row.classList.toggle("current", row === next);
  link(next).focus();
  next.scrollIntoView({ block: "nearest" });
}

// Those that are ticked, else the one where the reader is.
function chosen() {
  const ticked = [...document.querySelectorAll("#list input[name=n]:checked")].map((box) => box.value);
  const row = current();
  return ticked.length || !row ? ticked : [row.id.slice(2)];
}

async function act(name) {
  const numbers = chosen();
  if (!numbers.length || !document.querySelector("#list .bulk")) return;
  const body = new URLSearchParams([["mark", main.dataset.mark], ["act", name], ...numbers.map((n) => ["n", n])]);
  const answer = await fetch("/now", { method: "POST", body, headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return trouble(answer?.status ?? 0);
  await look();
}

function trouble(status) {
  const bar = document.querySelector(".trouble");
  for (const said of bar.querySelectorAll("[data-why]")) said.hidden = said.dataset.why !== (status ? "refused" : "away");
  bar.querySelector("[data-status]").textContent = status || "";
  bar.hidden = status === 401;
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  a: () => act("ack"),
  s: () => act("assign"),
  x: () => { const box = current()?.querySelector("input[name=n]"); if (box) box.checked = !box.checked; },
  c: () => current()?.querySelector('a[href^="tel:"]')?.click(),
  n: () => note(),
  "?": () => document.getElementById("keys").showModal(),
  Escape: () => document.getElementById("close")?.click(),
};

function note() {
  const own = document.getElementById("panel-note");
  const row = current();
  if (own && (!row || row.classList.contains("current"))) return own.focus();
  if (!row) return;
  addEventListener("htmx:after:swap", () => document.getElementById("panel-note")?.focus(), { once: true });
  link(row).click();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input:not([type=checkbox]), select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const does = keys[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});
document.getElementById("help")?.addEventListener("click", () => document.getElementById("keys").showModal());
addEventListener("htmx:after:swap", () => {
  const at = new URLSearchParams(location.search).get("incident");
  for (const row of rows()) row.classList.toggle("current", row.id === `i-${at}`);
});

// ---------------------------------------------------------------- live

let lookedMs = 0, waiting = 0;
const fresh = new Set();

// What stands keeps its place: rows change where they are, what is over is struck out, what is new is announced.
async function look() {
  lookedMs = Date.now();
  const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return trouble(answer?.status ?? 0);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = page.title;
  for (const chip of document.querySelectorAll(".counts [data-tab]")) {
    const now = page.querySelector(`.counts [data-tab="${chip.dataset.tab}"] b`);
    if (now) chip.querySelector("b").textContent = now.textContent;
  }
  const news = new Map([...page.querySelectorAll("#list tr.row")].map((row) => [row.id, row]));
  for (const row of rows()) {
    const after = news.get(row.id);
    row.classList.toggle("over", !after);
    if (after) renew(row, after);
    news.delete(row.id);
  }
  announce(news);
}

function renew(row, after) {
  for (const [place, cell] of [...row.children].entries()) {
    const now = after.children[place];
    if (cell.querySelector("input") || cell.textContent === now.textContent) continue;
    const held = cell.contains(document.activeElement);
    cell.replaceWith(now.cloneNode(true));
    if (held) link(row).focus({ preventScroll: true });
    globalThis.htmx?.process(row);
  }
}

function announce(news) {
  if (document.body.classList.contains("wall") && news.size) return location.reload();
  for (const id of news.keys()) fresh.add(id);
  const bar = document.querySelector(".news");
  const place = bar.querySelector("span");
  place.textContent = form(JSON.parse(place.dataset.forms), fresh.size).replace("{n}", shaped(fresh.size));
  bar.hidden = !fresh.size;
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(look, Math.max(0, lookedMs + REST_MS - Date.now()));
}

setInterval(() => { if (!document.hidden && Date.now() - lookedMs > AGAIN_MS) look(); }, 5000);
follow(document.querySelector(".live"), { news: soon, missed: soon, duration });
