// News for pages. The server says "topic X is at sequence N"; the element that shows X hears `live:topic` and fetches its
// rows (htmx triggers on it). A lost frame costs two seconds: the heartbeat repeats where every topic stands. Without a
// heartbeat the page calls itself stale, says as of when, and reconnects with growing, jittered pauses.
const QUIET_MS = 6000; // three heartbeats
const PAUSE_MS = { first: 500, most: 15000 };

let socket = null;
let failures = 0;
let heardAt = Date.now();
let retry = 0;
let tooOld = false;

const listeners = () => [...document.querySelectorAll("[data-live-topic]")];

export function connect() {
  clearTimeout(retry);
  if (socket && socket.readyState <= WebSocket.OPEN) return;
  if (!listeners().length || tooOld) return;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const opened = new WebSocket(`${scheme}://${location.host}/live/`);
  socket = opened;
  opened.addEventListener("open", subscribe);
  opened.addEventListener("message", (message) => opened === socket && hear(JSON.parse(message.data)));
  opened.addEventListener("close", () => opened === socket && lost());
}

function subscribe() {
  const tokens = [...new Set(listeners().map((element) => element.dataset.liveToken))];
  if (tokens.length && socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ subscribe: tokens }));
}

function hear(frame) {
  if (frame.error) return refuse(frame);
  heardAt = Date.now();
  failures = 0;
  show("live");
  const sequences = frame.sequences ?? { [frame.topic]: frame.sequence };
  for (const element of listeners()) {
    const sequence = sequences[element.dataset.liveTopic];
    if (sequence === undefined || sequence <= Number(element.dataset.liveSequence)) continue;
    element.dataset.liveSequence = sequence;
    const detail = { topic: element.dataset.liveTopic, sequence, at: frame.at };
    element.dispatchEvent(new CustomEvent("live:topic", { detail }));
  }
}

function refuse(frame) {
  if (frame.error === "unavailable") return;
  console.warn(`live: ${frame.error}: ${frame.detail}`);
  tooOld = true; // tokens of yesterday, or of another server: only a new page has good ones
  show("stale");
}

function lost() {
  socket = null;
  show("stale");
  const most = Math.min(PAUSE_MS.most, PAUSE_MS.first * 2 ** failures);
  failures += 1;
  clearTimeout(retry);
  retry = setTimeout(connect, most * (0.5 + Math.random() / 2));
}

function show(state) {
  const root = document.documentElement;
  const changed = root.dataset.live !== state;
  root.dataset.live = state;
  if (!changed && state === "live") return;
  write();
  document.dispatchEvent(new CustomEvent("live:state", { detail: { state } }));
}

function write() {
  const state = document.documentElement.dataset.live;
  if (state === "connecting") return;
  const time = new Date(heardAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const stale = tooOld ? `as of ${time}, load the page again` : `as of ${time}, reconnecting`;
  for (const status of document.querySelectorAll("[data-live-status]")) {
    status.textContent = state === "live" ? "live" : stale;
  }
}

function watch() {
  if (Date.now() - heardAt < QUIET_MS || !listeners().length) return;
  if (socket?.readyState === WebSocket.OPEN) {
    const silent = socket;
    lost(); // open, but nobody is there: do not wait for the network to notice
    silent.close();
  } else {
    show("stale");
  }
}

function wake() {
  if (document.visibilityState !== "visible") return;
  if (socket?.readyState === WebSocket.OPEN) return subscribe(); // asking again answers where every topic stands
  failures = 0;
  connect();
}

// Rows that could not be fetched are still news: forget the sequence, and the next heartbeat asks for them again.
function forget(event) {
  const element = event.target.closest?.("[data-live-topic]");
  if (element) element.dataset.liveSequence = -1;
}

document.addEventListener("visibilitychange", wake);
window.addEventListener("online", wake);
window.addEventListener("pageshow", wake);
document.addEventListener("htmx:sendError", forget);
document.addEventListener("htmx:responseError", forget);
document.addEventListener("htmx:load", write); // what was swapped in may have a place for it
document.addEventListener("htmx:load", () => (socket?.readyState === WebSocket.OPEN ? subscribe() : connect()));
setInterval(watch, 1000);
connect();
