import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { t } from "../i18n";
import { Button } from "./button";

/** A modal dialog: the browser keeps the focus inside, Escape closes it, and the focus goes back to where it was. */
export function Dialog({ open, title, onClose, children, actions, wide, testid, fixed }: {
  open: boolean; title: string; onClose: () => void; children: ComponentChildren; actions?: ComponentChildren; wide?: boolean; testid?: string; fixed?: boolean;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const d = ref.current;
    if (!d) return;
    const before = document.activeElement as HTMLElement | null;
    if (open && !d.open) d.showModal();
    return () => {
      if (d.open) d.close();
      if (open) before?.focus?.();
    };
  }, [open]);
  if (!open) return null;
  return (
    <dialog ref={ref} class={wide ? "wide" : undefined} aria-labelledby={id} data-testid={testid} onCancel={(e) => { e.preventDefault(); if (!fixed) onClose(); }}>
      <header>
        <h2 id={id}>{title}</h2>
        {!fixed && <Button kind="quiet" label={t("ui.close")} onClick={onClose}>✕</Button>}
      </header>
      <div class="body">{children}</div>
      {actions && <footer>{actions}</footer>}
    </dialog>
  );
}

/** One dangerous action, one question: what it does and to how many things. */
export function Confirm({ open, title, children, confirm, onConfirm, onClose, danger = true, busy, disabled }: {
  open: boolean; title: string; children: ComponentChildren; confirm: string; onConfirm: () => void; onClose: () => void; danger?: boolean; busy?: boolean; disabled?: boolean;
}) {
  return (
    <Dialog open={open} title={title} onClose={onClose} testid="confirm" actions={
      <>
        <Button onClick={onClose} autofocus>{t("ui.cancel")}</Button>
        <Button kind={danger ? "danger" : "primary"} onClick={onConfirm} busy={busy} disabled={disabled} testid="confirm-yes">{confirm}</Button>
      </>
    }>{children}</Dialog>
  );
}
