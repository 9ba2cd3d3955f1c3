// A job from the question how much it is about to its last item: counted first, then asked for, then watched.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError, newKey, useLoad } from "./api";
import { coded, number, t } from "./i18n";
import { link } from "./router";
import { by } from "./session";
import { Badge, Button, Dialog, ErrorState, Facts, Field, Loaded, Progress, Skeleton, Table, TextInput, Time, toast, type Tone } from "./ui";

export type JobKind = "RETRY" | "DISMISS" | "SETTLE" | "REPLAY";

interface Preview { job_id?: string; kind: string; filter: Record<string, string>; count: number; by_cause?: Record<string, number>; closed?: number; contacts?: number; effects?: number; sample?: string[] }
export interface Job {
  job: string; kind: string; state: string; filter: Record<string, string> | null; per_minute?: number; count: number; done: number; skipped: number; failed: number; detail?: string; why?: string; by: string; asked_at: string; at: string;
}
interface Item { number: number; item: string; result: string; detail?: string; destination?: string; contact?: string; at: string }
interface JobView extends Job { items: Item[] | null; next?: number }

const watchMs = 1500;
export const over = (state: string) => ["DONE", "CANCELLED", "FAILED"].includes(state);

export function stateTone(state: string): Tone {
  return { DONE: "good" as Tone, FAILED: "bad" as Tone, CANCELLED: "warn" as Tone }[state] ?? "info";
}

/** Says first what it would be about; one click more starts it, however often that is clicked. */
export function JobDialog({ kind, filter, all, title, onClose, onDone, children }: {
  kind: JobKind; filter: Record<string, string>; all?: boolean; title: string; onClose: () => void; onDone?: () => void; children?: ComponentChildren;
}) {
  const [preview, setPreview] = useState<{ of: string; got: Preview }>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const [why, setWhy] = useState("");
  const [perMinute, setPerMinute] = useState("");
  const [job, setJob] = useState("");
  const id = useRef(newKey());
  const of = JSON.stringify(filter);
  useEffect(() => {
    let left = false;
    api.post<Preview>("/jobs", { job_id: id.current, kind, filter, all, by: by(), dry_run: true }).then((got) => {
      if (left) return;
      setPreview({ of, got });
      setError(undefined);
    }, (e: unknown) => { if (e instanceof ApiError && !left) setError(e); });
    return () => { left = true; };
  }, [of]);
  const counted = preview?.of === of ? preview.got : undefined;
  const start = async () => {
    setBusy(true);
    try {
      await api.post<Preview>("/jobs", { job_id: id.current, kind, filter, all, by: by(), ...(why && { why }), ...(Number(perMinute) > 0 && { per_minute: Math.floor(Number(perMinute)) }) }, { key: id.current });
      setJob(id.current);
      onDone?.();
    } catch (e) {
      if (!(e instanceof ApiError)) throw e;
      setError(e);
    } finally {
      setBusy(false);
    }
  };
  const amount = counted ? Math.max(counted.count, counted.contacts ?? 0) : 0;
  return (
    <Dialog open title={title} onClose={onClose} wide={Boolean(job)} testid="job" actions={job ? <Button onClick={onClose}>{t("ui.close")}</Button> : <>
      <Button onClick={onClose} autofocus>{t("ui.cancel")}</Button>
      <Button kind={kind === "DISMISS" ? "danger" : "primary"} onClick={() => void start()} busy={busy} disabled={!amount} testid="job-start">{t(`jobs.start.${kind.toLowerCase()}`, { n: amount })}</Button>
    </>}>
      {job ? <JobWatch id={job} /> : (
        <div class="stack">
          {children}
          {error && <ErrorState error={error} />}
          {!error && (counted ? <Counted p={counted} /> : <Skeleton lines={2} />)}
          <Field label={t("jobs.why")} optional><TextInput value={why} onInput={setWhy} testid="job-why" /></Field>
          {kind !== "DISMISS" && kind !== "SETTLE" && <Field label={t("jobs.rate")} hint={t("jobs.rate.hint")} optional><TextInput type="number" min={1} value={perMinute} onInput={setPerMinute} /></Field>}
        </div>
      )}
    </Dialog>
  );
}

function Counted({ p }: { p: Preview }) {
  return (
    <div data-testid="job-count">
      <p><strong>{t("jobs.count", { n: p.count })}</strong>{p.closed ? <span class="muted"> {t("jobs.closed", { n: p.closed })}</span> : null}</p>
      <Facts list={[
        [t("jobs.contacts"), p.contacts ? number(p.contacts) : ""], [t("jobs.effects"), p.effects ? number(p.effects) : ""],
        ...Object.entries(p.by_cause ?? {}).map(([cause, n]): [string, string] => [coded("issues.cause", cause), number(n)]),
      ]} />
    </div>
  );
}

/** How far a job is, and what became of each item. It can be cancelled; what was done stays. */
export function JobWatch({ id }: { id: string }) {
  const load = useLoad<JobView>(link(`/jobs/${encodeURIComponent(id)}`, { limit: 200 }), { everyMs: watchMs });
  // What was just asked for is not known yet: the runner takes it within seconds.
  if (load.error?.status === 404 && !load.data) return <p role="status" class="muted">{t("jobs.asked")}</p>;
  const cancel = () => api.post(`/jobs/${encodeURIComponent(id)}/cancel`, { by: by() }).then(load.reload, (e: unknown) => toast((e as Error).message, "bad"));
  return (
    <Loaded load={load}>{(j) => (
      <div class="stack" data-testid="job-watch">
        <div class="actions"><Badge tone={stateTone(j.state)}>{coded("jobs.state", j.state)}</Badge>{!over(j.state) && <Button onClick={() => void cancel()}>{t("jobs.cancel")}</Button>}</div>
        {j.count >= 0 && <Progress done={j.done + j.skipped + j.failed} total={j.count} label={t("jobs.progress")} />}
        <p aria-live="polite" class="small">{t("jobs.sum", { done: j.done, skipped: j.skipped, failed: j.failed })} {j.detail}</p>
        {(j.items?.length ?? 0) > 0 && <Table caption={t("jobs.items")} rows={j.items!} id={(i) => String(i.number)} columns={[
          { key: "item", head: t("jobs.item"), cell: (i) => i.item || `#${i.number}` },
          { key: "result", head: t("jobs.result"), cell: (i) => <Badge tone={["FAILED", "DRIFTED"].includes(i.result) ? "bad" : i.result === "SKIPPED" ? "none" : "good"}>{coded("jobs.result", i.result)}</Badge> },
          { key: "detail", head: t("jobs.detail"), cell: (i) => i.detail ?? "" },
          { key: "at", head: t("jobs.at"), small: "hide", cell: (i) => <Time at={i.at} /> },
        ]} />}
        <p class="muted small">{t("jobs.id")} <code>{id}</code></p>
      </div>
    )}</Loaded>
  );
}
