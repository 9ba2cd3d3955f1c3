import { useState } from "preact/hooks";
import { api, ApiError, useLoad, type Problem } from "../../api";
import { number, t } from "../../i18n";
import { go, query, setQuery } from "../../router";
import { may } from "../../session";
import { Badge, Button, Dialog, Empty, ErrorState, Field, Loaded, Page, Search, Select, Table, TextInput } from "../../ui";
import { goodName, type Connector, type Destination } from "../connections/model";

export interface MappingView {
  name: string;
  file: string;
  etag: string;
  connections: string[] | null;
  resource: string;
  destination: string;
  rules: number;
  in_force: boolean;
  text?: string;
  mapping?: import("./rules").MappingFile | null;
  problems: Problem[] | null;
}

export const Standing = ({ inForce, problems }: { inForce: boolean; problems: unknown[] | null }) =>
  problems?.length ? <Badge tone="bad">{t("mappings.refused")}</Badge> : inForce ? <Badge tone="good">{t("mappings.inforce")}</Badge> : <Badge tone="warn">{t("mappings.unapplied")}</Badge>;

/** Every mapping: which events fill which CRM. */
export function List() {
  const load = useLoad<{ items: MappingView[] | null }>("/mappings");
  const [adding, setAdding] = useState(false);
  const q = (query.value["q"] ?? "").toLowerCase();
  const add = may("operator") && <Button kind="primary" onClick={() => setAdding(true)} testid="new">{t("mappings.new")}</Button>;
  return (
    <Page title={t("mappings.title")} lead={t("mappings.lead")} actions={add}>
      <Search value={query.value["q"] ?? ""} onSearch={(text) => setQuery({ q: text })} label={t("mappings.search")} />
      <Loaded load={load}>{(d) => !d.items?.length ? <Empty title={t("mappings.none")} action={add}>{t("mappings.none.text")}</Empty> : (
        <Table caption={t("mappings.title")} rows={d.items.filter((m) => !q || `${m.name} ${m.resource} ${m.destination} ${m.connections?.join(" ") ?? ""}`.toLowerCase().includes(q))} id={(m) => m.name}
          href={(m) => `/mappings/${encodeURIComponent(m.name)}`} columns={[
            { key: "name", head: t("mappings.name"), cell: (m) => m.name, wide: true },
            { key: "resource", head: t("mappings.resource"), cell: (m) => m.resource || t("mappings.any"), small: "hide" },
            { key: "connections", head: t("mappings.connections"), cell: (m) => m.connections?.join(", ") || t("mappings.all"), small: "hide" },
            { key: "destination", head: t("mappings.destination"), cell: (m) => m.destination },
            { key: "rules", head: t("mappings.rows"), cell: (m) => number(m.rules), align: "end", small: "hide" },
            { key: "state", head: t("mappings.state"), cell: (m) => <Standing inForce={m.in_force} problems={m.problems} /> },
          ]} />
      )}</Loaded>
      {adding && <Add onClose={() => setAdding(false)} taken={load.data?.items?.map((m) => m.name) ?? []} />}
    </Page>
  );
}

function Add({ onClose, taken }: { onClose: () => void; taken: string[] }) {
  const kinds = useLoad<{ connectors: Connector[] }>("/connectors");
  const crms = useLoad<{ destinations: Destination[] }>("/destinations");
  const [name, setName] = useState("");
  const [resource, setResource] = useState("");
  const [destination, setDestination] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const to = destination || crms.data?.destinations[0]?.name || "";
  const fault = name && !goodName(name) ? t("connections.name.form") : taken.includes(name) ? t("connections.name.taken") : undefined;
  const save = async () => {
    setBusy(true);
    try {
      await api.put(`/mappings/${encodeURIComponent(name)}`, { mapping: { ...(resource ? { resource } : {}), destination: to } }, { create: true });
      go(`/mappings/${encodeURIComponent(name)}`);
    } catch (e) {
      setError(e instanceof ApiError ? e : new ApiError(0, "page", "", String(e)));
    }
    setBusy(false);
  };
  return (
    <Dialog open title={t("mappings.new")} onClose={onClose} testid="new-dialog" actions={
      <><Button onClick={onClose}>{t("ui.cancel")}</Button><Button kind="primary" busy={busy} disabled={!goodName(name) || Boolean(fault) || !to} onClick={save} testid="new-yes">{t("mappings.create")}</Button></>
    }>
      <div class="stack">
        <Field label={t("mappings.name")} error={fault}><TextInput value={name} onInput={setName} testid="new-name" /></Field>
        <Field label={t("mappings.resource")}><Select value={resource} onChange={setResource} options={[{ value: "", label: t("mappings.any") }, ...(kinds.data?.connectors ?? []).flatMap((k) => k.resources.map((r) => ({ value: r.id, label: `${k.title}: ${r.title}` })))]} /></Field>
        <Field label={t("mappings.destination")}><Select value={to} onChange={setDestination} options={(crms.data?.destinations ?? []).map((c) => ({ value: c.name, label: `${c.name} (${c.title})` }))} /></Field>
        {crms.data?.destinations.length === 0 && <p class="note"><a href="/connections/new?kind=crm">{t("connections.add.crm")}</a></p>}
        {error && <ErrorState error={error} />}
      </div>
    </Dialog>
  );
}
