// What every finance page shares: panels that follow the stream, the drawer beside them, the dialog that decides.

// Panels say which news they show (`data-news`) and fetch themselves on `refresh`. News comes faster than it is worth
// fetching, so a panel rests after each fetch for four times as long as the fetch took, and never misses the last news.
const REST_MS = 300;
const rests = new WeakMap(); // panel -> {until, timer, began}

export function refresh(panel) {
  const rest = rests.get(panel) ?? { until: 0, timer: 0, began: 0 };
  rests.set(panel, rest);
  if (rest.timer) return;
  rest.timer = setTimeout(() => {
    rest.timer = 0;
    rest.until = performance.now() + REST_MS;
    if (panel.isConnected) panel.dispatchEvent(new CustomEvent("refresh"));
  }, Math.max(0, rest.until - performance.now()));
}

export function refreshAll(news) {
  for (const panel of document.querySelectorAll(`[data-news~="${news}"]`)) refresh(panel);
}

document.addEventListener("live:topic", (event) => refreshAll(event.detail.topic === "finance.alerts" ? "alerts" : "stories"), true);
document.body.addEventListener("htmx:beforeRequest", (event) => {
  const rest = rests.get(event.target);
  if (rest) rest.began = performance.now();
});
document.body.addEventListener("htmx:afterRequest", (event) => {
  const rest = rests.get(event.target);
  if (rest) rest.until = performance.now() + Math.max(REST_MS, 4 * (performance.now() - rest.began));
});

// Times of the clock come in UTC and are shown in the reader's zone.
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

function tell() {
  for (const time of document.querySelectorAll("time[data-clock]")) {
    const at = new Date(time.dateTime);
    time.textContent = (at.toDateString() === new Date().toDateString() ? clock : dated).format(at);
    time.title = at.toLocaleString();
  }
}

// A number that changed flashes its cell once.
let numbers = new Map();
function flash() {
  const before = numbers;
  numbers = new Map();
  for (const cell of document.querySelectorAll("[data-value]")) {
    const key = `${cell.closest("[data-news]")?.id} ${cell.dataset.value}`;
    numbers.set(key, cell.textContent);
    if (before.has(key) && before.get(key) !== cell.textContent) cell.classList.add("flash");
  }
}

// The drawer. What is in it stands in the address, so that the page can be loaded again and sent to somebody.
const drawer = document.querySelector("#drawer");
let opener = "";

function address(part) {
  const url = new URL(location.href);
  url.searchParams.delete("alert");
  url.searchParams.delete("story");
  if (part) url.searchParams.set(...part.split("="));
  history.replaceState(history.state, "", url);
}

function mark() {
  const id = drawer.hidden ? "" : (drawer.querySelector("[data-address^='alert=']")?.dataset.address.slice(6) ?? "");
  for (const row of document.querySelectorAll("[data-alert]")) row.classList.toggle("open", Boolean(id) && row.dataset.alert === id);
}

export function closeDrawer() {
  if (drawer.hidden) return;
  drawer.hidden = true;
  drawer.replaceChildren();
  address("");
  mark();
  document.getElementById(opener)?.focus();
}

document.body.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.target === drawer && !drawer.contains(event.detail.elt)) opener = event.detail.elt.id || event.detail.elt.closest("[id]")?.id || "";
});
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target !== drawer) return;
  drawer.hidden = false;
  drawer.scrollTop = 0;
  address(drawer.querySelector("[data-address]")?.dataset.address ?? "");
  drawer.querySelector("h2")?.focus({ preventScroll: true });
});
document.body.addEventListener("htmx:afterSettle", () => {
  mark();
  flash();
  tell();
});
document.addEventListener("click", (event) => event.target.closest("[data-closes-drawer]") && closeDrawer());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && !document.querySelector("dialog[open]")) closeDrawer();
});

// The dialog: fetched, shown, and sent; what is wrong with its fields comes back into it.
const decision = document.querySelector("#decision");
document.body.addEventListener("htmx:afterSettle", (event) => { // its form is htmx's by now: Enter may come at once
  if (event.target !== decision) return;
  if (!decision.open) decision.showModal();
  (decision.querySelector("[aria-invalid='true']") ?? decision.querySelector("[autofocus]"))?.focus();
});
document.body.addEventListener("decided", (event) => {
  decision.close();
  refreshAll("alerts");
  const row = document.querySelector(`#alert-${event.detail.alert}-name`);
  if (drawer.hidden) row?.focus();
});
decision.addEventListener("click", (event) => {
  if (event.target === decision || event.target.closest("[data-closes]")) decision.close();
});
decision.addEventListener("close", () => decision.replaceChildren());

flash();
mark();
tell();
