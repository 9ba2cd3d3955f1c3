import { base, useLoad } from "../../api";
import { number, t } from "../../i18n";
import { Badge, Card, Empty, LinkButton, Loaded, Problems, Table, Time } from "../../ui";
import type { Problem } from "../../api";

interface Folder { folder: string; writable: boolean; why?: string; version: string; differs: boolean; in_force: { version: string } | null; files: { path: string; kind: string; bytes: number; modified: string; in_force: boolean }[] | null; problems: Problem[] | null }

/** The configuration as files: what is in force, and the whole of it to take away. Secrets are in it by reference only. */
export function Export() {
  const load = useLoad<Folder>("/config");
  return (
    <Loaded load={load}>{(f) => (
      <div class="stack">
        <Card title={t("settings.export.config")} actions={<LinkButton href={`${base}/config/export?format=tar`} download kind="primary" testid="export">{t("settings.export.download")}</LinkButton>}>
          <p class="muted">{t("settings.export.lead")}</p>
          {f.in_force && <p>{t("settings.export.version")} <code>{f.in_force.version}</code> {f.differs && <Badge tone="warn">{t("settings.export.differs")}</Badge>}</p>}
          <Problems list={f.problems ?? []} />
        </Card>
        {(f.files ?? []).length === 0 ? <Empty title={t("settings.export.empty")}>{f.why}</Empty> : (
          <Table caption={t("settings.export.files")} rows={f.files!} id={(x) => x.path} columns={[
            { key: "path", head: t("settings.export.file"), cell: (x) => x.path },
            { key: "kind", head: t("settings.export.kind"), small: "hide", cell: (x) => x.kind },
            { key: "bytes", head: t("settings.export.bytes"), align: "end", cell: (x) => number(x.bytes) },
            { key: "state", head: t("issues.state"), cell: (x) => (x.in_force ? <Badge tone="good">{t("settings.export.inforce")}</Badge> : <Badge tone="warn">{t("settings.export.notinforce")}</Badge>) },
            { key: "at", head: t("settings.export.modified"), cell: (x) => <Time at={x.modified} /> },
          ]} />
        )}
      </div>
    )}</Loaded>
  );
}
