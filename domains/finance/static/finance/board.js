// The dashboard: the series is drawn, new stories wait behind a pill, new alerts are said aloud.
import { draw, onTheme } from "./chart.js";
import { refreshAll } from "./panels.js";

const news = document.querySelector("#news");
let drawn = "";

function series(force) {
  const data = document.querySelector("#series-data");
  const canvas = document.querySelector("#chart canvas");
  if (!data || !canvas || (!force && drawn === data.textContent && window.Chart.getChart(canvas))) return;
  drawn = data.textContent;
  const drawing = JSON.parse(drawn);
  draw(canvas, drawing, (from, to) => window.htmx.ajax("GET", `${drawing.stories_at}&from=${from}&to=${to}`, { target: "#drawer", source: "#chart" }));
}

// Rows that came after the first one shown wait: the list never jumps under somebody who reads it. Who asks for them asks
// the panel itself: the button may be gone by the time that a fetch under way is over.
let isNewestWanted = false;
document.body.addEventListener("click", (event) => {
  if (!event.target.closest("#feed .pill button")) return;
  isNewestWanted = true;
  document.querySelector("#feed").dispatchEvent(new CustomEvent("refresh"));
});
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "feed" && !document.querySelector("#feed .pill")) isNewestWanted = false;
});
document.body.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.elt.id !== "feed" || isNewestWanted) return;
  event.detail.parameters.upto = document.querySelector("#feed-rows")?.dataset.upto ?? "";
  event.detail.parameters.rows = document.querySelectorAll("#feed-rows > .story").length; // older ones that were fetched stay
});

let known = null; // ids of the alerts that fired when last looked
function alerts() {
  const firing = [...document.querySelectorAll("#alerts .alert.firing")];
  const fresh = known ? firing.filter((row) => !known.has(row.dataset.alert)) : [];
  known = new Set(firing.map((row) => row.dataset.alert));
  document.title = document.title.replace(/^\(\d+\) /, "");
  if (firing.length) document.title = `(${firing.length}) ${document.title}`;
  if (fresh.length) news.textContent = `New alert: ${fresh.map((row) => `${row.querySelector(".name").textContent}, ${row.querySelector(".figures").textContent.trim()}`).join("; ")}`;
}

document.body.addEventListener("htmx:afterSettle", () => { series(); alerts(); });
document.body.addEventListener("htmx:responseError", (event) => {
  if (event.detail.elt.id === "board") refreshAll("stories");
});
onTheme(() => series(true));
setInterval(() => document.visibilityState === "visible" && document.querySelectorAll("[data-lag]").forEach(lag), 1000);

// The age of the newest article grows while nothing comes.
function lag(cell) {
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - Number(cell.dataset.lag)));
  cell.textContent = seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.floor(seconds / 60)} min` : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} days`;
}

series();
alerts();
