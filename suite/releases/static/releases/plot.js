// All releases on one plot: quality in the chosen head over texts a second; the area of a circle is its megabytes.
const GREY = "#8b93a1"; // reads on light and on dark
const COLOURS = { active: "#059669", failed: "#dc2626" };
const INDIGO = "#6366f1";

const canvas = document.getElementById("release-plot");
const select = document.getElementById("plot-head");
const element = document.getElementById("plot-data");

function bubbles({ rows }, head) {
  const shown = rows.filter((row) => row.rate !== null && row.values[head] !== null);
  const largest = Math.max(1, ...shown.map((row) => row.megabytes));
  return shown.map((row) => ({
    x: row.rate,
    y: row.values[head],
    r: 4 + 14 * Math.sqrt(row.megabytes / largest),
    row,
  }));
}

const names = {
  id: "names",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea } = chart;
    ctx.save();
    ctx.fillStyle = GREY;
    ctx.font = "12px sans-serif";
    chart.getDatasetMeta(0).data.forEach((circle, number) => {
      const { r, row } = chart.data.datasets[0].data[number];
      const text = `${row.name}, ${row.megabytes} MB`;
      const fits = circle.x + r + 6 + ctx.measureText(text).width < chartArea.right;
      ctx.textAlign = fits ? "left" : "right";
      ctx.fillText(text, circle.x + (fits ? r + 4 : -r - 4), circle.y + 4);
    });
    ctx.restore();
  },
};

const axis = (text) => ({
  title: { display: true, text, color: GREY },
  ticks: { color: GREY },
  grid: { color: "rgb(139 147 161 / 20%)" },
  grace: "15%",
});

if (canvas && element && typeof Chart !== "undefined") {
  const data = JSON.parse(element.textContent);
  const metric = () => data.heads[select.value].metric;
  const chart = new Chart(canvas, {
    type: "bubble",
    data: {
      datasets: [{
        data: bubbles(data, select.value),
        backgroundColor: ({ raw }) => `${COLOURS[raw?.row.state] ?? INDIGO}99`,
        borderColor: ({ raw }) => COLOURS[raw?.row.state] ?? INDIGO,
      }],
    },
    options: {
      animation: false,
      aspectRatio: innerWidth < 700 ? 1.1 : 2.4,
      scales: { x: axis("texts/s"), y: axis(metric()) },
      plugins: {
        legend: { display: false },
        tooltip: { callbacks: { label: ({ raw }) => `${raw.row.name}: ${raw.y.toFixed(3)}, ${Math.round(raw.x)} texts/s, ${raw.row.megabytes} MB` } },
      },
      onClick: (event, hits) => { if (hits.length) location.href = chart.data.datasets[0].data[hits[0].index].row.url; },
    },
    plugins: [names],
  });
  select.addEventListener("change", () => {
    chart.data.datasets[0].data = bubbles(data, select.value);
    chart.options.scales.y.title.text = metric();
    chart.update("none");
  });
}
