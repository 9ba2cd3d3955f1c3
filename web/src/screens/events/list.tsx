import { useEffect, useState } from "preact/hooks";
import { api, ApiError, useLoad } from "../../api";
import { coded, t } from "../../i18n";
import { link, query, segments, setQuery } from "../../router";
import { session } from "../../session";
import { Badge, Button, Empty, EnvironmentBadge, ErrorState, Field, LinkButton, Loaded, Money, Page, Search, Select, Table, TextInput, Time, type Column } from "../../ui";
import { LiveTail } from "./tail";
import { kinds, statuses, statusTone } from "./words";
import type { EventPage, EventSummary } from "./shapes";

const pageLimit = 100;
const filterNames = ["q", "store", "order", "email", "status", "kind", "type", "currency", "environment", "since", "until", "time", "problem"] as const;
/** Those that the live tail takes: it tells of what comes now, of events and of what they cause alike. */
export const liveNames = ["q", "store", "order", "email", "status", "kind", "environment"] as const;

/** The part of the address that the API takes, too: a filter is a link. */
export function filters(names: readonly string[] = filterNames): Record<string, string> {
  const q = query.value;
  return Object.fromEntries(names.filter((n) => q[n]).map((n) => [n, q[n]!]));
}

/** The address of an event: by its own id, or by its record where the body could not be read. */
export function eventHref(e: { id?: string; record?: string }): string {
  return `/events/${segments(e.id || e.record || "")}`;
}

export function EventList() {
  const live = query.value["live"] === "on";
  return (
    <Page title={t("events.title")} lead={t("events.lead")} actions={
      <Button pressed={live} onClick={() => setQuery({ live: live ? null : "on" })} testid="live">{live ? t("events.live.off") : t("events.live.on")}</Button>
    }>
      <Filters live={live} />
      {live ? <LiveTail /> : <Found />}
    </Page>
  );
}

function Filters({ live }: { live: boolean }) {
  const q = filters(live ? liveNames : filterNames); // one that is not taken is not shown as if it were
  const used = filterNames.some((n) => q[n]);
  const worlds = session.value?.environments ?? [];
  const all = (list: string[], prefix: string, value: string | undefined) =>
    [{ value: "", label: t("events.any") }, ...(value && !list.includes(value) ? [value, ...list] : list).map((v) => ({ value: v, label: coded(prefix, v) }))];
  return (
    <div class="filters">
      <Search value={q["q"] ?? ""} onSearch={(text) => setQuery({ q: text })} label={t("events.search")} placeholder={t("events.search.hint")} />
      <Field label={t("events.status")}><Select value={q["status"] ?? ""} onChange={(v) => setQuery({ status: v })} options={all(statuses, "events.status", q["status"])} testid="status" /></Field>
      <Field label={t("events.kind")}><Select value={q["kind"] ?? ""} onChange={(v) => setQuery({ kind: v })} options={all(kinds, "events.kind", q["kind"])} /></Field>
      <Field label={t("events.environment")}><Select value={q["environment"] ?? ""} onChange={(v) => setQuery({ environment: v })}
        options={[{ value: "", label: t("events.any") }, ...[...new Set([...worlds, "live", "sandbox"])].map((v) => ({ value: v, label: v }))]} /></Field>
      {!live && <><Day name="since" /><Day name="until" /></>}
      {q["store"] && <Chip name="store" />}{q["order"] && <Chip name="order" />}{q["email"] && <Chip name="email" />}{q["type"] && <Chip name="type" />}{q["problem"] && <Chip name="problem" />}{q["currency"] && <Chip name="currency" />}
      {used && <Button kind="quiet" onClick={() => setQuery(Object.fromEntries(filterNames.map((n) => [n, null])))}>{t("events.clear")}</Button>}
    </div>
  );
}

// A day of the address may be given with its time by a link of a report; the field shows the day.
function Day({ name }: { name: "since" | "until" }) {
  return <Field label={t(`events.${name}`)}><TextInput type="date" value={(query.value[name] ?? "").slice(0, 10)} onInput={(v) => setQuery({ [name]: v && `${v}T00:00:00Z` })} /></Field>;
}

function Chip({ name }: { name: string }) {
  return <Button kind="quiet" label={t("events.drop", { filter: `${name} ${query.value[name]}` })} onClick={() => setQuery({ [name]: null })}>{name}: {query.value[name]} ✕</Button>;
}

function Found() {
  const path = link("/events", { ...filters(), limit: pageLimit });
  const first = useLoad<EventPage>(path, { keep: true });
  const [more, setMore] = useState<{ path: string; items: EventSummary[]; next: string }>({ path: "", items: [], next: "" });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    setMore({ path, items: [], next: "" });
    setError(undefined);
  }, [path, first.data]);
  const mine = more.path === path && more.items.length > 0;
  const next = mine ? more.next : first.data?.next;
  const load = async () => {
    setBusy(true);
    try {
      const page = await api.get<EventPage>(link("/events", { ...filters(), limit: pageLimit, after: next }));
      setMore({ path, items: [...(mine ? more.items : []), ...(page.items ?? [])], next: page.next ?? "" });
      setError(undefined);
    } catch (e) {
      if (!(e instanceof ApiError)) throw e;
      setError(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Loaded load={first} lines={10}>{(data) => {
      const items = [...(data.items ?? []), ...(mine ? more.items : [])];
      if (!items.length) return <NothingFound />;
      return (
        <>
          <Table caption={t("events.title")} rows={items} columns={columns()} id={(e) => e.record} href={eventHref} testid="events" />
          {error && <ErrorState error={error} />}
          {next && <div class="actions"><Button onClick={() => void load()} busy={busy} testid="more">{t("ui.more")}</Button></div>}
        </>
      );
    }}</Loaded>
  );
}

export function NothingFound() {
  if (Object.keys(filters()).length) return <Empty title={t("events.none")} action={<Button onClick={() => setQuery(Object.fromEntries(filterNames.map((n) => [n, null])))}>{t("events.clear")}</Button>}>{t("events.none.text")}</Empty>;
  return <Empty title={t("events.empty")} action={<><TestEvent /><LinkButton href="/connections">{t("events.empty.webhook")}</LinkButton></>}>{t("events.empty.text")}</Empty>;
}

function TestEvent() {
  return <LinkButton href="/connections/new" kind="primary">{t("events.empty.connect")}</LinkButton>;
}

export function columns(): Column<EventSummary>[] {
  return [
    { key: "type", head: t("events.type"), cell: (e) => e.type || e.id || e.record },
    { key: "status", head: t("events.status"), cell: (e) => <EventStatus e={e} /> },
    { key: "amount", head: t("events.amount"), align: "end", cell: (e) => <Money value={e.amount} /> },
    { key: "order", head: t("events.order"), small: "hide", cell: (e) => e.order_key ? <a href={`/orders/${segments(e.order_key)}`}>{e.order}</a> : e.order || <span class="muted">–</span> },
    { key: "contact", head: t("events.contact"), small: "hide", cell: (e) => (e.name && !e.name.startsWith("***") ? e.name : e.contact?.replace(`${e.environment}/`, "")) || <span class="muted">–</span> },
    { key: "store", head: t("events.store"), small: "hide", cell: (e) => <>{e.store} <EnvironmentBadge name={e.environment} /></> },
    { key: "at", head: t("events.at"), cell: (e) => <Time at={e.received_at || e.at} /> },
  ];
}

export function EventStatus({ e }: { e: EventSummary }) {
  return (
    <>
      {e.problem ? <Badge tone="bad" title={e.problem}>{t("events.problem")}</Badge> : <Badge tone={statusTone(e.status)}>{coded("events.status", e.status || e.kind)}</Badge>}
      {e.test && <> <Badge tone="info">{t("events.test")}</Badge></>}
      {e.origin && e.origin !== "WEBHOOK" && <> <Badge>{coded("events.origin", e.origin)}</Badge></>}
    </>
  );
}

