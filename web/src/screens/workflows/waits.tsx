import { useEffect, useState } from "preact/hooks";
import { api, ApiError, newKey, useLoad } from "../../api";
import { has, t } from "../../i18n";
import { query, setQuery } from "../../router";
import { by, may } from "../../session";
import { Badge, Button, Dialog, Empty, ErrorState, Facts, Field, Loaded, Select, Table, TextInput, Time, toast } from "../../ui";

interface Wait {
  id: string;
  run_id: string;
  step: string;
  contact: string;
  order?: string;
  test?: boolean;
  shadow?: boolean;
  state: string;
  opened_at: string;
  opened_detail?: string;
  deadline?: string;
  closed_at?: string;
  decided_by?: string;
  decided_detail?: string;
  ending?: { met: string; not_met: string; then_met: string; then_not_met: string; known: boolean; correction: string };
}
interface Page {
  waits: Wait[] | null;
  next?: string;
}

const pageSize = 200;

/** How long until a moment, in two units: "1 d 3 h"; past: undefined. */
export function untilText(deadline: Date, now: Date): string | undefined {
  let s = Math.floor((deadline.getTime() - now.getTime()) / 1000);
  if (s <= 0) return undefined;
  const units: [number, string][] = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const parts: string[] = [];
  for (const [size, unit] of units) {
    const n = Math.floor(s / size);
    if (n > 0 || parts.length > 0) parts.push(`${n} ${unit}`);
    s -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** A deadline that is counted down to, by the second. The exact time is in its title. */
function Countdown({ to }: { to: string | undefined }) {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), 1000);
    return () => clearInterval(timer);
  }, []);
  if (!to || to.startsWith("0001-")) return <span class="muted">{t("workflows.waits.endless")}</span>;
  const left = untilText(new Date(to), now);
  return <time dateTime={to} title={to} class="number">{left ?? <Badge tone="warn">{t("workflows.waits.due")}</Badge>}</time>;
}

/** Waits of a workflow: why each is open, when it gives up, and the two ways to end it by hand. */
export function Waits({ workflow }: { workflow: string }) {
  const state = query.value["state"] ?? "open";
  const first = `/waits?workflow=${encodeURIComponent(workflow)}&state=${state}&limit=${pageSize}`;
  const load = useLoad<Page>(first);
  const [more, setMore] = useState<{ of: Page | undefined; waits: Wait[]; next: string | undefined }>();
  const [open, setOpen] = useState<string>();
  const [busy, setBusy] = useState(false);
  const further = more && more.of === load.data ? more : undefined;
  const waits = [...(load.data?.waits ?? []), ...(further?.waits ?? [])];
  const next = further ? further.next : load.data?.next;
  const fetchMore = async () => {
    setBusy(true);
    try {
      const page = await api.get<Page>(`${first}&after=${encodeURIComponent(next ?? "")}`);
      setMore({ of: load.data, waits: [...(further?.waits ?? []), ...(page.waits ?? [])], next: page.next });
    } catch (e) {
      toast(e instanceof ApiError ? e.detail : String(e), "bad");
    }
    setBusy(false);
  };
  return (
    <div class="stack" data-testid="waits">
      <div class="filters">
        <Field label={t("workflows.waits.state")}><Select value={state} onChange={(v) => setQuery({ state: v === "open" ? "" : v })} options={["open", "met", "not_met", "corrected", "stopped"].map((value) => ({ value, label: t(`workflows.wait.${value}`) }))} /></Field>
        <Button onClick={load.reload} busy={load.loading}>{t("workflows.reload")}</Button>
      </div>
      <Loaded load={load}>{() => waits.length === 0 ? <Empty title={t("workflows.waits.none")}>{t("workflows.waits.none.text")}</Empty> : (
        <Table caption={t("workflows.waits")} rows={waits} id={(w) => w.id} onOpen={(w) => setOpen(w.id)} columns={[
          { key: "contact", head: t("workflows.waits.contact"), cell: (w) => w.contact, wide: true },
          { key: "order", head: t("workflows.waits.order"), cell: (w) => w.order ?? "–", small: "hide" },
          { key: "step", head: t("workflows.waits.step"), cell: (w) => <code>{w.step}</code>, small: "hide" },
          { key: "since", head: t("workflows.waits.since"), cell: (w) => <Time at={w.opened_at} />, small: "hide" },
          { key: "left", head: t(state === "open" ? "workflows.waits.left" : "workflows.waits.closed"), cell: (w) => (state === "open" ? <Countdown to={w.deadline} /> : <Time at={w.closed_at} />) },
        ]} />
      )}</Loaded>
      {next && <div><Button onClick={fetchMore} busy={busy} testid="more">{t("ui.more")}</Button></div>}
      {open && <OneWait id={open} onClose={() => setOpen(undefined)} onDecided={() => { setOpen(undefined); load.reload(); }} />}
    </div>
  );
}

function OneWait({ id, onClose, onDecided }: { id: string; onClose: () => void; onDecided: () => void }) {
  const at = `/waits/${encodeURIComponent(id)}`;
  const load = useLoad<Wait>(at);
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState("");
  const [error, setError] = useState<ApiError>();
  const decide = async (met: boolean) => {
    setBusy(met ? "met" : "not_met");
    try {
      const got = await api.post<{ then: string }>(`${at}/decision`, { met, by: by(), ...(reason.trim() ? { reason: reason.trim() } : {}) }, { key: newKey() });
      toast(`${t("workflows.waits.decided")} ${got.then}`);
      onDecided();
    } catch (e) {
      setError(e instanceof ApiError ? e : new ApiError(0, "page", "", String(e)));
    }
    setBusy("");
  };
  const w = load.data;
  const open = w?.state.toLowerCase() === "open" && may("operator");
  return (
    <Dialog open title={t("workflows.waits.one")} onClose={onClose} testid="wait" actions={
      <>
        <Button onClick={onClose}>{t("ui.close")}</Button>
        {open && <Button kind="danger" busy={busy === "not_met"} testid="decide-not-met" onClick={() => decide(false)}>{t("workflows.waits.notmet")}</Button>}
        {open && <Button kind="primary" busy={busy === "met"} testid="decide-met" onClick={() => decide(true)}>{t("workflows.waits.met")}</Button>}
      </>
    }>
      <Loaded load={load} lines={4}>{(x) => (
        <div class="stack">
          <Facts list={[
            [t("workflows.waits.state"), <Badge>{has(`workflows.wait.${x.state.toLowerCase()}`) ? t(`workflows.wait.${x.state.toLowerCase()}`) : x.state}</Badge>], [t("workflows.waits.contact"), x.contact], [t("workflows.waits.order"), x.order && <a href={`/orders/${x.order}`}>{x.order}</a>],
            [t("workflows.waits.since"), <><Time at={x.opened_at} /> {x.opened_detail}</>], [t("workflows.waits.left"), x.state.toLowerCase() === "open" && <Countdown to={x.deadline} />],
            [t("workflows.waits.closedby"), x.decided_by && `${x.decided_by} ${x.decided_detail ?? ""}`],
            [t("workflows.waits.takes"), x.ending?.met], [t("workflows.waits.thenmet"), x.ending?.then_met], [t("workflows.waits.up"), x.ending?.not_met], [t("workflows.waits.thennot"), x.ending?.then_not_met], [t("workflows.waits.correction"), x.ending?.correction],
          ]} />
          {open && <Field label={t("workflows.waits.reason")} optional><TextInput value={reason} onInput={setReason} testid="reason" /></Field>}
          {error && <ErrorState error={error} />}
        </div>
      )}</Loaded>
    </Dialog>
  );
}
