// The curve of a training run: the loss of each task, and the mean of the primary metrics, over the batches. Its data lies
// in the page, in the element that fetches itself anew when there is news.
const COLOURS = ["#4f46e5", "#d97706", "#059669", "#db2777", "#0284c7", "#7c3aed", "#65a30d", "#dc2626"];
const GREY = "#8b93a1"; // reads on light and on dark

let chart = null;

function read() {
  const element = document.getElementById("training-curve");
  return element ? JSON.parse(element.textContent) : null;
}

function series({ curve, evaluations }) {
  const tasks = [...new Set(curve.flatMap((point) => Object.keys(point.losses)))].sort();
  const losses = tasks.map((task, number) => ({
    label: `${task}: loss`,
    data: curve.filter((point) => task in point.losses).map((point) => ({ x: point.batch, y: point.losses[task] })),
    borderColor: COLOURS[number % COLOURS.length],
    yAxisID: "y",
  }));
  const means = evaluations.map((one) => ({ x: one.batch, y: one.mean }));
  return [...losses, { label: "mean of the metrics", data: means, borderColor: GREY, borderDash: [6, 4], yAxisID: "metric" }];
}

function draw() {
  const canvas = document.getElementById("training-chart");
  const data = read();
  if (!canvas || !data || typeof Chart === "undefined") return;
  const datasets = series(data).map((one) => ({ ...one, borderWidth: 2, pointRadius: one.yAxisID === "metric" ? 3 : 0 }));
  if (chart) {
    chart.data.datasets = datasets;
    chart.update("none");
    return;
  }
  const axis = (text, more = {}) => ({
    title: { display: true, text, color: GREY },
    ticks: { color: GREY },
    grid: { color: "rgb(139 147 161 / 20%)" },
    ...more,
  });
  chart = new Chart(canvas, {
    type: "line",
    data: { datasets },
    options: {
      animation: false,
      aspectRatio: innerWidth < 700 ? 1.1 : 2.4,
      scales: {
        x: axis("batch", { type: "linear", min: 0 }),
        y: axis("loss", { min: 0 }),
        metric: axis("metric", { position: "right", min: 0, max: 1, grid: { drawOnChartArea: false } }),
      },
      plugins: { legend: { display: true, position: "bottom", labels: { color: GREY } } },
    },
  });
}

document.addEventListener("htmx:afterSettle", draw);
draw();
