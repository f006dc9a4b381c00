// One way to draw a series: a line, the band it is expected in, what of it is negative, levels of rules, spans of alerts.
// A drawing is plain data from the server: {start, step, value, negative, low, high, stories, thresholds: [{level, name}],
// spans: [{from, to, state, name, own}], unit, format}; times in Unix seconds, one value a step, null where there is none.
const DAY = 86400;
const TICKS = [[7200, 600], [2 * DAY, 3 * 3600], [8 * DAY, DAY], [Infinity, 5 * DAY]]; // [longest span, step between ticks]
const FORMATS = {
  count: (value) => value.toLocaleString("en", { maximumFractionDigits: 1 }),
  share: (value) => `${Math.round(value * 100)}%`,
  signed: (value) => (value > 0 ? "+" : "") + value.toFixed(2),
};

export const shown = (drawing, value) => (value === null || value === undefined ? "–" : FORMATS[drawing.format](value));

const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const date = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat("en", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// A custom property may hold light-dark(); only a used colour is resolved.
function colours(element) {
  const probe = element.appendChild(document.createElement("i"));
  const read = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const found = Object.fromEntries(["text", "soft", "line", "surface", "band", "negative", "positive", "bad", "warn", "bad-wash", "warn-wash", "accent"].map((name) => [name, read(name)]));
  probe.remove();
  return found;
}

function ticks(drawing, width) {
  const from = drawing.start, to = drawing.start + drawing.step * drawing.value.length;
  let step = TICKS.find(([most]) => to - from <= most)[1];
  if (width < 520) step *= 2;
  const offset = new Date(from * 1000).getTimezoneOffset() * 60; // ticks stand on the reader's hours and midnights
  const found = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) found.push({ value: at });
  return found;
}

const label = (at) => (new Date(at * 1000).getHours() + new Date(at * 1000).getMinutes() ? clock : date).format(at * 1000);

// Spans under the lines, levels over them.
const marks = {
  id: "marks",
  beforeDraw: (chart) => Boolean(chart.drawing), // a new chart is drawn once before it has one
  beforeDatasetsDraw(chart) {
    const { ctx, chartArea: area, scales: { x } } = chart;
    for (const span of chart.drawing.spans) {
      const left = Math.max(area.left, x.getPixelForValue(span.from));
      const right = Math.min(area.right, Math.max(x.getPixelForValue(span.to), left + 2));
      if (right <= left) continue;
      const name = span.state === "pending" ? "warn" : "bad";
      if (span.own) {
        ctx.fillStyle = chart.palette[`${name}-wash`];
        ctx.fillRect(left, area.top, right - left, area.bottom - area.top);
      }
      ctx.fillStyle = chart.palette[name];
      ctx.fillRect(left, area.top, right - left, 3);
    }
  },
  afterDatasetsDraw(chart) {
    const { ctx, chartArea: area, scales: { y } } = chart;
    ctx.save();
    ctx.font = `11px ${getComputedStyle(chart.canvas).fontFamily}`;
    for (const { level, name, isClear } of chart.drawing.thresholds) {
      const at = y.getPixelForValue(level);
      if (at < area.top - 1 || at > area.bottom + 1) continue;
      ctx.strokeStyle = ctx.fillStyle = isClear ? chart.palette.soft : chart.palette.bad;
      ctx.setLineDash(isClear ? [2, 4] : [6, 4]);
      ctx.beginPath();
      ctx.moveTo(area.left, at);
      ctx.lineTo(area.right, at);
      ctx.stroke();
      const below = at - 4 < area.top + 10 ? 17 : 0;
      const width = ctx.measureText(name).width;
      ctx.fillStyle = chart.palette.surface;
      ctx.fillRect(area.right - width - 8, at - 16 + below, width + 6, 15);
      ctx.fillStyle = ctx.strokeStyle;
      ctx.fillText(name, area.right - width - 5, at - 4 + below);
    }
    ctx.restore();
  },
};

function datasets(drawing, palette) {
  const points = (values) => values.map((y, index) => ({ x: drawing.start + (index + drawing.anchor) * drawing.step, y }));
  const line = { pointRadius: 0, pointHitRadius: 12, borderWidth: drawing.value.length > 300 ? 1.1 : 1.6, spanGaps: false, tension: 0 };
  const sets = [];
  if (drawing.low) {
    sets.push({ ...line, label: "expected low", data: points(drawing.low), borderWidth: 0, fill: "+1", backgroundColor: palette.band, order: 4 });
    sets.push({ ...line, label: "expected high", data: points(drawing.high), borderWidth: 0, fill: false, order: 4 });
  }
  if (drawing.negative) sets.push({ ...line, label: "negative", data: points(drawing.negative), borderWidth: 0, fill: "origin", backgroundColor: palette.negative, stepped: "middle", order: 3 });
  const isAlone = (index) => [index - 1, index + 1].every((beside) => (drawing.value[beside] ?? null) === null); // no line leads to it
  sets.push({ ...line, label: drawing.unit, data: points(drawing.value), borderColor: palette.text, backgroundColor: palette.text, pointRadius: drawing.value.map((_, index) => (drawing.value.length < 3 || isAlone(index) ? 3 : 0)), clip: 4, order: 1 });
  return sets;
}

function lines(drawing, index) {
  const found = [`${drawing.unit}: ${shown(drawing, drawing.value[index])}`];
  if (drawing.stories && drawing.format !== "count") found.push(`stories: ${drawing.stories[index]}`);
  if (drawing.negative) found.push(`negative: ${shown(drawing, drawing.negative[index])}`);
  if (drawing.low) found.push(`expected: ${shown(drawing, drawing.low[index])} to ${shown(drawing, drawing.high[index])}`);
  const from = drawing.start + index * drawing.step;
  for (const span of drawing.spans) if (span.from < from + drawing.step && span.to >= from) found.push(`${span.state}: ${span.name}`);
  return found;
}

function options(chart, drawing, palette, onPick) {
  const width = chart.parentElement.clientWidth;
  const values = [...drawing.value, ...(drawing.high ?? []), ...drawing.thresholds.map((one) => one.level)].filter((one) => one !== null);
  const index = (items) => items[0]?.index;
  return {
    animation: false, responsive: true, maintainAspectRatio: false, normalized: true,
    interaction: { mode: "index", intersect: false, axis: "x" },
    onClick: (event, items, { scales }) => {
      const at = Math.round((scales.x.getValueForPixel(event.x) - drawing.start) / drawing.step - drawing.anchor);
      const end = drawing.start + (Math.min(Math.max(at, 0), drawing.value.length - 1) + 1) * drawing.step;
      onPick?.(end - drawing.reach, end);
    },
    scales: {
      x: {
        type: "linear", min: drawing.start, max: drawing.start + drawing.step * drawing.value.length, grid: { color: palette.line, drawTicks: false }, border: { display: false },
        afterBuildTicks: (scale) => { scale.ticks = ticks(drawing, width); }, ticks: { callback: label, color: palette.soft, font: { size: 11 }, padding: 6, maxRotation: 0 },
      },
      y: {
        suggestedMax: drawing.format === "share" ? undefined : Math.max(1, ...values) * 1.06, min: drawing.bounds?.[0] ?? 0, max: drawing.bounds?.[1],
        grid: { color: (tick) => (tick.tick.value === 0 ? palette.soft : palette.line), drawTicks: false }, border: { display: false },
        ticks: { callback: (value) => FORMATS[drawing.format](value), color: palette.soft, font: { size: 11 }, padding: 6, maxTicksLimit: 6 },
      },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        displayColors: false, backgroundColor: palette.text, titleColor: palette.surface, bodyColor: palette.surface, cornerRadius: 4, padding: 8, filter: (item, at) => at === 0,
        callbacks: { title: (items) => whole.format((drawing.start + index([{ index: items[0].dataIndex }]) * drawing.step) * 1000), label: (item) => lines(drawing, item.dataIndex) },
      },
    },
  };
}

// Draw into the canvas; again with other data changes what stands there. `onPick(from, to)` hears of what a clicked point counts,
// also where nothing stands.
export function draw(canvas, drawing, onPick) {
  const palette = colours(canvas.parentElement);
  const existing = window.Chart.getChart(canvas);
  const config = { datasets: datasets(drawing, palette) };
  const look = options(canvas, drawing, palette, onPick);
  const chart = existing ?? new window.Chart(canvas, { type: "line", data: { datasets: [] }, plugins: [marks], options: { animation: false } });
  Object.assign(chart, { drawing, palette });
  chart.data = config;
  chart.options = look;
  chart.update("none");
  return chart;
}

// The drawing again in the colours of a theme that was just chosen.
export function onTheme(redraw) {
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
