// The storefront's own behaviour: how long click-to-list took, which items moved, and what stays open while it changes.
const list = document.querySelector("#for-you");
const time = document.querySelector("#click-to-list");
const news = document.querySelector("#news");
const PUSH_MS = 5000; // a click that is not in the list by then was not pushed: fetch it, and say so

const sent = new WeakMap(); // form -> when its click went out
const awaited = new Map(); // event id -> when its click went out
let standing = { at: 0, events: idsIn(list) }; // when the list that stands came, and which events it knows of
let before = null; // the list that a swap is about to replace

function idsIn(root) {
  return new Set((root.querySelector("[data-events]")?.dataset.events ?? "").split(" ").filter(Boolean));
}

// Click to list: from the click being sent to the first list in the page that knows of its event.
document.body.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.matches("[data-click]")) sent.set(event.target, performance.now());
});

document.body.addEventListener("accepted", (event) => {
  const form = event.target;
  const { event: id, item, kind } = event.detail;
  awaited.set(id, sent.get(form) ?? performance.now());
  // Later: other news of the same answer is still to be dispatched on this form.
  if (kind === "cart") setTimeout(() => { form.outerHTML = form.dataset.done; });
  if (kind === "dismiss") for (const row of rows()) row.classList.toggle("leaving", row.dataset.item === item || row.classList.contains("leaving"));
  settle();
  setTimeout(() => awaited.has(id) && fetchLate(), PUSH_MS);
});

function settle() {
  for (const [id, start] of awaited) {
    if (!standing.events.has(id)) continue;
    awaited.delete(id);
    tell(standing.at - start);
  }
}

function tell(milliseconds) {
  time.hidden = false;
  time.className = "badge good";
  time.textContent = `${(milliseconds / 1000).toFixed(1)} s`;
  time.dataset.milliseconds = Math.round(milliseconds);
}

function fetchLate() {
  time.hidden = false;
  time.className = "badge warn";
  time.textContent = "not pushed yet";
  list.dispatchEvent(new CustomEvent("refetch"));
}

// Before the list is replaced, remember its order and places; after, mark what moved and let it slide.
function rows() {
  return [...list.querySelectorAll("[data-item]")];
}

list.addEventListener("htmx:beforeSwap", () => {
  before = {
    places: new Map(rows().map((row, index) => [row.dataset.item, { index, top: row.offsetTop, left: row.offsetLeft }])),
    open: new Set(rows().filter((row) => row.querySelector("details[open]")).map((row) => row.dataset.item)),
    isDoneOpen: Boolean(list.querySelector(".done[open]")),
    focused: list.contains(document.activeElement) ? document.activeElement.closest("[data-item]")?.dataset.item : null,
    scrolled: list.querySelector(".picks")?.scrollLeft ?? 0,
  };
});

list.addEventListener("htmx:afterSwap", () => {
  standing = { at: performance.now(), events: idsIn(list) };
  settle();
  if (!before) return;
  const quiet = matchMedia("(prefers-reduced-motion: reduce)").matches;
  list.querySelector(".picks")?.scrollTo({ left: before.scrolled });
  let fresh = 0;
  for (const [index, row] of rows().entries()) {
    const place = before.places.get(row.dataset.item);
    fresh += place ? 0 : 1;
    mark(row, place, index);
    if (before.open.has(row.dataset.item)) row.querySelector("details").open = true;
    if (before.focused === row.dataset.item) row.querySelector("[data-row-focus]").focus({ preventScroll: true });
    if (!quiet) slide(row, place);
  }
  if (before.isDoneOpen) list.querySelector(".done").open = true;
  const first = rows()[0]?.querySelector("[data-row-focus]")?.textContent.trim();
  news.textContent = first ? `Your list changed: ${fresh} new. First: ${first}.` : "";
  before = null;
});

function mark(row, place, index) {
  const badge = row.querySelector(".moved");
  if (!place) {
    row.classList.add("new");
    badge.textContent = "new";
  } else if (place.index !== index) {
    const up = place.index > index;
    badge.classList.toggle("down", !up);
    badge.textContent = `${up ? "▲" : "▼"} ${Math.abs(place.index - index)}`;
    badge.title = `was number ${place.index + 1}`;
  }
}

function slide(row, place) {
  const x = place ? place.left - row.offsetLeft : 12;
  const y = place ? place.top - row.offsetTop : 0;
  if (x || y) row.animate([{ transform: `translate(${x}px, ${y}px)`, opacity: place ? 1 : 0 }, {}], { duration: 140, easing: "ease-out" });
}

const search = document.querySelector(".search [name=q]");

// A new pane: say what it is to who cannot see it, and show in the box what was searched.
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "pane" || document.activeElement === search) return;
  document.querySelector("[data-pane-title]")?.focus({ preventScroll: true });
  search.value = new URLSearchParams(location.search).get("q") ?? "";
});
document.body.addEventListener("htmx:pushedIntoHistory", () => {
  if (document.activeElement !== search) search.value = new URLSearchParams(location.search).get("q") ?? "";
});
for (const form of document.querySelectorAll("[data-submits]")) form.addEventListener("change", () => form.requestSubmit());
