// Label with the keyboard: a key presses the button that names it. What came of it is said to screen readers, and the focus
// goes to the next text, which is read out.
const PAUSE_MS = 700; // after another one's label has put another text under somebody's fingers
let changedAt = -PAUSE_MS;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const button = [...document.querySelectorAll("#next [data-key]")].find((one) => one.dataset.key === event.key.toLowerCase());
  if (!button) return;
  event.preventDefault();
  if (performance.now() - changedAt >= PAUSE_MS) button.click();
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.requestConfig?.verb !== "post") { // somebody else's label moves no focus
    changedAt = performance.now();
    return;
  }
  document.getElementById("said").textContent = document.getElementById("next")?.dataset.said ?? "";
  (document.getElementById("text") ?? document.querySelector("#next .acts button"))?.focus();
});
