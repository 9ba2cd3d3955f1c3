import type { ComponentChildren } from "preact";
import { useTitle } from "../router";

/** A screen's frame: its title, a line below it, and what can be done. */
export function Page({ title, lead, actions, back, children }: { title: string; lead?: ComponentChildren; actions?: ComponentChildren; back?: { href: string; label: string }; children: ComponentChildren }) {
  useTitle(title);
  return (
    <div class="screen">
      <header class="screenhead">
        <div>
          {back && <a class="back" href={back.href}>← {back.label}</a>}
          <h1>{title}</h1>
          {lead && <p class="muted lead">{lead}</p>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

export function Card({ title, actions, children, testid }: { title?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren; testid?: string }) {
  return (
    <section class="card" data-testid={testid}>
      {(title || actions) && <header>{title && <h2>{title}</h2>}{actions && <div class="actions">{actions}</div>}</header>}
      {children}
    </section>
  );
}
