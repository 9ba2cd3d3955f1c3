import type { ComponentChildren } from "preact";
import type { ApiError, Load, Problem } from "../api";
import { has, t } from "../i18n";
import { Button } from "./button";
import { Ago } from "./values";

/** Nothing is there: say why, and what the next step is. */
export function Empty({ title, children, action }: { title: string; children?: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class="empty" data-testid="empty">
      <h2>{title}</h2>
      {children && <div class="muted">{children}</div>}
      {action && <div class="actions">{action}</div>}
    </div>
  );
}

/** What went wrong: cause, remedy, the request's id; and how old what is shown is. */
export function ErrorState({ error, onRetry, staleSince }: { error: ApiError; onRetry?: () => void; staleSince?: Date | undefined }) {
  const unreachable = error.status === 0 && error.code === "unreachable";
  const title = unreachable ? t("ui.error.unreachable") : error.title || (has(`ui.error.${error.code}`) ? t(`ui.error.${error.code}`) : t("ui.error"));
  const remedy = error.remedy || (unreachable ? t("ui.error.unreachable.remedy") : "");
  return (
    <div class="errorstate" role="alert" data-testid="error">
      <strong>{title}</strong>
      {error.detail && error.detail !== title && <p>{error.detail}</p>}
      {remedy && <p>{t("ui.remedy")}: {remedy}</p>}
      <Problems list={error.problems} />
      <p class="muted small">
        {error.requestId && <span>{t("ui.request")} <code>{error.requestId}</code></span>}
        {error.type.startsWith("/docs/") && <a href={error.type}>{t("ui.error.more")}</a>}
        {staleSince && <span>{t("ui.stale")} <Ago at={staleSince} /></span>}
      </p>
      {onRetry && <Button onClick={onRetry}>{t("ui.retry")}</Button>}
    </div>
  );
}

/** Problems of a file or a form, each with its line and a hint. */
export function Problems({ list }: { list: Problem[] | undefined }) {
  if (!list?.length) return null;
  return (
    <ul class="problems">
      {list.map((p, i) => (
        <li key={i}>
          {(p.file || p.line) && <code>{[p.file, p.line].filter(Boolean).join(":")}</code>} {p.field && <b>{p.field}: </b>}{p.detail}
          {p.hint && <span class="muted"> {p.hint}</span>}
        </li>
      ))}
    </ul>
  );
}

export function Skeleton({ lines = 5 }: { lines?: number }) {
  return (
    <div class="skeleton" role="status">
      <span class="hidden">{t("ui.loading")}</span>
      {Array.from({ length: lines }, (_, i) => <div key={i} />)}
    </div>
  );
}

/** A load in its three states. Data that is there stays when a later request fails. */
export function Loaded<T>({ load, children, lines = 5 }: { load: Load<T>; children: (data: T) => ComponentChildren; lines?: number }) {
  return (
    <>
      {load.error && <ErrorState error={load.error} onRetry={load.reload} staleSince={load.data === undefined ? undefined : load.at} />}
      {load.data !== undefined ? children(load.data) : !load.error && <Skeleton lines={lines} />}
    </>
  );
}
