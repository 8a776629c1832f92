// The operator's page without a connection: as it was last seen, with its age. Kept are /mine and what it is made of,
// nothing else; the end of a session lets go of all of it. And messages that a push service brings to this device.
const KEPT = "mine-1", PAGE = "/mine", STATIC = "/static/";
const PATIENCE_MS = 8000; // a line that brings nothing in that time is none
const HTML = "text/html; charset=utf-8";

addEventListener("install", () => self.skipWaiting());
addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname === PAGE) event.respondWith(page(request, event));
  else if (url.pathname.startsWith(STATIC)) event.respondWith(part(request));
});

// What the first visit had loaded before this worker was there.
addEventListener("message", (event) => event.waitUntil(remember(event.data.page, event.data.parts)));

async function remember(address, parts) {
  const kept = await caches.open(KEPT);
  await Promise.allSettled(parts.map((part) => kept.add(part))); // before the page that needs them
  const answer = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
  if (answer && !answer.redirected) await keep(address, answer);
}

// A center's page is one page, in whatever language and with whatever filter it was asked for.
function nameOf(address) {
  const url = new URL(address, location.origin), center = url.searchParams.get("center");
  return PAGE + (center ? `?center=${encodeURIComponent(center)}` : "");
}

// Whether it could be kept; an answer that is no page any more ends what is held.
async function keep(address, answer) {
  if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
    await caches.delete(KEPT);
    return false;
  }
  if (!answer.ok) return false;
  const headers = { "content-type": HTML, "content-security-policy": answer.headers.get("content-security-policy"), "x-kept-ms": Date.now() };
  const kept = await caches.open(KEPT);
  await kept.put(nameOf(address), new Response(await answer.clone().text(), { headers }));
  return true;
}

async function page(request, event) {
  const isOpened = request.mode === "navigate"; // what a page asks for itself is told the truth: there is no answer
  const coming = fetch(request);
  event.waitUntil(coming.then((answer) => keep(request.url, answer), () => {}));
  const late = new Promise((done) => { setTimeout(done, PATIENCE_MS); });
  const answer = await (isOpened ? Promise.race([coming, late]) : coming).catch(() => null);
  if (answer && answer.status < 500) return answer;
  return (isOpened && await held(request.url)) || answer || (isOpened ? coming : Response.error());
}

async function held(address) {
  const kept = await caches.open(KEPT);
  const found = await kept.match(nameOf(address)) ?? await kept.match(PAGE);
  if (!found) return null;
  const keptMs = Number(found.headers.get("x-kept-ms"));
  const text = (await found.text())
    .replace("<body", `<body data-kept-ms="${keptMs}"`)
    .replace('<p class="kept alarm" hidden', '<p class="kept alarm"') // said without any script, too
    .replace("<b data-at></b>", `<b data-at>${new Date(keptMs).toLocaleString("en-CA", { hour12: false })}</b>`);
  return new Response(text, { headers: found.headers });
}

// A name with a version never changes its content; of another the server is asked first.
async function part(request) {
  const kept = await caches.open(KEPT);
  const isFixed = new URL(request.url).searchParams.has("v") || request.destination === "font";
  const mine = await kept.match(request, { ignoreVary: true });
  if (mine && isFixed) return mine;
  const answer = await fetch(request).catch(() => null);
  if (answer?.ok) await kept.put(request, answer.clone());
  return (answer?.ok ? answer : mine ?? answer) ?? Response.error();
}

// {title, text, path, tag}, as collector/desk/alerts/channels/push.py makes it; a browser wants something shown for each.
addEventListener("push", (event) => {
  let given = {};
  try { given = event.data.json(); } catch { /* none of ours */ }
  const { title = "Nabz", text = "", path = "/", tag = "nabz" } = given;
  const icon = "/static/icon.svg";
  event.waitUntil(self.registration.showNotification(title, { body: text, tag, icon, dir: "auto", data: { path } }));
});

addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = new URL(event.notification.data?.path ?? "/", location.origin);
  event.waitUntil(clients.openWindow(url.origin === location.origin ? url.href : location.origin));
});
