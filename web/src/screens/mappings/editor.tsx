import { useEffect, useRef } from "preact/hooks";
import type { Problem } from "../../api";
import { has, t } from "../../i18n";
import { Badge, Button, Field, TextArea, TextInput } from "../../ui";
import type { Entry } from "./catalogue";
import { Combo, type Choice } from "./combo";
import { addRule, faults, FUNCTIONS, moveRule, removeRule, suggestedFunction, type Rule, type Source } from "./rules";

/** The rows of a mapping: source, function, field of the CRM. Everything can be done by keyboard; Alt and an arrow move a row. */
export function Rows({ rules, onChange, sources, fields, fieldOf, known, problems = [] }: {
  rules: readonly Rule[]; onChange: (rules: Rule[]) => void; sources: readonly Source[]; fields: readonly Choice[]; fieldOf: (name: string) => Entry | undefined; known: boolean; problems?: Problem[];
}) {
  const box = useRef<HTMLDivElement>(null);
  const focus = useRef<string | null>(null);
  useEffect(() => {
    if (focus.current === null) return;
    box.current?.querySelector<HTMLElement>(focus.current)?.focus();
    focus.current = null;
  });
  const wrong = faults(rules);
  const set = (i: number, change: Partial<Rule>) => onChange(rules.map((r, j) => (j === i ? { ...r, ...change } : r)));
  const move = (i: number, by: -1 | 1, control: string) => {
    const to = i + by;
    if (to < 0 || to >= rules.length) return;
    focus.current = `[data-rule="${to}"] ${control}`;
    onChange(moveRule(rules, i, by));
  };
  const remove = (i: number) => {
    focus.current = rules.length > 1 ? `[data-rule="${Math.min(i, rules.length - 2)}"] [data-remove]` : "[data-add]";
    onChange(removeRule(rules, i));
  };
  const add = () => {
    focus.current = `[data-rule="${rules.length}"] input`;
    onChange(addRule(rules));
  };
  const keys = (e: KeyboardEvent, i: number) => {
    if (!e.altKey || (e.key !== "ArrowUp" && e.key !== "ArrowDown")) return;
    e.preventDefault();
    const target = (e.target as HTMLElement).dataset["testid"];
    move(i, e.key === "ArrowUp" ? -1 : 1, target ? `[data-testid="${target}"]` : "input");
  };
  const from = sources.map((s) => ({ value: s.name, label: has(`mappings.source.${s.name}`) ? t(`mappings.source.${s.name}`) : s.label, detail: `${s.name} · ${s.sample}` }));
  return (
    <div class="rules" ref={box} data-testid="rules">
      <p class="hint muted small">{t("mappings.rows.keys")}</p>
      <ol>
        {rules.map((r, i) => {
          const said = problems.filter((p) => p.field === `fields.${i}` || p.field?.startsWith(`fields.${i}.`) || p.field?.startsWith(`fields[${i}]`));
          const field = fieldOf(r.to);
          const fault = wrong.get(i);
          const error = fault ? t(`mappings.fault.${fault}`) : undefined;
          const name = t("mappings.row", { n: i + 1 });
          return (
            <li key={i} data-rule={i} onKeyDown={(e) => keys(e, i)} class={said.length || fault ? "wrong" : undefined}>
              <div class="rule" role="group" aria-label={name}>
                <Field label={t("mappings.from")} error={fault === "from" ? error : undefined}>
                  {r.expr !== undefined
                    ? <TextInput value={r.expr} onInput={(expr) => set(i, { expr })} testid="expr" />
                    : <Combo value={r.from ?? ""} choices={from} testid="from" onInput={(v) => set(i, { from: v, ...(r.as || !field ? {} : { as: suggestedFunction(v, field.type ?? "") }) })} />}
                </Field>
                <Field label={t("mappings.as")} optional><Combo value={r.as ?? ""} choices={FUNCTIONS.map((value) => ({ value, ...(has(`mappings.fn.${value}`) ? { label: t(`mappings.fn.${value}`) } : {}) }))} testid="as" onInput={(as) => set(i, { as })} /></Field>
                <span class="arrow" aria-hidden="true">→</span>
                <Field label={t("mappings.to")} error={fault && fault !== "from" ? error : known && r.to.trim() && !field ? t("mappings.to.unknown") : undefined} hint={field?.type && <Badge>{t(`mappings.type.${field.type}`)}</Badge>}>
                  <Combo value={r.to} choices={fields} testid="to" onInput={(v) => set(i, { to: v })} />
                </Field>
                <div class="rowactions">
                  <Button kind="quiet" label={`${t("mappings.up")}: ${name}`} disabled={i === 0} testid="up" onClick={() => move(i, -1, '[data-testid="up"]')}>↑</Button>
                  <Button kind="quiet" label={`${t("mappings.down")}: ${name}`} disabled={i === rules.length - 1} testid="down" onClick={() => move(i, 1, '[data-testid="down"]')}>↓</Button>
                  <button type="button" class="button quiet" data-remove="" data-testid="remove" aria-label={`${t("mappings.remove")}: ${name}`} onClick={() => remove(i)}>✕</button>
                </div>
              </div>
              <More rule={r} set={(change) => set(i, change)} sources={from} name={name} />
              {said.map((p, k) => <p key={k} class="error" role="alert">{p.line ? `${t("mappings.line", { n: p.line })}: ` : ""}{p.detail} {p.hint}</p>)}
            </li>
          );
        })}
      </ol>
      <button type="button" class="button" data-add="" data-testid="add" onClick={add}>+ {t("mappings.add")}</button>
    </div>
  );
}

/** What most rules do not need. */
function More({ rule, set, sources, name }: { rule: Rule; set: (change: Partial<Rule>) => void; sources: Choice[]; name: string }) {
  const used = rule.default !== undefined || rule.if || rule.expr !== undefined || rule.concat?.length || rule.table || rule.when;
  const table = Object.entries(rule.table ?? {}).map(([k, v]) => `${k} = ${v}`).join("\n");
  const parse = (text: string): Record<string, string> =>
    Object.fromEntries(text.split("\n").filter((l) => l.trim()).map((l) => { const [k, ...v] = l.split("="); return [k!.trim(), v.join("=").trim()]; }));
  return (
    <details class="rulemore" open={Boolean(used) || undefined}>
      <summary aria-label={`${t("mappings.more")}: ${name}`}>{t("mappings.more")}</summary>
      <div class="grid">
        <Field label={t("mappings.expr")} hint={t("mappings.expr.hint")} optional>
          <TextInput value={rule.expr ?? ""} placeholder="order.amount - order.refunded" onInput={(v) => set(v ? { expr: v, from: undefined } : { expr: undefined })} />
        </Field>
        <Field label={t("mappings.if")} optional><TextInput value={rule.if ?? ""} placeholder={'order.currency == "EUR"'} onInput={(v) => set({ if: v })} /></Field>
        <Field label={t("mappings.default")} hint={t("mappings.default.hint")} optional><TextInput value={rule.default ?? ""} onInput={(v) => set({ default: v === "" ? undefined : v })} /></Field>
        <Field label={t("mappings.concat")} optional><Combo value={(rule.concat ?? []).join(", ")} choices={sources} onInput={(v) => set({ concat: v.split(",").map((x) => x.trim()).filter(Boolean) })} /></Field>
        {rule.as?.includes("lookup") && <Lines label={t("mappings.table")} text={table} onChange={(v) => set({ table: parse(v) })} />}
      </div>
    </details>
  );
}

/** Lines of "value = text": what is typed stays as typed while it is typed. */
function Lines({ label, text, onChange }: { label: string; text: string; onChange: (text: string) => void }) {
  const typed = useRef(text);
  return <Field label={label}><TextArea rows={3} value={typed.current} onInput={(v) => { typed.current = v; onChange(v); }} /></Field>;
}
