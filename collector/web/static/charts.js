// The kinds of readings that are drawn, on one time axis: the same span, one cursor, gaps left as gaps.
/* global uPlot */
import { shaped } from "./page.js";

const box = document.getElementById("charts");
const code = encodeURIComponent(document.getElementById("main").dataset.center);
const words = Object.fromEntries([...document.getElementById("chart-words").content.children].map((i) => [i.dataset.key, i.textContent]));
const bounds = JSON.parse(box.dataset.bounds);
const { zone } = box.dataset;
const promised = Number(box.dataset.promised);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const sync = uPlot.sync("center");
const charts = new Map();
let spanS = Number(box.dataset.rangeS);
const POINTS = 480;
let loaded = 0;
let zoom = asked(); // {from, to} in seconds while the reader looks closer; live drawing waits meanwhile

const bar = uPlot.paths.bars({ size: [0.9, 6, 2] });
const step = uPlot.paths.stepped({ align: 1 });
const none = () => null;
const near = (best) => (u, min, max) => [0, Math.max(best, max == null ? 0 : max * 1.12)];
const fixed = (digits, mark) => (value) => (value == null ? "–" : `${shaped(value.toFixed(digits))}${mark}`);

const around = (u, min, max) => {
  if (min == null) return [0, 1];
  const room = Math.max(1, (max - min) * 0.15);
  return [min - room, max + room];
};

// How a kind is drawn that has no way of its own below: a line a figure, the first one's unit at the side, a scale for
// each other unit, what is yes or no as bars.
const COLOURS = ["--plot-1", "--plot-2", "--below", "--watch"];
function plain(kind, figures) {
  const numbers = figures.filter((f) => f.number), unit = numbers[0]?.unit ?? "";
  return {
    fields: figures.map((f) => f.name), unit, scale: around, axis: true, rare: true,
    others: [...new Set(numbers.map((f) => f.unit))].filter((other) => other !== unit),
    series: () => figures.map((f, i) => {
      const stroke = css(COLOURS[i % COLOURS.length]);
      if (!f.number) return { key: f.name, scale: "bool", stroke, fill: `${stroke}30`, width: 0, paths: step, say: (v) => (v ? "●" : "–") };
      return { key: f.name, scale: f.unit === unit ? "y" : f.unit, stroke, width: 1.5, say: fixed(1, f.unit && ` ${f.unit}`) };
    }),
    lines: () => numbers.filter((f) => f.unit === unit).map((f) => [f.name, bounds[`${kind}.${f.name}`], words.bound]),
  };
}

// Ways of their own. `lines` are steady values worth comparing with; the chart with the `axis` tells the time for all above.
const STYLES = {
  link: {
    scale: near(40), unit: "ms",
    series: () => [
      { key: "rtt_p95_ms", stroke: css("--plot-1") + "70", width: 1, say: fixed(0, " ms") },
      { key: "rtt_median_ms", stroke: css("--plot-1"), width: 1.75, say: fixed(0, " ms") },
      { key: "loss_pct", scale: "pct", stroke: css("--below"), fill: css("--below"), width: 0, paths: bar, say: fixed(1, " %"), hideZero: true },
    ],
    lines: () => [["rtt_median_ms", bounds["link.rtt_median_ms"], words.bound]],
  },
  speed: {
    scale: near(10), unit: "Mbit/s",
    series: () => [
      { key: "download_mbps", stroke: css("--plot-1"), dots: true, fill: css("--plot-1"), say: fixed(1, " Mbit/s") },
      { key: "upload_mbps", stroke: css("--plot-2"), dots: true, fill: css("--plot-2"), say: fixed(1, " Mbit/s") },
      { key: "self_down", stroke: css("--plot-1"), dots: true, fill: css("--surface"), say: fixed(1, " Mbit/s") },
      { key: "failed", stroke: css("--below"), dots: true, cross: true, fill: css("--surface"), say: (v) => (v == null ? "–" : "×") },
    ],
    lines: () => [["download_mbps", bounds["speed.download_mbps"], words.bound]],
    shape(found) {
      const self = found.self_test.map((v) => v === 1);
      return {
        download_mbps: found.download_mbps.map((v, i) => (self[i] ? null : v)),
        upload_mbps: found.upload_mbps.map((v, i) => (self[i] ? null : v)),
        self_down: found.download_mbps.map((v, i) => (self[i] ? v : null)),
        failed: found.failed.map((v) => (v ? 0 : null)),
      };
    },
  },
  ups: {
    scale: () => [0, 105], unit: "%",
    series: () => [
      { key: "battery_charge_pct", stroke: css("--plot-1"), width: 1.75, say: fixed(0, " %") },
      { key: "load_pct", stroke: css("--plot-2"), width: 1.25, say: fixed(0, " %") },
      { key: "on_battery", scale: "bool", stroke: css("--watch"), fill: css("--watch") + "30", width: 0, paths: step, say: (v) => (v ? "●" : "–") },
    ],
    lines: () => [],
  },
  seats: {
    scale: (u, min, max) => [0, Math.max(promised, max ?? 0) * 1.12], unit: "", whole: true, axis: true,
    series: () => [
      { key: "known", stroke: css("--plot-2"), width: 1, paths: step, say: fixed(0, "") },
      { key: "healthy", stroke: css("--plot-1"), fill: css("--plot-soft"), width: 1.75, paths: step, say: fixed(0, "") },
    ],
    lines: () => [["healthy", promised, words.promised]],
  },
};
const KINDS = Object.fromEntries(Object.entries(JSON.parse(box.dataset.kinds)).map(([kind, figures]) => {
  const fields = figures.map((f) => f.name);
  return [kind, STYLES[kind] ? { fields, others: [], ...STYLES[kind] } : plain(kind, figures)];
}));

// ---------------------------------------------------------------- drawing

function dashes(kind) {
  return (u) => {
    for (const [, value, label] of KINDS[kind].lines()) {
      if (value == null || value > u.scales.y.max) continue;
      const y = u.valToPos(value, "y", true), { left, width } = u.bbox, c = u.ctx;
      c.save();
      c.strokeStyle = c.fillStyle = css("--muted");
      c.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
      c.lineWidth = devicePixelRatio;
      c.beginPath();
      c.moveTo(left, y);
      c.lineTo(left + width, y);
      c.stroke();
      c.font = `${11 * devicePixelRatio}px ${getComputedStyle(box).fontFamily}`; // in Urdu a system font may lack letters
      c.textAlign = "right";
      c.textBaseline = "bottom";
      c.fillText(label, left + width - 4 * devicePixelRatio, y - 2 * devicePixelRatio);
      c.restore();
    }
  };
}

function cross(u, seriesIndex) {
  const c = u.ctx, r = 4 * devicePixelRatio;
  c.save();
  c.strokeStyle = css("--below");
  c.lineWidth = 1.75 * devicePixelRatio;
  c.beginPath();
  u.data[0].forEach((t, i) => {
    if (u.data[seriesIndex][i] == null || t < u.scales.x.min || t > u.scales.x.max) return;
    const x = u.valToPos(t, "x", true), y = u.valToPos(0, "y", true) - r * 1.6;
    c.moveTo(x - r, y - r);
    c.lineTo(x + r, y + r);
    c.moveTo(x + r, y - r);
    c.lineTo(x - r, y + r);
  });
  c.stroke();
  c.restore();
  return false;
}

function options(kind, place) {
  const spec = KINDS[kind], last = spec.axis, axis = { stroke: css("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  const grid = { stroke: css("--grid"), width: 1 };
  return {
    width: place.parentElement.clientWidth, height: last ? 144 : 120, tzDate: (s) => uPlot.tzDate(new Date(s * 1000), zone),
    legend: { show: false }, padding: [6, 18, 0, 0],
    cursor: { sync: { key: sync.key, scales: ["x", null] }, y: false, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
    scales: { x: { time: true }, y: { range: spec.scale }, pct: { range: near(25) }, bool: { range: [0, 1] }, ...Object.fromEntries(spec.others.map((unit) => [unit, { range: around }])) },
    axes: [
      { ...axis, grid, size: last ? 26 : 4, values: last ? clock : (u, ticks) => ticks.map(() => "") },
      { ...axis, grid, size: 40, space: 34, ...(spec.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100] } : {}), values: (u, ticks) => ticks.map(shaped) },
    ],
    series: [{}, ...spec.series().map((s) => ({
      scale: s.scale ?? "y", stroke: s.stroke, fill: s.dots ? undefined : s.fill, width: s.width ?? 1.5, spanGaps: false,
      paths: s.dots ? none : s.paths,
      points: s.cross ? { show: cross } : { show: Boolean(s.dots) || undefined, size: 8, width: 1.75, stroke: s.stroke, fill: s.fill, ...(s.dots ? {} : { size: 3, filter: lonely }) },
    }))],
    hooks: { draw: [dashes(kind)], setCursor: [(u) => keys(kind, u)], setSelect: [(u) => pick(u)], ready: [(u) => u.over.addEventListener("dblclick", back)] },
  };
}

// A reading between two gaps is no line: draw it as a dot.
function lonely(u, index, show) {
  if (show) return null;
  const values = u.data[index], found = [];
  for (let i = 0; i < values.length; i++) if (values[i] != null && values[i - 1] == null && values[i + 1] == null) found.push(i);
  return found.length && u.series[index].width ? found : [];
}

function clock(u, ticks, _axis, _space, increment) {
  const day = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
  const time = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  return ticks.map((s) => {
    const at = new Date(s * 1000), said = time.format(at);
    return shaped(increment >= 86400 || said === "00:00" ? day.format(at) : said);
  });
}

function keys(kind, u) {
  const place = charts.get(kind)?.keys, index = u.cursor.idx;
  if (!place) return;
  const said = KINDS[kind].series().map((s, i) => {
    const value = index == null ? undefined : u.data[i + 1][index]; // undefined too: just zoomed, the cursor not yet moved
    return `${words[s.key]}${value === undefined || (s.dots && value == null) ? "" : ` ${s.say(value)}`}`;
  });
  place.querySelectorAll("span").forEach((span, i) => { span.textContent = said[i]; });
  const at = index == null ? undefined : u.data[0][index];
  place.querySelector("time").textContent = at === undefined ? "" : shaped(new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  }).format(new Date(at * 1000)));
}

function legend(kind, place) {
  place.replaceChildren(...KINDS[kind].series().map((s) => {
    const item = document.createElement("i");
    item.innerHTML = '<svg viewBox="0 0 14 8" aria-hidden="true"><path d="M0 4h14"/></svg><span></span>';
    const path = item.querySelector("path");
    path.setAttribute("stroke", s.stroke);
    path.setAttribute("stroke-width", s.width === 0 ? 8 : 3);
    if (s.dots) {
      path.setAttribute("d", s.cross ? "M3 0l8 8M11 0l-8 8" : "M3.6 4a3 3 0 1 0 6 0a3 3 0 1 0-6 0");
      path.setAttribute("fill", s.cross ? "none" : s.fill);
      path.setAttribute("stroke-width", 2);
    }
    return item;
  }), document.createElement("time"));
}

function draw(kind, found) {
  const figure = box.querySelector(`[data-chart="${kind}"]`), place = figure.querySelector(".plot"), spec = KINDS[kind];
  const shaped = spec.shape ? spec.shape(found) : found;
  const data = [found.t.map((ms) => ms / 1000), ...spec.series().map((s) => shaped[s.key].map((v) => (s.hideZero && v === 0 ? null : v)))];
  figure.querySelector(".gone").hidden = found.t.length > 0;
  figure.classList.toggle("empty", !found.t.length);
  figure.hidden = Boolean(spec.rare && !found.t.length); // not every center has what it measures
  if (figure.hidden) return;
  let chart = charts.get(kind);
  if (!chart) {
    const holder = figure.querySelector(".keys");
    legend(kind, holder);
    figure.querySelector(".unit").textContent = spec.unit;
    place.classList.toggle("last", Boolean(spec.axis));
    chart = { plot: new uPlot(options(kind, place), data, place), keys: holder };
    sync.sub(chart.plot);
    charts.set(kind, chart);
  } else {
    chart.plot.setData(data, false);
  }
  chart.plot.setScale("x", { min: found.from_ms / 1000, max: found.to_ms / 1000 });
  keys(kind, chart.plot);
  describe(kind, place, data);
}

// What a chart says to those who do not see it: the last value of each of its lines.
function describe(kind, place, data) {
  const said = KINDS[kind].series().map((s, i) => {
    const known = data[i + 1].filter((v) => v != null);
    return known.length ? `${words[s.key]} ${s.say(known.at(-1))}` : "";
  }).filter(Boolean);
  const name = place.closest("figure").querySelector("b").textContent;
  place.setAttribute("aria-label", [name, ...said].join(", "));
}

// ---------------------------------------------------------------- asking

async function load() {
  loaded = Date.now();
  const now = Date.now() - (Date.now() % 1000) - skew;
  const to = zoom ? Math.round(zoom.to * 1000) : now, from = zoom ? Math.round(zoom.from * 1000) : now - spanS * 1000;
  await Promise.all(Object.keys(KINDS).map(async (kind) => {
    const question = new URLSearchParams({ kind, fields: KINDS[kind].fields.join(","), from, to, points: POINTS });
    const { subject } = box.querySelector(`[data-chart="${kind}"]`).dataset;
    if (subject !== undefined) question.set("subject", subject);
    const answer = await fetch(`/api/v1/centers/${code}/series?${question}`);
    if (answer.ok) draw(kind, await answer.json());
  }));
}
const skew = Date.now() - Number(document.body.dataset.now);

function pick(u) {
  if (u.select.width < 8) return;
  const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
  for (const { plot } of charts.values()) plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  if (to - from < 60) return;
  look({ from, to });
}

// The span that the address names, so that a link shows what its sender saw.
function asked() {
  const [from, to] = ["from", "to"].map((name) => Number(new URLSearchParams(location.search).get(name)) / 1000);
  return from > 0 && to - from >= 60 ? { from, to } : null;
}

function look(span) {
  zoom = span;
  const address = new URL(location);
  for (const name of ["from", "to"]) {
    if (span) address.searchParams.set(name, Math.round(span[name] * 1000));
    else address.searchParams.delete(name);
  }
  history[span ? "pushState" : "replaceState"](history.state, "", address);
  load();
}
addEventListener("popstate", () => { zoom = asked(); load(); });

function back() {
  clearTimeout(waiting);
  waiting = null;
  look(null);
}

for (const link of box.querySelectorAll(".ranges a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    history.replaceState(history.state, "", link.href);
    spanS = Number(link.dataset.span);
    for (const each of box.querySelectorAll(".ranges a")) each.toggleAttribute("aria-current", false);
    link.setAttribute("aria-current", "true");
    document.getElementById("main").setAttribute("hx-get", link.getAttribute("href"));
    back();
  });
}

let waiting = null;
document.addEventListener("nabz:news", () => {
  box.hidden = false;
  if (zoom || waiting) return;
  // Nothing new is seen before one point's width of time has passed; a long span is dear to read.
  const due = charts.size ? loaded + (spanS * 1000) / POINTS : 0;
  waiting = setTimeout(() => { waiting = null; load(); }, Math.max(500, due - Date.now()));
});
addEventListener("resize", () => {
  for (const [kind, { plot }] of charts) plot.setSize({ width: plot.root.closest("figure").clientWidth, height: KINDS[kind].axis ? 144 : 120 });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { plot } of charts.values()) plot.destroy();
  charts.clear();
  load();
});
if (!box.hidden) load();
