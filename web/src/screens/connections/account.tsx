import { useState } from "preact/hooks";
import { api, newKey, useLoad } from "../../api";
import { has, number, t } from "../../i18n";
import { query } from "../../router";
import { by, may } from "../../session";
import { Ago, Badge, Button, Card, Check, Code, Confirm, Dialog, EnvironmentBadge, Facts, Field, LinkButton, Loaded, Page, TextInput, Time } from "../../ui";
import { accountOf, healthOf, splitSettings, settingPath, type Account as Limit, type Connection, type Connector, type Destination, type Finding, type Pause, type Resource, type Sink } from "./model";
import { act, Budget, Findings, HealthBadge } from "./parts";

type Asked = "disconnect" | "pause" | "reconnect" | "resources" | { remove: Resource } | null;
type Either = Connection & Partial<Pick<Destination, "account" | "rate_per_second">>;

/** One connected account with all that can be done with it; ?kind=crm: a CRM. */
export function Account({ params }: { params: Record<string, string> }) {
  const name = params["name"] ?? "";
  const crm = query.value["kind"] === "crm";
  const at = `/${crm ? "destinations" : "connections"}/${encodeURIComponent(name)}`;
  const shown = useLoad<Either>(at, { everyMs: 15_000 });
  const pauses = useLoad<{ pauses: Pause[] }>("/pauses", { everyMs: 15_000 });
  const limits = useLoad<{ accounts: Limit[] | null }>("/limits", { everyMs: 5_000 });
  const [asked, setAsked] = useState<Asked>(null);
  const [busy, setBusy] = useState("");
  const [found, setFound] = useState<Finding[]>();
  const pause = pauses.data?.pauses?.find((p) => p.paused && p.name === name && p.subject === (crm ? "DESTINATION" : "CONNECTION"));
  const limit = accountOf(limits.data?.accounts ?? [], crm ? "destination" : "connection", name);

  const work = async (what: string, done: string, f: () => Promise<unknown>) => {
    setBusy(what);
    if (await act(done, f)) {
      setAsked(null);
      shown.reload();
      pauses.reload();
    }
    setBusy("");
  };
  const check = () => work("check", "", async () => setFound((await api.post<{ findings: Finding[] }>(at + "/check")).findings));
  const change = (body: unknown, done: string) => work("resources", done, () => api.patch(`/connections/${encodeURIComponent(name)}`, body));
  const setPause = (verb: "pause" | "resume", why: string) =>
    work(verb, t(`connections.${verb}d`, { name }), () => api.post(`${at}/${verb}`, { why, by: by() }, { key: newKey() }));

  return (
    <Page title={name} back={{ href: "/connections", label: t("connections.title") }} lead={shown.data && (
      <>{shown.data.title} {!crm && <EnvironmentBadge name={shown.data.environment} />} <HealthBadge health={healthOf(shown.data, pause)} /></>
    )} actions={shown.data && may("operator") && (shown.data.state === "disconnected"
      ? <Button kind="primary" testid="reconnect" onClick={() => setAsked("reconnect")}>{t("connections.reconnect")}</Button>
      : <>
          <Button onClick={check} busy={busy === "check"} testid="check">{t("connections.check")}</Button>
          {pause ? <Button kind="primary" busy={busy === "resume"} testid="resume" onClick={() => setPause("resume", "")}>{t("connections.resume.verb")}</Button>
            : <Button testid="pause" onClick={() => setAsked("pause")}>{t("connections.pause")}</Button>}
          {crm && <Button testid="rekey" onClick={() => setAsked("reconnect")}>{t("connections.rekey")}</Button>}
          <Button kind="danger" testid="disconnect" onClick={() => setAsked("disconnect")}>{t("connections.disconnect")}</Button>
        </>)}>
      <Loaded load={shown}>{(c) => (
        <div class="columns">
          <div>
            {pause && <p class="note" data-testid="paused">{t("connections.paused.note", { by: pause.by })} <Time at={pause.at} />{pause.why && <>: {pause.why}</>} {pause.waiting !== undefined && <b>{t("connections.heldback", { n: pause.waiting })}</b>}</p>}
            {(c.alarms.length > 0 || found || c.findings?.length) ? (
              <Card title={t("connections.health")}>
                {c.alarms.map((a, i) => (
                  <div key={i} class="alarm" role="note"><Badge tone="warn">{a.kind}</Badge> {a.what} <span class="muted">{t("connections.since")} <Time at={a.since} /></span><p>{t("ui.remedy")}: {a.remedy}</p></div>
                ))}
                <Findings list={found ?? c.findings} />
                {found?.length === 0 && <p>{t("connections.check.good")}</p>}
              </Card>
            ) : null}
            {!crm && c.state !== "disconnected" && (
              <Card title={t("connections.resources")} testid="resources" actions={may("operator") && <Button onClick={() => setAsked("resources")} testid="edit-resources">{t("connections.resources.edit")}</Button>}>
                {c.resources.map((r) => (
                  <div key={r.id} class="resource">
                    <div><b>{r.title}</b><p class="small muted events">{r.event_types.join(", ")}</p></div>
                    <LinkButton href={`/mappings?q=${encodeURIComponent(r.id)}`}>{t("connections.resource.map")}</LinkButton>
                    <Button kind="quiet" label={t("connections.resource.remove.label", { name: r.title })} disabled={c.resources.length === 1} title={c.resources.length === 1 ? t("connections.resource.last") : undefined} onClick={() => setAsked({ remove: r })}>{t("connections.remove")}</Button>
                  </div>
                ))}
              </Card>
            )}
            {limit && <Card title={t("connections.budget")}><Budget account={limit} /></Card>}
          </div>
          <Card title={t("connections.details")}>
            <Facts list={[
              [t("connections.provider"), c.title], [t("connections.state"), has(`connections.state.${c.state}`) ? t(`connections.state.${c.state}`) : c.state], [t("connections.file"), <code>{c.file}</code>],
              [t("connections.account"), c.account && [c.account.name, c.account.id, c.account.user].filter(Boolean).join(" · ")],
              ...(c.account?.detail ?? []).map((d): [string, string] => [d.name, d.value]),
              [t("connections.last"), c.last_event_at && <Time at={c.last_event_at} />], [t("connections.complete"), c.complete_up_to && <Time at={c.complete_up_to} />],
              [t("connections.checked"), c.checked_at && <Time at={c.checked_at} />],
              [t("connections.webhook.id"), c.webhook?.id], [t("connections.webhook.slots"), c.webhook?.limit ? `${number(c.webhook.used ?? 0)} / ${number(c.webhook.limit)}` : ""],
              [t("connections.webhook.registered"), c.webhook?.registered_at && <Time at={c.webhook.registered_at} />],
              [t("connections.webhook.error"), c.webhook?.error],
            ]} />
            {c.webhook?.address && <><h3>{t("connections.webhook")}</h3><Code text={c.webhook.address} label={t("connections.webhook")} /></>}
            {shown.at && <p class="small muted">{t("connections.asof")} <Ago at={shown.at} /></p>}
          </Card>
          <Asking crm={crm} name={name} c={c} asked={asked} busy={busy !== ""} onClose={() => setAsked(null)} change={change} setPause={setPause}
            disconnect={(forget) => work("disconnect", t("connections.disconnected", { name }), () => api.del(`${at}${forget ? "?forget=true" : ""}`))}
            reconnect={(body) => work("reconnect", t("connections.reconnected", { name }), () => api.post(`${at}/reconnect`, body, { key: newKey() }))} />
        </div>
      )}</Loaded>
    </Page>
  );
}

interface Answers {
  crm: boolean;
  name: string;
  c: Either;
  asked: Asked;
  busy: boolean;
  onClose: () => void;
  change: (body: unknown, done: string) => void;
  setPause: (verb: "pause" | "resume", why: string) => void;
  disconnect: (forget: boolean) => void;
  reconnect: (body: unknown) => void;
}

/** The questions before something is changed; each says what stays. */
function Asking(p: Answers) {
  const [why, setWhy] = useState("");
  const [forget, setForget] = useState(false);
  if (p.asked === null) return null;
  if (p.asked === "resources") return <Resources {...p} />;
  if (p.asked === "reconnect") return <Reconnect {...p} />;
  if (p.asked === "pause") {
    return (
      <Dialog open title={t("connections.pause.title", { name: p.name })} onClose={p.onClose} testid="pause-dialog" actions={
        <><Button onClick={p.onClose}>{t("ui.cancel")}</Button><Button kind="primary" busy={p.busy} disabled={!why.trim()} testid="pause-yes" onClick={() => p.setPause("pause", why.trim())}>{t("connections.pause")}</Button></>
      }>
        <p>{t(p.crm ? "connections.pause.crm.text" : "connections.pause.text")}</p>
        <Field label={t("connections.pause.why")}><TextInput value={why} onInput={setWhy} testid="pause-why" /></Field>
      </Dialog>
    );
  }
  if (p.asked === "disconnect") {
    const provider = has(`connections.revoke.${p.c.type}`) ? t(`connections.revoke.${p.c.type}`) : t("connections.revoke", { title: p.c.title });
    return (
      <Confirm open title={t("connections.disconnect.title", { name: p.name })} confirm={t("connections.disconnect")} busy={p.busy} onClose={p.onClose} onConfirm={() => p.disconnect(forget)}>
        <ul>
          <li>{t(p.crm ? "connections.disconnect.crm.stops" : "connections.disconnect.stops")}</li>
          <li>{t("connections.disconnect.stays")}</li>
          <li>{provider}</li>
          <li>{t("connections.disconnect.again")}</li>
        </ul>
        <Check label={t("connections.disconnect.forget")} hint={t("connections.disconnect.forget.hint")} checked={forget} onChange={setForget} />
      </Confirm>
    );
  }
  const r = p.asked.remove;
  return (
    <Confirm open title={t("connections.resource.remove.title", { name: r.title })} confirm={t("connections.disconnect")} busy={p.busy} onClose={p.onClose}
      onConfirm={() => p.change({ remove: r.id }, t("connections.resource.removed", { name: r.title }))}>
      <ul><li>{t("connections.resource.remove.stops")}</li><li>{t("connections.resource.remove.stays", { name: p.name })}</li><li>{t("connections.resource.remove.again")}</li></ul>
    </Confirm>
  );
}

/** Chooses the resources that an account gives. */
function Resources({ c, busy, onClose, change }: Answers) {
  const kinds = useLoad<{ connectors: Connector[] }>("/connectors");
  const [chosen, setChosen] = useState(c.resources.map((r) => r.id));
  return (
    <Dialog open title={t("connections.resources.edit")} onClose={onClose} testid="resources-dialog" actions={
      <><Button onClick={onClose}>{t("ui.cancel")}</Button><Button kind="primary" busy={busy} disabled={chosen.length === 0} testid="resources-yes" onClick={() => change({ resources: chosen }, t("connections.resources.changed"))}>{t("connections.save")}</Button></>
    }>
      <Loaded load={kinds} lines={2}>{(d) => <ResourceChoice all={d.connectors.find((k) => k.type === c.type)?.resources ?? c.resources} chosen={chosen} onChange={setChosen} />}</Loaded>
    </Dialog>
  );
}

/** Resources with the names of the events that they stand for. */
export function ResourceChoice({ all, chosen, onChange }: { all: Resource[]; chosen: string[]; onChange: (ids: string[]) => void }) {
  return (
    <fieldset class="plain">
      <legend>{t("connections.resources")}</legend>
      {all.map((r) => (
        <Check key={r.id} label={r.title} hint={r.event_types.join(", ")} checked={chosen.includes(r.id)} testid={`resource-${r.id}`}
          onChange={(yes) => onChange(all.map((x) => x.id).filter((id) => (id === r.id ? yes : chosen.includes(id))))} />
      ))}
    </fieldset>
  );
}

/** Connects again; a CRM may be given a new key on the way. */
function Reconnect({ crm, name, c, busy, onClose, reconnect }: Answers) {
  const sinks = useLoad<{ sinks: Sink[] }>(crm ? "/sinks" : null);
  const [values, setValues] = useState<Record<string, string>>({});
  const [force, setForce] = useState(false);
  const kind = sinks.data?.sinks.find((s) => s.type === c.type);
  const secrets = kind ? splitSettings(kind.type, kind.settings).first.filter((s) => s.secret) : [];
  return (
    <Dialog open title={t("connections.reconnect.title", { name })} onClose={onClose} testid="reconnect-dialog" actions={
      <><Button onClick={onClose}>{t("ui.cancel")}</Button><Button kind="primary" busy={busy} testid="reconnect-yes"
        onClick={() => reconnect(crm ? { secrets: Object.fromEntries(Object.entries(values).filter(([, v]) => v)), force } : { force })}>{t("connections.reconnect")}</Button></>
    }>
      <p>{t(crm ? "connections.reconnect.crm.text" : "connections.reconnect.text")}</p>
      {secrets.map((s) => (
        <Field key={s.key} label={s.key} optional><TextInput type="password" autocomplete="off" value={values[settingPath(s)] ?? ""} onInput={(v) => setValues({ ...values, [settingPath(s)]: v })} /></Field>
      ))}
      <Check label={t("connections.force")} hint={t("connections.force.hint")} checked={force} onChange={setForce} />
    </Dialog>
  );
}
