import { cloneElement, type ComponentChildren, type VNode } from "preact";
import { useId } from "preact/hooks";
import { t } from "../i18n";

/** A control with its label, a hint and what is wrong with it. The control is the only child. */
export function Field({ label, hint, error, optional, children, hideLabel }: {
  label: string; hint?: ComponentChildren; error?: string | undefined; optional?: boolean; children: VNode<Record<string, unknown>>; hideLabel?: boolean;
}) {
  const id = useId();
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div class={error ? "field wrong" : "field"}>
      <label for={id} class={hideLabel ? "hidden" : undefined}>{label}{optional && <span class="muted"> {t("ui.optional")}</span>}</label>
      {cloneElement(children, { id, "aria-describedby": described || undefined, "aria-invalid": error ? "true" : undefined })}
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
      {error && <p class="error" id={`${id}-error`} role="alert">{error}</p>}
    </div>
  );
}

interface Control {
  value: string;
  testid?: string | undefined;
  id?: string;
  name?: string;
  required?: boolean;
  disabled?: boolean;
  autofocus?: boolean;
  "aria-label"?: string;
}

interface Input extends Control {
  onInput: (value: string) => void;
  type?: "text" | "password" | "email" | "number" | "date" | "datetime-local" | "url";
  placeholder?: string;
  autocomplete?: string;
  list?: string;
  min?: string | number;
  max?: string | number;
  step?: string | number;
  readOnly?: boolean;
  onBlur?: () => void;
  onKeyDown?: (e: KeyboardEvent) => void;
}

export function TextInput({ value, onInput, testid, ...rest }: Input) {
  return <input type="text" autocomplete="off" spellcheck={false} {...(rest as object)} data-testid={testid} value={value} onInput={(e) => onInput(e.currentTarget.value)} />;
}

interface Area extends Control {
  onInput: (value: string) => void;
  rows?: number;
  placeholder?: string;
  readOnly?: boolean;
  onKeyDown?: (e: KeyboardEvent) => void;
}

export function TextArea({ value, onInput, testid, ...rest }: Area) {
  return <textarea rows={6} spellcheck={false} {...(rest as object)} data-testid={testid} value={value} onInput={(e) => onInput(e.currentTarget.value)} />;
}

export interface Option { value: string; label: string; disabled?: boolean }
interface Choice extends Control {
  options: Option[];
  onChange: (value: string) => void;
}

export function Select({ value, options, onChange, testid, ...rest }: Choice) {
  return (
    <select {...(rest as object)} data-testid={testid} value={value} onChange={(e) => onChange(e.currentTarget.value)}>
      {options.map((o) => <option key={o.value} value={o.value} disabled={o.disabled} selected={o.value === value}>{o.label}</option>)}
    </select>
  );
}

export function Check({ label, checked, onChange, hint, disabled, testid }: { label: ComponentChildren; checked: boolean; onChange: (checked: boolean) => void; hint?: string; disabled?: boolean; testid?: string }) {
  const id = useId();
  return (
    <div class="check">
      <input type="checkbox" id={id} checked={checked} disabled={disabled} data-testid={testid} aria-describedby={hint ? `${id}-hint` : undefined} onChange={(e) => onChange(e.currentTarget.checked)} />
      <label for={id}>{label}</label>
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}
