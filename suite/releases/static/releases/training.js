// The curve of a training run: the loss of each task, and the mean of the primary metrics, over the batches; of a search,
// the mean of each trial over its evaluations. The data lies in the page, in the element that fetches itself anew when
// there is news.
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

function trialSeries({ trials }) {
  const best = Math.max(...trials.filter((one) => one.state === "done").flatMap((one) => one.means));
  return trials.map(({ number, state, means }, place) => {
    const isBest = state === "done" && Math.max(...means) === best;
    return {
      label: `trial ${number}: ${isBest ? "best" : state}`,
      data: means.map((mean, index) => ({ x: index + 1, y: mean })),
      borderColor: state === "stopped early" || state === "failed" ? GREY : COLOURS[place % COLOURS.length],
      borderDash: state === "done" ? [] : [6, 4],
      borderWidth: isBest ? 4 : 2,
      yAxisID: "y",
    };
  });
}

function draw() {
  const canvas = document.getElementById("training-chart");
  const data = read();
  if (!canvas || !data || typeof Chart === "undefined") return;
  const isSearch = data.trials !== null;
  const hasPoints = (one) => isSearch || one.yAxisID === "metric";
  const made = isSearch ? trialSeries(data) : series(data);
  const datasets = made.map((one) => ({ borderWidth: 2, pointRadius: hasPoints(one) ? 3 : 0, ...one }));
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
  const scales = isSearch
    ? { x: axis("evaluation", { type: "linear", min: 1, ticks: { color: GREY, precision: 0 } }), y: axis("mean of the metrics") }
    : {
        x: axis("batch", { type: "linear", min: 0 }),
        y: axis("loss", { min: 0 }),
        metric: axis("metric", { position: "right", min: 0, max: 1, grid: { drawOnChartArea: false } }),
      };
  chart = new Chart(canvas, {
    type: "line",
    data: { datasets },
    options: {
      animation: false,
      aspectRatio: innerWidth < 700 ? 1.1 : 2.4,
      scales,
      plugins: { legend: { display: true, position: "bottom", labels: { color: GREY } } },
    },
  });
}

document.addEventListener("htmx:afterSettle", draw);
draw();
