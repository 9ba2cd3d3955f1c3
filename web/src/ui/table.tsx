import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { listKeys } from "../keys";

export interface Column<T> {
  key: string;
  head: ComponentChildren;
  cell: (row: T) => ComponentChildren;
  align?: "end";
  wide?: boolean; // takes what is left
  small?: "hide"; // left out on a phone
}

const rowHeight = 42; // px, of the style sheet; only long tables rely on it
const wholeMax = 120; // rows up to which all are drawn
const beyond = 12; // rows drawn above and below what is seen

/**
 * Rows with a caption. The first column is the link (href) or button (onOpen) that opens a row; j and k move between rows.
 * A long table draws only the rows that are seen, and says their number to a screen reader.
 */
export function Table<T>({ caption, rows, columns, id, href, onOpen, current, testid, foot }: {
  caption: string; rows: T[]; columns: Column<T>[]; id: (row: T) => string; href?: (row: T) => string | undefined; onOpen?: (row: T) => void;
  current?: string; testid?: string; foot?: ComponentChildren;
}) {
  const box = useRef<HTMLDivElement>(null);
  const long = rows.length > wholeMax;
  const [from, setFrom] = useState(0);
  const [seen, setSeen] = useState(30);
  const at = useRef<string | null>(null); // the row that j and k went to last
  const pending = useRef<number | null>(null);

  const look = () => {
    const b = box.current;
    if (!b || !long) return;
    setFrom(Math.max(0, Math.floor(b.scrollTop / rowHeight) - beyond));
    setSeen(Math.ceil(b.clientHeight / rowHeight) + 2 * beyond);
  };
  useLayoutEffect(look, [long, rows.length]);

  const focusRow = (index: number) => {
    const link = box.current?.querySelector<HTMLElement>(`[data-index="${index}"] [data-row]`);
    link?.focus();
    return Boolean(link);
  };
  useLayoutEffect(() => {
    if (pending.current !== null && focusRow(pending.current)) pending.current = null;
  });
  useEffect(() => listKeys({
    move: (by) => {
      if (!rows.length) return;
      const focused = document.activeElement?.closest<HTMLElement>("[data-index]");
      const now = focused && box.current?.contains(focused) ? Number(focused.dataset["index"]) : rows.findIndex((row) => id(row) === at.current);
      const next = Math.min(rows.length - 1, Math.max(0, now + by));
      at.current = id(rows[next]!);
      if (focusRow(next)) return;
      const b = box.current;
      if (!b) return;
      pending.current = next;
      b.scrollTop = Math.max(0, next * rowHeight - b.clientHeight / 2);
      look();
    },
  }), [rows]);

  const until = long ? Math.min(rows.length, from + seen) : rows.length;
  const start = long ? Math.min(from, Math.max(0, until - 1)) : 0;
  return (
    <div class={long ? "table long" : "table"} ref={box} onScroll={long ? look : undefined} tabIndex={0} role="group" aria-label={caption} data-testid={testid}>
      <table aria-rowcount={long ? rows.length + 1 : undefined}>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr aria-rowindex={long ? 1 : undefined}>{columns.map((c) => <th key={c.key} scope="col" class={cls(c)}>{c.head}</th>)}</tr>
        </thead>
        <tbody>
          {start > 0 && <tr aria-hidden="true" class="gap" style={{ height: `${start * rowHeight}px` }}><td colSpan={columns.length} /></tr>}
          {rows.slice(start, until).map((row, i) => {
            const index = start + i;
            const key = id(row);
            const to = href?.(row);
            return (
              <tr key={key} data-index={index} aria-rowindex={long ? index + 2 : undefined} aria-current={current === key ? "true" : undefined}
                class={to || onOpen ? "opens" : undefined} onClick={(e) => opened(e, onOpen && (() => onOpen(row)))}>
                {columns.map((c, n) => n === 0
                  ? <th key={c.key} scope="row" class={cls(c)}>
                      {to ? <a href={to} data-row="">{c.cell(row)}</a> : onOpen ? <button type="button" class="rowlink" data-row="" onClick={(e) => { e.stopPropagation(); onOpen(row); }}>{c.cell(row)}</button> : c.cell(row)}
                    </th>
                  : <td key={c.key} class={cls(c)}>{c.cell(row)}</td>)}
              </tr>
            );
          })}
          {until < rows.length && <tr aria-hidden="true" class="gap" style={{ height: `${(rows.length - until) * rowHeight}px` }}><td colSpan={columns.length} /></tr>}
        </tbody>
      </table>
      {foot}
    </div>
  );
}

function cls<T>(c: Column<T>) {
  return [c.align === "end" ? "end" : "", c.wide ? "wide" : "", c.small === "hide" ? "notsmall" : ""].filter(Boolean).join(" ") || undefined;
}

// A click anywhere in a row opens it, except on what is a control itself, or while text is being selected.
function opened(e: MouseEvent, onOpen?: () => void) {
  const target = e.target as Element;
  if (target.closest("a,button,input,select,label") || String(getSelection())) return;
  if (onOpen) onOpen();
  else (e.currentTarget as Element).querySelector<HTMLAnchorElement>("a[data-row]")?.click();
}
