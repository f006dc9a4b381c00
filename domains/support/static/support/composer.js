// The reply box. What is put in goes to the cursor, never over what was typed, and can be taken back: by Esc as a whole,
// by the browser's own undo step by step. A draft stays with its conversation as long as the tab lives.
const VARIABLE = /\{\{\s*([A-Za-z][\w.-]{0,59})\s*\}\}/g; // as suggesting/variables.py
const DRAFT = "support.draft.";
const KEPT = 1 / 3; // share of a suggestion's letter pairs in the reply above which it was taken, however changed
let inserts = []; // {uid, text} of all that went in, newest last

export const box = () => document.querySelector("#reply");
const form = () => box()?.form;
const conversation = () => document.querySelector("[data-conversation-open]")?.dataset.conversationOpen;

// Whether an input method composes: its keys are letters to be, never commands.
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

export function hasGhost() {
  const area = box();
  return Boolean(area && !area.value && area.closest(".has-ghost"));
}

export function showGhost(text) {
  const area = box();
  if (!area) return;
  area.closest(".box").classList.toggle("has-ghost", Boolean(text));
  document.querySelector("#ghost .words").textContent = text ?? "";
}

// Puts a suggestion in at the cursor, apart from what stands before and after it; `atStart` leaves the cursor before it.
export function insert(uid, text, { atStart = false } = {}) {
  const area = box();
  if (!area) return;
  area.focus();
  area.setSelectionRange(area.selectionEnd, area.selectionEnd);
  const at = area.selectionEnd;
  const before = area.value.slice(0, at);
  const after = area.value.slice(at);
  const whole = (before && !/\s$/.test(before) ? "\n\n" : "") + text + (after && !/^\s/.test(after) ? "\n\n" : "");
  type(area, whole);
  if (atStart) area.setSelectionRange(at + whole.indexOf(text), at + whole.indexOf(text));
  inserts.push({ uid, text: whole });
  noteTaken();
}

// As if typed, so that the browser's undo knows of it.
function type(area, text) {
  if (document.execCommand("insertText", false, text)) return;
  area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

// Takes the last insert that stands in the reply unchanged out again; false where there is none.
export function undoInsert() {
  const area = box();
  const last = inserts.findLast(({ text }) => area.value.includes(text));
  if (!last) return false;
  const at = area.value.lastIndexOf(last.text);
  area.setSelectionRange(at, at + last.text.length);
  if (!document.execCommand("delete")) type(area, "");
  noteTaken();
  return true;
}

// The form says of which suggestions something stands in the reply, whatever was undone, redone or changed meanwhile.
// Whether it was changed, the server sees in the text.
export function noteTaken() {
  const taken = new Set(inserts.filter(({ uid, text }) => uid && kept(text, box().value) >= KEPT).map(({ uid }) => uid));
  form().querySelector("#taken").replaceChildren(...[...taken].map((uid) => {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name: "taken", value: uid });
    return field;
  }));
  for (const card of document.querySelectorAll("[data-suggestion]")) {
    card.classList.toggle("taken", taken.has(card.dataset.suggestion));
  }
}

function kept(text, value) {
  const pairs = (letters) => [...letters].slice(1).map((letter, index) => letters[index] + letter);
  const there = new Set(pairs([...value]));
  const wanted = pairs([...text]);
  return wanted.length ? wanted.filter((pair) => there.has(pair)).length / wanted.length : Number(value.includes(text));
}

export function keepDraft() {
  const key = conversation();
  if (!key || !box()) return;
  try {
    if (box().value) sessionStorage.setItem(DRAFT + key, JSON.stringify({ text: box().value, inserts }));
    else sessionStorage.removeItem(DRAFT + key);
  } catch { /* no storage: the draft lives as long as the conversation is open */ }
}

export function restoreDraft() {
  inserts = [];
  const area = box();
  if (!area) return;
  let draft = null;
  try { draft = JSON.parse(sessionStorage.getItem(DRAFT + conversation())); } catch { /* none */ }
  if (!draft) return;
  area.value = draft.text;
  inserts = draft.inserts;
  noteTaken();
}

export function clear() {
  inserts = [];
  box().value = "";
  noteTaken();
  keepDraft();
}

// Variables that no fact fills are asked for before anything is sent: true once none is left in the text.
export function fillVariables() {
  const area = box();
  const place = document.querySelector("#missing");
  const given = new Map([...place.querySelectorAll("input")].map((input) => [input.dataset.variable, input.value.trim()]));
  const text = area.value.replace(VARIABLE, (written, name) => given.get(name) || written);
  const names = [...new Set([...text.matchAll(VARIABLE)].map(([, name]) => name))];
  if (!names.length) {
    area.value = text;
    place.hidden = true;
    place.replaceChildren();
    return true;
  }
  const title = document.createElement("p");
  title.id = "missing-title";
  title.textContent = "Fill in what is not known, then send:";
  place.replaceChildren(title, ...names.map((name) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.className = "field";
    input.dataset.variable = name;
    input.value = given.get(name) ?? "";
    input.autocomplete = "off";
    label.append(name, input);
    return label;
  }));
  place.hidden = false;
  [...place.querySelectorAll("input")].find((input) => !input.value).focus();
  return false;
}
