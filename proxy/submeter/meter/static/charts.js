// The three charts, drawn by uPlot from the points that the server put into the page.
"use strict";

(() => {
  const HEIGHT = 190;
  const BRIDGED = 6;
  const DOTTED = 60;
  const byName = (name) => document.querySelector(`[data-chart="${name}"]`);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // -- data: one column per line, a place for every bucket -----------------------------------------------------

  function read() {
    const series = JSON.parse(document.getElementById("series").textContent);
    const width = series.bucket_s;
    const bucketOf = (text) => Math.floor(Date.parse(`${text.slice(0, 23)}Z`) / 1000 / width);
    const first = bucketOf(series.since);
    const length = bucketOf(series.until) - first + 1;
    const column = (empty) => new Array(length).fill(empty);
    const cost = column(0);
    const [ttft50, ttft95, e2e50, e2e95] = [column(null), column(null), column(null), column(null)];
    for (const point of series.points) {
      const at = bucketOf(point.start) - first;
      cost[at] = point.cost_nano_usd / 1e9;
      if (point.ttft) [ttft50[at], ttft95[at]] = [point.ttft.p50_ns / 1e6, point.ttft.p95_ns / 1e6];
      if (point.e2e) [e2e50[at], e2e95[at]] = [point.e2e.p50_ns / 1e6, point.e2e.p95_ns / 1e6];
    }
    [ttft50, ttft95, e2e50, e2e95].forEach(bridge);
    const times = cost.map((_, at) => (first + at) * width);
    const edges = [times[0], times[length - 1] + width];
    return { width, edges, cost: [times, cost], ttft: [times, ttft50, ttft95], e2e: [times, e2e50, e2e95] };
  }

  // uPlot breaks a line at null and not at undefined: a few quiet buckets do not break it, a quiet night does.
  function bridge(values) {
    let last = -1;
    values.forEach((value, at) => {
      if (value === null) return;
      if (last >= 0 && at - last <= BRIDGED) values.fill(undefined, last + 1, at);
      last = at;
    });
  }

  // -- words ---------------------------------------------------------------------------------------------------

  const clock = (options) => new Intl.DateTimeFormat(undefined, options);
  const seconds = clock({ hour: "numeric", minute: "2-digit", second: "2-digit" });
  const minutes = clock({ hour: "numeric", minute: "2-digit" });
  const days = clock({ day: "numeric", month: "short" });
  const dayAndMinute = clock({ day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });

  function tick(at, step_s) {
    const date = new Date(at * 1000);
    const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    if (step_s >= 86400 || midnight) return days.format(date);
    return (step_s < 60 ? seconds : minutes).format(date);
  }

  function moment(at, width_s) {
    if (at === null || at === undefined) return "";
    return (width_s < 60 ? seconds : dayAndMinute).format(new Date(at * 1000));
  }

  const duration = (ms) => (ms >= 1000 ? `${+(ms / 1000).toPrecision(3)} s` : `${+ms.toPrecision(3)} ms`);

  // Cents at least, and three digits of what is smaller.
  function dollars(value) {
    const places = value > 0 ? Math.min(9, Math.max(2, 2 - Math.floor(Math.log10(value)))) : 2;
    return `$${value.toFixed(places).replace(/(\.\d\d\d*?)0+$/, "$1")}`;
  }

  // -- drawing -------------------------------------------------------------------------------------------------

  function axes(words) {
    const common = {
      stroke: css("--muted"),
      font: `11px ${css("--sans")}`,
      ticks: { show: false },
      gap: 6,
    };
    const grid = { stroke: css("--line"), width: 1 };
    return [
      { ...common, grid: { show: false }, size: 28, space: 64, values: (u, at, _a, _s, step) => at.map((t) => tick(t, step)) },
      { ...common, grid, size: 58, space: 34, values: (u, values) => values.map((v) => (v === null ? "" : words(v))) },
    ];
  }

  const line = (label, color, words) => ({
    label,
    stroke: css(color),
    width: 1.75,
    points: { size: 5, fill: css(color), show: (u, at) => u.data[at].filter((value) => value != null).length <= DOTTED },
    value: (u, value) => (value === null || value === undefined ? "–" : words(value)),
  });

  const bars = (label, color, words) => ({
    ...line(label, color, words),
    fill: css(color),
    width: 0,
    points: { show: false },
    paths: uPlot.paths.bars({ size: [0.78, 48], align: 1, radius: 0.15 }),
  });

  function widthIn(figure) {
    const { paddingLeft, paddingRight } = getComputedStyle(figure);
    return Math.max(200, figure.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
  }

  function draw(name, data, words, lines) {
    const figure = byName(name);
    const options = {
      width: widthIn(figure),
      height: HEIGHT,
      cursor: { drag: { x: false, y: false }, points: { size: 7 }, sync: { key: "submeter" } },
      scales: {
        x: { range: () => data.edges },
        y: { range: (u, low, high) => [0, high > 0 ? high * 1.12 : 1] },
      },
      axes: axes(words),
      legend: { markers: { width: 0, fill: (u, at) => u.series[at].stroke(u, at) } },
      series: [{ label: "Time", value: (u, at) => moment(at, data.width) }, ...lines],
      padding: [10, 26, 0, 0],
    };
    return new uPlot(options, data[name], figure);
  }

  let charts = [];

  function redraw() {
    if (document.getElementById("series") === null) return;
    charts.forEach((chart) => chart.destroy());
    const data = read();
    const pair = () => [line("p50", "--accent", duration), line("p95", "--second", duration)];
    charts = [
      draw("cost", data, dollars, [bars("cost", "--accent", dollars)]),
      draw("ttft", data, duration, pair()),
      draw("e2e", data, duration, pair()),
    ];
  }

  function resize() {
    for (const chart of charts) {
      const width = widthIn(chart.root.parentElement);
      if (width !== chart.width) chart.setSize({ width, height: HEIGHT });
    }
  }

  redraw();
  document.addEventListener("submeter:refreshed", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const area = document.getElementById("charts");
  if (area !== null) new ResizeObserver(resize).observe(area);
})();
