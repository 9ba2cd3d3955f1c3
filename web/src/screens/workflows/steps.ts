// A workflow as data: the file's form, and edits of its tree of steps. Nothing here touches the page.

export type Words = Record<string, unknown>;

/** One step: the key that says what it does, keys that belong to it, and its branches. */
export interface Step extends Words {
  id?: string;
  then?: Step[];
  else?: Step[];
  met?: Step[];
  not_met?: Step[];
  corrected?: Step[];
}

/** The file, as processors/workflows.File has it. */
export interface WorkflowForm extends Words {
  description?: string;
  destination?: string;
  mode?: string;
  open_runs?: string;
  once?: string;
  zone?: string;
  start: Words[];
  steps?: Step[];
}

export type BranchKey = "then" | "else" | "met" | "not_met" | "corrected";

/** Kinds in the order in which the compiler knows them; a step has one of them. */
export const KINDS = [
  "if", "on_list", "business_hours", "wait_for", "wait", "wait_until", "send_message", "move_to_list", "copy_to_list",
  "add_tags", "remove_tags", "set_field", "clear_field", "score", "start_automation", "track_event", "write_order",
  "write_recurring_payment", "notify", "move_to_workflow", "stop",
] as const;
export type Kind = (typeof KINDS)[number];

const CONDITIONS: readonly string[] = ["if", "on_list", "business_hours"];

/** What the step does; undefined: it says nothing yet. */
export const kindOf = (s: Step): Kind | undefined => KINDS.find((k) => s[k] !== undefined);

/** The branches that a step of the kind may have, in their order. */
export function branchesOf(kind: Kind | undefined): BranchKey[] {
  if (kind === "wait_for") return ["met", "not_met", "corrected"];
  return CONDITIONS.includes(kind ?? "") ? ["then", "else"] : [];
}

/** After these the run does not come to what stands behind. */
export const endsRun = (s: Step): boolean => s.stop === true || typeof s.move_to_workflow === "string";

/** A step's place as the server names it: "2", "2.met.0". */
export type Place = string;

/** The list that holds the step of a place, and its index there; undefined: there is no such list. */
export function locate(form: WorkflowForm, place: Place): { list: Step[]; index: number } | undefined {
  const parts = place.split(".");
  let list = form.steps ?? [];
  for (let i = 0; i + 1 < parts.length; i += 2) {
    const next = list[Number(parts[i])]?.[parts[i + 1] as BranchKey];
    if (!next) return undefined;
    list = next;
  }
  return { list, index: Number(parts[parts.length - 1]) };
}

export function stepAt(form: WorkflowForm, place: Place): Step | undefined {
  const at = locate(form, place);
  return at?.list[at.index];
}

const copy = <T>(v: T): T => structuredClone(v);

/** The form with a step put at a place; what was there and behind it moves on. A missing branch is made. */
export function insertStep(form: WorkflowForm, place: Place, step: Step): WorkflowForm {
  const next = copy(form);
  const parts = place.split(".");
  let list = (next.steps ??= []);
  for (let i = 0; i + 1 < parts.length; i += 2) {
    const holder = list[Number(parts[i])];
    if (!holder) return form;
    list = holder[parts[i + 1] as BranchKey] ??= [];
  }
  list.splice(Number(parts[parts.length - 1]), 0, copy(step));
  return next;
}

/** The form without the step of a place. A branch that is left empty goes, too: the compiler takes none. */
export function removeStep(form: WorkflowForm, place: Place): WorkflowForm {
  const next = copy(form);
  const at = locate(next, place);
  if (!at || !at.list[at.index]) return form;
  at.list.splice(at.index, 1);
  const parts = place.split(".");
  if (at.list.length === 0 && parts.length > 1) {
    const owner = stepAt(next, parts.slice(0, -2).join("."));
    if (owner) delete owner[parts[parts.length - 2] as BranchKey];
  }
  return next;
}

/** The form with the step of a place moved up (-1) or down (1) among its siblings; the same form where it cannot. */
export function moveStep(form: WorkflowForm, place: Place, by: -1 | 1): WorkflowForm {
  const next = copy(form);
  const at = locate(next, place);
  const to = (at?.index ?? 0) + by;
  if (!at || to < 0 || to >= at.list.length) return form;
  const [step] = at.list.splice(at.index, 1);
  at.list.splice(to, 0, step!);
  return next;
}

/** The form with the step of a place replaced. */
export function replaceStep(form: WorkflowForm, place: Place, step: Step): WorkflowForm {
  const next = copy(form);
  const at = locate(next, place);
  if (!at || !at.list[at.index]) return form;
  at.list[at.index] = copy(step);
  return next;
}

/** Whose step a place is after its list changed: the last part counted on. */
export function sibling(place: Place, by: number): Place {
  const parts = place.split(".");
  parts[parts.length - 1] = String(Number(parts[parts.length - 1]) + by);
  return parts.join(".");
}

/** The object without what is empty: the file says nothing of what is not chosen. */
export function tidy<T>(v: T): T {
  if (Array.isArray(v)) return v as T;
  if (typeof v !== "object" || v === null) return v;
  const out: Words = {};
  for (const [k, x] of Object.entries(v)) {
    if (x === "" || x === undefined || x === null || (Array.isArray(x) && x.length === 0)) continue;
    out[k] = typeof x === "object" ? tidy(x) : x;
  }
  return out as T;
}

/** A step of a kind with what the compiler needs at the least. */
export function freshStep(kind: Kind): Step {
  const blank: Partial<Record<Kind, unknown>> = {
    if: "order.amount > 0", business_hours: { from: "09:00", to: "17:00" }, wait_for: { status: ["PAID"], not_met_after: "1d" }, wait: "1d",
    wait_until: { at: "09:00" }, move_to_list: { from: "", to: "" }, add_tags: [], remove_tags: [], set_field: {}, clear_field: [], score: 1,
    track_event: { name: "" }, write_order: { shop: "" }, write_recurring_payment: { shop: "" }, notify: { to: "", event: "" }, stop: true,
  };
  return { [kind]: blank[kind] ?? "" };
}

/** In a few words what a step or start is about, for the graph: the value that a reader looks for. */
export function gist(v: unknown): string {
  if (v === undefined || v === null || v === true) return "";
  if (Array.isArray(v)) return v.map(gist).filter(Boolean).join(", ");
  if (typeof v !== "object") return String(v);
  const o = v as Words;
  if (o.from !== undefined && o.to !== undefined && o.event === undefined) return `${gist(o.from)} → ${gist(o.to)}`;
  return Object.values(o).map(gist).filter(Boolean).join(" · ");
}
