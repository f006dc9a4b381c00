// What every page shares: the theme, the keys, toasts, times that age. Server-rendered pages work without it.

// Theme: light, dark, or what the system says. Stored under the key that the admin uses.
const THEMES = { auto: "follows the system", light: "light", dark: "dark" };
const themeButton = document.querySelector("[data-theme-toggle]");

function currentTheme() {
  return document.documentElement.dataset.theme || "auto";
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("adminTheme", JSON.stringify(theme)); } catch { /* lasts as long as the page */ }
  nameTheme();
}

function nameTheme() {
  const theme = currentTheme();
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(theme) + 1) % names.length];
  themeButton.dataset.next = next;
  themeButton.title = `Theme: ${THEMES[theme]}. Press for: ${THEMES[next]}`;
  themeButton.setAttribute("aria-label", themeButton.title);
  for (const icon of themeButton.querySelectorAll("[data-for]")) icon.toggleAttribute("hidden", icon.dataset.for !== theme);
}

if (themeButton) {
  themeButton.addEventListener("click", () => setTheme(themeButton.dataset.next));
  nameTheme();
}

// Keys: `data-key` on a button or link names its key. Inside a row the row's own buttons come first; j and k move among
// the rows of one `data-rows`, where a page has more than one list. Nothing happens while somebody types or an input
// method composes.
const dialog = document.querySelector("#keys");

function isTyping(event) {
  return event.isComposing || event.keyCode === 229 || event.target.closest?.("input, textarea, select, [contenteditable]");
}

function rows() {
  const list = document.activeElement?.closest?.("[data-rows]") ?? document.querySelector("[data-rows]") ?? document;
  return [...list.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
}

function move(step) {
  const all = rows();
  const current = all.indexOf(document.activeElement?.closest?.("[data-row]"));
  const next = all[Math.max(0, Math.min(all.length - 1, current < 0 ? 0 : current + step))];
  (next?.querySelector("[data-row-focus]") ?? next)?.focus();
}

function press(key) {
  const row = document.activeElement?.closest?.("[data-row]");
  const wanted = `[data-key="${CSS.escape(key)}"]`;
  const target = row?.querySelector(wanted) ?? [...document.querySelectorAll(wanted)].find((one) => !one.closest("[data-row]"));
  if (!target) return false;
  if (target.matches("input, select, textarea")) { target.focus(); target.select?.(); }
  else target.click();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target.matches?.("input[type=search]") && !event.isComposing) return event.target.blur();
  if (isTyping(event) || document.querySelector("dialog[open]")) return;
  if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else if (!press(event.key)) return;
  event.preventDefault();
});

// Pages search as one types, but not while an input method composes: its letters are not words yet.
document.addEventListener("input", (event) => {
  if (event.isComposing && event.target.matches("input[type=search]")) event.stopImmediatePropagation();
}, true);
document.addEventListener("compositionend", ({ target }) => {
  if (target.matches("input[type=search]")) target.dispatchEvent(new Event("input", { bubbles: true }));
});

for (const opener of document.querySelectorAll("[data-opens]")) {
  opener.addEventListener("click", () => document.querySelector(opener.dataset.opens).showModal());
}
dialog?.addEventListener("click", (event) => event.target === dialog && dialog.close());

// Toasts: short news of what was just done, and errors with the id to quote.
const toasts = document.querySelector("#toasts");

export function toast(text, { bad = false } = {}) {
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  const line = document.createElement("p");
  line.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close this message");
  close.addEventListener("click", () => box.remove());
  box.append(line, close);
  toasts.append(box);
  while (toasts.children.length > 3) toasts.firstElementChild.remove();
  if (!bad) setTimeout(() => box.remove(), 5000);
}

document.body.addEventListener("toast", (event) => toast(event.detail.text, event.detail));
document.body.addEventListener("htmx:responseError", (event) => {
  const answer = event.detail.xhr;
  const id = answer.getResponseHeader("X-Error-Id");
  const reason = answer.getResponseHeader("X-Error-Reason");
  toast(reason ?? `That did not work (${answer.status}).${id ? ` Quote ${id} when you report it.` : " Try again."}`, { bad: true });
});
document.body.addEventListener("htmx:sendError", () => toast("The server cannot be reached. Try again in a moment.", { bad: true }));

// Times: relative on the page, absolute on hover, and they age by themselves.
const STEPS = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [2592000, "day", 86400]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

function age() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const at = new Date(time.dateTime);
    const seconds = (Date.now() - at) / 1000;
    const step = STEPS.find(([limit]) => seconds < limit);
    if (seconds < 10) time.textContent = "just now";
    else if (step) time.textContent = relative.format(-Math.floor(seconds / step[2]), step[1]);
    time.title = at.toLocaleString();
  }
}
document.addEventListener("htmx:load", age);
setInterval(age, 10000);
age();
