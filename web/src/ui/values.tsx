import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { ago, money, number, t } from "../i18n";
import { toast } from "./toast";

export type Tone = "good" | "warn" | "bad" | "info" | "none";

// now turns every half minute, and with it every "3 minutes ago".
const now = signal(new Date());
setInterval(() => {
  if (!document.hidden) now.value = new Date();
}, 30_000);

/** An amount of one currency. */
export function Money({ value }: { value: { amount: string; currency: string } | null | undefined }) {
  if (!value?.currency) return <span class="muted">–</span>;
  return <span class="number">{money(value.amount, value.currency)}</span>;
}

/** How long ago; the exact time in UTC is in the title and, for a screen reader, in datetime. */
export function Time({ at }: { at: string | undefined }) {
  if (!at || at.startsWith("0001-")) return <span class="muted">–</span>;
  const d = new Date(at);
  if (Number.isNaN(d.getTime())) return <span>{at}</span>;
  return <Ago at={d} />;
}

export function Ago({ at }: { at: Date }) {
  const exact = at.toISOString();
  return <time dateTime={exact} title={exact.replace("T", " ").replace(/\.000Z$|Z$/, " UTC")}>{ago(at, now.value > at ? now.value : new Date())}</time>;
}

export function Badge({ tone = "none", children, title }: { tone?: Tone; children: ComponentChildren; title?: string }) {
  return <span class={`badge ${tone}`} title={title}>{children}</span>;
}

export function EnvironmentBadge({ name }: { name: string }) {
  if (!name) return null;
  const low = name.toLowerCase();
  return <span class={`badge environment ${low === "live" ? "live" : "sandbox"}`}>{low}</span>;
}

/** Text exactly as it is: bodies, headers, SQL. */
export function Code({ text, label }: { text: string; label: string }) {
  return (
    <div class="code">
      <pre tabIndex={0} role="group" aria-label={label}>{text}</pre>
      <Copy text={text} label={label} />
    </div>
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const copy = () => {
    if (!navigator.clipboard) {
      toast(t("ui.copy.refused"), "warn"); // a page that came without TLS from another machine may not
      return;
    }
    navigator.clipboard.writeText(text).then(() => toast(t("ui.copied")), () => toast(t("ui.copy.refused"), "warn"));
  };
  return <button type="button" class="button quiet copy" aria-label={`${t("ui.copy")}: ${label}`} onClick={copy}>{t("ui.copy")}</button>;
}

/** Names and values; empty ones are left out. */
export function Facts({ list }: { list: [string, ComponentChildren][] }) {
  const there = list.filter(([, v]) => v !== "" && v !== null && v !== undefined && v !== false);
  if (!there.length) return null;
  return <dl class="facts">{there.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>;
}

export function Progress({ done, total, label }: { done: number; total: number; label: string }) {
  return (
    <div class="progress">
      <progress max={Math.max(total, 1)} value={done} aria-label={label} />
      <span class="number">{number(done)} / {number(total)}</span>
    </div>
  );
}
