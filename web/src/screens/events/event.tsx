import { useLoad } from "../../api";
import { coded, t } from "../../i18n";
import { link, query, segments, setQuery, type Params } from "../../router";
import { may } from "../../session";
import { Button, Card, Code, EnvironmentBadge, Facts, LinkButton, Loaded, Money, Page, Table, Time } from "../../ui";
import { ReplayButton } from "./replay";
import { columns, eventHref, EventStatus } from "./list";
import { Hops, wayMs } from "./timeline";
import type { EventView, Timeline } from "./shapes";

/** One event whole: what it is, its way to the CRM's answer, and the request as it was received. */
export function EventDetail({ params }: { params: Params }) {
  const id = params["id"] ?? "";
  const personal = query.value["personal_data"] === "true";
  const load = useLoad<EventView>(link(`/events/${encodeURIComponent(id)}`, { personal_data: personal }), { keep: true });
  const way = useLoad<Timeline>(link(`/timeline/events/${segments(id)}`, { personal_data: personal }), { keep: true, everyMs: personal ? 0 : wayMs });
  return (
    <Page title={load.data?.type || id} back={{ href: "/events", label: t("events.title") }} lead={<code>{id}</code>} actions={<>
      <Personal shown={personal} />
      {load.data?.order_key && <LinkButton href={`/orders/${segments(load.data.order_key)}`}>{t("events.order.open")}</LinkButton>}
      {load.data?.order_key && <ReplayButton filter={{ order: load.data.order_key }} />}
    </>}>
      <Loaded load={load}>{(e) => <What e={e} />}</Loaded>
      <Card title={t("events.way")} testid="way"><Loaded load={way}>{(w) => <Hops timeline={w} />}</Loaded></Card>
      {load.data && <Received e={load.data} />}
    </Page>
  );
}

/** Addresses and names are masked until somebody asks for them; the audit log knows who did. */
export function Personal({ shown }: { shown: boolean }) {
  if (!may("operator")) return null;
  return <Button pressed={shown} onClick={() => setQuery({ personal_data: shown ? null : "true" })} testid="personal">{shown ? t("events.personal.hide") : t("events.personal.show")}</Button>;
}

function What({ e }: { e: EventView }) {
  const name = [e.given_name, e.surname].filter(Boolean).join(" ") || e.name;
  return (
    <Card>
      <Facts list={[
        [t("events.status"), <EventStatus e={e} />],
        [t("events.problem"), e.problem],
        [t("events.amount"), e.amount ? <Money value={e.amount} /> : ""],
        [t("events.refunded"), e.refunded_total ? <Money value={e.refunded_total} /> : ""],
        [t("events.kind"), coded("events.kind", e.kind)],
        [t("events.provider_status"), e.provider_status],
        [t("events.store"), <>{e.store} <EnvironmentBadge name={e.environment} /></>],
        [t("events.order"), e.order_key ? <a href={`/orders/${segments(e.order_key)}`}>{e.order}</a> : e.order],
        [t("events.contact"), e.personal_data && e.contact ? <a href={link(`/contacts/${segments(e.contact)}`, { personal_data: true })}>{e.contact}</a> : e.contact],
        [t("events.name"), name], [t("events.email"), e.email], [t("events.phone"), e.phone], [t("events.payer"), e.payer_id],
        [t("events.address"), [...(e.address ?? []), e.country].filter(Boolean).join(", ")],
        [t("events.invoice"), e.invoice_id], [t("events.custom"), e.custom_id], [t("events.resource"), e.resource],
        [t("events.provider_time"), e.provider_time ? <Time at={e.provider_time} /> : ""],
        [t("events.received"), <Time at={e.received_at} />],
        [t("events.place"), <code>{e.place.topic} {e.place.partition}/{e.place.offset}</code>],
        ...(e.links ?? []).map((l): [string, string] => [l.name, l.value]),
        ...Object.entries(e.fields ?? {}),
      ]} />
    </Card>
  );
}

function Received({ e }: { e: EventView }) {
  return (
    <>
      {(e.records ?? []).length > 1 && <Card title={t("events.records", { n: e.records!.length })}><Table caption={t("events.records", { n: e.records!.length })} rows={e.records!} columns={columns()} id={(r) => r.record} href={(r) => eventHref({ record: r.record })} /></Card>}
      <Card title={t("events.body")}>
        {e.body ? <Code text={pretty(e.body)} label={t("events.body")} /> : <p class="muted">{t("events.body.masked", { n: e.body_bytes })}</p>}
        <p class="muted small">SHA-256 <code>{e.body_hash}</code></p>
        {e.headers && <><h3>{t("events.headers")}</h3><Facts list={Object.entries(e.headers)} /></>}
      </Card>
    </>
  );
}

function pretty(body: string): string {
  try {
    JSON.parse(body); // only to know that it is JSON: numbers must stay as they were written
  } catch {
    return body;
  }
  return indented(body);
}

/** JSON with line breaks, its numbers and strings untouched. */
export function indented(json: string): string {
  let out = "";
  let depth = 0;
  let inText = false;
  for (let i = 0; i < json.length; i++) {
    const c = json[i]!;
    if (inText) {
      out += c;
      if (c === "\\") out += json[++i] ?? "";
      else if (c === '"') inText = false;
    } else if (c === '"') {
      inText = true;
      out += c;
    } else if (c === "{" || c === "[") {
      let next = i + 1;
      while (/\s/.test(json[next] ?? "")) next++;
      if (json[next] === "}" || json[next] === "]") {
        out += c + json[next];
        i = next;
      } else out += `${c}\n${"  ".repeat(++depth)}`;
    } else if (c === "}" || c === "]") out += `\n${"  ".repeat(Math.max(0, --depth))}${c}`;
    else if (c === ",") out += `,\n${"  ".repeat(depth)}`;
    else if (c === ":") out += ": ";
    else if (!/\s/.test(c)) out += c;
  }
  return out;
}
