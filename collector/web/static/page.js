// What every live page has: times that stay true, the search key, the menus.

const root = document.body;
const plurals = new Intl.PluralRules(document.documentElement.lang);
export const form = (forms, n) => forms[plurals.select(n)] ?? forms.other; // the text for this number
const digits = root.dataset.digits; // of the language, where the reader has chosen them
export const shaped = (text) => (digits ? String(text).replace(/[0-9]/g, (digit) => digits[digit]) : String(text));
const units = JSON.parse(root.dataset.units);
// A page from this device's own memory says when it was kept; any other was made now.
const madeMs = Number(root.dataset.keptMs) || Date.now();
const skew = madeMs - Number(root.dataset.now); // this PC's clock may be wrong; the page's is the collector's

export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const parts = s < 60 ? [[s, "s"]] : s < 3600 ? [[Math.floor(s / 60), "min"]]
    : s < 86400 ? [[Math.floor(s / 3600), "h"], [Math.floor((s % 3600) / 60), "min"]]
    : [[Math.floor(s / 86400), "d"], [Math.floor((s % 86400) / 3600), "h"]];
  return parts.filter(([n]) => n || parts.length === 1).map(([n, name]) => `${shaped(n)}\u00a0${form(units[name], n)}`).join("\u00a0");
}

export function tick() {
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

// A menu ends with a click beside it, with Escape, and when another one is opened. They are looked for anew each time:
// a search replaces some.
const opened = () => document.querySelectorAll("details.menu[open]");
addEventListener("click", (event) => { for (const menu of opened()) if (!menu.contains(event.target)) menu.open = false; });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of opened()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
