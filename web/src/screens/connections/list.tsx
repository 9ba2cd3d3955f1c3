import { useLoad } from "../../api";
import { number, t } from "../../i18n";
import { link, query, setQuery } from "../../router";
import { Badge, Card, Empty, EnvironmentBadge, LinkButton, Loaded, Page, Search, Table, Time } from "../../ui";
import { accountOf, healthOf, keptDraft, type Account, type Connection, type Destination, type Pause } from "./model";
import { HealthBadge, waitingOf } from "./parts";

const everyMs = 15_000;

/** Every source and every CRM, and how each stands. */
export function List() {
  const sources = useLoad<{ connections: Connection[] }>("/connections", { everyMs });
  const crms = useLoad<{ destinations: Destination[] }>("/destinations", { everyMs });
  const pauses = useLoad<{ pauses: Pause[] }>("/pauses", { everyMs });
  const limits = useLoad<{ accounts: Account[] | null }>("/limits", { everyMs });
  const q = (query.value["q"] ?? "").toLowerCase();
  const pauseOf = (subject: Pause["subject"], name: string) => pauses.data?.pauses?.find((p) => p.subject === subject && p.name === name && p.paused);
  const budget = (kind: "connection" | "destination", name: string) => {
    const a = accountOf(limits.data?.accounts ?? [], kind, name);
    const w = a?.windows?.[0];
    if (!a || !w) return <span class="muted">–</span>;
    const waiting = waitingOf(a);
    return <span class="number">{number(w.used)} / {number(w.requests)}{waiting > 0 && <> <Badge tone="warn">{t("connections.waiting", { n: waiting })}</Badge></>}</span>;
  };
  const fits = (c: { name: string; title: string; type: string }) => !q || `${c.name} ${c.title} ${c.type}`.toLowerCase().includes(q);
  const held = (p: Pause | undefined) => (p?.waiting ? <span class="muted"> {t("connections.heldback", { n: p.waiting })}</span> : null);
  return (
    <Page title={t("connections.title")} lead={t("connections.lead")} actions={
      <>
        <LinkButton href="/connections/new?kind=crm">{t("connections.add.crm")}</LinkButton>
        <LinkButton href="/connections/new" kind="primary" testid="connect">{t("connections.add.source")}</LinkButton>
      </>
    }>
      {(["source", "crm"] as const).map((kind) => keptDraft(kind)?.type && (
        <p key={kind} class="note" data-testid="resume">{t("connections.resume", { name: keptDraft(kind)!.name || keptDraft(kind)!.type })} <a href={link("/connections/new", { kind: kind === "crm" ? kind : "" })}>{t("connections.resume.go")}</a></p>
      ))}
      <Search value={query.value["q"] ?? ""} onSearch={(text) => setQuery({ q: text })} label={t("connections.search")} />
      <Card title={t("connections.sources")} testid="sources">
        <Loaded load={sources}>{(d) => d.connections.length === 0 ? (
          <Empty title={t("connections.none")} action={<LinkButton href="/connections/new" kind="primary">{t("connections.add.source")}</LinkButton>}>{t("connections.none.text")}</Empty>
        ) : (
          <Table caption={t("connections.sources")} rows={d.connections.filter(fits)} id={(c) => c.name} href={(c) => `/connections/${encodeURIComponent(c.name)}`} columns={[
            { key: "name", head: t("connections.name"), cell: (c) => c.name, wide: true },
            { key: "type", head: t("connections.provider"), cell: (c) => c.title, small: "hide" },
            { key: "env", head: t("connections.environment"), cell: (c) => <EnvironmentBadge name={c.environment} /> },
            { key: "health", head: t("connections.health"), cell: (c) => <><HealthBadge health={healthOf(c, pauseOf("CONNECTION", c.name))} />{held(pauseOf("CONNECTION", c.name))}</> },
            { key: "last", head: t("connections.last"), cell: (c) => <Time at={c.last_event_at} />, small: "hide" },
            { key: "budget", head: t("connections.budget"), cell: (c) => budget("connection", c.name), align: "end", small: "hide" },
          ]} />
        )}</Loaded>
      </Card>
      <Card title={t("connections.crms")} testid="crms">
        <Loaded load={crms}>{(d) => d.destinations.length === 0 ? (
          <Empty title={t("connections.crm.none")} action={<LinkButton href="/connections/new?kind=crm" kind="primary">{t("connections.add.crm")}</LinkButton>}>{t("connections.crm.none.text")}</Empty>
        ) : (
          <Table caption={t("connections.crms")} rows={d.destinations.filter(fits)} id={(c) => c.name} href={(c) => `/connections/${encodeURIComponent(c.name)}?kind=crm`} columns={[
            { key: "name", head: t("connections.name"), cell: (c) => c.name, wide: true },
            { key: "type", head: t("connections.provider"), cell: (c) => c.title, small: "hide" },
            { key: "account", head: t("connections.account"), cell: (c) => c.account?.name ?? "–", small: "hide" },
            { key: "health", head: t("connections.health"), cell: (c) => <><HealthBadge health={healthOf(c, pauseOf("DESTINATION", c.name))} />{held(pauseOf("DESTINATION", c.name))}</> },
            { key: "budget", head: t("connections.budget"), cell: (c) => budget("destination", c.name), align: "end", small: "hide" },
          ]} />
        )}</Loaded>
      </Card>
    </Page>
  );
}
