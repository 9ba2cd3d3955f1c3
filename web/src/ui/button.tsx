import type { ComponentChildren } from "preact";

export interface ButtonProps {
  children: ComponentChildren;
  onClick?: (e: MouseEvent) => void;
  kind?: "primary" | "plain" | "danger" | "quiet";
  type?: "button" | "submit";
  disabled?: boolean;
  busy?: boolean; // at work: it takes no second click
  label?: string; // where the content is no text
  title?: string;
  testid?: string;
  pressed?: boolean;
  autofocus?: boolean;
}

export function Button({ children, onClick, kind = "plain", type = "button", disabled, busy, label, title, testid, pressed, autofocus }: ButtonProps) {
  return (
    <button type={type} class={`button ${kind}`} onClick={busy ? undefined : onClick} disabled={disabled} aria-disabled={busy ? "true" : undefined} aria-busy={busy ? "true" : undefined}
      aria-label={label} aria-pressed={pressed} title={title} data-testid={testid} autofocus={autofocus}>
      {busy && <span class="spinner" aria-hidden="true" />}
      {children}
    </button>
  );
}

/** A link that looks like a button: it leads somewhere, and a button does something. */
export function LinkButton({ href, children, kind = "plain", download, testid }: { href: string; children: ComponentChildren; kind?: ButtonProps["kind"]; download?: boolean | string; testid?: string }) {
  return <a class={`button ${kind}`} href={href} download={download} data-testid={testid}>{children}</a>;
}
