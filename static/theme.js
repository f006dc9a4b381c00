// Runs before the first paint. The choice is kept under the key that the admin uses, so both agree.
(() => {
  let chosen = "auto";
  try { chosen = JSON.parse(localStorage.getItem("adminTheme")) || "auto"; } catch { /* no storage: follow the system */ }
  if (chosen !== "auto") document.documentElement.dataset.theme = chosen;
})();
