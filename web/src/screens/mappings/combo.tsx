import { useId, useMemo, useRef, useState } from "preact/hooks";
import { t } from "../../i18n";

export interface Choice {
  value: string;
  label?: string;
  detail?: string;
}

/** Rows that are drawn; the rest is found by typing on. */
const shownMax = 60;

/**
 * A text with suggestions out of any number of choices: arrows move, Enter takes, Escape closes, and what is not among
 * them may be typed. Further properties (id, aria-describedby) come from the Field around it.
 */
export function Combo({ value, onInput, choices, testid, placeholder, ...rest }: {
  value: string; onInput: (value: string) => void; choices: readonly Choice[]; testid?: string; placeholder?: string; [key: string]: unknown;
}) {
  const list = useId();
  const [open, setOpen] = useState(false);
  const [typed, setTyped] = useState<string | null>(null); // what filters; null: nothing was typed since it opened
  const [at, setAt] = useState(-1);
  const box = useRef<HTMLDivElement>(null);
  const found = useMemo(() => {
    if (!open) return [];
    const words = (typed ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    return choices.filter((c) => {
      const text = `${c.value} ${c.label ?? ""} ${c.detail ?? ""}`.toLowerCase();
      return words.every((w) => text.includes(w));
    });
  }, [open, typed, choices]);
  const shown = found.slice(0, shownMax);
  const close = () => {
    setOpen(false);
    setTyped(null);
    setAt(-1);
  };
  const take = (c: Choice) => {
    onInput(c.value);
    close();
  };
  const move = (to: number) => {
    const next = Math.max(0, Math.min(shown.length - 1, to));
    setAt(next);
    box.current?.querySelectorAll('[role="option"]')[next]?.scrollIntoView({ block: "nearest" });
  };
  const keys = (e: KeyboardEvent) => {
    if (e.altKey && (e.key === "ArrowUp" || e.key === "ArrowDown")) return; // moves the row
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      if (!open) setOpen(true);
      else move(e.key === "ArrowDown" ? at + 1 : at - 1);
    } else if (e.key === "Enter" && open && shown[at]) {
      e.preventDefault();
      take(shown[at]!);
    } else if (e.key === "Escape" && open) {
      e.preventDefault();
      e.stopPropagation();
      close();
    }
  };
  return (
    <div class="combo" ref={box} onFocusOut={(e) => { if (!box.current?.contains(e.relatedTarget as Node | null)) close(); }}>
      <input type="text" role="combobox" autocomplete="off" spellcheck={false} {...rest} placeholder={placeholder} data-testid={testid} value={value} aria-expanded={open} aria-controls={list} aria-autocomplete="list"
        aria-activedescendant={open && at >= 0 ? `${list}-${at}` : undefined} onClick={() => setOpen(true)} onKeyDown={keys}
        onInput={(e) => {
          onInput(e.currentTarget.value);
          setTyped(e.currentTarget.value);
          setOpen(true);
          setAt(-1);
        }} />
      <div id={list} role="listbox" aria-label={t("mappings.choices")} hidden={!open || shown.length === 0} tabIndex={-1}>
        {shown.map((c, i) => (
          <div key={c.value} role="option" id={`${list}-${i}`} aria-selected={i === at} onMouseDown={(e) => e.preventDefault()} onClick={() => take(c)}>
            <span>{c.label ?? c.value}</span>{(c.detail || c.label) && <span class="muted small">{c.detail ?? c.value}</span>}
          </div>
        ))}
        {found.length > shownMax && <div class="muted small rest" role="presentation">{t("mappings.choices.more", { n: found.length - shownMax })}</div>}
      </div>
    </div>
  );
}
