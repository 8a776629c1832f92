// The map: all centers on one canvas, the worst drawn last; where many lie close together, a disc with their number in
// the colour of the worst. Its view stands in the address behind the #.
/* global L */
import { follow } from "./live.js";
import { duration, form, shaped } from "./page.js";

const PAKISTAN = [[23.6, 60.8], [37.1, 77.9]];
const CELL_PX = 34, APART_FROM = 10; // side of a cluster's cell; the zoom from which every center is by itself
const REST_MS = 5000, DRAW_MS = 1000; // between two loads, between two drawings of what has moved
const box = document.getElementById("map");
const words = JSON.parse(box.dataset.words);
const names = Object.fromEntries([...document.getElementById("map-words").content.children].map((i) => [i.dataset.state, i.textContent]));
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (state) => css(`--${{ closed: "paused" }[state] ?? state}`);

// A disc with a number on it.
const Disc = L.CircleMarker.extend({
  _updatePath() {
    L.CircleMarker.prototype._updatePath.call(this);
    const { _ctx: ctx, _drawing: drawing } = this._renderer;
    if (!drawing || !this.options.n) return;
    ctx.fillStyle = css("--surface");
    ctx.font = `600 12px ${getComputedStyle(box).fontFamily}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.globalAlpha = 1;
    ctx.fillText(this.options.n, this._point.x, this._point.y);
  },
});

const map = L.map(box, { preferCanvas: true, attributionControl: false, zoomControl: false, zoomSnap: 0.5, minZoom: 4, maxZoom: 17, worldCopyJump: false });
L.control.zoom({ zoomInTitle: box.dataset.zoomIn, zoomOutTitle: box.dataset.zoomOut }).addTo(map);
const layer = L.layerGroup().addTo(map);
let points = { codes: [] }, at = new Map(); // the columns, and where in them each center is

function start() {
  const [, zoom, lat, lon] = /^#([\d.]+)\/(-?[\d.]+)\/(-?[\d.]+)$/.exec(location.hash) ?? [];
  if (zoom) map.setView([lat, lon], zoom);
  else map.fitBounds(points.codes.length ? points.lat.map((lat, i) => [lat, points.lon[i]]) : PAKISTAN, { padding: [24, 24], maxZoom: 12 });
}

function clusters() {
  if (map.getZoom() >= APART_FROM) return points.codes.map((_, i) => [i]);
  const cells = new Map();
  points.codes.forEach((_, i) => {
    const at = map.project([points.lat[i], points.lon[i]]);
    const key = `${Math.floor(at.x / CELL_PX)} ${Math.floor(at.y / CELL_PX)}`;
    if (cells.has(key)) cells.get(key).push(i); else cells.set(key, [i]);
  });
  return [...cells.values()];
}

function draw() {
  layer.clearLayers();
  const line = css("--surface");
  const found = clusters().map((own) => ({ own, worst: Math.min(...own.map((i) => points.rank[i])) }));
  found.sort((a, b) => b.worst - a.worst); // the worst lie on top
  for (const { own, worst } of found) {
    const state = points.states[worst], n = own.length;
    const middle = [own.reduce((sum, i) => sum + points.lat[i], 0) / n, own.reduce((sum, i) => sum + points.lon[i], 0) / n];
    const disc = new Disc(middle, {
      radius: n > 1 ? 9 + Math.min(9, 2.2 * Math.log2(n)) : worst < 3 ? 7 : 5, n: n > 1 ? n : 0,
      color: line, weight: 1.5, fillColor: colour(state), fillOpacity: 0.92,
    });
    if (n > 1) disc.on("click", () => map.fitBounds(own.map((i) => [points.lat[i], points.lon[i]]), { padding: [40, 40], maxZoom: 14 }));
    disc.bindTooltip(() => (n > 1 ? many(own) : told(own[0])), { direction: "top" });
    if (n === 1) disc.bindPopup(() => leads(own[0]));
    disc.addTo(layer);
  }
}

function element(tag, text, more = {}) {
  const made = Object.assign(document.createElement(tag), more);
  made.textContent = text;
  return made;
}

function told(i) {
  const box = document.createElement("div");
  box.append(element("bdi", points.names[i]), document.createElement("br"), names[points.states[points.rank[i]]]);
  return box;
}

function many(own) {
  const box = document.createElement("div");
  box.append(form(words, own.length).replace("{n}", own.length));
  points.states.forEach((state, rank) => {
    const n = own.filter((i) => points.rank[i] === rank).length;
    if (n) box.append(document.createElement("br"), `${names[state]} ${n}`);
  });
  return box;
}

function leads(i) {
  const box = told(i);
  const link = element("a", points.names[i], { href: `/centers/${encodeURIComponent(points.codes[i])}` });
  link.dir = "auto";
  box.firstChild.replaceWith(link);
  return box;
}

// The names of the cities that most centers are in, so that the points can be told apart without lines. Each stands
// below, above or beside its city, as near as it hides no disc and no other name; one that has no such place is left out.
const NAMED = 30, LETTER_PX = 7, HIGH_PX = 16, APART_PX = [20, 45, 70];
const labels = L.layerGroup().addTo(map);

function cities() {
  labels.clearLayers();
  const found = new Map();
  points.cities.forEach((city, i) => { if (city) found.set(city, [...(found.get(city) ?? []), i]); });
  const largest = [...found].sort((a, b) => b[1].length - a[1].length).slice(0, NAMED);
  const taken = layer.getLayers().map((disc) => {
    const at = map.latLngToLayerPoint(disc.getLatLng()), r = disc.getRadius();
    return [at.x - r, at.y - r, at.x + r, at.y + r];
  });
  for (const [city, own] of largest) {
    const middle = (column) => own.map((i) => points[column][i]).sort((a, b) => a - b)[own.length >> 1];
    const place = [middle("lat"), middle("lon")], at = map.latLngToLayerPoint(place), wide = LETTER_PX * city.length;
    const ways = APART_PX.flatMap((px) => [[0, px], [0, -px], [wide / 2 + px, 0], [-wide / 2 - px, 0]]);
    for (const [x, y] of ways) {
      const box = [at.x + x - wide / 2, at.y + y - HIGH_PX / 2, at.x + x + wide / 2, at.y + y + HIGH_PX / 2];
      if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      L.tooltip(place, { permanent: true, direction: "center", offset: [x, y], className: "city", interactive: false })
        .setContent(element("bdi", city)).addTo(labels);
      break;
    }
  }
}

// ---------------------------------------------------------------- loading

function trouble(status) {
  const bar = document.querySelector(".trouble");
  for (const said of bar.querySelectorAll("[data-why]")) said.hidden = said.dataset.why !== (status ? "refused" : "away");
  bar.querySelector("[data-status]").textContent = status || "";
  bar.hidden = status === 401;
}

async function load() {
  const answer = await fetch(box.dataset.points).catch(() => null);
  if (!answer?.ok || answer.redirected) return trouble(answer?.status ?? 0);
  points = await answer.json();
  document.querySelector(".trouble").hidden = true;
  at = new Map(points.codes.map((code, i) => [code, i]));
  const place = document.getElementById("placed");
  place.textContent = form(JSON.parse(place.dataset.forms), points.codes.length).replace("{n}", shaped(points.codes.length.toLocaleString("en")));
  document.getElementById("unplaced").hidden = points.codes.length > 0;
  return points;
}

let outlines = null;
async function outline() {
  const answer = await fetch(box.dataset.boundaries).catch(() => null);
  if (!answer?.ok) return;
  const style = (feature) => ({ color: css("--muted"), weight: 1, fillOpacity: 0.03, dashArray: feature.properties?.disputed ? "4 4" : null });
  outlines = L.geoJSON(await answer.json(), { interactive: false, style }).addTo(map).bringToBack();
}

let waiting = 0, loadedMs = 0;
function again() {
  clearTimeout(waiting);
  waiting = setTimeout(async () => { loadedMs = Date.now(); if (await load()) draw(); }, Math.max(0, loadedMs + REST_MS - Date.now()));
}

// What moved comes with its new state. Only where the filter is of a state may another center belong here now.
let drawing = 0;
function moved(news) {
  if (news.moved.length && new URL(box.dataset.points, location).searchParams.has("state")) return again();
  news.moved.forEach((code, n) => { if (at.has(code)) points.rank[at.get(code)] = news.ranks[n]; });
  if (news.moved.some((code) => at.has(code))) drawing ||= setTimeout(() => { drawing = 0; draw(); }, DRAW_MS);
}

await load();
start();
await outline();
draw();
cities();
box.dataset.drawn = points.codes.length;
addEventListener("hashchange", start);
map.on("zoomend", () => { draw(); cities(); });
map.on("moveend", () => {
  const { lat, lng } = map.getCenter();
  history.replaceState(history.state, "", `#${map.getZoom()}/${lat.toFixed(4)}/${lng.toFixed(4)}`);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { draw(); outlines?.setStyle({ color: css("--muted") }); });
follow(document.querySelector(".live"), { news: moved, missed: again, duration });
