// The one stream of a page (text/event-stream), read by hand: a browser's own reader gives up for good at the first
// answer that is not 200, and says nothing of a server that has stopped.
const SILENT_MS = 25_000; // two beats of the server and a half
const AMBER_S = 30, RED_S = 120;
const LEAST_WAIT_MS = 1000, MOST_WAIT_MS = 30_000;

async function* events(body) {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { event: "message" };
      for (const line of block.split("\n")) {
        const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name) event[name] = value;
      }
      yield event;
    }
  }
}

// Where the page says how old it is: live, late (amber), not connected (red), logged out.
class Light {
  constructor(place, duration) {
    this.place = place;
    this.duration = duration;
    this.ago = place.dataset.ago;
    this.heardMs = Number(document.body.dataset.keptMs) || Date.now();
    this.lateS = 0;
    this.loggedOut = false;
    this.show();
  }

  heard(lateS = this.lateS) {
    this.heardMs = Date.now();
    this.lateS = lateS;
    this.loggedOut = false;
    this.show();
  }

  show() {
    const ageS = Math.max((Date.now() - this.heardMs) / 1000, this.lateS);
    const state = this.loggedOut ? "login" : ageS < AMBER_S ? "on" : ageS < RED_S ? "late" : "off";
    if (this.place.dataset.live !== state) {
      this.place.dataset.live = state;
      for (const word of this.place.querySelectorAll("[data-say]")) word.hidden = word.dataset.say !== state;
    }
    this.place.querySelector(".age").textContent = this.ago.replace("{time}", this.duration(ageS));
  }
}

export function follow(place, { news, missed, duration }) {
  if (!place) return;
  const light = new Light(place, duration);
  let after = place.dataset.after; // the last event that this page knows
  let reading = null; // the AbortController of the stream that is open
  let tries = 0, timer = 0;

  const kinds = {
    beat: (data) => light.heard(Math.max(0, ...Object.values(data))),
    message: (data) => { light.heard(); news(data); },
    lost: () => { light.heard(); missed(); },
  };

  async function read(mine) {
    const answer = await fetch(`/api/v1/live?after=${encodeURIComponent(after)}`, { signal: mine.signal });
    light.loggedOut = answer.status === 401;
    if (!answer.ok) { await answer.body?.cancel(); return; }
    for await (const event of events(answer.body)) {
      if (mine.signal.aborted) return;
      tries = 0;
      if (event.id) after = event.id;
      if (event.data) kinds[event.event]?.(JSON.parse(event.data));
    }
  }

  async function open() {
    clearTimeout(timer);
    const mine = reading = new AbortController();
    try { await read(mine); } catch { /* the network, or our own end: the page's age says it */ }
    if (reading !== mine) return; // closed by us
    reading = null;
    light.show();
    const longest = Math.min(MOST_WAIT_MS, LEAST_WAIT_MS * 2 ** tries++);
    timer = setTimeout(open, longest * (0.5 + Math.random() / 2));
  }

  function shut() {
    clearTimeout(timer);
    const mine = reading;
    reading = null;
    mine?.abort();
  }

  setInterval(() => {
    light.show();
    if (reading && !document.hidden && Date.now() - Math.max(light.heardMs, openedMs) > SILENT_MS) again();
  }, 1000);

  let openedMs = 0;
  function again() {
    shut();
    openedMs = Date.now();
    open();
  }

  again();
  // A hidden tab gives its connection back: browsers allow few to one address.
  document.addEventListener("visibilitychange", () => (document.hidden ? shut() : reading ?? again()));
  addEventListener("online", again);
  addEventListener("focus", () => light.loggedOut && again()); // back from logging in
  addEventListener("pagehide", shut);
  addEventListener("pageshow", (event) => { if (event.persisted) again(); });
}
