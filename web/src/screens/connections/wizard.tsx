import { useEffect, useState } from "preact/hooks";
import { api, ApiError, newKey, useLoad } from "../../api";
import { has, t } from "../../i18n";
import { go, query, useUnsaved } from "../../router";
import { Button, Card, Check, Code, ErrorState, Field, Loaded, LinkButton, Page, Select, TextInput, toast } from "../../ui";
import { useCatalogue } from "../mappings/catalogue";
import { Rows } from "../mappings/editor";
import { sourcesOf, tidyRule, type Rule } from "../mappings/rules";
import { ResourceChoice } from "./account";
import {
  dropDraft, freeName, freshDraft, goodName, keepDraft, keptDraft, settingPath, sourcesFor, splitSettings, suggestRows,
  type Connection, type Connector, type Destination, type Draft, type Finding, type Resource, type Setting, type Sink,
} from "./model";
import { Findings } from "./parts";

/** Connects an account in four steps. What was entered outlives a reload; secrets do not. */
export function Wizard() {
  const kind: Draft["kind"] = query.value["kind"] === "crm" ? "crm" : "source";
  const kinds = useLoad<{ connectors?: Connector[]; sinks?: Sink[] }>(kind === "crm" ? "/sinks" : "/connectors");
  const desk = useLoad<{ private_addresses: boolean }>("/connectors");
  const there = useLoad<{ connections?: Connection[]; destinations?: Destination[] }>(kind === "crm" ? "/destinations" : "/connections");
  const [draft, setDraft] = useState<Draft>(() => keptDraft(kind) ?? { ...freshDraft(kind), type: query.value["type"] ?? "" });
  const [secrets, setSecrets] = useState<Record<string, string>>({});
  const all: (Connector | Sink)[] = (kind === "crm" ? kinds.data?.sinks : kinds.data?.connectors) ?? [];
  const chosen = all.find((k) => k.type === draft.type);
  const settings = chosen?.settings ?? [];
  const change = (part: Partial<Draft>) => setDraft((d) => ({ ...d, ...part }));
  const names = [...(there.data?.connections ?? []), ...(there.data?.destinations ?? [])].map((c) => c.name);
  useEffect(() => {
    if (draft.type && draft.step < 3 && chosen) keepDraft(draft, settings);
  }, [draft, chosen]);
  useEffect(() => {
    if (draft.type && !draft.name && there.data) change({ name: freeName(draft.type, names) });
  }, [draft.type, there.data]);
  useUnsaved(Object.values(secrets).some(Boolean) && !draft.connected);
  const steps = kind === "crm" ? [0, 3] : [0, 1, 2, 3];
  const restart = () => {
    dropDraft(kind);
    setDraft(freshDraft(kind));
    setSecrets({});
  };
  return (
    <Page title={t(kind === "crm" ? "connections.add.crm" : "connections.add.source")} back={{ href: "/connections", label: t("connections.title") }}
      actions={draft.type && draft.step < 3 ? <Button kind="quiet" onClick={restart} testid="restart">{t("connections.restart")}</Button> : undefined}>
      <ol class="steps" aria-label={t("connections.steps")}>
        {steps.map((s, i) => (
          <li key={s} aria-current={draft.step === s ? "step" : undefined} class={draft.step > s ? "done" : undefined}><span aria-hidden="true">{draft.step > s ? "✓" : i + 1}</span> {t(`connections.step.${s}`)}</li>
        ))}
      </ol>
      <Loaded load={kinds}>{() => (
        <>
          {draft.step === 0 && <Credentials {...{ draft, change, all, chosen, secrets, setSecrets, names, inside: desk.data?.private_addresses ?? false }} />}
          {draft.step === 1 && chosen && <Resources {...{ draft, change, connector: chosen as Connector, secrets, setSecrets }} />}
          {draft.step === 2 && chosen && <Mapping {...{ draft, change, connector: chosen as Connector }} />}
          {draft.step === 3 && <Done draft={draft} again={restart} />}
          {draft.step > 0 && draft.step < 3 && !chosen && <p>{t("connections.type.gone")}</p>}
        </>
      )}</Loaded>
    </Page>
  );
}

type Given = Record<string, string>;

/** The body of a check or a connect. */
function body(d: Draft, secrets: Given, force: boolean): Record<string, unknown> {
  const filled = (m: Given) => Object.fromEntries(Object.entries(m).filter(([, v]) => v.trim() !== ""));
  const common = { type: d.type, name: d.name, settings: filled(d.settings), secrets: filled(secrets), force, ...(d.inside ? { allow_private_address: true } : {}) };
  return d.kind === "crm" ? common : { ...common, environment: d.environment, resources: d.resources, ...(d.roots.trim() ? { tls_roots: d.roots.trim() } : {}) };
}

const settingLabel = (key: string): string =>
  has(`connections.setting.${key}`) ? t(`connections.setting.${key}`) : key.replace(/[._]/g, " ").replace(/^./, (c) => c.toUpperCase());

function Credentials({ draft, change, all, chosen, secrets, setSecrets, names, inside }: {
  draft: Draft; change: (d: Partial<Draft>) => void; all: (Connector | Sink)[]; chosen: Connector | Sink | undefined; secrets: Given; setSecrets: (s: Given) => void; names: string[]; inside: boolean;
}) {
  const [found, setFound] = useState<Finding[]>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const [force, setForce] = useState(false);
  const [tried, setTried] = useState(false);
  const crm = draft.kind === "crm";
  const taken = names.includes(draft.name) && !draft.connected;
  const nameFault = !goodName(draft.name) ? t("connections.name.form") : taken ? t("connections.name.taken") : undefined;
  const { first, more } = splitSettings(draft.type, chosen?.settings ?? []);
  const value = (s: Setting) => (s.secret ? secrets : draft.settings)[settingPath(s)] ?? "";
  const set = (s: Setting, v: string) => (s.secret ? setSecrets({ ...secrets, [settingPath(s)]: v }) : change({ settings: { ...draft.settings, [settingPath(s)]: v } }));
  const bad = found?.some((f) => f.level === "bad") ?? false;
  const of = (s: Setting) => found?.find((f) => f.field === s.key && f.level === "bad");

  const submit = async (e: Event) => {
    e.preventDefault();
    setTried(true);
    if (nameFault || busy) return;
    setBusy(true);
    setError(undefined);
    try {
      if (crm) {
        await api.post("/destinations", body(draft, secrets, force), { key: newKey() });
        setSecrets({});
        dropDraft("crm");
        change({ step: 3, connected: true });
      } else {
        // Every resource is meant until one is chosen, so that the check asks for what all of them need.
        const asked = { ...draft, resources: draft.resources.length ? draft.resources : (chosen as Connector).resources.map((r) => r.id) };
        const got = await api.post<{ findings: Finding[] | null }>("/connections/check", body(asked, secrets, force));
        setFound(got.findings ?? []);
        if (force || !got.findings?.some((f) => f.level === "bad")) change({ step: 1, resources: asked.resources });
      }
    } catch (err) {
      setError(err instanceof ApiError ? err : new ApiError(0, "page", "", String(err)));
    }
    setBusy(false);
  };
  const input = (s: Setting) => (
    <Field key={s.key} label={settingLabel(s.key)} error={of(s)?.message} hint={s.secret ? t("connections.secret.hint") : undefined}>
      {s.type === "yes or no"
        ? <Select value={value(s)} onChange={(v) => set(s, v)} options={[{ value: "", label: "–" }, { value: "true", label: t("connections.yes") }, { value: "false", label: t("connections.no") }]} />
        : <TextInput type={s.secret ? "password" : "text"} autocomplete={s.secret ? "new-password" : "off"} value={value(s)} onInput={(v) => set(s, v)} testid={`setting-${s.key}`} />}
    </Field>
  );
  return (
    <Card>
      <form class="stack narrow" onSubmit={submit} noValidate>
        <Field label={t("connections.provider")}>
          <Select value={draft.type} testid="type" onChange={(type) => { change({ type, name: freeName(type, names), settings: {}, resources: [] }); setSecrets({}); setFound(undefined); }}
            options={[{ value: "", label: t("connections.choose"), disabled: true }, ...all.map((k) => ({ value: k.type, label: k.title }))]} />
        </Field>
        {chosen && (
          <>
            {has(`connections.where.${draft.type}`) && <p class="note">{t(`connections.where.${draft.type}`)}</p>}
            {!crm && (
              <Field label={t("connections.environment")} hint={t("connections.environment.hint")}>
                <Select value={draft.environment} testid="environment" onChange={(v) => change({ environment: v as Draft["environment"] })} options={[{ value: "sandbox", label: t("connections.sandbox") }, { value: "live", label: t("connections.live") }]} />
              </Field>
            )}
            <Field label={t("connections.name")} hint={t("connections.name.hint")} error={tried ? nameFault : undefined}><TextInput value={draft.name} onInput={(name) => change({ name })} testid="name" /></Field>
            {first.map(input)}
            {(more.length > 0 || inside) && (
              <details><summary>{t("connections.more")}</summary><div class="stack">
                {more.filter((s) => s.type !== "keys and values").map(input)}
                {inside && <Check label={t("connections.inside")} hint={t("connections.inside.hint")} checked={draft.inside} onChange={(yes) => change({ inside: yes })} testid="inside" />}
                {inside && !crm && <Field label={t("connections.roots")} optional><TextInput value={draft.roots} onInput={(roots) => change({ roots })} testid="roots" /></Field>}
              </div></details>
            )}
            <Findings list={found} />
            {error && <ErrorState error={error} />}
            <Findings list={error?.body["findings"] as Finding[] | undefined} />
            {(bad || error?.code === "check_bad") && <Check label={t("connections.force")} hint={t("connections.force.hint")} checked={force} onChange={setForce} />}
            <div class="actions"><Button kind="primary" type="submit" busy={busy} testid="next">{t(crm ? "connections.connect" : "connections.next")}</Button></div>
          </>
        )}
      </form>
    </Card>
  );
}

function Resources({ draft, change, connector, secrets, setSecrets }: { draft: Draft; change: (d: Partial<Draft>) => void; connector: Connector; secrets: Given; setSecrets: (s: Given) => void }) {
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const [force, setForce] = useState(false);
  const need = splitSettings(connector.type, connector.settings).first.filter((s) => s.secret);
  // A reload forgets secrets: then they are asked for once more, here.
  const [lost] = useState(need.length > 0 && !need.some((s) => secrets[settingPath(s)]));
  const connect = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const done = await api.post<{ next?: string[] | null }>("/connections", body(draft, secrets, force), { key: newKey() });
      setSecrets({});
      done.next?.forEach((n) => toast(n, "info"));
      change({ connected: true, step: 2 });
    } catch (err) {
      setError(err instanceof ApiError ? err : new ApiError(0, "page", "", String(err)));
    }
    setBusy(false);
  };
  return (
    <Card>
      <div class="stack narrow">
        <ResourceChoice all={connector.resources} chosen={draft.resources} onChange={(resources) => change({ resources })} />
        {lost && <p class="note" data-testid="secrets-again">{t("connections.secrets.again")}</p>}
        {lost && need.map((s) => (
          <Field key={s.key} label={settingLabel(s.key)}><TextInput type="password" autocomplete="new-password" value={secrets[settingPath(s)] ?? ""} onInput={(v) => setSecrets({ ...secrets, [settingPath(s)]: v })} testid={`setting-${s.key}`} /></Field>
        ))}
        {error && <ErrorState error={error} />}
        <Findings list={error?.body["findings"] as Finding[] | undefined} />
        {error?.code === "check_bad" && <Check label={t("connections.force")} hint={t("connections.force.hint")} checked={force} onChange={setForce} />}
        <div class="actions">
          <Button onClick={() => change({ step: 0 })}>{t("connections.back")}</Button>
          <Button kind="primary" busy={busy} disabled={draft.resources.length === 0} onClick={connect} testid="connect">{t("connections.connect")}</Button>
        </div>
      </div>
    </Card>
  );
}

interface Mapped {
  name: string;
  resource: string;
  connections: string[] | null;
  destination: string;
}

/** Maps each resource, one after the other; those that a mapping takes already need none. */
function Mapping({ draft, change, connector }: { draft: Draft; change: (d: Partial<Draft>) => void; connector: Connector }) {
  const crms = useLoad<{ destinations: Destination[] }>("/destinations");
  const mapped = useLoad<{ items: Mapped[] }>("/mappings");
  const list = connector.resources.filter((r) => draft.resources.includes(r.id));
  const takes = (m: Mapped, id: string) => (m.resource === "" || m.resource === id) && (!m.connections?.length || m.connections.includes(draft.name));
  return (
    <Loaded load={mapped}>{(m) => (
      <Loaded load={crms}>{(d) => {
        const open = d.destinations.filter((x) => x.state !== "disconnected");
        return (
          <div class="stack">
            {open.length === 0 && <Card><p>{t("connections.map.nocrm")}</p><div class="actions"><LinkButton href="/connections/new?kind=crm" kind="primary">{t("connections.add.crm")}</LinkButton></div></Card>}
            {list.map((r) => {
              const by = (m.items ?? []).filter((x) => takes(x, r.id));
              if (by.length > 0) {
                return <Card key={r.id} title={r.title}><p>{t("connections.map.there")} {by.map((x) => <a key={x.name} href={`/mappings/${encodeURIComponent(x.name)}`}>{x.name} → {x.destination}</a>)}</p></Card>;
              }
              return open.length > 0 ? <OneMapping key={r.id} draft={draft} connector={connector} resource={r} crms={open} onDone={mapped.reload} change={change} /> : null;
            })}
            <div class="actions"><Button kind="primary" testid="finish" onClick={() => { dropDraft("source"); change({ step: 3 }); }}>{t("connections.finish")}</Button>
              {list.some((r) => !(m.items ?? []).some((x) => takes(x, r.id))) && <span class="muted small">{t("connections.map.later")}</span>}</div>
          </div>
        );
      }}</Loaded>
    )}</Loaded>
  );
}

function OneMapping({ draft, connector, resource, crms, onDone, change }: {
  draft: Draft; connector: Connector; resource: Resource; crms: Destination[]; onDone: () => void; change: (d: Partial<Draft>) => void;
}) {
  const kept = draft.mappings[resource.id];
  const [destination, setDestination] = useState(kept?.destination || crms[0]!.name);
  const catalogue = useCatalogue(destination);
  const sources = sourcesOf(connector.fields);
  const [rules, setRules] = useState<Rule[] | null>(kept?.rows ? kept.rows : null);
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const shown = rules ?? (catalogue.known ? suggestRows(sourcesFor(resource, sources), catalogue.fields) : []);
  const edit = (next: Rule[]) => {
    setRules(next);
    change({ mappings: { ...draft.mappings, [resource.id]: { destination, done: false, rows: next.map((r) => ({ from: r.from ?? "", to: r.to, as: r.as ?? "" })) } } });
  };
  const save = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const mapping = { connections: [draft.name], resource: resource.id, destination, fields: shown.filter((r) => r.to.trim()).map(tidyRule) };
      await api.put(`/mappings/${encodeURIComponent(`${draft.name}-${resource.id}`)}?apply=true`, { mapping }, { create: true });
      toast(t("connections.map.saved", { name: resource.title }));
      onDone();
    } catch (err) {
      setError(err instanceof ApiError ? err : new ApiError(0, "page", "", String(err)));
    }
    setBusy(false);
  };
  return (
    <Card title={resource.title} testid={`map-${resource.id}`}>
      <div class="stack">
        <p class="small">{t("mappings.email.fixed")}</p>
        {connector.type === "paypal" && <p class="note">{t("mappings.phone.hint")}</p>}
        <Field label={t("mappings.destination")}><Select value={destination} onChange={setDestination} options={crms.map((c) => ({ value: c.name, label: `${c.name} (${c.title})` }))} /></Field>
        {catalogue.load.error && <ErrorState error={catalogue.load.error} onRetry={catalogue.load.reload} />}
        <Rows rules={shown} onChange={edit} sources={sources} fields={catalogue.choices("field")} fieldOf={catalogue.field} known={catalogue.known} problems={error?.problems ?? []} />
        {error && <ErrorState error={error} />}
        <div class="actions"><Button kind="primary" busy={busy} onClick={save} testid="map-save">{t("connections.map.save")}</Button></div>
      </div>
    </Card>
  );
}

function Done({ draft, again }: { draft: Draft; again: () => void }) {
  const crm = draft.kind === "crm";
  const at = `/${crm ? "destinations" : "connections"}/${encodeURIComponent(draft.name)}`;
  const shown = useLoad<Connection & Destination>(at, { everyMs: 4_000 });
  return (
    <Card testid="done">
      <div class="stack narrow">
        <h2>{t("connections.done", { name: draft.name })}</h2>
        {shown.error && <ErrorState error={shown.error} onRetry={shown.reload} />}
        {shown.data?.account && <p>{t("connections.account")}: <b>{shown.data.account.name}</b></p>}
        <Findings list={shown.data?.findings} />
        {shown.data?.webhook?.address && <><p>{t("connections.done.webhook")}</p><Code text={shown.data.webhook.address} label={t("connections.webhook")} /></>}
        {!crm && <p>{t("connections.done.next")}</p>}
        <div class="actions">
          <LinkButton href={`/connections/${encodeURIComponent(draft.name)}${crm ? "?kind=crm" : ""}`} kind="primary" testid="open">{t("connections.open")}</LinkButton>
          {!crm && <LinkButton href={`/events?store=${encodeURIComponent(draft.name)}`}>{t("connections.events")}</LinkButton>}
          <Button onClick={() => { again(); go(`/connections/new${crm ? "?kind=crm" : ""}`); }}>{t("connections.another")}</Button>
          {crm && <LinkButton href="/connections/new">{t("connections.add.source")}</LinkButton>}
        </div>
      </div>
    </Card>
  );
}
