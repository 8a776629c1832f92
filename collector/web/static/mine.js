// The operator's page: installed, kept for when there is no connection, and honest about how old it is then.
import { duration } from "./page.js";

const keptMs = Number(document.body.dataset.keptMs) || 0;

function show() {
  const bar = document.querySelector(".kept");
  if (!bar || bar.hidden) return;
  bar.querySelector("b").textContent = bar.dataset.ago.replace("{time}", duration((Date.now() - keptMs) / 1000));
}
if (keptMs) {
  show();
  const ticking = setInterval(show, 5000);
  addEventListener("htmx:after:swap", () => { clearInterval(ticking); document.querySelector(".kept").hidden = true; });
  addEventListener("online", () => document.getElementById("main").dispatchEvent(new CustomEvent("nabz:news", { bubbles: true })));
}

if ("serviceWorker" in navigator) {
  await navigator.serviceWorker.register("/worker.js", { scope: "/mine" });
  const { active } = await navigator.serviceWorker.ready;
  const parts = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => name.includes("/static/"));
  if (!keptMs) active.postMessage({ page: location.href, parts });
}
