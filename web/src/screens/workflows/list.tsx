import { useState } from "preact/hooks";
import { api, ApiError, useLoad, type Problem } from "../../api";
import { number, t } from "../../i18n";
import { go, link, query, setQuery } from "../../router";
import { may, usualEnvironment } from "../../session";
import { Badge, Button, Dialog, Empty, ErrorState, Field, Loaded, Page, Search, Select, Table, TextInput } from "../../ui";
import { goodName, type Destination } from "../connections/model";
import { Standing } from "../mappings/list";
import type { WorkflowForm } from "./steps";

export interface WorkflowView {
  name: string;
  file: string;
  etag: string;
  description: string;
  destination: string;
  mode: string;
  starts: string[] | null;
  steps: number;
  in_force: boolean;
  text?: string;
  form?: WorkflowForm | null;
  problems: Problem[] | null;
}

export interface Runs {
  workflow: string;
  runs: number;
  open: number;
  ended: number;
  stopped: number;
  not_started: number;
  contacts: number;
  branches: { step: string; branch: string; times: number; runs: number; contacts: number }[] | null;
}

export const ModeBadge = ({ mode }: { mode: string }) => <Badge tone={mode === "shadow" ? "info" : mode === "off" ? "none" : "good"}>{t(`workflows.mode.${mode || "live"}`)}</Badge>;

/** Every workflow, what starts it, and how often it ran. */
export function List() {
  const load = useLoad<{ items: WorkflowView[] | null }>("/workflows");
  const runs = useLoad<{ workflows: Runs[] | null }>(link("/runs", { environment: usualEnvironment() }));
  const [adding, setAdding] = useState(false);
  const q = (query.value["q"] ?? "").toLowerCase();
  const of = new Map((runs.data?.workflows ?? []).map((r) => [r.workflow, r]));
  const count = (n: number | undefined) => (n === undefined ? "–" : number(n));
  const add = may("operator") && <Button kind="primary" onClick={() => setAdding(true)} testid="new">{t("workflows.new")}</Button>;
  return (
    <Page title={t("workflows.title")} lead={t("workflows.lead")} actions={add}>
      <Search value={query.value["q"] ?? ""} onSearch={(text) => setQuery({ q: text })} label={t("workflows.search")} />
      <Loaded load={load}>{(d) => !d.items?.length ? <Empty title={t("workflows.none")} action={add}>{t("workflows.none.text")}</Empty> : (
        <Table caption={t("workflows.title")} rows={d.items.filter((w) => !q || `${w.name} ${w.description} ${w.starts?.join(" ") ?? ""}`.toLowerCase().includes(q))} id={(w) => w.name}
          href={(w) => `/workflows/${encodeURIComponent(w.name)}`} columns={[
            { key: "name", head: t("workflows.name"), cell: (w) => w.name, wide: true },
            { key: "description", head: t("workflows.description"), cell: (w) => <span class="muted">{w.description}</span>, small: "hide" },
            { key: "starts", head: t("workflows.starts"), cell: (w) => (w.starts ?? []).map((s) => t(`workflows.on.${s}`)).join(", "), small: "hide" },
            { key: "mode", head: t("workflows.mode"), cell: (w) => <ModeBadge mode={w.mode} /> },
            { key: "runs", head: t("workflows.runs"), cell: (w) => count(of.get(w.name)?.runs), align: "end", small: "hide" },
            { key: "open", head: t("workflows.open"), cell: (w) => count(of.get(w.name)?.open), align: "end" },
            { key: "state", head: t("mappings.state"), cell: (w) => <Standing inForce={w.in_force} problems={w.problems} />, small: "hide" },
          ]} />
      )}</Loaded>
      {runs.error && <p class="muted small">{t("workflows.nocounts")} {runs.error.detail}</p>}
      {adding && <Add onClose={() => setAdding(false)} taken={load.data?.items?.map((w) => w.name) ?? []} />}
    </Page>
  );
}

/** The two examples that most begin with, and an empty one. What they name at the CRM is chosen in the editor. */
export const templates: Record<string, (destination: string) => WorkflowForm> = {
  failed: (destination) => ({
    destination, once: "order", start: [{ on: "payment-status-changed", status: ["FAILED"] }],
    steps: [
      { id: "wait-a-day", wait_for: { status: ["PAID", "PARTIALLY_PAID"], not_met_after: "1d" }, met: [{ add_tags: ["recovered"] }], not_met: [{ add_tags: ["payment-open"] }] },
    ],
  }),
  successful: (destination) => ({
    destination, once: "order", start: [{ on: "payment-status-changed", status: ["PAID"] }],
    steps: [{ if: "order.amount >= 100", then: [{ add_tags: ["big-order"] }], else: [{ add_tags: ["thank-you"] }] }],
  }),
  empty: (destination) => ({ destination, start: [{ on: "payment-status-changed", status: ["PAID"] }], steps: [{ add_tags: ["paid"] }] }),
};

function Add({ onClose, taken }: { onClose: () => void; taken: string[] }) {
  const crms = useLoad<{ destinations: Destination[] }>("/destinations");
  const [name, setName] = useState("");
  const [template, setTemplate] = useState("failed");
  const [destination, setDestination] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const to = destination || crms.data?.destinations[0]?.name || "";
  const fault = name && !goodName(name) ? t("connections.name.form") : taken.includes(name) ? t("connections.name.taken") : undefined;
  const save = async () => {
    setBusy(true);
    try {
      await api.put(`/workflows/${encodeURIComponent(name)}`, { form: templates[template]!(to) }, { create: true });
      go(`/workflows/${encodeURIComponent(name)}`);
    } catch (e) {
      setError(e instanceof ApiError ? e : new ApiError(0, "page", "", String(e)));
    }
    setBusy(false);
  };
  return (
    <Dialog open title={t("workflows.new")} onClose={onClose} testid="new-dialog" actions={
      <><Button onClick={onClose}>{t("ui.cancel")}</Button><Button kind="primary" busy={busy} disabled={!goodName(name) || Boolean(fault) || !to} onClick={save} testid="new-yes">{t("mappings.create")}</Button></>
    }>
      <div class="stack">
        <Field label={t("workflows.name")} error={fault}><TextInput value={name} onInput={setName} testid="new-name" /></Field>
        <Field label={t("workflows.template")}><Select value={template} onChange={setTemplate} testid="template" options={Object.keys(templates).map((k) => ({ value: k, label: t(`workflows.template.${k}`) }))} /></Field>
        <Field label={t("mappings.destination")}><Select value={to} onChange={setDestination} options={(crms.data?.destinations ?? []).map((c) => ({ value: c.name, label: `${c.name} (${c.title})` }))} /></Field>
        {crms.data?.destinations.length === 0 && <p class="note"><a href="/connections/new?kind=crm">{t("connections.add.crm")}</a></p>}
        {error && <ErrorState error={error} />}
      </div>
    </Dialog>
  );
}
