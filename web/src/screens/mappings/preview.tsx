import { useState } from "preact/hooks";
import { api, ApiError, useLoad } from "../../api";
import { t } from "../../i18n";
import { Badge, Button, Card, Check, Code, ErrorState, Field, TextInput } from "../../ui";
import { Combo } from "./combo";
import type { MappingFile } from "./rules";

interface Contact {
  email: string;
  first_name: string;
  last_name: string;
  phone: string;
  fields: Record<string, string> | null;
  tags: string[] | null;
  no_tags: string[] | null;
}
interface Answer {
  event: { id: string; type: string; connection: string; status: string; sample: boolean };
  fits: boolean;
  why?: string;
  fields: { to: string; from: string; as?: string; value: string; type?: string; issue?: string }[] | null;
  before: Contact | null;
  after: Contact | null;
  effects: { type: string; name: string; data?: string }[] | null;
  requests: { method: string; path: string; body?: unknown }[] | null;
  not_checked: string[] | null;
  masked: boolean;
}
interface Event {
  id: string;
  record: string;
  type: string;
  store: string;
  order: string;
  at: string;
}

/** What the mapping as it stands in the editor would make of an event. Nothing is sent. */
export function Preview({ at, mapping }: { at: string; mapping: MappingFile }) {
  const store = mapping.connections?.[0];
  const recent = useLoad<{ items: Event[] | null }>(`/events?limit=50${store ? `&store=${encodeURIComponent(store)}` : ""}`);
  const [event, setEvent] = useState("");
  const [personal, setPersonal] = useState(false);
  const [busy, setBusy] = useState("");
  const [error, setError] = useState<ApiError>();
  const [shown, setShown] = useState<Answer>();
  const run = async (sample: boolean) => {
    setBusy(sample ? "sample" : "event");
    setError(undefined);
    try {
      setShown(await api.post<Answer>(`${at}/preview`, { ...(sample ? { sample: true } : { event: event.trim() }), mapping, personal_data: personal }));
    } catch (e) {
      setError(e instanceof ApiError ? e : new ApiError(0, "page", "", String(e)));
    }
    setBusy("");
  };
  const choices = (recent.data?.items ?? []).map((e) => ({ value: e.id || e.record, label: `${e.type} · ${e.order}`, detail: `${e.store} · ${e.at}` }));
  return (
    <div class="stack" data-testid="preview">
      <form class="filters" onSubmit={(e) => { e.preventDefault(); if (event.trim()) void run(false); }}>
        <div class="field grow"><Field label={t("mappings.preview.event")} hint={t("mappings.preview.hint")}>
          {choices.length > 0 ? <Combo value={event} onInput={setEvent} choices={choices} testid="preview-event" /> : <TextInput value={event} onInput={setEvent} testid="preview-event" />}
        </Field></div>
        <Button type="submit" kind="primary" busy={busy === "event"} disabled={!event.trim()} testid="preview-run">{t("mappings.preview.run")}</Button>
        <Button busy={busy === "sample"} onClick={() => run(true)} testid="preview-sample">{t("mappings.preview.sample")}</Button>
        <Check label={t("mappings.preview.personal")} checked={personal} onChange={setPersonal} />
      </form>
      {error && <ErrorState error={error} />}
      {shown && <Result p={shown} />}
    </div>
  );
}

function Result({ p }: { p: Answer }) {
  return (
    <div class="stack" aria-live="polite">
      <p><b>{p.event.type}</b> <code>{p.event.id}</code> {p.event.connection} {p.event.sample && <Badge>{t("mappings.preview.issample")}</Badge>} {p.masked && <Badge>{t("mappings.preview.masked")}</Badge>} <Badge tone="info">{t("mappings.preview.notsent")}</Badge></p>
      {!p.fits && <p class="note warn">{t("mappings.preview.nofit")} {p.why}</p>}
      {p.fits && p.why && <p class="note warn">{p.why}</p>}
      <div class="columns">
        <Card title={t("mappings.preview.rows")}>
          <table><thead><tr><th scope="col">{t("mappings.from")}</th><th scope="col">{t("mappings.to")}</th><th scope="col">{t("mappings.preview.value")}</th></tr></thead>
            <tbody>{(p.fields ?? []).map((f, i) => (
              <tr key={i}><td><code>{f.from}</code>{f.as && <span class="muted small"> | {f.as}</span>}</td><th scope="row">{f.to}</th><td class="value">{f.value || <span class="muted">–</span>}{f.issue && <p class="error">{f.issue}</p>}</td></tr>
            ))}</tbody></table>
        </Card>
        <Card title={t("mappings.preview.contact")} testid="contact-diff"><Contacts before={p.before} after={p.after} /></Card>
      </div>
      {p.effects?.length ? <Card title={t("mappings.preview.effects")}><ul>{p.effects.map((e, i) => <li key={i}>{e.type} <b>{e.name}</b> <span class="muted">{e.data}</span></li>)}</ul></Card> : null}
      {(p.requests ?? []).map((r, i) => (
        <Card key={i} title={<><code>{r.method} {r.path}</code></>} testid="request"><Code text={r.body === undefined ? "" : JSON.stringify(r.body, null, 2)} label={t("mappings.preview.request")} /></Card>
      ))}
      {p.not_checked?.length ? <p class="muted small">{t("mappings.preview.notchecked")} {p.not_checked.join("; ")}</p> : null}
    </div>
  );
}

/** A contact before and after; what changes stands out by a word and not by colour alone. */
function Contacts({ before, after }: { before: Contact | null; after: Contact | null }) {
  if (!after) return <p class="muted">{t("mappings.preview.noafter")}</p>;
  const flat = (c: Contact | null): Record<string, string> => c ? {
    [t("mappings.contact.email")]: c.email, [t("mappings.contact.first_name")]: c.first_name, [t("mappings.contact.last_name")]: c.last_name, [t("mappings.contact.phone")]: c.phone, ...c.fields,
    [t("mappings.contact.tags")]: (c.tags ?? []).join(", "), ...(c.no_tags?.length ? { [t("mappings.contact.notags")]: c.no_tags.join(", ") } : {}),
  } : {};
  const a = flat(before);
  const b = flat(after);
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((k) => a[k] || b[k]);
  return (
    <>
      {!before && <p class="muted small">{t("mappings.preview.nobefore")}</p>}
      <table><thead><tr><th scope="col">{t("mappings.contact.part")}</th><th scope="col">{t("mappings.preview.before")}</th><th scope="col">{t("mappings.preview.after")}</th></tr></thead>
        <tbody>{keys.map((k) => {
          const changed = b[k] !== undefined && (a[k] ?? "") !== b[k];
          return <tr key={k} class={changed ? "changed" : undefined}><th scope="row">{k}</th><td class="value">{a[k] ?? ""}</td><td class="value">{b[k] ?? a[k]} {changed && <Badge tone="info">{t(a[k] ? "mappings.preview.changed" : "mappings.preview.new")}</Badge>}</td></tr>;
        })}</tbody></table>
    </>
  );
}
