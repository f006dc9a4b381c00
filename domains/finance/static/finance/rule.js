// The rule's editor: the threshold can be dragged, and the proof follows as fast as the server replays.
import "./panels.js";
import { draw, onTheme } from "./chart.js";

const form = document.querySelector("#rule-form");
const slider = document.querySelector("#threshold-slider");
const number = form.elements.threshold;
const levels = JSON.parse(form.dataset.levels); // metric -> [least, most]
const STEPS = { surge: 0.1, volume: 1, negative_share: 0.01, mean_sentiment: 0.01 };
let drawing = null;

const metric = () => form.elements.metric.value;

// The slider spans what the figure reached in 30 days, and some more; the number may be anything that is allowed.
function fitSlider() {
  const [least, most] = levels[metric()] ?? [0, 1];
  const reached = Math.max(0, ...(drawing?.value ?? []).filter((value) => value !== null));
  const isShare = metric() === "negative_share" || metric() === "mean_sentiment";
  slider.min = least;
  slider.max = isShare ? most : Math.min(most, Math.max(10, Math.ceil(reached * 1.25), Number(number.value) || 0));
  slider.step = STEPS[metric()] ?? 0.01;
  number.step = slider.step;
  slider.value = number.value;
}

function showScope() {
  for (const part of document.querySelectorAll("[data-for-scope]")) part.hidden = part.dataset.forScope !== form.elements.scope.value;
}

// The line follows the hand at once; where the rule would have fired comes a moment later.
function moveLine() {
  if (!drawing) return;
  drawing.thresholds = drawing.thresholds.map((one) => (one.isClear ? one : { ...one, level: Number(number.value) }));
  redraw();
}

function redraw() {
  const canvas = document.querySelector("#proof-chart canvas");
  if (drawing && canvas) draw(canvas, drawing);
}

function read() {
  const data = document.querySelector("#proof-data");
  const chart = document.querySelector("#proof-chart");
  drawing = data ? JSON.parse(data.textContent) : null;
  if (chart) chart.hidden = !drawing;
  redraw();
  fitSlider();
}

// A metric measures in its own unit: its usual threshold comes with it.
const USUAL = { surge: 4, volume: 20, negative_share: 0.6, mean_sentiment: -0.2 };
function changeMetric() {
  number.value = USUAL[metric()];
  form.elements.clear_threshold.value = "";
  form.elements.comparison.value = metric() === "mean_sentiment" ? "below" : "above";
  drawing = null;
  fitSlider();
}

form.addEventListener("input", (event) => {
  if (event.target === slider) number.value = slider.value;
  if (event.target === number) slider.value = number.value;
  if (event.target.name === "metric") changeMetric();
  if (event.target === slider || event.target === number) moveLine();
  showScope();
}, true);
document.body.addEventListener("htmx:afterSettle", (event) => event.target.id === "proof" && read());
onTheme(redraw);
showScope();
read();
