// Draws the charts that the page carries as data. Every text goes in as text, never as markup.
"use strict";

(() => {
  const HEIGHT = 250;
  const DASHES = [[], [7, 4], [2, 3], [8, 3, 2, 3]];
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colourOf = (series) => css(`--c${series.colour}`);

  // -- words ---------------------------------------------------------------------------------------------------

  const number = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 3 });
  const WORDS = {
    tokens: (value) => Math.round(value).toLocaleString("en-US"),
    calls: number,
    per_s: (value) => `${number(value)}/s`,
    share: (value) => `${+(100 * value).toFixed(1)} %`,
    ms: (value) => (value >= 1000 ? `${+(value / 1000).toPrecision(3)} s` : `${+value.toPrecision(3)} ms`),
  };
  const worded = (axis, value) => (value === null || value === undefined ? "" : WORDS[axis.unit](value));

  function legend(axis, value) {
    const unit = { tokens: " tokens", calls: " in flight" }[axis.unit] ?? "";
    const words = worded(axis, value);
    return words && words + unit;
  }

  // -- scales --------------------------------------------------------------------------------------------------

  // 1, 2 and 5 of every decade.
  function decades(low, high) {
    const splits = [];
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
      for (const step of [1, 2, 5]) if (step * power >= low && step * power <= high) splits.push(step * power);
    return splits;
  }

  function xScale(axis) {
    if (axis.log) return { time: false, distr: 3, range: (u, low, high) => [low / 1.08, high * 1.08] };
    const margin = (low, high) => (high > low ? 0.03 * (high - low) : 1);
    return { time: false, range: (u, low, high) => [Math.max(0, low - margin(low, high)), high + margin(low, high)] };
  }

  // A mark's words stand above the curves.
  function yScale(chart) {
    const room = chart.mark ? 1.2 : 1.08;
    if (chart.y.unit === "share") return { range: () => [0, 1.02] };
    return { range: (u, low, high) => [0, high > 0 ? room * high : 1] };
  }

  function axes(chart) {
    const common = {
      stroke: css("--muted"),
      font: `11px ${css("--sans")}`,
      labelFont: `11px ${css("--sans")}`,
      ticks: { show: false },
      gap: 6,
    };
    const ticks = (axis) => ({ values: (u, splits) => splits.map((v) => (v === null ? "" : WORDS[axis.unit](v))) });
    const log = { splits: (u, at, low, high) => decades(low, high), filter: (u, splits) => splits };
    return [
      {
        ...common,
        ...ticks(chart.x),
        ...(chart.x.log ? log : {}),
        label: chart.x.unit === "ms" ? null : chart.x.label,
        labelSize: 16,
        size: 28,
        space: 56,
        grid: { show: false },
      },
      { ...common, ...ticks(chart.y), size: 54, space: 36, grid: { stroke: css("--line"), width: 1 } },
    ];
  }

  // -- series --------------------------------------------------------------------------------------------------

  const DRAWN = {
    points: (colour) => ({ paths: () => null, points: { show: true, size: 5, width: 0, fill: `${colour}99` } }),
    line: (colour, count) => ({ width: 2.25, points: { show: count <= 40 && count > 1, size: 6, fill: colour } }),
    step: () => ({ width: 1.75, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }),
    edge: () => ({ width: 0, points: { show: false } }),
    path: (colour) => ({ paths: () => null, points: { show: true, size: 7, width: 0, fill: colour } }),
  };

  function lineOf(series, chart) {
    const colour = colourOf(series);
    const distinct = new Set(chart.columns[0]).size;
    return {
      label: series.label,
      class: series.draw,
      stroke: colour,
      dash: DASHES[series.dash % DASHES.length],
      value: (u, value) => worded(chart.y, value),
      ...DRAWN[series.draw](colour, chart.series.some((s) => s.draw === "points") ? Infinity : distinct),
    };
  }

  function bandsOf(chart) {
    const first = chart.series.findIndex((series) => series.draw === "edge");
    return first < 0 ? [] : [{ series: [first + 1, first + 2], fill: `${colourOf(chart.series[first])}26` }];
  }

  // Throughput goes back where a server is overrun, so its points are joined in the order of the steps.
  function joined(u, chart) {
    const { ctx } = u;
    chart.series.forEach((series, at) => {
      if (series.draw !== "path") return;
      ctx.save();
      ctx.strokeStyle = colourOf(series);
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.lineJoin = "round";
      ctx.beginPath();
      for (const index of chart.order) {
        const y = u.data[at + 1][index];
        if (y !== null) ctx.lineTo(u.valToPos(u.data[0][index], "x", true), u.valToPos(y, "y", true));
      }
      ctx.stroke();
      ctx.restore();
    });
  }

  function marked(u, chart) {
    if (!chart.mark) return;
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    const x = Math.round(u.valToPos(chart.mark.x, "x", true));
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = css("--ink");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.font = `600 ${12 * devicePixelRatio}px ${css("--sans")}`;
    const right = x > left + width / 2;
    ctx.textAlign = right ? "right" : "left";
    ctx.fillText(chart.mark.label, x + (right ? -8 : 8) * devicePixelRatio, top + 14 * devicePixelRatio);
    ctx.restore();
  }

  // A line of the legend, in the dashes of the curve.
  function dashed(series) {
    let end = 0;
    const stops = DASHES[series.dash % DASHES.length].map((length, at) => {
      const colour = at % 2 === 0 ? colourOf(series) : "transparent";
      return `${colour} ${end}px ${(end += length)}px`;
    });
    return end === 0 ? colourOf(series) : `repeating-linear-gradient(90deg, ${stops.join(", ")})`;
  }

  // -- drawing -------------------------------------------------------------------------------------------------

  const widthIn = (plot) => Math.max(200, plot.clientWidth);

  function draw(plot, chart) {
    const many = chart.series.length > 3;
    const options = {
      width: widthIn(plot),
      height: HEIGHT,
      padding: [10, 18, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 7 }, focus: { prox: many ? 24 : -1 } },
      focus: { alpha: many ? 0.2 : 1 },
      scales: { x: xScale(chart.x), y: yScale(chart) },
      axes: axes(chart),
      bands: bandsOf(chart),
      legend: {
        markers: { width: 0, fill: (u, at) => dashed(chart.series[at - 1]) },
      },
      series: [{ label: chart.x.label, value: (u, value) => legend(chart.x, value) }, ...chart.series.map((s) => lineOf(s, chart))],
      hooks: { draw: [(u) => joined(u, chart), (u) => marked(u, chart)] },
    };
    return new uPlot(options, chart.columns, plot);
  }

  let drawn = [];

  function redraw() {
    drawn.forEach((plot) => plot.destroy());
    drawn = charts.map((chart) => draw(document.querySelector(`[data-chart="${chart.name}"] .plot`), chart));
  }

  function resize() {
    for (const plot of drawn) {
      const width = widthIn(plot.root.parentElement);
      if (width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
  }

  redraw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.print = "";
    redraw();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.print;
    redraw();
  });
  new ResizeObserver(resize).observe(document.querySelector("main"));
})();
