// A mapping as data: its rules, edits of their list, and how two versions differ. Nothing here touches the page.

/** One rule, as processors/mapping.Rule has it. */
export interface Rule {
  to: string;
  from?: string;
  expr?: string;
  as?: string;
  concat?: string[];
  separator?: string;
  table?: Record<string, string>;
  default?: string;
  when?: Record<string, string[]>;
  if?: string;
}

/** The file, as processors/automation.MappingFile has it. */
export interface MappingFile {
  connections?: string[];
  resource?: string;
  events?: string[];
  destination: string;
  contact?: { email?: string; first_name?: string; last_name?: string; phone?: string };
  fields?: Rule[];
  tags?: { prefix?: string; suffix?: string; add?: string[]; remove?: string[]; rules?: { if?: string; add?: string[]; remove?: string[] }[]; disabled?: boolean };
  triggers?: { on: string; events?: string[]; from?: string[]; to?: string[]; track_event: string; data?: string }[];
}

/** A source as the catalogue of a connector has it. */
export interface Source {
  name: string;
  label: string;
  type: string;
  sample: string;
}

/** The sources that every event has, beside the connector's own; contact.* are for expressions only. */
export const COMMON: readonly Source[] = (
  [
    ["order.id", "5O190127TN364715T"], ["order.status", "PAID"], ["order.previous_status", "APPROVED"], ["order.amount", "49.99"],
    ["order.currency", "EUR"], ["order.paid", "49.99"], ["order.refunded", "0"], ["order.number", "2026-0017"],
    ["payer.email", "ana@example.com"], ["payer.given_name", "Ana"], ["payer.surname", "de la Cruz"],
    ["payer.full_name", "Ana de la Cruz"], ["payer.phone", "030 901820"], ["payer.payer_id", "QYR5Z8XDVJNXQ"],
    ["payer.address.line1", "Hauptstrasse 1"], ["payer.address.line2", "2nd floor"], ["payer.address.city", "Bonn"],
    ["payer.address.state", "NRW"], ["payer.address.postal_code", "53111"], ["payer.address.country", "DE"], ["event.id", "WH-58D3"],
    ["event.type", "PAYMENT.CAPTURE.COMPLETED"], ["event.time", "2026-03-01T23:30:00Z"], ["event.status", "COMPLETED"],
    ["event.connection", "paypal-live"], ["event.environment", "live"], ["custom_id", "customer-4711"], ["invoice_id", "2026-0017"],
  ] as const
).map(([name, sample]) => ({ name, label: name, sample, type: "" }));

/** Common sources and the connector's own, each once, by what the connector calls them. */
export function sourcesOf(own: readonly Source[]): Source[] {
  const by = new Map(COMMON.map((s) => [s.name, s]));
  for (const s of own) by.set(s.name, s);
  return [...by.values()];
}

/** Functions for "as", ready to choose; any other spelling of the same functions may be typed. */
export const FUNCTIONS: readonly string[] = [
  "trim", "lower", "upper", "digits", "hash", "name first", "name last", "money", "money minor", "number", "number 0", "date",
  "date full", "date time", "date DD.MM.YYYY", "phone", "country", "text", "lookup",
];

/** What a fresh row suggests to do with a source for a field of that type. */
export function suggestedFunction(source: string, fieldType: string): string {
  if (fieldType === "date" && /time$/.test(source)) return "date";
  if (fieldType === "datetime" && /time$/.test(source)) return "date full";
  if (fieldType === "phone" || source === "payer.phone") return "phone";
  if (/^order\.(amount|paid|refunded)$/.test(source)) return "money";
  if (source === "payer.address.country") return "country";
  return "";
}

export type Rules = readonly Rule[];

export const addRule = (rules: Rules, rule: Rule = { to: "" }): Rule[] => [...rules, rule];
export const removeRule = (rules: Rules, i: number): Rule[] => rules.filter((_, j) => j !== i);

/** The list with one rule moved; the same where it is at the end already. */
export function moveRule(rules: Rules, i: number, by: -1 | 1): Rule[] {
  const to = i + by;
  if (i < 0 || i >= rules.length || to < 0 || to >= rules.length) return [...rules];
  const next = [...rules];
  const [rule] = next.splice(i, 1);
  next.splice(to, 0, rule!);
  return next;
}

/** The rule without what is empty: the file says nothing of it. An empty separator is said, for it differs from none. */
export function tidyRule(r: Rule): Rule {
  const out: Rule = { to: r.to.trim() };
  if (r.expr) out.expr = r.expr;
  else if (r.from) out.from = r.from;
  if (r.as) out.as = r.as;
  if (r.concat?.length) out.concat = r.concat;
  if (r.separator !== undefined) out.separator = r.separator;
  if (r.table && Object.keys(r.table).length) out.table = r.table;
  if (r.default !== undefined) out.default = r.default;
  if (r.when && Object.keys(r.when).length) out.when = r.when;
  if (r.if) out.if = r.if;
  return out;
}

export type RuleFault = "to" | "from" | "twice";

/** What a person has to mend before a list of rules can be kept, by row. The server checks the rest. */
export function faults(rules: Rules): Map<number, RuleFault> {
  const out = new Map<number, RuleFault>();
  const seen = new Set<string>();
  rules.forEach((r, i) => {
    const to = r.to.trim();
    if (!to) out.set(i, "to");
    else if (!r.from && !r.expr) out.set(i, "from");
    else if (seen.has(to) && !r.if && !r.when) out.set(i, "twice");
    seen.add(to);
  });
  return out;
}

/** True where a mapping of PayPal reads the phone, which PayPal sends only where the merchant asks for it. */
export const readsPhone = (f: MappingFile): boolean =>
  f.contact?.phone !== "" && (f.contact?.phone === undefined || f.contact.phone === "payer.phone" || (f.fields ?? []).some((r) => r.from === "payer.phone"));

/** A rule on one line, as people compare versions. */
export function ruleText(r: Rule): string {
  const from = r.expr ? `= ${r.expr}` : [r.from, ...(r.concat ?? [])].filter(Boolean).join(" + ");
  const parts = [from, r.as && `| ${r.as}`, r.default !== undefined && `?? "${r.default}"`, r.if && `if ${r.if}`];
  return parts.filter(Boolean).join(" ");
}

export interface LineDiff {
  kind: "same" | "gone" | "new";
  text: string;
}

/** Bound of the lines of which a common sequence is looked for; beyond it everything counts as replaced. */
const DIFF_LINES_MAX = 2000;

/** What became of text a in text b, line by line. */
export function diffLines(a: string, b: string): LineDiff[] {
  const x = a === "" ? [] : a.replace(/\n$/, "").split("\n");
  const y = b === "" ? [] : b.replace(/\n$/, "").split("\n");
  let head = 0;
  while (head < x.length && head < y.length && x[head] === y[head]) head++;
  let tail = 0;
  while (tail < x.length - head && tail < y.length - head && x[x.length - 1 - tail] === y[y.length - 1 - tail]) tail++;
  const same = (lines: string[]): LineDiff[] => lines.map((text) => ({ kind: "same", text }));
  return [...same(x.slice(0, head)), ...middle(x.slice(head, x.length - tail), y.slice(head, y.length - tail)), ...same(x.slice(x.length - tail))];
}

function middle(x: string[], y: string[]): LineDiff[] {
  if (x.length > DIFF_LINES_MAX || y.length > DIFF_LINES_MAX) {
    return [...x.map((text) => ({ kind: "gone" as const, text })), ...y.map((text) => ({ kind: "new" as const, text }))];
  }
  // length[i][j] is the longest common sequence of x from i and y from j.
  const length = Array.from({ length: x.length + 1 }, () => new Uint16Array(y.length + 1));
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      length[i]![j] = x[i] === y[j] ? length[i + 1]![j + 1]! + 1 : Math.max(length[i + 1]![j]!, length[i]![j + 1]!);
    }
  }
  const out: LineDiff[] = [];
  let i = 0;
  let j = 0;
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      out.push({ kind: "same", text: x[i]! });
      i++;
      j++;
    } else if (j >= y.length || (i < x.length && length[i + 1]![j]! >= length[i]![j + 1]!)) {
      out.push({ kind: "gone", text: x[i++]! });
    } else {
      out.push({ kind: "new", text: y[j++]! });
    }
  }
  return out;
}
