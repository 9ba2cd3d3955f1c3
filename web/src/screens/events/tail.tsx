import { useEffect, useMemo } from "preact/hooks";
import { coded, t } from "../../i18n";
import { screenKey } from "../../keys";
import { tail } from "../../live";
import { link, segments } from "../../router";
import { Badge, Button, EnvironmentBadge, Money, Table, Time, type Column } from "../../ui";
import { filters, liveNames } from "./list";
import type { LiveRecord } from "./shapes";

const id = (r: LiveRecord) => `${r.place.topic}-${r.place.partition}-${r.place.offset}`;
const scrolledPx = 160;

/** What comes, as it comes. It holds by itself while the user has scrolled down to read, and says how many wait. */
export function LiveTail() {
  const path = link("/events/live", filters(liveNames));
  const stream = useMemo(() => tail<LiveRecord>(path, id), [path]);
  useEffect(() => () => stream.close(), [stream]);
  useEffect(() => screenKey("p", () => stream.hold(!stream.holding.value)), [stream]);
  useEffect(() => {
    const held = () => {
      if (scrollY > scrolledPx && !stream.holding.value) stream.hold(true);
    };
    addEventListener("scroll", held, { passive: true });
    return () => removeEventListener("scroll", held);
  }, [stream]);
  const holding = stream.holding.value;
  const waiting = stream.held.value.length;
  const resume = () => {
    stream.hold(false);
    scrollTo({ top: 0 });
  };
  return (
    <section aria-label={t("events.live")}>
      <div class="tailbar">
        <Badge tone={stream.state.value === "open" ? (holding ? "warn" : "good") : stream.state.value === "lost" ? "bad" : "none"}>{holding ? t("events.live.held") : t(`events.live.${stream.state.value}`)}</Badge>
        <Button pressed={holding} onClick={() => (holding ? resume() : stream.hold(true))} testid="hold" title={t("events.live.key")}>{holding ? t("events.live.resume") : t("events.live.hold")}</Button>
        {holding && waiting > 0 && <Button kind="primary" onClick={resume} testid="new">{t("events.live.new", { n: waiting })}</Button>}
        {stream.leftOut.value > 0 && <span class="muted small" role="status">{t("events.live.leftout", { n: stream.leftOut.value })}</span>}
      </div>
      {stream.items.value.length
        ? <Table caption={t("events.live")} rows={stream.items.value} columns={columns()} id={id} href={href} testid="tail" />
        : <p class="muted waiting" role="status">{t("events.live.waiting")}</p>}
    </section>
  );
}

function href(r: LiveRecord): string | undefined {
  if (r.event) return `/events/${segments(r.event)}`;
  return r.order ? `/orders/${segments(r.order)}` : undefined;
}

function columns(): Column<LiveRecord>[] {
  return [
    { key: "what", head: t("events.what"), wide: true, cell: (r) => r.what },
    { key: "kind", head: t("events.record"), small: "hide", cell: (r) => <Badge tone={r.good ? "none" : "bad"}>{coded("events.live.kind", r.kind)}</Badge> },
    { key: "amount", head: t("events.amount"), align: "end", small: "hide", cell: (r) => <Money value={r.amount} /> },
    { key: "store", head: t("events.store"), small: "hide", cell: (r) => <>{r.store ?? r.destination} <EnvironmentBadge name={r.environment ?? ""} /></> },
    { key: "at", head: t("events.at"), cell: (r) => <Time at={r.at} /> },
  ];
}
