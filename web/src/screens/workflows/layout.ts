// The graph's drawing: a tree of steps, laid out from top to bottom. Branches stand side by side and join again.

import { branchesOf, endsRun, kindOf, type BranchKey, type Kind, type Place, type Step, type WorkflowForm } from "./steps";

export const BOX_W = 208;
export const BOX_H = 58;
const GAP_X = 28;
const GAP_Y = 34;
/** Room above a branch for its name and count. */
const LABEL_H = 40;

export interface Box {
  place: Place; // "" for the start
  id: string; // as counts name it
  kind: Kind | "start" | "end" | undefined;
  step?: Step;
  x: number;
  y: number;
}

export interface Line {
  d: string; // path of an SVG
  branch?: BranchKey;
  of?: string; // id of the step that branches
  labelX?: number;
  labelY?: number;
  beside?: boolean; // does not join: the branch of a correction ends where it ends
}

export interface Drawing {
  boxes: Box[];
  lines: Line[];
  width: number;
  height: number;
}

/** A block before it has its place: its middle lies at x = mid. */
interface Block {
  boxes: Box[];
  lines: Line[];
  width: number;
  height: number;
  mid: number;
  open: boolean; // the run goes on behind it
}

const shift = (b: Block, dx: number, dy: number): Block => ({
  ...b,
  boxes: b.boxes.map((x) => ({ ...x, x: x.x + dx, y: x.y + dy })),
  lines: b.lines.map((l) => ({
    ...l, d: moved(l.d, dx, dy),
    labelX: l.labelX === undefined ? undefined : l.labelX + dx, labelY: l.labelY === undefined ? undefined : l.labelY + dy,
  })),
  mid: b.mid + dx,
});

/** Paths hold absolute pairs "x,y" only. */
const moved = (d: string, dx: number, dy: number): string =>
  d.replace(/(-?[\d.]+),(-?[\d.]+)/g, (_, x, y) => `${Number(x) + dx},${Number(y) + dy}`);

/** A line that leaves downwards and comes from above. */
function curve(x1: number, y1: number, x2: number, y2: number): string {
  if (x1 === x2) return `M${x1},${y1} L${x2},${y2}`;
  const half = (y1 + y2) / 2;
  return `M${x1},${y1} C${x1},${half} ${x2},${half} ${x2},${y2}`;
}

function drawStep(step: Step, place: Place): Block {
  const kind = kindOf(step);
  const id = step.id || place;
  const keys = branchesOf(kind).filter((k) => k !== "corrected" || (step.corrected?.length ?? 0) > 0);
  const box = { place, id, kind, step, x: 0, y: 0 };
  if (keys.length === 0) {
    return { boxes: [box], lines: [], width: BOX_W, height: BOX_H, mid: BOX_W / 2, open: !endsRun(step) };
  }
  const arms = keys.map((k) => ({ key: k, block: drawList(step[k] ?? [], `${place}.${k}.`) }));
  const top = BOX_H + LABEL_H;
  const tallest = Math.max(...arms.map((a) => a.block.height));
  const join = top + tallest + GAP_Y;
  const boxes: Box[] = [];
  const lines: Line[] = [];
  let x = 0;
  const mids: number[] = [];
  for (const a of arms) {
    const b = shift(a.block, x, top);
    boxes.push(...b.boxes);
    lines.push(...b.lines);
    mids.push(b.mid);
    x += a.block.width + GAP_X;
  }
  const width = x - GAP_X;
  // The two that join stand under the step's middle; a correction hangs beside them.
  const joining = keys.filter((k) => k !== "corrected").length;
  const mid = (mids[0]! + mids[joining - 1]!) / 2;
  box.x = mid - BOX_W / 2;
  boxes.unshift(box);
  arms.forEach((a, i) => {
    const beside = a.key === "corrected";
    lines.push({ d: curve(mid, BOX_H, mids[i]!, top), branch: a.key, of: id, labelX: mids[i]!, labelY: top - 12, beside });
    // A short branch goes straight down beside the longer ones before it joins, so that its line crosses no box.
    if (a.block.open && !beside) lines.push({ d: `M${mids[i]!},${top + a.block.height} L${mids[i]!},${top + tallest} ${curve(mids[i]!, top + tallest, mid, join).replace(/^M\S+ /, "")}` });
  });
  const open = arms.some((a) => a.key !== "corrected" && a.block.open);
  return { boxes, lines, width, height: open ? join : top + tallest, mid, open };
}

function drawList(steps: Step[], prefix: string): Block {
  if (steps.length === 0) return { boxes: [], lines: [], width: BOX_W * 0.6, height: 0, mid: BOX_W * 0.3, open: true };
  const blocks = steps.map((s, i) => drawStep(s, prefix + i));
  const mid = Math.max(...blocks.map((b) => b.mid));
  const right = Math.max(...blocks.map((b) => b.width - b.mid));
  const boxes: Box[] = [];
  const lines: Line[] = [];
  let y = 0;
  blocks.forEach((b, i) => {
    const at = shift(b, mid - b.mid, y);
    boxes.push(...at.boxes);
    lines.push(...at.lines);
    y += b.height;
    if (i + 1 < blocks.length) {
      if (b.open) lines.push({ d: curve(mid, y, mid, y + GAP_Y) });
      y += GAP_Y;
    }
  });
  return { boxes, lines, width: mid + right, height: y, mid, open: blocks[blocks.length - 1]!.open };
}

/** Lays a workflow out: its start, its steps, and its end where a run gets there. */
export function draw(form: WorkflowForm): Drawing {
  const body = drawList(form.steps ?? [], "");
  const mid = Math.max(body.mid, BOX_W / 2);
  const width = mid + Math.max(body.width - body.mid, BOX_W / 2);
  const at = shift(body, mid - body.mid, BOX_H + GAP_Y);
  const boxes: Box[] = [{ place: "", id: "", kind: "start", x: mid - BOX_W / 2, y: 0 }, ...at.boxes];
  const lines: Line[] = [{ d: curve(mid, BOX_H, mid, BOX_H + GAP_Y) }, ...at.lines];
  let height = BOX_H + GAP_Y + body.height;
  if (body.open) {
    if (body.boxes.length > 0) {
      lines.push({ d: curve(mid, height, mid, height + GAP_Y) });
      height += GAP_Y;
    }
    boxes.push({ place: "", id: "", kind: "end", x: mid - BOX_W / 2, y: height });
    height += BOX_H / 2;
  }
  return { boxes, lines, width, height };
}
