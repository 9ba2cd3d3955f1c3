import { useState } from "preact/hooks";
import { base, useLoad } from "../../api";
import { duration, money, number, t } from "../../i18n";
import { link, query, setQuery, type Params } from "../../router";
import { session, usualEnvironment } from "../../session";
import { Button, Card, Code, Empty, Field, LinkButton, Loaded, Page, Search, Select, Table, TextInput, Time, type Column, type Screen } from "../../ui";
import { Chart } from "./chart";
import type { Report, ReportInfo, Value } from "./shapes";

const rowsMax = 5000;
const filterNames = ["since", "until", "store", "currency", "environment"] as const;

function filters(): Record<string, string> {
  const q = { environment: usualEnvironment(), ...query.value };
  return Object.fromEntries(filterNames.filter((n) => q[n]).map((n) => [n, q[n]!]));
}

function Reports() {
  const load = useLoad<{ items: ReportInfo[] | null }>("/reports");
  const wanted = (query.value["q"] ?? "").toLowerCase();
  return (
    <Page title={t("reports.title")} lead={t("reports.lead")}>
      <div class="filters"><Search value={query.value["q"] ?? ""} onSearch={(q) => setQuery({ q })} label={t("reports.search")} /></div>
      <Loaded load={load} lines={8}>{(data) => {
        const rows = (data.items ?? []).filter((r) => !wanted || `${r.name} ${r.title} ${r.definition}`.toLowerCase().includes(wanted));
        if (!rows.length) return <Empty title={t("reports.none")} action={wanted ? <Button onClick={() => setQuery({ q: null })}>{t("events.clear")}</Button> : undefined}>{t("reports.none.text")}</Empty>;
        return <Table caption={t("reports.title")} rows={rows} id={(r) => r.name} href={(r) => `/reports/${encodeURIComponent(r.name)}`} testid="reports" columns={[
          { key: "title", head: t("reports.report"), cell: (r) => r.title || r.name },
          { key: "definition", head: t("reports.definition"), small: "hide", cell: (r) => <span class="muted small clamp">{r.definition}</span> },
        ]} />;
      }}</Loaded>
    </Page>
  );
}

function ReportDetail({ params }: { params: Params }) {
  const name = params["name"] ?? "";
  const path = link(`/reports/${encodeURIComponent(name)}`, { ...filters(), limit: rowsMax });
  const load = useLoad<Report>(path, { keep: true });
  const csv = base + link(`/reports/${encodeURIComponent(name)}`, { ...filters(), format: "csv" });
  return (
    <Page title={load.data?.title || name} back={{ href: "/reports", label: t("reports.title") }} lead={load.data?.definition} actions={<LinkButton href={csv} download={`${name}.csv`} testid="csv">{t("reports.csv")}</LinkButton>}>
      <Filters />
      <Loaded load={load} lines={8}>{(r) => <Shown r={r} />}</Loaded>
    </Page>
  );
}

function Filters() {
  const q = query.value;
  return (
    <div class="filters">
      {(["since", "until"] as const).map((n) => <Field key={n} label={t(`events.${n}`)}><TextInput type="date" value={(q[n] ?? "").slice(0, 10)} onInput={(v) => setQuery({ [n]: v && `${v}T00:00:00Z` })} /></Field>)}
      <Field label={t("events.store")}><Typed name="store" /></Field>
      <Field label={t("reports.currency")}><Typed name="currency" /></Field>
      <Field label={t("events.environment")}><Select value={q["environment"] ?? usualEnvironment()} onChange={(v) => setQuery({ environment: v === usualEnvironment() ? null : v })} options={[...new Set(["live", "sandbox", ...(session.value?.environments ?? [])])].map((v) => ({ value: v, label: v }))} /></Field>
    </div>
  );
}

// What is typed counts when the field is left, or on Enter: each change asks for the report anew.
function Typed({ name, ...rest }: { name: "store" | "currency" }) {
  const [text, setText] = useState(query.value[name] ?? "");
  const say = () => setQuery({ [name]: name === "currency" ? text.trim().toUpperCase() : text.trim() });
  return <TextInput {...rest} value={text} onInput={setText} onBlur={say} onKeyDown={(e) => { if (e.key === "Enter") say(); }} />;
}

interface Numbered { row: Value[]; i: number; opens: string }

function Shown({ r }: { r: Report }) {
  const rows = r.rows ?? [];
  if (!rows.length) return <Empty title={t("reports.empty")} action={<Button onClick={() => setQuery(Object.fromEntries(filterNames.map((n) => [n, null])))}>{t("events.clear")}</Button>}>{t("reports.empty.text")}</Empty>;
  const currency = r.columns.findIndex((c) => c.name === "currency");
  const numbered = rows.map((row, i): Numbered => ({ row, i, opens: r.opens?.[i] ?? "" }));
  return (
    <>
      <Chart r={r} />
      <Table caption={r.title} rows={numbered} id={(x) => String(x.i)} href={(x) => x.opens || undefined} testid="rows" columns={r.columns.map((c, n): Column<Numbered> => ({
        key: c.name, head: columnName(c.name), ...((c.type === "number" || c.type === "money") && { align: "end" as const }),
        cell: ({ row, opens }) => {
          const text = shown(row[n] ?? null, c.type, c.unit, currency >= 0 ? String(row[currency]) : "");
          // Every number opens what is behind it.
          return n > 0 && opens && (c.type === "number" || c.type === "money") && row[n] !== null ? <a href={opens} class="numberlink">{text}</a> : text;
        },
      }))} />
      <p class="muted small">{t("reports.rows", { n: rows.length })} {r.truncated && t("reports.truncated")} · {t("reports.asof")} <Time at={r.as_of} /></p>
      <Card><details><summary>{t("reports.sql")}</summary><p class="muted small">{t("reports.sql.text")}</p><Code text={r.sql} label="SQL" /></details></Card>
    </>
  );
}

export function columnName(name: string): string {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function shown(v: Value, type: string, unit: string, currency: string) {
  if (v === null) return <span class="muted">–</span>;
  if (type === "time") return <Time at={String(v)} />;
  if (type === "yes_no") return v ? t("reports.yes") : t("reports.no");
  if (type === "money") return currency ? money(String(v), currency) : String(v);
  if (type !== "number") return String(v);
  const n = Number(v);
  if (unit === "seconds") return duration(n);
  if (unit === "ms") return duration(n / 1000);
  if (unit === "share") return number(n, { style: "percent", maximumFractionDigits: 1 });
  return number(n, { maximumFractionDigits: 2 });
}

export const routes: Screen[] = [
  { path: "/reports", view: Reports },
  { path: "/reports/:name", view: ReportDetail },
];
