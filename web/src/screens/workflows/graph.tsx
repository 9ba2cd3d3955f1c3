import { useEffect, useMemo, useRef } from "preact/hooks";
import { number, t } from "../../i18n";
import { BOX_H, BOX_W, draw, type Box } from "./layout";
import { gist, type Place, type Words, type WorkflowForm } from "./steps";

const textMax = 24;
const cut = (s: string): string => (s.length > textMax ? s.slice(0, textMax - 1) + "…" : s);

export interface Counts {
  /** How often a branch of a step was taken: by "step branch". */
  of: Map<string, number>;
}

/** What a start asks for besides its event. */
const began = (s: Words): string => gist(s["status"] ?? s["events"] ?? s["tag"] ?? s["at"]);

const colour = (kind: Box["kind"]): string =>
  kind === "start" || kind === "end" ? "start" : ["if", "on_list", "business_hours"].includes(kind ?? "") ? "condition" : ["wait_for", "wait", "wait_until"].includes(kind ?? "") ? "waits" : kind === "stop" || kind === "move_to_workflow" ? "ends" : "does";

/** The workflow as a graph. Boxes are buttons: arrows go from one to the next, Enter chooses it. */
export function Graph({ form, counts, chosen, onChoose, visited }: { form: WorkflowForm; counts: Counts; chosen: Place | undefined; onChoose: (place: Place) => void; visited?: ReadonlySet<string> | undefined }) {
  const d = useMemo(() => draw(form), [form]);
  const svg = useRef<SVGSVGElement>(null);
  const boxes = d.boxes.filter((b) => b.kind !== "end");
  useEffect(() => {
    const box = svg.current?.querySelector(`[data-place="${CSS.escape(chosen ?? "")}"]`);
    box?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [chosen]);
  const keys = (e: KeyboardEvent, i: number) => {
    const to = { ArrowDown: i + 1, ArrowRight: i + 1, ArrowUp: i - 1, ArrowLeft: i - 1, Home: 0, End: boxes.length - 1 }[e.key];
    if (e.key === "Enter" || e.key === " ") {
      e.preventDefault();
      onChoose(boxes[i]!.place);
    } else if (to !== undefined && boxes[to]) {
      e.preventDefault();
      onChoose(boxes[to]!.place);
      svg.current?.querySelectorAll<SVGGElement>("g[data-place]")[to]?.focus();
    }
  };
  const what = (b: Box): [string, string] => {
    if (b.kind === "start" && form.start.length === 1) return [t(`workflows.on.${String(form.start[0]!["on"] ?? "")}`), began(form.start[0]!)];
    if (b.kind === "start") return [t("workflows.start"), form.start.map((s) => `${t(`workflows.on.${String(s["on"] ?? "")}`)} ${began(s)}`.trim()).join(" / ")];
    if (b.kind === "end") return [t("workflows.end"), ""];
    return [b.kind ? t(`workflows.kind.${b.kind}`) : t("workflows.kind.none"), gist(b.kind && b.step?.[b.kind])];
  };
  const at = Math.max(0, boxes.findIndex((b) => b.place === chosen));
  const pad = 12;
  return (
    <div class="graph" data-testid="graph" tabIndex={0} role="group" aria-label={t("workflows.graph")}>
      <svg ref={svg} width={d.width + 2 * pad} height={d.height + 2 * pad} viewBox={`${-pad} ${-pad} ${d.width + 2 * pad} ${d.height + 2 * pad}`}>
        {d.lines.map((l, i) => <path key={i} d={l.d} class={l.beside ? "beside" : undefined} />)}
        {d.lines.filter((l) => l.branch).map((l) => {
          const n = counts.of.get(`${l.of} ${l.branch}`);
          return (
            <g key={`${l.of} ${l.branch}`} class={`branch ${l.branch}`} data-branch={`${l.of} ${l.branch}`} transform={`translate(${l.labelX},${l.labelY})`}>
              <rect x={-58} y={-13} width={116} height={19} rx={9} />
              <text text-anchor="middle" y={1}>{t(`workflows.branch.${l.branch}`)}{n !== undefined && <tspan class="count"> · {number(n)}</tspan>}</text>
            </g>
          );
        })}
        {d.boxes.map((b) => {
          const [title, detail] = what(b);
          if (b.kind === "end") return <g key="end" class="end" transform={`translate(${b.x + BOX_W / 2},${b.y})`}><rect x={-40} width={80} height={BOX_H / 2} rx={BOX_H / 4} /><text text-anchor="middle" y={19}>{title}</text></g>;
          const i = boxes.indexOf(b);
          const past = visited?.has(b.kind === "start" ? "start" : b.id);
          return (
            <g key={b.place} class={`box ${colour(b.kind)}${b.place === chosen ? " chosen" : ""}${past ? " visited" : ""}`} data-place={b.place} transform={`translate(${b.x},${b.y})`} role="button" tabIndex={i === at ? 0 : -1}
              aria-pressed={b.place === chosen} onClick={() => onChoose(b.place)} onKeyDown={(e) => keys(e, i)}>
              <title>{[title, detail, b.step?.id, past && t("workflows.visited")].filter(Boolean).join(", ")}</title>
              <rect width={BOX_W} height={BOX_H} rx={9} />
              <rect class="edge" width={5} height={BOX_H} rx={2.5} />
              <text x={16} y={24} class="title" aria-hidden="true">{past ? "✓ " : ""}{cut(title)}</text>
              <text x={16} y={43} class="detail" aria-hidden="true">{cut(detail)}</text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}
