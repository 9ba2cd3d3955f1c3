import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";

const waitMs = 250;

/** The screen's search: "/" leads to it. It tells what is typed after a moment of rest, and at once on Enter. */
export function Search({ value, onSearch, label, placeholder, testid }: { value: string; onSearch: (text: string) => void; label: string; placeholder?: string; testid?: string }) {
  const [text, setText] = useState(value);
  const timer = useRef<number | undefined>(undefined);
  const said = useRef(value);
  useEffect(() => {
    if (value !== said.current) {
      said.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const say = (v: string) => {
    clearTimeout(timer.current);
    if (said.current === v) return;
    said.current = v;
    onSearch(v);
  };
  return (
    <form role="search" class="search" onSubmit={(e) => { e.preventDefault(); say(text.trim()); }}>
      <input type="search" data-search="" aria-label={label} placeholder={placeholder ?? label} title={t("ui.search.key")} value={text} data-testid={testid ?? "search"} spellcheck={false} autocomplete="off"
        onInput={(e) => {
          const v = e.currentTarget.value;
          setText(v);
          clearTimeout(timer.current);
          timer.current = window.setTimeout(() => say(v.trim()), waitMs);
        }} />
    </form>
  );
}
