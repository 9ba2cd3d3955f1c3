import { useEffect, useState } from "preact/hooks";
import { useLoad } from "../../api";
import { coded, number, t } from "../../i18n";
import { JobDialog, JobWatch, stateTone, type Job, type JobKind } from "../../jobs";
import { screenKey } from "../../keys";
import { link, query, segments, setQuery, type Params } from "../../router";
import { may } from "../../session";
import { Badge, Button, Card, Empty, Facts, LinkButton, Loaded, Page, Search, Table, Tabs, Time, type Screen, type Tone } from "../../ui";

interface Issue {
  issue: string; state: string; stage: string; cause: string; place: string; pattern: string; letters: number; open: number; retried: number; dismissed: number; first_seen: string; last_seen: string; reason: string; remedy: string; sample: string;
}
interface Letter {
  item: string; issue: string; state: string; stage: string; cause: string; reason: string; remedy: string; topic: string; partition: number; offset: number; event?: string; order?: string; destination?: string; contact?: string;
  config_version?: string; at: string; job?: string; word?: string; by?: string;
}

const listMax = 1000;
const filterNames = ["q", "cause", "stage", "destination", "connection", "environment", "since", "until"] as const;

/** Parts of the address that are parts of a filter of the API; the text is the same thing under the page's name. */
function filter(): Record<string, string> {
  const q = query.value;
  const f: Record<string, string> = {};
  for (const name of filterNames) if (q[name]) f[name === "q" ? "text" : name] = q[name]!;
  return f;
}

function letterTone(state: string): Tone {
  return { OPEN: "bad" as Tone, REOPENED: "bad" as Tone, RETRIED: "info" as Tone, DISMISSED: "none" as Tone }[state] ?? "none";
}

function Issues() {
  const tab = query.value["tab"] ?? "open";
  return (
    <Page title={t("issues.title")} lead={t("issues.lead")}>
      <Tabs label={t("issues.title")} active={tab} onChange={(id) => setQuery({ tab: id === "open" ? null : id })}
        tabs={["open", "retried", "dismissed", "jobs"].map((id) => ({ id, label: t(`issues.tab.${id}`) }))}>
        {tab === "jobs" ? <Jobs /> : <List state={tab} />}
      </Tabs>
    </Page>
  );
}

function List({ state }: { state: string }) {
  const f = filter();
  // Open ones are those that came again, too: the API tells all, and the page takes what it shows.
  const load = useLoad<{ issues: Issue[] | null }>(link("/issues", { ...f, limit: listMax }), { everyMs: 15_000, keep: true });
  const [job, setJob] = useState<JobKind>();
  const filtered = Object.keys(f).length > 0;
  return (
    <div class="stack">
      <div class="filters">
        <Search value={query.value["q"] ?? ""} onSearch={(q) => setQuery({ q })} label={t("issues.search")} />
        {filterNames.slice(1).map((n) => query.value[n] && <Button key={n} kind="quiet" onClick={() => setQuery({ [n]: null })} label={t("events.drop", { filter: n })}>{n}: {query.value[n]} ✕</Button>)}
      </div>
      <Loaded load={load} lines={6}>{(data) => {
        const rows = (data.issues ?? []).filter((i) => (state === "open" ? i.state === "OPEN" || i.state === "REOPENED" : i.state === state.toUpperCase()));
        if (!rows.length) return <NoIssues state={state} filtered={filtered} />;
        const open = rows.reduce((n, i) => n + i.open, 0);
        return (
          <>
            {state === "open" && may("operator") && <div class="actions">
              <Button kind="primary" onClick={() => setJob("RETRY")} testid="retry-all">{filtered ? t("issues.retry.match", { n: open }) : t("issues.retry.all", { n: open })}</Button>
              <Button onClick={() => setJob("DISMISS")}>{t("issues.dismiss.match")}</Button>
            </div>}
            <Table caption={t("issues.title")} rows={rows} id={(i) => i.issue} href={(i) => `/issues/${segments(i.issue)}`} testid="issues" columns={[
              { key: "cause", head: t("issues.cause"), cell: (i) => coded("issues.cause", i.cause) },
              { key: "pattern", head: t("issues.pattern"), wide: true, small: "hide", cell: (i) => <span class="clamp">{i.pattern}</span> },
              { key: "place", head: t("issues.place"), small: "hide", cell: (i) => i.place },
              { key: "letters", head: t("issues.letters"), align: "end", cell: (i) => number(state === "open" ? i.open : i.letters) },
              { key: "state", head: t("issues.state"), cell: (i) => <Badge tone={letterTone(i.state)}>{coded("issues.state", i.state)}</Badge> },
              { key: "last", head: t("issues.last"), cell: (i) => <Time at={i.last_seen} /> },
            ]} />
            {job && <JobDialog kind={job} filter={f} all={!filtered} title={t(`issues.${job.toLowerCase()}`)} onClose={() => { setJob(undefined); load.reload(); }}><p>{t(`issues.${job.toLowerCase()}.text`)}</p></JobDialog>}
          </>
        );
      }}</Loaded>
    </div>
  );
}

function NoIssues({ state, filtered }: { state: string; filtered: boolean }) {
  if (filtered) return <Empty title={t("issues.none")} action={<Button onClick={() => setQuery(Object.fromEntries(filterNames.map((n) => [n, null])))}>{t("events.clear")}</Button>} />;
  return <Empty title={t(`issues.empty.${state}`)} action={<LinkButton href="/events">{t("issues.empty.next")}</LinkButton>}>{state === "open" && t("issues.empty.text")}</Empty>;
}

function IssueDetail({ params }: { params: Params }) {
  const id = params["id"] ?? "";
  const load = useLoad<{ issues: Issue[] | null }>(link("/issues", { issue: id }), { everyMs: 15_000 });
  const letters = useLoad<{ dead_letters: Letter[] | null }>(link("/dead-letters", { issue: id, limit: listMax }));
  const [job, setJob] = useState<{ kind: JobKind; item?: string }>();
  const operator = may("operator");
  useEffect(() => (operator ? screenKey("r", () => setJob({ kind: "RETRY" })) : undefined), [operator]);
  const issue = load.data?.issues?.[0];
  return (
    <Page title={issue ? coded("issues.cause", issue.cause) : t("issues.one")} back={{ href: "/issues", label: t("issues.title") }} lead={issue?.pattern} actions={issue && operator && issue.open > 0 && <>
      <Button kind="primary" onClick={() => setJob({ kind: "RETRY" })} testid="retry">{t("issues.retry.match", { n: issue.open })}</Button>
      <Button onClick={() => setJob({ kind: "DISMISS" })} testid="dismiss">{t("issues.dismiss")}</Button>
    </>}>
      <Loaded load={load}>{() => issue ? (
        <Card>
          {issue.remedy && <p class="remedy"><b>{t("ui.remedy")}:</b> {issue.remedy}</p>}
          <Facts list={[
            [t("issues.state"), <Badge tone={letterTone(issue.state)}>{coded("issues.state", issue.state)}</Badge>], [t("issues.letters"), number(issue.letters)], [t("issues.openletters"), number(issue.open)],
            [t("issues.retried"), number(issue.retried)], [t("issues.dismissed"), number(issue.dismissed)], [t("issues.stage"), issue.stage], [t("issues.place"), issue.place],
            [t("issues.first"), <Time at={issue.first_seen} />], [t("issues.last"), <Time at={issue.last_seen} />], [t("issues.reason"), issue.reason],
          ]} />
        </Card>
      ) : <Empty title={t("issues.gone")} />}</Loaded>
      <Loaded load={letters}>{(data) => (
        <Table caption={t("issues.letters")} rows={data.dead_letters ?? []} id={(l) => l.item} testid="letters"
          href={(l) => l.event ? `/events/${segments(l.event)}` : l.order ? `/orders/${segments(l.order)}` : undefined} columns={[
            { key: "item", head: t("issues.letter"), cell: (l) => <code>{l.event || l.item}</code> },
            { key: "reason", head: t("issues.reason"), wide: true, small: "hide", cell: (l) => <span class="clamp">{l.reason}</span> },
            { key: "destination", head: t("issues.place"), small: "hide", cell: (l) => l.destination || l.topic },
            { key: "state", head: t("issues.state"), cell: (l) => <Badge tone={letterTone(l.state)}>{coded("issues.state", l.state)}</Badge> },
            { key: "at", head: t("issues.at"), cell: (l) => <Time at={l.at} /> },
            ...(operator ? [{ key: "act", head: <span class="hidden">{t("issues.act")}</span>, cell: (l: Letter) => l.state === "OPEN" || l.state === "REOPENED"
              ? <Button kind="quiet" onClick={() => setJob({ kind: "RETRY", item: l.item })}>{t("issues.retry.one")}</Button> : l.job ? <a href={link(`/issues/jobs/${l.job}`, {})}>{t("issues.job")}</a> : null }] : []),
          ]} />
      )}</Loaded>
      {job && <JobDialog kind={job.kind} filter={job.item ? { item: job.item } : { issue: id }} title={t(`issues.${job.kind.toLowerCase()}`)} onClose={() => { setJob(undefined); load.reload(); letters.reload(); }}>
        <p>{t(`issues.${job.kind.toLowerCase()}.text`)}</p>
      </JobDialog>}
    </Page>
  );
}

function Jobs() {
  const load = useLoad<{ jobs: Job[] | null }>("/jobs?limit=200", { everyMs: 5_000 });
  return (
    <Loaded load={load}>{(data) => (data.jobs ?? []).length === 0 ? <Empty title={t("jobs.empty")}>{t("jobs.empty.text")}</Empty> : (
      <Table caption={t("issues.tab.jobs")} rows={data.jobs!} id={(j) => j.job} href={(j) => `/issues/jobs/${encodeURIComponent(j.job)}`} columns={[
        { key: "kind", head: t("jobs.kind"), cell: (j) => coded("jobs.kind", j.kind) },
        { key: "state", head: t("issues.state"), cell: (j) => <Badge tone={stateTone(j.state)}>{coded("jobs.state", j.state)}</Badge> },
        { key: "done", head: t("jobs.done"), align: "end", cell: (j) => `${number(j.done)} / ${j.count < 0 ? "…" : number(j.count)}` },
        { key: "failed", head: t("jobs.failed"), align: "end", cell: (j) => number(j.failed) },
        { key: "by", head: t("jobs.by"), small: "hide", cell: (j) => j.by },
        { key: "why", head: t("jobs.why"), small: "hide", wide: true, cell: (j) => j.why ?? "" },
        { key: "at", head: t("jobs.at"), cell: (j) => <Time at={j.asked_at} /> },
      ]} />
    )}</Loaded>
  );
}

function JobDetail({ params }: { params: Params }) {
  return <Page title={t("issues.job")} back={{ href: "/issues?tab=jobs", label: t("issues.tab.jobs") }}><Card><JobWatch id={params["id"] ?? ""} /></Card></Page>;
}

export const routes: Screen[] = [
  { path: "/issues", view: Issues },
  { path: "/issues/jobs/:id", view: JobDetail },
  { path: "/issues/*id", view: IssueDetail },
];
