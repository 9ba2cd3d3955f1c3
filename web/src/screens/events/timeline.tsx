import { Fragment } from "preact";
import { useLoad } from "../../api";
import { coded, duration, t } from "../../i18n";
import { link, query, segments } from "../../router";
import { Badge, Card, Code, Empty, Facts, LinkButton, Loaded, Page, Time } from "../../ui";
import { Personal } from "./event";
import { ReplayButton } from "./replay";
import type { Exchange, Hop, NamedText, Timeline } from "./shapes";

/** How often a way is looked at anew while its page is open; not while it shows personal data, since each look is on the audit trail. */
export const wayMs = 5000;

/** The way of an order or a contact, from receipt to the CRM's answers. */
export function TimelineScreen({ kind, id }: { kind: "orders" | "contacts"; id: string }) {
  const personal = query.value["personal_data"] === "true";
  const load = useLoad<Timeline>(link(`/timeline/${kind}/${segments(id)}`, { personal_data: personal }), { keep: true, everyMs: personal ? 0 : wayMs });
  const events = kind === "orders" ? link("/events", { order: id }) : link("/events", { email: id });
  return (
    <Page title={t(`events.${kind}.title`)} back={{ href: "/events", label: t("events.title") }} lead={<code>{id}</code>} actions={<>
      <Personal shown={personal} />
      <LinkButton href={events}>{t("events.all")}</LinkButton>
      <ReplayButton filter={kind === "orders" ? { order: id } : { contact: id }} />
    </>}>
      <Loaded load={load} lines={8}>{(w) => (
        <>
          {(w.orders?.length ?? 0) + (w.contacts?.length ?? 0) > 1 && <Card title={t("events.related")}><Related w={w} personal={personal} /></Card>}
          <Card title={t("events.way")} testid="way"><Hops timeline={w} /></Card>
        </>
      )}</Loaded>
    </Page>
  );
}

function Related({ w, personal }: { w: Timeline; personal: boolean }) {
  return (
    <Facts list={[
      [t("events.orders"), w.orders?.length ? <ul class="plain links">{w.orders.map((o) => <li key={o}><a href={`/orders/${segments(o)}`}>{o}</a></li>)}</ul> : ""],
      [t("events.contacts"), w.contacts?.length ? <ul class="plain">{w.contacts.map((c) => <li key={c}>{personal ? <a href={link(`/contacts/${segments(c)}`, { personal_data: true })}>{c}</a> : c}</li>)}</ul> : ""],
    ]} />
  );
}

const idleMs = 60_000;

export function Hops({ timeline }: { timeline: Timeline }) {
  const hops = timeline.hops ?? [];
  if (!hops.length) return <Empty title={t("events.way.empty")}>{t("events.way.empty.text")}</Empty>;
  return (
    <>
      {timeline.truncated && <p class="muted small">{t("events.way.truncated")}</p>}
      <ol class="hops" data-testid="hops">
        {hops.map((h, i) => (
          <Fragment key={i}>
            {i > 0 && h.after_ms >= idleMs && <li class="idle muted small">{t("events.way.later", { time: duration(h.after_ms / 1000) })}</li>}
            <HopItem h={h} first={i === 0} />
          </Fragment>
        ))}
      </ol>
    </>
  );
}

function HopItem({ h, first }: { h: Hop; first: boolean }) {
  const more = (h.input?.length ?? 0) + (h.output?.length ?? 0) + (h.exchanges?.length ?? 0) > 0;
  return (
    <li class={h.good ? `hop ${h.stage}` : `hop ${h.stage} bad`}>
      <div class="hophead">
        <span class="hopstage">{coded("events.stage", h.stage)}</span>
        <Badge tone={h.good ? "good" : "bad"}>{h.outcome.toLowerCase().replaceAll("_", " ") || "–"}</Badge>
        {h.attempt !== undefined && h.attempt > 1 && <Badge tone="warn">{t("events.attempt", { n: h.attempt })}</Badge>}
        <span class="spread" />
        <span class="muted small"><Time at={h.at} />{!first && h.after_ms < idleMs && ` · +${duration(h.after_ms / 1000)}`}</span>
      </div>
      <p>{h.what}</p>
      {h.remedy && <p class="small"><b>{t("ui.remedy")}:</b> {h.remedy}</p>}
      {more && (
        <details>
          <summary>{t("events.details")}</summary>
          {h.input && h.input.length > 0 && <><h3>{t("events.input")}</h3><Facts list={pairs(h.input)} /></>}
          {h.output && h.output.length > 0 && <><h3>{t("events.output")}</h3><Facts list={pairs(h.output)} /></>}
          {(h.exchanges ?? []).map((x, i) => <ExchangeView key={i} x={x} />)}
        </details>
      )}
      <p class="muted small hopfoot">
        {h.destination && <span>{h.destination}</span>}{h.command && <code>{h.command}</code>}{h.config_version && <span>{t("events.config")} <code>{h.config_version}</code></span>}
        <code>{h.place.topic} {h.place.partition}/{h.place.offset}</code>
      </p>
    </li>
  );
}

const pairs = (list: NamedText[]): [string, string][] => list.map((x) => [x.name, x.value]);

function ExchangeView({ x }: { x: Exchange }) {
  return (
    <div class="exchange">
      <p><code>{x.method} {x.url}</code> <Badge tone={x.status >= 200 && x.status < 300 ? "good" : "bad"}>{x.status || t("events.noanswer")}</Badge> <span class="muted small">{duration(x.ms / 1000)}</span></p>
      {x.error && <p class="small">{x.error}</p>}
      {x.request_body && <Code text={x.request_body} label={t("events.request")} />}
      {x.response_body && <Code text={x.response_body} label={t("events.response")} />}
    </div>
  );
}
