import { useState } from "preact/hooks";
import { t } from "../../i18n";
import { Button, Check, Field, Select, TextArea, TextInput } from "../../ui";
import { Combo, type Choice } from "../mappings/combo";
import { branchesOf, freshStep, kindOf, KINDS, tidy, type Kind, type Step, type Words, type WorkflowForm } from "./steps";

/** How a value is asked for. "list:tag": texts, of the CRM's tags; "pick:message": one text; "map:field": names and texts. */
type Ask = "text" | "long" | "number" | "yes" | "span" | `pick:${string}` | `list:${string}` | `map:${string}` | `one:${string}` | { [key: string]: Ask };

const STATUSES = ["DRAFT", "PENDING", "APPROVED", "FAILED", "AUTHORIZED", "PARTIALLY_PAID", "PAID", "PARTIALLY_REFUNDED", "DISPUTED", "EXPIRED", "CANCELLED", "VOIDED", "REFUNDED", "CHARGED_BACK", "ACTIVE", "SUSPENDED"];
const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const EVENTS = ["payment-status-changed", "paypal-event-received", "recurring-payment-created", "recurring-payment-updated", "order-placed"];
const ONE: Record<string, string[]> = {
  on: [...EVENTS, "tag-added", "moved-here", "schedule"], event: EVENTS, scope: ["", "contact", "order", "subscription"], same: ["", "order", "subscription", "contact"],
  environment: ["", "live", "sandbox"], mode: ["live", "shadow", "off"], open_runs: ["keep", "move"],
};

const HOURS: Ask = { days: "list:day", from: "text", to: "text", zone: "text" };
const COUNTS: Record<string, Ask> = { status: "list:status", from: "list:status", connections: "list:connection", environment: "one:environment", events: "list:none", products: "list:none" };

const FORMS: Record<Kind, Ask> = {
  if: "long", on_list: "pick:list", business_hours: HOURS,
  wait_for: { on: "one:event", ...COUNTS, not_met_after: "span", if: "text", list: "pick:list", same: "one:same", times: "number", window: "span", look_back: "span", correct_within: "span", once: "one:scope" },
  wait: "span", wait_until: { at: "text", days: "list:day", date: "text", shift: "span", zone: "text", business_hours: HOURS },
  send_message: "pick:message", move_to_list: { from: "pick:list", to: "pick:list" }, copy_to_list: "pick:list", add_tags: "list:tag", remove_tags: "list:tag",
  set_field: "map:field", clear_field: "list:field", score: "number", start_automation: "pick:automation", track_event: { name: "text", data: "text" },
  write_order: { shop: "pick:shop" }, write_recurring_payment: { shop: "pick:shop" }, notify: { to: "pick:destination", event: "text", body: "long" }, move_to_workflow: "pick:workflow", stop: "yes",
};

/** Keys beside the one that says what a step does. */
const BESIDE: Partial<Record<Kind, Record<string, Ask>>> = { send_message: { values: "map:none" }, score: { field: "pick:field" }, add_tags: { remove_tags: "list:tag" } };
const ELSEWHERE: readonly Kind[] = ["on_list", "wait_for", "send_message", "move_to_list", "copy_to_list", "add_tags", "remove_tags", "set_field", "clear_field", "score", "start_automation", "track_event", "write_order", "write_recurring_payment"];

const START: Record<string, Record<string, Ask>> = {
  "payment-status-changed": COUNTS, "tag-added": { tag: "pick:tag" }, "moved-here": {}, schedule: { at: "text", days: "list:day", zone: "text" },
};
const { status: _s, from: _f, ...EVENT } = COUNTS;

export type Choices = (kind: string) => Choice[];

const label = (key: string): string => t(`workflows.key.${key}`);
const options = (kind: string) => ONE[kind]!.map((value) => ({ value, label: value === "" ? t("workflows.any") : kind === "on" || kind === "event" ? t(`workflows.on.${value}`) : kind === "mode" ? t(`workflows.mode.${value}`) : kind === "open_runs" ? t(`workflows.open_runs.${value}`) : value }));

/** The form of one value. */
function Value({ name, ask, value, onChange, choices }: { name: string; ask: Ask; value: unknown; onChange: (value: unknown) => void; choices: Choices }) {
  if (typeof ask === "object") {
    const o = (value ?? {}) as Words;
    return (
      <fieldset class="boxed">
        <legend>{label(name)}</legend>
        {Object.entries(ask).map(([k, a]) => <Value key={k} name={k} ask={a} value={o[k]} choices={choices} onChange={(v) => onChange({ ...o, [k]: v })} />)}
      </fieldset>
    );
  }
  const [form, kind = ""] = ask.split(":");
  const text = value === undefined || value === null ? "" : String(value);
  const testid = `key-${name}`;
  switch (form) {
    case "long": return <Field label={label(name)}><TextArea rows={2} value={text} onInput={onChange} testid={testid} /></Field>;
    case "number": return <Field label={label(name)}><TextInput type="number" value={text} onInput={(v) => onChange(v === "" ? undefined : Number(v))} testid={testid} /></Field>;
    case "yes": return <Check label={label(name)} checked={value === true} onChange={(yes) => onChange(yes || undefined)} />;
    case "span": return <Field label={label(name)} hint={t("workflows.span")}><TextInput value={text} onInput={onChange} testid={testid} /></Field>;
    case "one": return <Field label={label(name)}><Select value={text || (ONE[kind]![0] ?? "")} options={options(kind)} onChange={onChange} testid={testid} /></Field>;
    case "pick": return <Field label={label(name)}><Combo value={text} choices={choices(kind)} onInput={onChange} testid={testid} /></Field>;
    case "list": return <Items name={name} value={value} choices={kind === "status" ? STATUSES.map((v) => ({ value: v })) : kind === "day" ? DAYS.map((v) => ({ value: v, label: t(`workflows.day.${v}`) })) : choices(kind)} onChange={onChange} />;
    case "map": return <Pairs name={name} value={(value ?? {}) as Record<string, unknown>} choices={choices(kind)} onChange={onChange} />;
  }
  return <Field label={label(name)}><TextInput value={text} onInput={onChange} testid={testid} /></Field>;
}

/** Several texts, each taken out by a button of its own; Enter or a choice puts one in. */
function Items({ name, value, choices, onChange }: { name: string; value: unknown; choices: Choice[]; onChange: (value: unknown) => void }) {
  const list = Array.isArray(value) ? value.map(String) : value ? [String(value)] : [];
  const [text, setText] = useState("");
  const add = (v: string) => {
    setText("");
    if (v.trim() && !list.includes(v.trim())) onChange([...list, v.trim()]);
  };
  const input = (v: string) => (choices.some((c) => c.value === v) ? add(v) : setText(v));
  return (
    <div class="items" onKeyDown={(e) => { if (e.key === "Enter" && !e.defaultPrevented && (e.target as HTMLElement).tagName === "INPUT") { e.preventDefault(); add(text); } }} onFocusOut={(e) => { if (text && !e.currentTarget.contains(e.relatedTarget as Node | null)) add(text); }}>
      <Field label={label(name)} hint={list.length === 0 ? t("workflows.items") : undefined}><Combo value={text} choices={choices.filter((c) => !list.includes(c.value))} onInput={input} testid={`key-${name}`} /></Field>
      {list.length > 0 && <ul>{list.map((v) => <li key={v}><span>{v}</span><button type="button" class="button quiet" aria-label={`${t("mappings.remove")}: ${v}`} onClick={() => onChange(list.filter((x) => x !== v))}>✕</button></li>)}</ul>}
    </div>
  );
}

/** Names and texts. Rows live beside the object, so that a name can be typed and may be empty meanwhile. */
function Pairs({ name, value, choices, onChange }: { name: string; value: Record<string, unknown>; choices: Choice[]; onChange: (value: unknown) => void }) {
  const [rows, setRows] = useState(Object.entries(value).map(([k, v]) => [k, String(v)] as [string, string]));
  const put = (next: [string, string][]) => {
    setRows(next);
    onChange(Object.fromEntries(next.filter(([k]) => k)));
  };
  return (
    <fieldset class="boxed">
      <legend>{label(name)}</legend>
      {rows.map(([k, v], i) => (
        <div key={i} class="pair">
          <Field label={t("workflows.pair.name")}>{choices.length ? <Combo value={k} choices={choices} onInput={(x) => put(rows.map((r, j) => (j === i ? [x, v] : r)))} /> : <TextInput value={k} onInput={(x) => put(rows.map((r, j) => (j === i ? [x, v] : r)))} />}</Field>
          <Field label={t("workflows.pair.value")}><TextInput value={v} placeholder="{{ order.id }}" onInput={(x) => put(rows.map((r, j) => (j === i ? [k, x] : r)))} /></Field>
          <button type="button" class="button quiet" aria-label={`${t("mappings.remove")}: ${k}`} onClick={() => put(rows.filter((_, j) => j !== i))}>✕</button>
        </div>
      ))}
      <div><Button onClick={() => setRows([...rows, ["", ""]])}>+ {t("workflows.pair.add")}</Button></div>
    </fieldset>
  );
}

export const kindOptions = () => KINDS.map((k) => ({ value: k, label: t(`workflows.kind.${k}`) }));

/** The form of a step: what it does, how, and under which id. */
export function StepForm({ step, place, onChange, choices }: { step: Step; place: string; onChange: (step: Step) => void; choices: Choices }) {
  const kind = kindOf(step);
  const put = (key: string, v: unknown) => {
    const next: Step = { ...step };
    const tidied = tidy(v);
    if (key !== kind && (tidied === undefined || tidied === "" || (typeof tidied === "object" && tidied !== null && Object.keys(tidied).length === 0))) delete next[key];
    else next[key] = tidied ?? "";
    onChange(next);
  };
  const become = (k: Kind) => {
    const kept: Step = { ...freshStep(k) };
    if (step.id) kept.id = step.id;
    for (const b of branchesOf(k)) if (step[b]) kept[b] = step[b];
    onChange(kept);
  };
  return (
    <div class="stack">
      <Field label={t("workflows.does")}><Select value={kind ?? ""} testid="kind" options={kind ? kindOptions() : [{ value: "", label: "–" }, ...kindOptions()]} onChange={(k) => become(k as Kind)} /></Field>
      {kind && <Value key={`${place} ${kind}`} name={kind} ask={FORMS[kind]} value={step[kind]} choices={choices} onChange={(v) => put(kind, v)} />}
      {kind && Object.entries(BESIDE[kind] ?? {}).map(([k, a]) => <Value key={`${place} ${k}`} name={k} ask={a} value={step[k]} choices={choices} onChange={(v) => put(k, v)} />)}
      <details><summary>{t("mappings.more")}</summary>
        <div class="stack">
          <Field label={t("workflows.id")} hint={t("workflows.id.hint")} optional><TextInput value={step.id ?? ""} placeholder={place} onInput={(v) => put("id", v)} testid="step-id" /></Field>
          {kind && ELSEWHERE.includes(kind) && <Value name="destination" ask="pick:destination" value={step["destination"]} choices={choices} onChange={(v) => put("destination", v)} />}
        </div>
      </details>
    </div>
  );
}

/** The form of the head of the file: what starts it, and what holds for all of it. */
export function HeadForm({ form, onChange, choices }: { form: WorkflowForm; onChange: (form: WorkflowForm) => void; choices: Choices }) {
  const put = (key: string, v: unknown) => onChange(tidy({ ...form, [key]: v }));
  const start = (i: number, s: Words) => onChange({ ...form, start: form.start.map((x, j) => (j === i ? tidy(s) : x)) });
  return (
    <div class="stack">
      {form.start.map((s, i) => {
        const on = String(s["on"] ?? "");
        // What is said, and the first that could be, stand in view; the rest is folded away.
        const keys = Object.entries(START[on] ?? EVENT);
        return (
          <fieldset key={i} class="boxed">
            <legend>{t("workflows.start")} {form.start.length > 1 ? i + 1 : ""}</legend>
            <Value name="on" ask="one:on" value={on} choices={choices} onChange={(v) => start(i, { on: v })} />
            {keys.filter(([k], n) => n === 0 || s[k] !== undefined).map(([k, a]) => <Value key={k} name={k} ask={a} value={s[k]} choices={choices} onChange={(v) => start(i, { ...s, [k]: v })} />)}
            <details open={Boolean(s["if"] || s["list"] || s["history"]) || undefined}><summary>{t("mappings.more")}</summary>
              <div class="stack">
                {keys.filter(([k], n) => n > 0 && s[k] === undefined).map(([k, a]) => <Value key={k} name={k} ask={a} value={s[k]} choices={choices} onChange={(v) => start(i, { ...s, [k]: v })} />)}
                <Value name="if" ask="text" value={s["if"]} choices={choices} onChange={(v) => start(i, { ...s, if: v })} />
                <Value name="list" ask="pick:list" value={s["list"]} choices={choices} onChange={(v) => start(i, { ...s, list: v })} />
                {!["tag-added", "moved-here", "schedule"].includes(on) && <Value name="history" ask="yes" value={s["history"]} choices={choices} onChange={(v) => start(i, { ...s, history: v })} />}
              </div>
            </details>
            {form.start.length > 1 && <Button kind="quiet" onClick={() => onChange({ ...form, start: form.start.filter((_, j) => j !== i) })}>{t("mappings.remove")}</Button>}
          </fieldset>
        );
      })}
      <div><Button onClick={() => onChange({ ...form, start: [...form.start, { on: "payment-status-changed" }] })}>+ {t("workflows.start.add")}</Button></div>
      <Value name="mode" ask="one:mode" value={form.mode} choices={choices} onChange={(v) => put("mode", v === "live" ? "" : v)} />
      <Value name="once" ask="one:scope" value={form.once} choices={choices} onChange={(v) => put("once", v)} />
      <Value name="destination" ask="pick:destination" value={form.destination} choices={choices} onChange={(v) => put("destination", v)} />
      <Value name="description" ask="text" value={form.description} choices={choices} onChange={(v) => put("description", v)} />
      <Value name="zone" ask="text" value={form.zone} choices={choices} onChange={(v) => put("zone", v)} />
      <Value name="open_runs" ask="one:open_runs" value={form.open_runs} choices={choices} onChange={(v) => put("open_runs", v === "keep" ? "" : v)} />
    </div>
  );
}
