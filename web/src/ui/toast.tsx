import { signal } from "@preact/signals";
import { t } from "../i18n";
import type { Tone } from "./values";

interface Said { id: number; text: string; tone: Tone }
const shown = signal<Said[]>([]);
const shownMs = 8000;
const shownMax = 4;
let last = 0;

/** Says that something was done, or was not, without taking the focus. A bad one stays until it is closed. */
export function toast(text: string, tone: Tone = "good") {
  const id = ++last;
  shown.value = [...shown.value, { id, text, tone }].slice(-shownMax);
  if (tone !== "bad") setTimeout(() => close(id), shownMs);
}

function close(id: number) {
  shown.value = shown.value.filter((s) => s.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.value.map((s) => (
        <div key={s.id} class={`toast ${s.tone}`} data-testid="toast">
          <span>{s.text}</span>
          <button type="button" class="button quiet" aria-label={t("ui.close")} onClick={() => close(s.id)}>✕</button>
        </div>
      ))}
    </div>
  );
}
