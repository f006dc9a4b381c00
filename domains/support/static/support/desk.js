// The desk by keyboard: which suggestion is taken, rejected, sent; what keeps its place while rows change under it.
import { toast } from "../suite.js";
import * as composer from "./composer.js";
import { refetch, toBottom } from "./thread.js";

const pane = document.querySelector("#conversation");
const list = document.querySelector("#list");
const announcer = document.querySelector("#announce");
const HERE_MS = 20000; // how often the page says that somebody looks
const LATE_S = { warn: 120, late: 300 };

const cards = () => [...document.querySelectorAll("#panel [data-suggestion]")];
const opened = () => pane.querySelector("[data-conversation-open]");
const isTyping = (target) => target.closest?.("input, textarea, select");
const isFinePointer = matchMedia("(pointer: fine)").matches;

// Taking ---------------------------------------------------------------------------------------------------------
function take(card, options) {
  if (!card || !composer.box()) return;
  const text = composer.box().value.trim() ? card.dataset.body : card.dataset.text; // one greeting is enough
  composer.insert(card.dataset.suggestion ?? `found:${card.dataset.found}`, text, options);
}

function currentCard() {
  return document.activeElement.closest?.("[data-suggestion]") ?? cards()[0];
}

function askReason(card) {
  const reasons = card?.querySelector(".reasons");
  if (!reasons) return;
  reasons.hidden = false;
  reasons.querySelector("button").focus();
}

function closeReasons(reasons) {
  reasons.hidden = true;
  reasons.closest("[data-suggestion]").querySelector("[data-row-focus]").focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  const card = button?.closest("[data-text]");
  if (!card) return;
  if (button.dataset.act === "take") take(card);
  if (button.dataset.act === "edit") take(card, { atStart: true });
  if (button.dataset.act === "reject") askReason(card);
});

// Keys -----------------------------------------------------------------------------------------------------------
document.addEventListener("keydown", (event) => {
  if (composer.isComposing(event) || document.querySelector("dialog[open]")) return;
  if (event.key === "F2") focusPanel();
  else if (event.target.id === "reply") return inReply(event);
  else if (event.target.id === "find") return inSearch(event);
  else if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  else if (!inPanel(event)) return;
  event.preventDefault();
});

function focusPanel() {
  (cards()[0] ?? document.querySelector("#panel"))?.querySelector("[data-row-focus], a, button")?.focus();
}

function inReply(event) {
  const isModified = event.ctrlKey || event.metaKey;
  if (event.key === "Tab" && !event.shiftKey && !isModified && !event.altKey && composer.hasGhost()) take(cards()[0]);
  else if (event.key === "Enter" && !event.shiftKey && (isModified || setting("enter"))) event.target.form.requestSubmit();
  else if (event.key === "Escape") leaveReply();
  else return;
  event.preventDefault();
}

// Esc: the last insert goes; else the ghost; else the box is left for the list.
function leaveReply() {
  if (composer.undoInsert()) return;
  if (composer.hasGhost()) composer.showGhost("");
  else (list.querySelector(".entries [aria-current]") ?? list.querySelector("[data-row-focus]") ?? document.querySelector("#main")).focus();
}

function inSearch(event) {
  const first = document.querySelector("#found [data-text]");
  if (event.key === "Enter" && first) take(first);
  else if (event.key === "ArrowDown" && first) first.querySelector("[data-row-focus]").focus();
  else return;
  event.preventDefault();
}

function inPanel(event) {
  const reasons = document.activeElement.closest?.(".reasons");
  if (reasons) {
    const button = reasons.querySelector(`[data-reason-key="${CSS.escape(event.key)}"]`);
    if (event.key === "Escape") closeReasons(reasons);
    else button?.click();
    return Boolean(button) || event.key === "Escape";
  }
  const number = "12345".indexOf(event.key);
  if (event.key === "Escape") composer.box()?.focus();
  else if (number >= 0 && cards()[number]) take(cards()[number]);
  else if (event.key === "e") take(currentCard(), { atStart: true });
  else if (event.key === "r") askReason(currentCard());
  else if (event.key === "s") currentCard()?.querySelector("[data-source]")?.click();
  else return false;
  return true;
}

// Settings of this browser ---------------------------------------------------------------------------------------
function setting(name) {
  try { return localStorage.getItem(`support.${name}`) !== "off"; } catch { return true; }
}

function showSettings() {
  for (const input of document.querySelectorAll("[data-setting]")) input.checked = setting(input.dataset.setting);
  const hint = document.querySelector("#send-hint");
  if (hint) hint.textContent = setting("enter") ? "Enter" : /Mac/.test(navigator.platform) ? "⌘ Enter" : "Ctrl Enter";
}

document.addEventListener("change", (event) => {
  const name = event.target.dataset?.setting;
  if (!name) return;
  try { localStorage.setItem(`support.${name}`, event.target.checked ? "on" : "off"); } catch { /* this page only */ }
  showSettings();
});

// Sending --------------------------------------------------------------------------------------------------------
document.addEventListener("submit", (event) => {
  if (event.target.id !== "composer") return;
  if (composer.box().value.trim() && composer.fillVariables()) return composer.noteTaken();
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

document.body.addEventListener("sent", (event) => {
  composer.clear();
  document.querySelector("#message-id").value = event.detail.next_message;
  showGhost();
  if (event.detail.is_last) {
    composer.box().focus();
    announcer.textContent = "Sent. Nobody else waits.";
  } else announcer.textContent = "Sent. Next conversation.";
  refetch();
});

document.addEventListener("input", (event) => {
  if (event.target.id !== "reply") return;
  composer.noteTaken();
  composer.keepDraft();
});

function showGhost() {
  const first = cards()[0];
  composer.showGhost(first && first.dataset.isGhost ? first.dataset.text : "");
}

// Presence: said while the page is seen, taken back when the conversation is left -----------------------------------
function here() {
  if (document.visibilityState === "visible") pane.querySelector("#presence")?.dispatchEvent(new CustomEvent("here"));
}

function gone() {
  const left = opened()?.dataset.gone;
  const token = document.querySelector("#composer [name=csrfmiddlewaretoken]")?.value;
  if (left && token) navigator.sendBeacon(left, new URLSearchParams({ csrfmiddlewaretoken: token }));
}

setInterval(here, HERE_MS);
document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? here() : gone()));
addEventListener("pagehide", gone);

// What keeps its place while rows change ----------------------------------------------------------------------------
let panelBefore = {}; // what stood before the news were swapped in
let listBefore = {};

document.body.addEventListener("htmx:beforeSwap", ({ target }) => {
  if (target.id === "conversation") gone();
  if (target.id === "news") {
    const focused = document.activeElement.closest?.("#panel [data-suggestion]");
    panelBefore = { version: document.querySelector("#panel-version")?.value, focused: focused?.dataset.suggestion };
  }
  if (target === list) {
    listBefore = {
      keys: new Set([...list.querySelectorAll("[data-entry]")].map((row) => row.dataset.entry)),
      focused: document.activeElement.closest?.("#list [data-entry]")?.dataset.entry,
      scrolled: list.querySelector(".entries")?.scrollTop ?? 0,
    };
  }
});

// As soon as the rows are there: a key that is pressed before they settle would be lost.
document.body.addEventListener("htmx:afterSwap", ({ target }) => {
  if (target !== list) return;
  list.querySelector(".entries")?.scrollTo({ top: listBefore.scrolled });
  for (const row of list.querySelectorAll("[data-entry]")) {
    row.classList.toggle("new", Boolean(listBefore.keys && !listBefore.keys.has(row.dataset.entry)));
    if (row.dataset.entry === listBefore.focused) row.querySelector("[data-row-focus]").focus({ preventScroll: true });
  }
  markOpened();
});

document.body.addEventListener("htmx:afterSettle", ({ target }) => {
  if (target.id === "conversation") opening();
});

// The news are swapped in out of band, so this request's own element never settles.
document.body.addEventListener("htmx:afterRequest", ({ target }) => {
  if (target.id !== "news") return;
  if (document.querySelector("#panel-version")?.value !== panelBefore.version) panelChanged();
});

function panelChanged() {
  showGhost();
  if (panelBefore.focused && document.activeElement === document.body) {
    const again = document.querySelector(`[data-suggestion="${CSS.escape(panelBefore.focused)}"]`) ?? cards()[0];
    (again?.querySelector("[data-row-focus]") ?? composer.box())?.focus({ preventScroll: true });
  }
  const first = cards()[0];
  announcer.textContent = first ? `${cards().length} suggestions. First: ${first.dataset.title}, ${first.dataset.percent}.` : "";
}

function markOpened() {
  const key = opened()?.dataset.conversationOpen;
  for (const row of list.querySelectorAll("[data-entry]")) {
    const link = row.querySelector("a");
    if (row.dataset.entry === key) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function opening() {
  composer.restoreDraft();
  showGhost();
  showSettings();
  toBottom();
  markOpened();
  tick();
  if (!opened()) return;
  const news = document.querySelector("#news");
  // What was asked for one conversation never lands in the next one.
  news.addEventListener("htmx:beforeOnLoad", (event) => news.isConnected || event.preventDefault());
  if (isFinePointer) composer.box()?.focus();
  announcer.textContent = opened().dataset.says;
}

// Waiting times run on by themselves -------------------------------------------------------------------------------
function tick() {
  for (const time of document.querySelectorAll("[data-since]")) {
    const seconds = Math.max(0, Math.floor((Date.now() - new Date(time.dataset.since)) / 1000));
    time.textContent = waited(seconds);
    time.classList.toggle("warn", seconds >= LATE_S.warn && seconds < LATE_S.late);
    time.classList.toggle("late", seconds >= LATE_S.late);
  }
}

export function waited(seconds) {
  if (seconds >= 86400) return `${Math.floor(seconds / 86400)} d`;
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)}:${String(Math.floor(seconds / 60) % 60).padStart(2, "0")} h`;
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

setInterval(tick, 1000);
document.body.addEventListener("decided", refetch);
document.addEventListener("htmx:sendError", ({ target }) => target.id === "composer" && toast("Not sent. Your text is kept: send again when the connection is back.", { bad: true }));
opening();
