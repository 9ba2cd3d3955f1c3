import { useState } from "preact/hooks";
import { api, useLoad } from "../../api";
import { t } from "../../i18n";
import { may } from "../../session";
import { Badge, Button, Confirm, Empty, Loaded, Time } from "../../ui";
import { act } from "../connections/parts";
import { Diff } from "./saving";

interface Version {
  version: string;
  by: string;
  at: string;
  in_force: boolean;
  action: string;
  text: string;
  diff: string;
}

/** The texts that a file had, what changed from one to the next, and the way back. */
export function Versions({ at, etag, text, onRestored }: { at: string; etag: string; text: string; onRestored: () => void }) {
  const load = useLoad<{ items: Version[] | null }>(`${at}/versions`);
  const [open, setOpen] = useState<string>();
  const [back, setBack] = useState<Version>();
  const [busy, setBusy] = useState(false);
  const restore = async () => {
    if (!back) return;
    setBusy(true);
    if (await act(t("mappings.restored"), () => api.put(`${at}?apply=true`, { text: back.text }, { etag }))) {
      setBack(undefined);
      load.reload();
      onRestored();
    }
    setBusy(false);
  };
  return (
    <Loaded load={load}>{(d) => !d.items?.length ? <Empty title={t("mappings.versions.none")}>{t("mappings.versions.none.text")}</Empty> : (
      <ol class="versions" data-testid="versions">
        {d.items.map((v, i) => (
          <li key={v.version + v.at}>
            <div class="head">
              <code>{v.version.slice(0, 12)}</code> <Time at={v.at} /> <span>{v.by}</span> {v.in_force && <Badge tone="good">{t("mappings.inforce")}</Badge>} {v.action === "removed" && <Badge>{t("mappings.removed")}</Badge>}
              <span class="spread" />
              <Button kind="quiet" pressed={open === v.version} onClick={() => setOpen(open === v.version ? undefined : v.version)} testid={`diff-${i}`}>{t("mappings.diff")}</Button>
              {may("operator") && v.text && v.text !== text && <Button onClick={() => setBack(v)} testid={`restore-${i}`}>{t("mappings.restore")}</Button>}
            </div>
            {open === v.version && <Diff was={d.items![i + 1]?.text ?? ""} is={v.text} label={t("mappings.diff")} />}
          </li>
        ))}
        {back && (
          <Confirm open title={t("mappings.restore.title", { version: back.version.slice(0, 12) })} confirm={t("mappings.restore")} danger={false} busy={busy} onConfirm={restore} onClose={() => setBack(undefined)}>
            <p>{t("mappings.restore.text")}</p>
            <Diff was={text} is={back.text} label={t("mappings.diff")} />
          </Confirm>
        )}
      </ol>
    )}</Loaded>
  );
}
