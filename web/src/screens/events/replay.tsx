import { useState } from "preact/hooks";
import { t } from "../../i18n";
import { JobDialog } from "../../jobs";
import { may } from "../../session";
import { Button, Check } from "../../ui";

/** Sends the newest state of the contacts of an order, or of one contact, again. A message only where it is asked for. */
export function ReplayButton({ filter }: { filter: Record<string, string> }) {
  const [open, setOpen] = useState(false);
  const [effects, setEffects] = useState(false);
  if (!may("operator")) return null;
  return (
    <>
      <Button onClick={() => setOpen(true)} testid="replay">{t("events.replay")}</Button>
      {open && (
        <JobDialog kind="REPLAY" filter={effects ? { ...filter, effects: "true" } : filter} title={t("events.replay")} onClose={() => setOpen(false)}>
          <p>{t("events.replay.text")}</p>
          <Check label={t("events.replay.effects")} hint={t("events.replay.effects.hint")} checked={effects} onChange={setEffects} />
        </JobDialog>
      )}
    </>
  );
}
