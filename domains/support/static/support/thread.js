// A conversation's messages while news are swapped in: in the order of their times, never twice, and the view stays
// where the reader is; who reads the newest goes on reading the newest.
const part = (id) => document.getElementById(id);
let wasAtBottom = true;

function isAtBottom() {
  const scroll = part("scroll");
  return !scroll || scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
}

export function toBottom() {
  const scroll = part("scroll");
  if (!scroll) return;
  scroll.scrollTop = scroll.scrollHeight;
  part("newer").hidden = true;
}

export function refetch() {
  part("news")?.dispatchEvent(new CustomEvent("refetch"));
}

function inOrder() {
  const seen = new Set();
  for (const message of [...part("thread").children]) {
    if (seen.has(message.id)) { message.remove(); continue; }
    seen.add(message.id);
    let earlier = message.previousElementSibling;
    while (earlier && earlier.dataset.sent > message.dataset.sent) earlier = earlier.previousElementSibling;
    if (earlier !== message.previousElementSibling) earlier ? earlier.after(message) : part("thread").prepend(message);
  }
}

document.addEventListener("click", (event) => event.target.id === "newer" && toBottom());
document.addEventListener("scroll", (event) => {
  if (event.target.id === "scroll" && isAtBottom()) part("newer").hidden = true;
}, true);
document.addEventListener("htmx:beforeSwap", ({ target }) => {
  if (target.id === "news") wasAtBottom = isAtBottom();
});
// News are swapped out of band: when the request is over, all of them stand.
document.addEventListener("htmx:afterRequest", ({ target }) => {
  if (target.id !== "news" || !part("thread")) return;
  const last = part("thread").lastElementChild?.id;
  inOrder();
  if (wasAtBottom) toBottom();
  else if (last !== part("newer").dataset.last) part("newer").hidden = false;
  part("newer").dataset.last = last;
});
