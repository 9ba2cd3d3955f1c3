import { useMemo, useState } from "preact/hooks";
import { useLoad } from "../../api";
import { t } from "../../i18n";
import { query, setQuery, useUnsaved } from "../../router";
import { may } from "../../session";
import { Button, Card, Check, ErrorState, Field, Loaded, Page, Problems, Select, Tabs, TextInput, Time } from "../../ui";
import type { Connection, Connector, Destination } from "../connections/model";
import { useCatalogue } from "./catalogue";
import { Combo } from "./combo";
import { Rows } from "./editor";
import { Standing, type MappingView } from "./list";
import { Preview } from "./preview";
import { faults, readsPhone, sourcesOf, tidyRule, type MappingFile } from "./rules";
import { useSaving } from "./saving";
import { Versions } from "./versions";

export function Mapping({ params }: { params: Record<string, string> }) {
  const name = params["name"] ?? "";
  const load = useLoad<MappingView>(`/mappings/${encodeURIComponent(name)}`);
  const back = { href: "/mappings", label: t("mappings.title") };
  if (!load.data) return <Page title={name} back={back}><Loaded load={load}>{() => null}</Loaded></Page>;
  return <Editor key={name} view={load.data} reload={load.reload} back={back} />;
}

/** The form without what is empty, as it is sent and compared. */
export function tidyMapping(m: MappingFile): MappingFile {
  const out: Record<string, unknown> = {};
  for (const [k, v] of Object.entries({ ...m, fields: m.fields?.map(tidyRule) })) {
    const empty = v === undefined || v === "" || (Array.isArray(v) ? v.length === 0 : typeof v === "object" && v !== null && Object.values(v).every((x) => !x || (Array.isArray(x) && x.length === 0)));
    if (!empty || k === "destination") out[k] = v;
  }
  return out as unknown as MappingFile;
}

/** A mapping as people compare it when two have edited it. */
const asText = (m: MappingFile): string => JSON.stringify(tidyMapping(m), null, 2);

function Editor({ view, reload, back }: { view: MappingView; reload: () => void; back: { href: string; label: string } }) {
  const at = `/mappings/${encodeURIComponent(view.name)}`;
  const [base, setBase] = useState(view);
  const [form, setForm] = useState<MappingFile>(view.mapping ?? { destination: view.destination });
  const [theirs, setTheirs] = useState(false);
  const dirty = useMemo(() => asText(form) !== asText(base.mapping ?? { destination: base.destination }), [form, base]);
  useUnsaved(dirty);
  // Another state of the file than the one that is edited is taken at once where nothing was typed, or was asked for.
  if (view.etag !== base.etag && (theirs || !dirty)) {
    setBase(view);
    setForm(view.mapping ?? { destination: view.destination });
    setTheirs(false);
  }
  const saving = useSaving(at, {
    body: () => ({ mapping: tidyMapping(form) }), mine: () => asText(form), etag: base.etag,
    onSaved: (e) => {
      setBase({ ...base, etag: e.etag, mapping: form, text: e.text, problems: e.problems, in_force: Boolean(e.applied) });
      reload();
    },
    onTheirs: () => { setTheirs(true); reload(); },
  });
  const catalogue = useCatalogue(form.destination);
  const kinds = useLoad<{ connectors: Connector[] }>("/connectors");
  const there = useLoad<{ connections: Connection[] }>("/connections");
  const crms = useLoad<{ destinations: Destination[] }>("/destinations");
  const types = new Set((there.data?.connections ?? []).filter((c) => !form.connections?.length || form.connections.includes(c.name)).map((c) => c.type));
  const connectors = (kinds.data?.connectors ?? []).filter((k) => (form.resource ? k.resources.some((r) => r.id === form.resource) : types.has(k.type)) && (types.size === 0 || types.has(k.type)));
  const own = useMemo(() => sourcesOf(connectors.flatMap((k) => k.fields ?? [])), [kinds.data, there.data, form.resource, form.connections]);
  const tab = query.value["tab"] ?? "fields";
  const set = (part: Partial<MappingFile>) => setForm((f) => ({ ...f, ...part }));
  const wrong = faults(form.fields ?? []).size;
  const editable = may("operator") && view.mapping !== null;
  return (
    <Page title={view.name} back={back} lead={<><Standing inForce={base.in_force && !dirty} problems={base.problems} /> {dirty && <b>{t("mappings.dirty")}</b>} <code>{view.file}</code></>}
      actions={editable && (
        <>
          <Button onClick={() => saving.save(false)} disabled={!dirty || wrong > 0} busy={saving.busy === "save"} testid="save">{t("mappings.save")}</Button>
          <Button kind="primary" onClick={() => saving.save(true)} disabled={(!dirty && base.in_force) || wrong > 0} busy={saving.busy === "apply"} testid="apply">{t("mappings.apply")}</Button>
        </>
      )}>
      {saving.view}
      <Problems list={base.problems ?? []} />
      {view.mapping === null && <p class="note warn">{t("mappings.unreadable")}</p>}
      <Tabs label={view.name} active={tab} onChange={(id) => setQuery({ tab: id === "fields" ? "" : id })} tabs={[
        { id: "fields", label: t("mappings.tab.fields"), count: form.fields?.length ?? 0 }, { id: "more", label: t("mappings.tab.more") },
        { id: "preview", label: t("mappings.tab.preview") }, { id: "versions", label: t("mappings.tab.versions") }, { id: "text", label: t("mappings.tab.text") },
      ]}>
        {tab === "fields" && (
          <div class="stack">
            <p class="small">{t("mappings.email.fixed")} {t("mappings.later")}</p>
            {readsPhone(form) && (types.size === 0 || types.has("paypal")) && <p class="note" data-testid="phone-hint">{t("mappings.phone.hint")}</p>}
            {catalogue.load.error && <ErrorState error={catalogue.load.error} onRetry={catalogue.load.reload} />}
            {catalogue.at && <p class="small muted">{t("mappings.catalogue", { n: catalogue.fields.length })} <Time at={catalogue.at} /></p>}
            <Rows rules={form.fields ?? []} onChange={(fields) => set({ fields })} sources={own} fields={catalogue.choices("field")} fieldOf={catalogue.field} known={catalogue.known} problems={[...saving.problems, ...(dirty ? [] : base.problems ?? [])]} />
          </div>
        )}
        {tab === "more" && <More form={form} set={set} crms={crms.data?.destinations ?? []} connections={there.data?.connections ?? []} kinds={kinds.data?.connectors ?? []} tags={catalogue.choices("tag")} sources={own.map((s) => ({ value: s.name, label: s.label, detail: s.name }))} />}
        {tab === "preview" && <Preview at={at} mapping={tidyMapping(form)} />}
        {tab === "versions" && <Versions at={at} etag={base.etag} text={base.text ?? ""} onRestored={() => { setTheirs(true); reload(); }} />}
        {tab === "text" && <div class="code"><pre tabIndex={0} role="region" aria-label={view.file}>{base.text}</pre></div>}
      </Tabs>
    </Page>
  );
}

const listOf = (text: string): string[] => text.split(",").map((x) => x.trim()).filter(Boolean);

/** Where the mapping holds, the contact's own parts, and tags. */
function More({ form, set, crms, connections, kinds, tags, sources }: {
  form: MappingFile; set: (part: Partial<MappingFile>) => void; crms: Destination[]; connections: Connection[]; kinds: Connector[]; tags: { value: string }[]; sources: { value: string }[];
}) {
  const contact = form.contact ?? {};
  const own = form.tags ?? {};
  return (
    <div class="columns">
      <Card title={t("mappings.where")}>
        <div class="stack">
          <Field label={t("mappings.destination")}><Select value={form.destination} onChange={(destination) => set({ destination })} options={crms.map((c) => ({ value: c.name, label: `${c.name} (${c.title})` }))} /></Field>
          <Field label={t("mappings.resource")}><Select value={form.resource ?? ""} onChange={(resource) => set({ resource: resource || undefined })} options={[{ value: "", label: t("mappings.any") }, ...kinds.flatMap((k) => k.resources.map((r) => ({ value: r.id, label: `${k.title}: ${r.title}` })))]} /></Field>
          <fieldset class="plain"><legend>{t("mappings.connections")}</legend>
            <p class="hint">{t("mappings.connections.hint")}</p>
            {connections.map((c) => <Check key={c.name} label={c.name} checked={form.connections?.includes(c.name) ?? false} onChange={(yes) => set({ connections: yes ? [...(form.connections ?? []), c.name] : form.connections?.filter((x) => x !== c.name) })} />)}
          </fieldset>
        </div>
      </Card>
      <Card title={t("mappings.contact")}>
        <div class="stack">
          {(["email", "first_name", "last_name", "phone"] as const).map((k) => (
            <Field key={k} label={t(`mappings.contact.${k}`)} hint={k === "email" ? t("mappings.email.fixed") : k === "phone" ? t("mappings.phone.hint") : undefined}>
              <Combo value={contact[k] ?? ""} placeholder={{ email: "payer.email", first_name: "payer.given_name", last_name: "payer.surname", phone: "payer.phone" }[k]} choices={sources} onInput={(v) => set({ contact: { ...contact, [k]: v || undefined } })} />
            </Field>
          ))}
        </div>
      </Card>
      <Card title={t("mappings.tags")}>
        <div class="stack">
          <Check label={t("mappings.tags.default")} hint={t("mappings.tags.default.hint")} checked={!own.disabled} onChange={(yes) => set({ tags: { ...own, disabled: yes ? undefined : true } })} />
          <Field label={t("mappings.tags.prefix")} optional><TextInput value={own.prefix ?? ""} placeholder="paypal-integration" onInput={(prefix) => set({ tags: { ...own, prefix: prefix || undefined } })} /></Field>
          <TagList label={t("mappings.tags.add")} value={own.add ?? []} tags={tags} onChange={(add) => set({ tags: { ...own, add } })} />
          <TagList label={t("mappings.tags.remove")} value={own.remove ?? []} tags={tags} onChange={(remove) => set({ tags: { ...own, remove } })} />
          {(own.rules ?? []).map((r, i) => (
            <fieldset key={i} class="boxed"><legend>{t("mappings.tags.rule", { n: i + 1 })}</legend>
              <Field label={t("mappings.if")}><TextInput value={r.if ?? ""} onInput={(v) => set({ tags: { ...own, rules: own.rules!.map((x, j) => (j === i ? { ...x, if: v || undefined } : x)) } })} /></Field>
              <TagList label={t("mappings.tags.add")} value={r.add ?? []} tags={tags} onChange={(add) => set({ tags: { ...own, rules: own.rules!.map((x, j) => (j === i ? { ...x, add } : x)) } })} />
              <TagList label={t("mappings.tags.remove")} value={r.remove ?? []} tags={tags} onChange={(remove) => set({ tags: { ...own, rules: own.rules!.map((x, j) => (j === i ? { ...x, remove } : x)) } })} />
              <Button kind="quiet" onClick={() => set({ tags: { ...own, rules: own.rules!.filter((_, j) => j !== i) } })}>{t("mappings.remove")}</Button>
            </fieldset>
          ))}
          <div><Button onClick={() => set({ tags: { ...own, rules: [...(own.rules ?? []), { if: "", add: [] }] } })}>+ {t("mappings.tags.newrule")}</Button></div>
        </div>
      </Card>
      {form.triggers?.length ? <Card title={t("mappings.triggers")}><ul>{form.triggers.map((x, i) => <li key={i}>{x.on} {x.events?.join(", ")} {x.to?.join(", ")} → <b>{x.track_event}</b></li>)}</ul></Card> : null}
    </div>
  );
}

/** Tags, with a comma between them: the one being typed is completed. */
export function TagList({ label, value, tags, onChange }: { label: string; value: string[]; tags: { value: string }[]; onChange: (tags: string[]) => void }) {
  const [text, setText] = useState(value.join(", "));
  if (listOf(text).join() !== value.join()) setText(value.join(", "));
  const before = listOf(text.slice(0, text.lastIndexOf(",") + 1));
  const choices = tags.map((x) => ({ value: [...before, x.value].join(", "), label: x.value, detail: "" }));
  return <Field label={label} optional><Combo value={text} choices={choices} onInput={(v) => { setText(v); onChange(listOf(v)); }} /></Field>;
}
