// Stacked bars of what became of the suggestions, in the page's own colours; the same figures stand in tables.
const charts = JSON.parse(document.querySelector("#charts").textContent);
const SERIES = [
  ["accepted", "taken as it was", "--first"],
  ["edited", "taken and edited", "--second"],
  ["rejected", "rejected", "--bad"],
  ["ignored", "ignored", "--third"],
];
let drawn = [];

// The colour that a custom property comes to in the scheme of the page.
function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function draw() {
  for (const chart of drawn) chart.destroy();
  const text = colour("--soft");
  const line = colour("--line");
  drawn = [...document.querySelectorAll("[data-chart]")].map((canvas) => {
    const rows = charts[canvas.dataset.chart];
    const datasets = SERIES.map(([key, label, name]) => ({ label, data: rows.map((row) => row[key]), backgroundColor: colour(name), maxBarThickness: 48 }));
    const axis = { stacked: true, ticks: { color: text, precision: 0 }, grid: { color: line }, border: { color: line } };
    return new Chart(canvas, {
      type: "bar",
      data: { labels: rows.map((row) => row.name), datasets },
      options: {
        animation: false, maintainAspectRatio: false, responsive: true,
        plugins: { legend: { position: "bottom", labels: { color: text, boxWidth: 12 } } },
        scales: { x: { ...axis, grid: { display: false } }, y: { ...axis, beginAtZero: true } },
      },
    });
  });
}

if (document.querySelector("[data-chart]")) {
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}
