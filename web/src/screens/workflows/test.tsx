import { useState } from "preact/hooks";
import { api, ApiError, useLoad } from "../../api";
import { coded, t } from "../../i18n";
import { Badge, Button, Card, ErrorState, Field, Select, TextInput } from "../../ui";
import { Combo } from "../mappings/combo";
import { Graph } from "./graph";
import type { WorkflowForm } from "./steps";

interface TestEvent {
  stored: string;
  after: string;
  status: string;
  amount: string;
}
interface Tested {
  started: boolean;
  why?: string;
  began: string;
  ended: string;
  steps: { at: string; workflow: string; step: string; node: string; kind: string; branch?: string; detail?: string }[] | null;
  effects: { at: string; rule: string; destination: string; type: string; name: string; data?: string }[] | null;
  nodes: string[] | null;
  edges: string[] | null;
  open: { step: string; deadline: string; detail: string }[] | null;
}

const STATUSES = ["PENDING", "APPROVED", "AUTHORIZED", "PAID", "PARTIALLY_PAID", "FAILED", "CANCELLED", "REFUNDED", "DISPUTED", "EXPIRED"];
const blank: TestEvent = { stored: "", after: "", status: "FAILED", amount: "" };

/** Plays events through the workflow as it stands in the editor, in memory and under virtual time. */
export function Test({ at, body, form, onVisited, visited }: { at: string; body: Record<string, unknown>; form: WorkflowForm | undefined; onVisited: (ids: ReadonlySet<string> | undefined) => void; visited: ReadonlySet<string> | undefined }) {
  const first = form?.start[0]?.["status"];
  const [events, setEvents] = useState<TestEvent[]>([{ ...blank, status: Array.isArray(first) && STATUSES.includes(String(first[0])) ? String(first[0]) : "PAID" }]);
  const [lists, setLists] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const [shown, setShown] = useState<Tested>();
  const recent = useLoad<{ items: { id: string; record: string; type: string; order: string; store: string }[] | null }>("/events?limit=50");
  const stored = (recent.data?.items ?? []).map((e) => ({ value: e.id || e.record, label: `${e.type} · ${e.order}`, detail: e.store }));
  const set = (i: number, part: Partial<TestEvent>) => setEvents(events.map((e, j) => (j === i ? { ...e, ...part } : e)));
  const run = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    const sent = events.map((x) => ({ ...(x.stored ? { stored: x.stored } : { status: x.status, ...(x.amount ? { amount: x.amount } : {}) }), ...(x.after ? { after: x.after } : {}) }));
    try {
      const got = await api.post<Tested>(`${at}/test`, { ...body, events: sent, ...(lists.trim() ? { lists: lists.split(",").map((l) => l.trim()).filter(Boolean) } : {}) });
      setShown(got);
      onVisited(new Set((got.nodes ?? []).map((n) => (n.startsWith("start") ? "start" : n.replace(/^step:/, "")))));
    } catch (err) {
      setError(err instanceof ApiError ? err : new ApiError(0, "page", "", String(err)));
    }
    setBusy(false);
  };
  return (
    <div class="stack" data-testid="test">
      <p class="muted small">{t("workflows.test.text")}</p>
      <form class="stack" onSubmit={run}>
        {events.map((e, i) => (
          <div key={i} class="filters" role="group" aria-label={t("workflows.test.event", { n: i + 1 })}>
            {i > 0 && <Field label={t("workflows.test.after")}><TextInput value={e.after} placeholder="1d" onInput={(after) => set(i, { after })} testid={`after-${i}`} /></Field>}
            <Field label={t("workflows.test.status")}><Select value={e.status} options={STATUSES.map((value) => ({ value, label: value }))} onChange={(status) => set(i, { status, stored: "" })} disabled={Boolean(e.stored)} testid={`status-${i}`} /></Field>
            <Field label={t("workflows.test.amount")}><TextInput value={e.amount} placeholder="10.00" disabled={Boolean(e.stored)} onInput={(amount) => set(i, { amount })} /></Field>
            <div class="field grow"><Field label={t("workflows.test.stored")} optional><Combo value={e.stored} choices={stored} onInput={(v) => set(i, { stored: v })} testid={`stored-${i}`} /></Field></div>
            {events.length > 1 && <button type="button" class="button quiet" aria-label={`${t("mappings.remove")}: ${t("workflows.test.event", { n: i + 1 })}`} onClick={() => setEvents(events.filter((_, j) => j !== i))}>✕</button>}
          </div>
        ))}
        <div class="filters"><div class="field grow"><Field label={t("workflows.test.lists")} optional><TextInput value={lists} onInput={setLists} /></Field></div></div>
        <div class="actions"><Button onClick={() => setEvents([...events, { ...blank, status: "PAID", after: "1h" }])} testid="add-event">+ {t("workflows.test.add")}</Button><Button kind="primary" type="submit" busy={busy} testid="run-test">{t("workflows.test.run")}</Button></div>
      </form>
      {error && <ErrorState error={error} />}
      {shown && (
        <div class="columns" aria-live="polite" data-testid="tested">
          <Card title={t("workflows.test.result")}>
            {!shown.started && <p class="note warn">{t("workflows.test.notstarted")} {shown.why}</p>}
            <ol class="trail">{(shown.steps ?? []).map((s, i) => (
              <li key={i}><span class="muted small number">{since(shown.began, s.at)}</span> <b>{coded("workflows.trace", s.kind)}</b> {s.step && <code>{s.step}</code>} {s.branch && <Badge tone="info">{t(`workflows.branch.${s.branch}`)}</Badge>} <span>{s.detail}</span></li>
            ))}</ol>
            {(shown.open ?? []).map((w, i) => <p key={i} class="note">{t("workflows.test.open")} <code>{w.step}</code> {w.detail}</p>)}
          </Card>
          <Card title={t("workflows.test.effects")} testid="effects">
            {shown.effects?.length ? <ul>{shown.effects.map((e, i) => <li key={i}><span class="muted small number">{since(shown.began, e.at)}</span> {e.type} <b>{e.name}</b> → {e.destination} <span class="muted">{e.data}</span></li>)}</ul> : <p class="muted">{t("workflows.test.noeffects")}</p>}
          </Card>
          {form && <section class="card" aria-label={t("workflows.graph")}><Graph form={form} counts={{ of: new Map() }} chosen={undefined} onChoose={() => undefined} visited={visited} /></section>}
        </div>
      )}
    </div>
  );
}

/** How long after the beginning, as people write spans: +1d2h. */
export function since(began: string, at: string): string {
  let s = Math.round((new Date(at).getTime() - new Date(began).getTime()) / 1000);
  if (!Number.isFinite(s) || s <= 0) return "+0s";
  let out = "+";
  for (const [size, unit] of [[86_400, "d"], [3600, "h"], [60, "m"], [1, "s"]] as const) {
    const n = Math.floor(s / size);
    if (n > 0) out += `${n}${unit}`;
    s -= n * size;
  }
  return out;
}
