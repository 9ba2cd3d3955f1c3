import { ApiError } from "../../api";
import { number, t } from "../../i18n";
import { Badge, Time, toast, type Tone } from "../../ui";
import type { Account, Finding, Health } from "./model";

const tones: Record<Health, Tone> = { good: "good", warn: "warn", bad: "bad", off: "none", paused: "info" };

export const HealthBadge = ({ health }: { health: Health }) => <Badge tone={tones[health]}>{t(`connections.health.${health}`)}</Badge>;

/** What a check found, each with what to do. */
export function Findings({ list }: { list: Finding[] | null | undefined }) {
  if (!list?.length) return null;
  return (
    <ul class="findings" data-testid="findings">
      {list.map((f, i) => (
        <li key={i} class={f.level}>
          <Badge tone={f.level === "ok" ? "good" : f.level}>{t(`connections.level.${f.level}`)}</Badge>
          <span>{f.message}{f.hint && <span class="muted"> {f.hint}</span>}</span>
        </li>
      ))}
    </ul>
  );
}

export const waitingOf = (a: Account): number => a.uses.reduce((n, u) => n + u.waiting, 0);

/** The limits of an account: used, left, reset, and who waits. */
export function Budget({ account }: { account: Account }) {
  return (
    <div class="budget" data-testid="budget">
      {account.windows?.map((w) => (
        <div key={w.name} class="window">
          <span>{t("connections.window", { requests: number(w.requests), seconds: number(w.per_seconds) })}{w.bucket && ` (${w.bucket})`}</span>
          <meter min={0} max={Math.max(w.requests, 1)} high={w.requests * 0.9} value={w.used} aria-label={w.name} />
          <span class="number">{t("connections.used", { used: w.used, left: w.left })}</span>
          {w.reset && <span class="muted small">{t("connections.reset")} <Time at={w.reset} /></span>}
        </div>
      ))}
      {account.parallel ? <p class="small">{t("connections.parallel", { used: account.in_parallel ?? 0, most: account.parallel })}</p> : null}
      {account.hold_until && <p><Badge tone="warn">{t("connections.held")}</Badge> <Time at={account.hold_until} /> <span class="muted">{account.hold_why}</span></p>}
      {account.uses.map((u) => <p key={u.use} class="small">{u.use}: {t("connections.waiting", { n: u.waiting })}</p>)}
    </div>
  );
}

/** Runs an action; tells what was done, or why not. True: it was done. */
export async function act(done: string, f: () => Promise<unknown>): Promise<boolean> {
  try {
    await f();
    if (done) toast(done);
    return true;
  } catch (e) {
    toast(refusalText(e), "bad");
    return false;
  }
}

export function refusalText(e: unknown): string {
  if (!(e instanceof ApiError)) return String(e);
  return [e.detail || e.title || t("ui.error.unreachable"), e.problems.map((p) => p.detail).join("; "), e.remedy, e.requestId && `(${e.requestId})`].filter(Boolean).join(" · ");
}
