import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, ApiError, useLoad, type Problem } from "../../api";
import { t } from "../../i18n";
import { go, link, query, setQuery, useUnsaved } from "../../router";
import { may, usualEnvironment } from "../../session";
import { Button, Card, Confirm, EnvironmentBadge, Loaded, Page, Select, Tabs } from "../../ui";
import type { Connection, Destination } from "../connections/model";
import { act } from "../connections/parts";
import { useCatalogue } from "../mappings/catalogue";
import { Standing } from "../mappings/list";
import { useSaving, type Edited } from "../mappings/saving";
import { Versions } from "../mappings/versions";
import { Backtest } from "./backtest";
import { HeadForm, kindOptions, StepForm } from "./forms";
import { Graph, type Counts } from "./graph";
import { ModeBadge, type Runs, type WorkflowView } from "./list";
import { branchesOf, freshStep, insertStep, kindOf, moveStep, removeStep, replaceStep, sibling, stepAt, type Kind, type Place, type WorkflowForm } from "./steps";
import { Test } from "./test";
import { YamlText } from "./text";
import { Waits } from "./waits";
import { readYaml, YamlFault } from "./yaml";

const checkAfterMs = 500;

export function Workflow({ params }: { params: Record<string, string> }) {
  const name = params["name"] ?? "";
  const load = useLoad<WorkflowView>(`/workflows/${encodeURIComponent(name)}`);
  if (!load.data) return <Page title={name} back={{ href: "/workflows", label: t("workflows.title") }}><Loaded load={load}>{() => null}</Loaded></Page>;
  return <Editor key={name} view={load.data} reload={load.reload} />;
}

/** What the text says, where it can be read here. */
function parsed(text: string): { form?: WorkflowForm; fault?: Problem } {
  try {
    const v = readYaml(text);
    const form = v as WorkflowForm;
    if (typeof v !== "object" || v === null || !Array.isArray(form.start)) return {};
    return { form: { ...form, start: form.start.filter((s) => typeof s === "object" && s !== null) } };
  } catch (e) {
    return e instanceof YamlFault ? { fault: { line: e.line, detail: e.message } } : {};
  }
}

/** What is edited: the text, and the form that it stands for. by says which of the two a person changed last. */
interface Draft {
  text: string;
  form: WorkflowForm | undefined;
  by: "text" | "form";
  dirty: boolean;
}

const draftOf = (v: WorkflowView): Draft => ({ text: v.text ?? "", form: v.form ?? parsed(v.text ?? "").form, by: "text", dirty: false });

function Editor({ view, reload }: { view: WorkflowView; reload: () => void }) {
  const at = `/workflows/${encodeURIComponent(view.name)}`;
  const [base, setBase] = useState(view);
  const [draft, setDraft] = useState<Draft>(() => draftOf(view));
  const [problems, setProblems] = useState<Problem[]>(view.problems ?? []);
  const [chosen, setChosen] = useState<Place>();
  const [visited, setVisited] = useState<ReadonlySet<string>>();
  const [theirs, setTheirs] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const [busy, setBusy] = useState(false);
  useUnsaved(draft.dirty);
  if (view.etag !== base.etag && (theirs || !draft.dirty)) {
    setBase(view);
    setDraft(draftOf(view));
    setProblems(view.problems ?? []);
    setTheirs(false);
  }
  const body = () => (draft.by === "form" ? { form: draft.form } : { text: draft.text });
  const taken = (e: Edited) => {
    setBase({ ...base, etag: e.etag, text: e.text, problems: e.problems, in_force: Boolean(e.applied) });
    setDraft((d) => ({ ...d, text: e.text, by: "text", dirty: false }));
    setProblems(e.problems ?? []);
    reload();
  };
  const saving = useSaving(at, { body, mine: () => draft.text, etag: base.etag, onSaved: taken, onTheirs: () => { setTheirs(true); reload(); } });

  // What was typed is tried by the server after a moment of rest: it writes nothing, and tells the text and its problems.
  const turn = useRef(0);
  useEffect(() => {
    if (!draft.dirty || !may("operator")) return;
    const mine = ++turn.current;
    const timer = setTimeout(() => {
      api.put<Edited>(`${at}?dry_run=true`, body(), { etag: base.etag }).then((got) => {
        if (mine !== turn.current) return;
        setProblems(got.body.problems ?? []);
        if (draft.by === "form") setDraft((d) => ({ ...d, text: got.body.text }));
      }, (e: unknown) => {
        if (mine === turn.current && e instanceof ApiError) setProblems(e.problems.length ? e.problems : [{ detail: [e.detail || e.title, e.remedy].filter(Boolean).join(" ") }]);
      });
    }, checkAfterMs);
    return () => clearTimeout(timer);
  }, [draft.by === "form" ? draft.form : draft.text, draft.dirty, base.etag]);

  const type = (text: string) => {
    const { form, fault } = parsed(text);
    setDraft((d) => ({ text, form: form ?? d.form, by: "text", dirty: text !== (base.text ?? "") }));
    if (fault) setProblems([fault]);
  };
  const edit = (form: WorkflowForm, place?: Place) => {
    setDraft((d) => ({ ...d, form, by: "form", dirty: true }));
    if (place !== undefined) setChosen(place);
  };
  const tab = query.value["tab"] ?? "edit";
  const editable = may("operator");
  const remove = async () => {
    setBusy(true);
    if (await act(t("workflows.deleted", { name: view.name }), () => api.del(at, undefined, { etag: base.etag }))) go("/workflows");
    setBusy(false);
  };
  return (
    <Page title={view.name} back={{ href: "/workflows", label: t("workflows.title") }} lead={<><ModeBadge mode={draft.form?.mode ?? base.mode} /> <Standing inForce={base.in_force && !draft.dirty} problems={base.problems} /> {draft.dirty && <b>{t("mappings.dirty")}</b>} {draft.form?.description}</>}
      actions={editable && (
        <>
          <Button kind="quiet" onClick={() => setDeleting(true)} testid="delete">{t("workflows.delete")}</Button>
          <Button onClick={() => saving.save(false)} disabled={!draft.dirty} busy={saving.busy === "save"} testid="save">{t("mappings.save")}</Button>
          <Button kind="primary" onClick={() => saving.save(true)} disabled={!draft.dirty && base.in_force} busy={saving.busy === "apply"} testid="apply">{t("mappings.apply")}</Button>
        </>
      )}>
      {saving.view}
      <Tabs label={view.name} active={tab} onChange={(id) => setQuery({ tab: id === "edit" ? "" : id })} tabs={(["edit", "waits", "test", "backtest", "versions"] as const).map((id) => ({ id, label: t(`workflows.tab.${id}`) }))}>
        {tab === "edit" && <Panes {...{ at, draft, edit, type, problems, chosen, setChosen, editable, visited, file: view.file, name: view.name }} />}
        {tab === "waits" && <Waits workflow={view.name} />}
        {tab === "test" && <Test at={at} body={draft.dirty ? body() : {}} form={draft.form} onVisited={setVisited} visited={visited} />}
        {tab === "backtest" && <Backtest file={view.file} text={draft.text} />}
        {tab === "versions" && <Versions at={at} etag={base.etag} text={base.text ?? ""} onRestored={() => { setTheirs(true); reload(); }} />}
      </Tabs>
      <Confirm open={deleting} title={t("workflows.delete.title", { name: view.name })} confirm={t("workflows.delete")} busy={busy} onConfirm={remove} onClose={() => setDeleting(false)}><p>{t("workflows.delete.text")}</p></Confirm>
    </Page>
  );
}

function Panes({ draft, edit, type, problems, chosen, setChosen, editable, visited, file, name }: {
  at: string; draft: Draft; edit: (form: WorkflowForm, place?: Place) => void; type: (text: string) => void; problems: Problem[]; chosen: Place | undefined; setChosen: (p: Place) => void; editable: boolean; visited: ReadonlySet<string> | undefined; file: string; name: string;
}) {
  const environment = usualEnvironment();
  const runs = useLoad<{ workflows: Runs[] | null }>(link("/runs", { workflow: name, environment }), { everyMs: 30_000 });
  const mine = runs.data?.workflows?.find((w) => w.workflow === name);
  const counts: Counts = useMemo(() => ({ of: new Map((mine?.branches ?? []).map((b) => [`${b.step} ${b.branch}`, b.times])) }), [mine]);
  const form = draft.form;
  return (
    <div class="panes">
      <section class="card" aria-label={t("workflows.graph")}>
        {mine && <p class="small runs" data-testid="counts">{t("workflows.counts", { runs: mine.runs, open: mine.open, ended: mine.ended, stopped: mine.stopped, contacts: mine.contacts })} <EnvironmentBadge name={environment} /></p>}
        {runs.error && <p class="small muted">{t("workflows.nocounts")} {runs.error.detail}</p>}
        {form ? <Graph form={form} counts={counts} chosen={chosen ?? ""} onChoose={setChosen} visited={visited} /> : <p class="note warn">{t("workflows.unreadable")}</p>}
      </section>
      {form && <Side {...{ form, edit, chosen: chosen ?? "", setChosen, editable }} />}
        <Card title={<code>{file}</code>}><YamlText text={draft.text} onInput={type} problems={problems} label={t("workflows.text", { name: file })} readOnly={!editable} /></Card>
    </div>
  );
}

/** The form of what is chosen in the graph, and what can be done with its place. */
function Side({ form, edit, chosen, setChosen, editable }: { form: WorkflowForm; edit: (form: WorkflowForm, place?: Place) => void; chosen: Place; setChosen: (p: Place) => void; editable: boolean }) {
  const catalogue = useCatalogue(form.destination ?? "");
  const crms = useLoad<{ destinations: Destination[] }>("/destinations");
  const sources = useLoad<{ connections: Connection[] }>("/connections");
  const flows = useLoad<{ items: WorkflowView[] | null }>("/workflows");
  const choices = (kind: string) =>
    kind === "destination" ? (crms.data?.destinations ?? []).map((c) => ({ value: c.name, detail: c.title }))
      : kind === "connection" ? (sources.data?.connections ?? []).map((c) => ({ value: c.name, detail: c.title }))
        : kind === "workflow" ? (flows.data?.items ?? []).map((w) => ({ value: w.name, detail: w.description })) : catalogue.choices(kind);
  const step = chosen ? stepAt(form, chosen) : undefined;
  const kind = step && kindOf(step);
  return (
    <Card testid="side" title={step ? `${kind ? t(`workflows.kind.${kind}`) : t("workflows.kind.none")}` : t("workflows.start")} actions={step && editable && (
      <>
        <Button kind="quiet" label={t("mappings.up")} testid="step-up" onClick={() => { const next = moveStep(form, chosen, -1); if (next !== form) edit(next, sibling(chosen, -1)); }}>↑</Button>
        <Button kind="quiet" label={t("mappings.down")} testid="step-down" onClick={() => { const next = moveStep(form, chosen, 1); if (next !== form) edit(next, sibling(chosen, 1)); }}>↓</Button>
        <Button kind="quiet" testid="step-remove" onClick={() => edit(removeStep(form, chosen), "")}>{t("mappings.remove")}</Button>
      </>
    )}>
      <fieldset class="plain" disabled={!editable}>
        {step ? <StepForm key={chosen} step={step} place={chosen} choices={choices} onChange={(s) => edit(replaceStep(form, chosen, s))} /> : <HeadForm form={form} choices={choices} onChange={(f) => edit(f)} />}
        <div class="inserts">
          {step && <Insert label={t("workflows.insert.after")} testid="insert" onInsert={(k) => { const to = sibling(chosen, 1); edit(insertStep(form, to, freshStep(k)), to); }} />}
          {!step && <Insert label={t("workflows.insert.first")} testid="insert" onInsert={(k) => edit(insertStep(form, "0", freshStep(k)), "0")} />}
          {step && branchesOf(kind).map((b) => {
            const to = `${chosen}.${b}.${(step[b] ?? []).length}`;
            return <Insert key={b} label={t("workflows.insert.branch", { name: t(`workflows.branch.${b}`) })} testid={`insert-${b}`} onInsert={(k) => edit(insertStep(form, to, freshStep(k)), to)} />;
          })}
        </div>
      </fieldset>
      {chosen !== "" && <p><button type="button" class="linklike" onClick={() => setChosen("")}>{t("workflows.head")}</button></p>}
    </Card>
  );
}

function Insert({ label, onInsert, testid }: { label: string; onInsert: (kind: Kind) => void; testid: string }) {
  const [kind, setKind] = useState<string>("");
  return (
    <div class="insert">
      <Select aria-label={label} value={kind} testid={`${testid}-kind`} options={[{ value: "", label }, ...kindOptions()]} onChange={setKind} />
      <Button disabled={!kind} testid={testid} label={label} onClick={() => { onInsert(kind as Kind); setKind(""); }}>+</Button>
    </div>
  );
}
