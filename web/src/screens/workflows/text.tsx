import { useRef } from "preact/hooks";
import type { Problem } from "../../api";
import { t } from "../../i18n";

/** The file as text, each line with its number; what is wrong stands at its line, and below with a way to it. */
export function YamlText({ text, onInput, problems, label, readOnly }: { text: string; onInput: (text: string) => void; problems: readonly Problem[]; label: string; readOnly: boolean }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const lines = text.split("\n");
  const bad = new Map(problems.filter((p) => p.line).map((p) => [p.line!, p]));
  const to = (line: number) => {
    const from = lines.slice(0, line - 1).reduce((n, l) => n + l.length + 1, 0);
    area.current?.focus();
    area.current?.setSelectionRange(from, from + (lines[line - 1]?.length ?? 0));
  };
  return (
    <div class="yaml">
      <div class="yamlbox">
        <div class="gutter" aria-hidden="true">{lines.map((_, i) => <span key={i} class={bad.has(i + 1) ? "bad" : undefined} title={bad.get(i + 1)?.detail}>{i + 1}</span>)}</div>
        <textarea ref={area} rows={Math.max(lines.length, 4)} wrap="off" spellcheck={false} readOnly={readOnly} aria-label={label} aria-invalid={problems.length > 0} aria-describedby={problems.length ? "yaml-problems" : undefined} data-testid="yaml" value={text}
          onInput={(e) => onInput(e.currentTarget.value)} />
      </div>
      <ul id="yaml-problems" class="problems" aria-live="polite" data-testid="problems">
        {problems.map((p, i) => (
          <li key={i}>
            {p.line ? <button type="button" class="button quiet" onClick={() => to(p.line!)}>{t("mappings.line", { n: p.line })}</button> : p.file ? <code>{p.file}</code> : null} {p.field && <b>{p.field}: </b>}{p.detail} {p.hint && <span class="muted">{p.hint}</span>}
          </li>
        ))}
      </ul>
    </div>
  );
}
