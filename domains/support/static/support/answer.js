// The editor looks for answers that say the same when the writer pauses; not while an input method composes.
const form = document.querySelector("#answer");
const similar = document.querySelector("#similar");
const PAUSE_MS = 600;
let timer = 0;

function look() {
  clearTimeout(timer);
  timer = setTimeout(() => form.elements.text.value.trim().length > 20 && similar.dispatchEvent(new CustomEvent("written")), PAUSE_MS);
}

form?.addEventListener("input", (event) => event.isComposing || look());
form?.addEventListener("compositionend", look);
similar?.addEventListener("htmx:afterSwap", () => {
  form.querySelector("[data-save]").textContent = similar.querySelector("[name=is_sure]") ? "Save all the same" : "Save";
});
