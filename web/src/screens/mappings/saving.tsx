import { useState } from "preact/hooks";
import { api, ApiError, type Problem } from "../../api";
import { t } from "../../i18n";
import { Button, Dialog, ErrorState, toast } from "../../ui";
import { diffLines } from "./rules";

/** The answer to an edit of a file. */
export interface Edited {
  path: string;
  etag: string;
  written: boolean;
  text: string;
  diff: string;
  version: string;
  problems: Problem[] | null;
  applied?: { version: string; notes: string[] | null } | null;
}

/** What somebody else has made of the file meanwhile. */
export interface Conflict {
  path: string;
  etag: string;
  text: string;
  diff: string;
}

/** The difference of two texts, line by line. */
export function Diff({ was, is, label }: { was: string; is: string; label: string }) {
  const lines = diffLines(was, is);
  if (lines.every((l) => l.kind === "same")) return <p class="muted">{t("mappings.same")}</p>;
  return (
    <pre class="diff" tabIndex={0} role="region" aria-label={label} data-testid="diff">
      {lines.map((l, i) => <span key={i} class={l.kind}><span aria-hidden={l.kind === "same"}>{l.kind === "gone" ? "− " : l.kind === "new" ? "+ " : "  "}</span>{l.text}{"\n"}</span>)}
    </pre>
  );
}

/**
 * Saves an edit of a file and settles what may come between: what is refused, and that somebody else was faster. mine is
 * the text that is being saved, for the comparison.
 */
export function useSaving(at: string, o: { body: () => unknown; mine: () => string; etag: string; onSaved: (e: Edited) => void; onTheirs: () => void }) {
  const [error, setError] = useState<ApiError>();
  const [conflict, setConflict] = useState<Conflict>();
  const [busy, setBusy] = useState("");

  const save = async (apply: boolean, etag = o.etag) => {
    setBusy(apply ? "apply" : "save");
    setError(undefined);
    try {
      const got = await api.put<Edited>(`${at}${apply ? "?apply=true" : ""}`, o.body(), etag ? { etag } : { create: true });
      setConflict(undefined);
      toast(t(apply ? "mappings.saved.applied" : "mappings.saved"));
      got.body.applied?.notes?.forEach((n) => toast(n, "info"));
      o.onSaved(got.body);
    } catch (e) {
      const refused = e instanceof ApiError ? e : new ApiError(0, "page", "", String(e));
      const theirs = refused.body["conflict"] as Conflict | undefined;
      if (refused.status === 412 && theirs) setConflict(theirs);
      else setError(refused);
    }
    setBusy("");
  };

  const view = (
    <>
      {error && <ErrorState error={error} />}
      {conflict && (
        <Dialog open wide title={t("mappings.conflict")} onClose={() => setConflict(undefined)} testid="conflict" actions={
          <>
            <Button onClick={() => setConflict(undefined)}>{t("mappings.conflict.back")}</Button>
            <Button testid="take-theirs" onClick={() => { setConflict(undefined); o.onTheirs(); }}>{t("mappings.conflict.theirs")}</Button>
            <Button kind="danger" testid="keep-mine" busy={busy !== ""} disabled={!conflict.etag} onClick={() => save(false, conflict.etag)}>{t("mappings.conflict.mine")}</Button>
          </>
        }>
          <p>{t(conflict.etag ? "mappings.conflict.text" : "mappings.conflict.gone")}</p>
          <Diff was={conflict.text} is={o.mine()} label={t("mappings.conflict")} />
        </Dialog>
      )}
    </>
  );
  return { save, busy, error, view, problems: error?.problems ?? [] };
}
