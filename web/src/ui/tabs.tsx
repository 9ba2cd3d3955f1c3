import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";

/** Tabs: arrows, Home and End move; the tab in view is the caller's, mostly a parameter of the address. */
export function Tabs({ label, tabs, active, onChange, children }: { label: string; tabs: { id: string; label: string; count?: number }[]; active: string; onChange: (id: string) => void; children: ComponentChildren }) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const move = (e: KeyboardEvent) => {
    const at = tabs.findIndex((x) => x.id === active);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length]!;
    onChange(next.id);
    list.current?.querySelector<HTMLElement>(`[data-tab="${CSS.escape(next.id)}"]`)?.focus();
  };
  return (
    <div class="tabs">
      <div role="tablist" aria-label={label} ref={list} onKeyDown={move}>
        {tabs.map((x) => (
          <button key={x.id} type="button" role="tab" id={`${id}-${x.id}`} data-tab={x.id} aria-selected={x.id === active} aria-controls={`${id}-panel`} tabIndex={x.id === active ? 0 : -1} onClick={() => onChange(x.id)}>
            {x.label}{x.count !== undefined && <span class="count">{x.count}</span>}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${active}`} tabIndex={0}>{children}</div>
    </div>
  );
}
