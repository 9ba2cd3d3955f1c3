import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { language, t } from "../../i18n";
import { go } from "../../router";
import { dark } from "../../theme";
import { Card } from "../../ui";
import { columnName } from "./index";
import type { Report, Value } from "./shapes";

const seriesMax = 6;
const barsMax = 40;
const heightPx = 280;

interface Series { name: string; values: (number | null)[]; opens: string[] }
interface Drawn { xs: number[]; labels: string[]; time: boolean; series: Series[]; left: number }

/** The rows as one series for each combination of the columns that tell rows apart: unlike currencies are never joined. */
export function drawn(r: Report): Drawn | null {
  const at = (name: string) => r.columns.findIndex((c) => c.name === name);
  const x = at(r.chart.x);
  const y = at(r.chart.y);
  const rows = r.rows ?? [];
  if (x < 0 || y < 0 || !rows.length) return null;
  const by = (r.chart.series ?? []).map(at).filter((n) => n >= 0 && n !== x);
  const type = r.columns[x]!.type;
  const time = type === "time" || type === "day";
  const keys = [...new Set(rows.map((row) => String(row[x])))];
  if (time) keys.sort();
  const labels = time ? keys : keys.slice(0, barsMax);
  const place = new Map(labels.map((k, i) => [k, i]));
  const all = new Map<string, Series>();
  const totals = new Map<string, number>();
  rows.forEach((row, i) => {
    const name = by.map((n) => String(row[n])).join(" · ") || columnName(r.chart.y);
    const p = place.get(String(row[x]));
    if (p === undefined) return;
    let s = all.get(name);
    if (!s) all.set(name, (s = { name, values: labels.map(() => null), opens: labels.map(() => "") }));
    const v = numeric(row[y] ?? null);
    s.values[p] = v;
    s.opens[p] = r.opens?.[i] ?? "";
    totals.set(name, (totals.get(name) ?? 0) + Math.abs(v ?? 0));
  });
  const list = [...all.values()].sort((a, b) => (totals.get(b.name) ?? 0) - (totals.get(a.name) ?? 0));
  return { xs: time ? labels.map((k) => Date.parse(k) / 1000) : labels.map((_, i) => i), labels, time, series: list.slice(0, seriesMax), left: Math.max(0, list.length - seriesMax) };
}

function numeric(v: Value): number | null {
  if (v === null || v === "") return null;
  const n = Number(v); // a picture may round; the table does not
  return Number.isFinite(n) ? n : null;
}

export function Chart({ r }: { r: Report }) {
  const box = useRef<HTMLDivElement>(null);
  const d = useMemo(() => drawn(r), [r]);
  const isDark = dark.value;
  const lang = language.value;
  useEffect(() => {
    const el = box.current;
    if (!el || !d) return;
    const plot = new uPlot(options(r, d, el), [d.xs, ...d.series.map((s) => s.values)], el);
    const resized = new ResizeObserver(() => plot.setSize({ width: el.clientWidth, height: heightPx }));
    resized.observe(el);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [r, d, isDark, lang]);
  if (!d || !d.series.length) return null;
  return (
    <Card testid="chart">
      <div ref={box} class="chart" role="img" aria-label={t("reports.chart", { y: columnName(r.chart.y), x: columnName(r.chart.x) })} />
      <ul class="legend">{d.series.map((s, i) => <li key={s.name}><span class={`swatch s${i + 1}`} aria-hidden="true" />{s.name}</li>)}{d.left > 0 && <li class="muted">{t("reports.chart.left", { n: d.left })}</li>}</ul>
    </Card>
  );
}

const daySeconds = 86400;

function options(r: Report, d: Drawn, el: HTMLElement): uPlot.Options {
  const css = getComputedStyle(document.documentElement);
  const colour = (name: string) => css.getPropertyValue(name).trim();
  const bars = r.chart.plot === "bars" || !d.time;
  const f = new Intl.NumberFormat(language.value, { notation: "compact" });
  const days = new Intl.DateTimeFormat(language.value, { timeZone: "UTC", month: "short", day: "numeric" });
  const months = new Intl.DateTimeFormat(language.value, { timeZone: "UTC", month: "short", year: "2-digit" });
  const span = (d.xs.at(-1) ?? 0) - (d.xs[0] ?? 0);
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
  const x: uPlot.Axis = d.time
    ? { ...axis, incrs: [1, 2, 7, 14, 30, 91, 182, 365].map((n) => n * daySeconds), values: (_, list) => list.map((s) => (span > 200 * daySeconds ? months : days).format(s * 1000)) }
    : { ...axis, splits: () => d.xs, values: (_, list) => list.map((i) => short(d.labels[i] ?? "")), rotate: d.labels.length > 6 ? -35 : 0, size: d.labels.length > 6 ? 90 : 40, gap: 6 };
  const n = d.series.length;
  return {
    width: el.clientWidth, height: heightPx, legend: { show: false }, cursor: { points: { size: 8 }, drag: { x: false, y: false }, y: false },
    tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
    scales: { x: { time: d.time, range: (_, min, max) => bars ? padded(d, min, max) : [min, max === min ? max + 1 : max] }, y: { range: (_, min, max) => [Math.min(0, min ?? 0), max > 0 ? max * 1.08 : 1] } },
    axes: [x, { ...axis, size: 56, values: (_, list) => list.map((v) => f.format(v)) }],
    series: [{}, ...d.series.map((s, i): uPlot.Series => {
      const stroke = colour(`--c${i + 1}`);
      const paths = bars ? uPlot.paths.bars!({ size: [0.75 / n, 60 / n], align: n === 1 ? 0 : i < n / 2 ? -1 : 1 }) : undefined;
      return { label: s.name, stroke, width: bars ? 0 : 2, ...(bars && { fill: stroke }), ...(paths && { paths }), spanGaps: false, points: { show: !bars && d.xs.length < 60, size: 6 } };
    })],
    hooks: { init: [(u) => opens(u, d)] },
  };
}

// A bar needs room for itself at both ends.
function padded(d: Drawn, min: number, max: number): [number, number] {
  const step = d.xs.length > 1 ? Math.min(...d.xs.slice(1).map((v, i) => v - d.xs[i]!)) : d.time ? daySeconds : 1;
  return [min - step / 2, max + step / 2];
}

// A click on the chart opens what is behind the figure under it; by keyboard, the table does the same.
function opens(u: uPlot, d: Drawn) {
  u.over.addEventListener("click", () => {
    const at = u.cursor.idx;
    if (at === null || at === undefined) return;
    const to = d.series.map((s) => s.opens[at]).find(Boolean);
    if (to) go(to);
  });
}

function short(text: string): string {
  return text.length > 18 ? `${text.slice(0, 17)}…` : text;
}
