import { useEffect, useState } from "preact/hooks";
import { api, ApiError, useLoad } from "../../api";
import { t } from "../../i18n";
import { link, query, setQuery } from "../../router";
import { Badge, Button, Code, Dialog, Empty, ErrorState, Facts, Field, Loaded, Search, Select, Table, Time } from "../../ui";

interface Entry { id: string; at: string; who: string; via: string; role: string; address: string; action: string; subject: string; before?: unknown; after?: unknown; outcome: string; detail?: string }
interface Page { items: Entry[] | null; next?: string }

const pageLimit = 200;
const outcomes = ["done", "refused", "failed"];

/** Who changed, exported or unmasked what, the newest first. */
export function Audit() {
  const q = query.value;
  const path = link("/audit", { who: q["who"], action: q["action"], outcome: q["outcome"], limit: pageLimit });
  const load = useLoad<Page>(path, { keep: true });
  const [more, setMore] = useState<{ items: Entry[]; next: string } | undefined>();
  const [error, setError] = useState<ApiError>();
  const [open, setOpen] = useState<Entry>();
  useEffect(() => setMore(undefined), [load.data]);
  const next = more ? more.next : load.data?.next;
  const further = async () => {
    try {
      const page = await api.get<Page>(`${path}&after=${encodeURIComponent(next ?? "")}`);
      setMore({ items: [...(more?.items ?? []), ...(page.items ?? [])], next: page.next ?? "" });
    } catch (e) {
      if (!(e instanceof ApiError)) throw e;
      setError(e);
    }
  };
  return (
    <div class="stack">
      <p class="muted">{t("settings.audit.lead")}</p>
      <div class="filters">
        <Search value={q["who"] ?? ""} onSearch={(who) => setQuery({ who })} label={t("settings.audit.who")} />
        <Field label={t("settings.audit.outcome")}><Select value={q["outcome"] ?? ""} onChange={(outcome) => setQuery({ outcome })} options={[{ value: "", label: t("events.any") }, ...outcomes.map((o) => ({ value: o, label: t(`settings.outcome.${o}`) }))]} /></Field>
      </div>
      <Loaded load={load}>{(data) => {
        const rows = [...(data.items ?? []), ...(more?.items ?? [])];
        if (!rows.length) return <Empty title={t("settings.audit.empty")}>{t("settings.audit.empty.text")}</Empty>;
        return (
          <>
            <Table caption={t("settings.audit")} rows={rows} id={(e) => `${e.id} ${e.at} ${e.action}`} onOpen={setOpen} testid="audit" columns={[
              { key: "action", head: t("settings.audit.action"), cell: (e) => e.action },
              { key: "subject", head: t("settings.audit.subject"), small: "hide", cell: (e) => e.subject },
              { key: "who", head: t("settings.audit.who"), cell: (e) => e.who },
              { key: "outcome", head: t("settings.audit.outcome"), cell: (e) => <Badge tone={e.outcome === "done" ? "good" : "bad"}>{t(`settings.outcome.${e.outcome}`)}</Badge> },
              { key: "at", head: t("issues.at"), cell: (e) => <Time at={e.at} /> },
            ]} />
            {error && <ErrorState error={error} />}
            {next && <div class="actions"><Button onClick={() => void further()}>{t("ui.more")}</Button></div>}
          </>
        );
      }}</Loaded>
      {open && <Dialog open wide title={open.action} onClose={() => setOpen(undefined)}>
        <Facts list={[[t("settings.audit.who"), `${open.who} (${open.role})`], [t("settings.audit.via"), open.via], [t("settings.audit.address"), open.address], [t("settings.audit.subject"), open.subject], [t("issues.at"), open.at], [t("ui.request"), <code>{open.id}</code>], [t("jobs.detail"), open.detail]]} />
        {open.before !== undefined && <><h3>{t("settings.audit.before")}</h3><Code text={JSON.stringify(open.before, null, 2)} label={t("settings.audit.before")} /></>}
        {open.after !== undefined && <><h3>{t("settings.audit.after")}</h3><Code text={JSON.stringify(open.after, null, 2)} label={t("settings.audit.after")} /></>}
      </Dialog>}
    </div>
  );
}
