import { useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError, newKey, useLoad } from "../../api";
import { money, number, t } from "../../i18n";
import { query, setQuery } from "../../router";
import { Button, Card, ErrorState, Field, Progress, Table, TextInput, Time } from "../../ui";

interface RunCounts {
  started: number;
  not_started: number;
  met: number;
  not_met: number;
  corrected: number;
  held: number;
  failed: number;
  ended: number;
}
interface Group {
  rule: string;
  effect: string;
  destination: string;
  current: number;
  new: number;
  added: number;
  removed: number;
  changed: number;
  contacts: number;
  money?: Record<string, string>;
  samples?: { kind: string; order: string; event: string; contact: string; at: string; was?: string; becomes?: string }[];
}
interface Report {
  events: number;
  groups: Group[] | null;
  workflows?: { name: string; current: RunCounts; new: RunCounts }[];
  contacts: number;
  money?: Record<string, string>;
  elsewhere: number;
}
interface State {
  id: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  error?: string;
  events: number;
  progress: number;
  at?: string;
  report?: Report | null;
}

const everyMs = 1000;
const day = (d: Date): string => d.toISOString().slice(0, 10);
const daysBefore = (n: number): string => day(new Date(Date.now() - n * 86_400_000));

/** Runs the past through the workflow as it stands in the editor, and shows what would have been different. */
export function Backtest({ file, text }: { file: string; text: string }) {
  const [since, setSince] = useState(daysBefore(30));
  const [until, setUntil] = useState(day(new Date()));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const id = query.value["backtest"];
  const [over, setOver] = useState(true);
  const load = useLoad<State>(id ? `/backtests/${encodeURIComponent(id)}` : null, over ? {} : { everyMs });
  useEffect(() => setOver(!id || ["done", "failed", "cancelled"].includes(load.data?.state ?? "")), [id, load.data?.state]);
  const key = useRef(newKey());
  const run = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      // The last day is meant with all of it; of today, what has been.
      const end = new Date(Math.min(new Date(until).getTime() + 86_400_000, Date.now()));
      const got = await api.post<State>("/backtests", { files: { [file]: text }, since: new Date(since).toISOString(), until: end.toISOString() }, { key: key.current });
      key.current = newKey();
      setQuery({ backtest: got.id });
    } catch (err) {
      if (err instanceof ApiError && err.status) key.current = newKey(); // it was answered: the next click is another attempt
      setError(err instanceof ApiError ? err : new ApiError(0, "page", "", String(err)));
    }
    setBusy(false);
  };
  const s = load.data;
  return (
    <div class="stack" data-testid="backtest">
      <p class="muted small">{t("workflows.back.text")}</p>
      <form class="filters" onSubmit={run}>
        <Field label={t("workflows.back.since")}><TextInput type="date" value={since} onInput={setSince} required /></Field>
        <Field label={t("workflows.back.until")}><TextInput type="date" value={until} onInput={setUntil} required /></Field>
        <Button type="submit" kind="primary" busy={busy} testid="run-backtest">{t("workflows.back.run")}</Button>
      </form>
      {error && <ErrorState error={error} />}
      {load.error && <ErrorState error={load.error} onRetry={load.reload} />}
      {s && ["queued", "running"].includes(s.state) && (
        <div role="status"><p>{t(`workflows.back.${s.state}`)} {s.at && <Time at={s.at} />} · {t("workflows.back.events", { n: s.events })}</p><Progress done={Math.round(s.progress * 100)} total={100} label={t("workflows.back.running")} /></div>
      )}
      {s?.state === "failed" && <p class="note warn" role="alert">{t("workflows.back.failed")} {s.error}</p>}
      {s?.report && <Result r={s.report} />}
    </div>
  );
}

const amounts = (m: Record<string, string> | undefined): string => Object.entries(m ?? {}).map(([c, a]) => money(a, c)).join(" + ");

function Result({ r }: { r: Report }) {
  const groups = r.groups ?? [];
  const differing = groups.filter((g) => g.added + g.removed + g.changed > 0);
  const [open, setOpen] = useState<Group>();
  return (
    <div class="stack" data-testid="report">
      <p class="headline"><b>{differing.length === 0 ? t("workflows.back.same") : t("workflows.back.contacts", { n: r.contacts })}</b> {amounts(r.money)} <span class="muted">{t("workflows.back.events", { n: r.events })}</span></p>
      {(r.workflows ?? []).map((w) => (
        <Card key={w.name} title={w.name}>
          <table><thead><tr><td /><th scope="col" class="end">{t("workflows.back.current")}</th><th scope="col" class="end">{t("workflows.back.new")}</th></tr></thead>
            <tbody>{(["started", "met", "not_met", "corrected", "held", "failed", "ended"] as const).map((k) => (
              <tr key={k} class={w.current[k] !== w.new[k] ? "changed" : undefined}><th scope="row">{t(`workflows.back.${k === "failed" ? "failures" : k}`)}</th><td class="end">{number(w.current[k])}</td><td class="end">{number(w.new[k])}</td></tr>
            ))}</tbody></table>
        </Card>
      ))}
      <Table caption={t("workflows.back.effects")} rows={groups} id={(g) => `${g.rule} ${g.effect} ${g.destination}`} onOpen={setOpen} columns={[
        { key: "rule", head: t("workflows.back.rule"), cell: (g) => g.rule, wide: true },
        { key: "effect", head: t("workflows.back.effect"), cell: (g) => `${g.effect} → ${g.destination}`, small: "hide" },
        { key: "current", head: t("workflows.back.current"), cell: (g) => number(g.current), align: "end", small: "hide" },
        { key: "new", head: t("workflows.back.new"), cell: (g) => number(g.new), align: "end", small: "hide" },
        { key: "added", head: t("workflows.back.added"), cell: (g) => (g.added ? `+${number(g.added)}` : "–"), align: "end" },
        { key: "removed", head: t("workflows.back.removed"), cell: (g) => (g.removed ? `−${number(g.removed)}` : "–"), align: "end" },
        { key: "changed", head: t("workflows.back.changed"), cell: (g) => (g.changed ? number(g.changed) : "–"), align: "end" },
      ]} />
      {open && (
        <Card title={`${open.rule} · ${open.effect}`} actions={<Button kind="quiet" onClick={() => setOpen(undefined)}>{t("ui.close")}</Button>} testid="samples">
          <p>{t("workflows.back.contacts", { n: open.contacts })} {amounts(open.money)}</p>
          {open.samples?.length ? <ul class="samples">{open.samples.map((x, i) => (
            <li key={i}><b>{t(`workflows.back.${x.kind}`)}</b> <Time at={x.at} /> <a href={`/events/${encodeURIComponent(x.event)}`}>{x.order}</a> <span class="muted">{x.contact}</span>{x.was && <p class="gone">− {x.was}</p>}{x.becomes && <p class="new">+ {x.becomes}</p>}</li>
          ))}</ul> : <p class="muted">{t("workflows.back.nosamples")}</p>}
        </Card>
      )}
    </div>
  );
}
