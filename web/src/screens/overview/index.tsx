import { useLoad } from "../../api";
import { coded, duration, number, t } from "../../i18n";
import { link, query, setQuery } from "../../router";
import { session } from "../../session";
import { Badge, Card, Empty, LinkButton, Loaded, Money, Page, Select, Time, type Screen, type Tone } from "../../ui";

interface Step { step: string; count: number; lag_seconds: number | null; waiting: number | null; last_at?: string; link: string; note?: string }
interface Today { currency: string; gross: string; refunds: string; net: string; payments: number; link: string }
interface Attention { kind: string; severity: string; what: string; detail?: string; remedy?: string; count?: number; since?: string; link: string }
interface Readings {
  at: string; day: string; environment: string; complete_up_to?: string; complete_note?: string; steps: Step[] | null; money: Today[] | null; attention: Attention[] | null;
}

const refreshMs = 5_000;
const lagWarnSeconds = 30;
const lagBadSeconds = 300;

export function lagTone(seconds: number | null): Tone {
  if (seconds === null) return "none";
  return seconds >= lagBadSeconds ? "bad" : seconds >= lagWarnSeconds ? "warn" : "good";
}

function Overview() {
  const only = session.value?.environments.length === 1 ? session.value.environments[0] : undefined;
  const environment = query.value["environment"] ?? only ?? "";
  const load = useLoad<Readings>(link("/overview", { environment }), { everyMs: refreshMs, keep: true });
  const worlds = session.value?.environments ?? [];
  return (
    <Page title={t("overview.title")} lead={t("overview.lead")} actions={worlds.length > 1 &&
      <Select aria-label={t("overview.environment")} value={environment || load.data?.environment || ""} onChange={(v) => setQuery({ environment: v })} options={worlds.map((e) => ({ value: e, label: e }))} />}>
      <Loaded load={load} lines={8}>{(o) => <Board o={o} />}</Loaded>
    </Page>
  );
}

function Board({ o }: { o: Readings }) {
  const steps = o.steps ?? [];
  const money = o.money ?? [];
  const nothing = steps.every((s) => s.count === 0);
  return (
    <>
      <section class="card strip" aria-label={t("overview.pipeline")} data-testid="strip">
        <ol>{steps.map((s) => <StepBox key={s.step} s={s} />)}</ol>
        <p class="muted small">{t("overview.since")} {o.day.slice(0, 10)}. {o.complete_note}</p>
      </section>
      {nothing && (
        <Empty title={t("overview.empty")} action={<><LinkButton href="/connections/new" kind="primary">{t("overview.connect")}</LinkButton><LinkButton href="/events?live=on">{t("overview.watch")}</LinkButton></>}>
          {t("overview.empty.text")}
        </Empty>
      )}
      <div class="columns">
        <Card title={t("overview.attention")} testid="attention"><AttentionList list={o.attention ?? []} /></Card>
        <Card title={t("overview.money")} testid="money">
          {money.length === 0 && <p class="muted">{t("overview.money.none")}</p>}
          <ul class="today">{money.map((m) => <li key={m.currency}>
            <a href={m.link} class="net"><Money value={{ amount: m.net, currency: m.currency }} /></a>
            <span class="muted small">{t("overview.money.net", { n: m.payments })}</span>
            <span class="small"><span class="muted">{t("overview.money.gross")}</span> <Money value={{ amount: m.gross, currency: m.currency }} /></span>
            <span class="small"><span class="muted">{t("overview.money.refunds")}</span> <Money value={{ amount: m.refunds, currency: m.currency }} /></span>
          </li>)}</ul>
        </Card>
      </div>
    </>
  );
}

function StepBox({ s }: { s: Step }) {
  const bad = s.step === "dead" && s.count > 0;
  return (
    <li class={bad ? "step bad" : "step"}>
      <a href={s.link || "/events"} data-testid={`step-${s.step}`}>
        <span class="stepname">{coded("overview.step", s.step)}</span>
        <strong class="number">{number(s.count)}</strong>
      </a>
      <span class="small">
        {s.lag_seconds !== null && <Badge tone={lagTone(s.lag_seconds)} title={t("overview.lag.title")}>{s.lag_seconds < 1 ? t("overview.lag.none") : t("overview.lag", { time: duration(s.lag_seconds) })}</Badge>}
        {s.waiting !== null && s.waiting > 0 && <span class="muted"> {t("overview.waiting", { n: s.waiting })}</span>}
      </span>
      {s.note && <span class="muted small">{s.note}</span>}
      {s.last_at && <span class="muted small notsmall"><Time at={s.last_at} /></span>}
    </li>
  );
}

const severityTone: Record<string, Tone> = { error: "bad", warning: "warn", info: "info" };

function AttentionList({ list }: { list: Attention[] }) {
  if (!list.length) return <p class="muted"><Badge tone="good">✓</Badge> {t("overview.attention.none")}</p>;
  return (
    <ul class="attention">
      {list.map((a, i) => (
        <li key={i}>
          <Badge tone={severityTone[a.severity] ?? "none"}>{coded("overview.severity", a.severity)}</Badge>
          <div>
            <a href={a.link || "/issues"}>{a.what}</a>{a.count ? <span class="muted"> · {number(a.count)}</span> : null}{a.since && <span class="muted small"> · <Time at={a.since} /></span>}
            {a.detail && <p class="small">{a.detail}</p>}
            {a.remedy && <p class="small muted">{t("ui.remedy")}: {a.remedy}</p>}
          </div>
        </li>
      ))}
    </ul>
  );
}

export const routes: Screen[] = [{ path: "/", view: Overview }];
