// The customer's side: sends, shows what comes, and finds the way back to the conversation after a visit.
import { refetch, toBottom } from "./thread.js";

const LAST = "support.chat";
const form = document.querySelector("#chat");
const area = document.querySelector("#text");
const notSent = document.querySelector("[data-not-sent]")?.dataset.notSent;
const problem = document.querySelector("#problem");

// On the first page: the way back. In a conversation: remember it. Frames of other sites may have no storage.
try {
  const last = localStorage.getItem(LAST);
  const resume = document.querySelector("#resume");
  if (resume && last) Object.assign(resume, { href: last, hidden: false });
  if (form) localStorage.setItem(LAST, location.pathname + location.search);
} catch { /* the address is the conversation, with or without it */ }

if (!form && window.top === window) area?.focus(); // in a frame the focus stays with the page around it

function clocks() {
  for (const time of document.querySelectorAll("[data-clock]")) {
    const at = new Date(time.dateTime);
    const isToday = at.toDateString() === new Date().toDateString();
    const day = isToday ? {} : { month: "short", day: "numeric" };
    time.textContent = at.toLocaleString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", ...day });
    time.removeAttribute("data-clock");
  }
}

function tell(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

if (form) {
  area.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229 || event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    if (area.value.trim()) form.requestSubmit();
  });
  document.body.addEventListener("sent", (event) => {
    area.value = "";
    tell("");
    document.querySelector("#message-id").value = event.detail.next_message;
    toBottom();
    refetch();
    area.focus();
  });
  document.body.addEventListener("refused", (event) => tell(event.detail.text));
  document.body.addEventListener("htmx:responseError", ({ target, detail }) => target === form && detail.xhr.status >= 500 && tell(notSent));
  document.body.addEventListener("htmx:sendError", ({ target }) => target === form && tell(notSent));
  document.body.addEventListener("htmx:afterRequest", clocks);
  clocks();
  toBottom();
}
