// Reads the YAML that workflows are written in, so that forms and graph follow the text while it is typed. The server
// has the last word about the text: what this reader does not know (anchors, tags, several documents) it refuses, and
// then only the text can be edited.

/** Why a text was not read, and where. */
export class YamlFault extends Error {
  constructor(readonly line: number, what: string) {
    super(what);
  }
}

const DEPTH_MAX = 60;

interface Row {
  indent: number;
  text: string;
  line: number; // from 1
}

/** The value that the text stands for: objects, lists, texts, numbers, booleans and null. */
export function readYaml(text: string): unknown {
  return new Reader(text).whole();
}

class Reader {
  private rows: Row[] = [];
  private at = 0;
  private readonly raw: string[];

  constructor(text: string) {
    this.raw = text.replace(/\r\n?/g, "\n").split("\n");
    this.raw.forEach((full, i) => {
      const bare = full.trimStart();
      if (bare === "" || bare.startsWith("#") || (bare.startsWith("---") && this.rows.length === 0)) return;
      if (/^ *\t/.test(full)) throw new YamlFault(i + 1, "a tab cannot indent");
      this.rows.push({ indent: full.length - bare.length, text: bare, line: i + 1 });
    });
  }

  whole(): unknown {
    if (this.rows.length === 0) return null;
    const v = this.block(this.rows[0]!.indent, 0);
    if (this.at < this.rows.length) throw new YamlFault(this.rows[this.at]!.line, "this line is not indented like those before it");
    return v;
  }

  /** A list, an object or a single value whose lines are indented so far. */
  private block(indent: number, depth: number): unknown {
    const row = this.rows[this.at]!;
    if (depth > DEPTH_MAX) throw new YamlFault(row.line, "nested too deeply");
    if (isItem(row.text)) return this.list(indent, depth);
    if (keyOf(row.text)) return this.object(indent, depth);
    this.at++;
    return this.value(row.text, row, indent - 1, depth);
  }

  private list(indent: number, depth: number): unknown[] {
    const out: unknown[] = [];
    for (let row = this.rows[this.at]; row && row.indent === indent && isItem(row.text); row = this.rows[this.at]) {
      const rest = row.text.slice(1).trimStart();
      if (rest === "" || rest.startsWith("#")) {
        this.at++;
        out.push(this.below(indent + 1, depth));
        continue;
      }
      // What stands behind the dash is a block of its own, indented as far as it stands.
      this.rows[this.at] = { ...row, indent: indent + row.text.length - rest.length, text: rest };
      out.push(this.block(this.rows[this.at]!.indent, depth + 1));
    }
    return out;
  }

  private object(indent: number, depth: number): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    for (let row = this.rows[this.at]; row && row.indent === indent; row = this.rows[this.at]) {
      const found = isItem(row.text) ? undefined : keyOf(row.text);
      if (!found) throw new YamlFault(row.line, "a key and a colon are missing");
      if (Object.hasOwn(out, found.key)) throw new YamlFault(row.line, `${found.key} is there twice`);
      this.at++;
      Object.defineProperty(out, found.key, { value: this.value(found.rest, row, indent, depth), enumerable: true, writable: true, configurable: true });
    }
    return out;
  }

  /** What belongs to a key or dash that stands alone: lines indented further. A list may stand as far as its key. */
  private below(least: number, depth: number): unknown {
    const next = this.rows[this.at];
    if (!next || next.indent < least) return null;
    return this.block(next.indent, depth + 1);
  }

  private value(rest: string, row: Row, indent: number, depth: number): unknown {
    if (rest === "" || rest.startsWith("#")) {
      const next = this.rows[this.at];
      if (next && next.indent === indent && isItem(next.text)) return this.list(indent, depth + 1);
      return this.below(indent + 1, depth);
    }
    if (/^[|>]/.test(rest)) return this.folded(rest, row, indent);
    if (/^[&*!%@`]/.test(rest)) throw new YamlFault(row.line, "anchors, aliases and tags are not read here");
    if (/^["'[{]/.test(rest)) {
      let all = rest;
      for (;;) {
        const flow = new Flow(all, row.line);
        const v = flow.value(0);
        if (flow.ended) {
          flow.rest();
          return v;
        }
        const next = this.rows[this.at];
        if (!next || next.indent <= indent) throw new YamlFault(row.line, "a bracket or a quote is not closed");
        this.at++;
        all += "\n" + next.text;
      }
    }
    let plain = uncommented(rest);
    for (let next = this.rows[this.at]; next && next.indent > indent && !isItem(next.text); next = this.rows[this.at]) {
      if (keyOf(next.text)) throw new YamlFault(next.line, "a key stands below a value");
      plain += " " + uncommented(next.text);
      this.at++;
    }
    if (/: |:$/.test(plain)) throw new YamlFault(row.line, "put a text that holds a colon into quotes");
    return scalar(plain);
  }

  /** A text of several lines: | keeps them, > joins them. */
  private folded(head: string, row: Row, indent: number): string {
    const mode = /^([|>])([+-]?)\s*(#.*)?$/.exec(head);
    if (!mode) throw new YamlFault(row.line, "this way to write a long text is not read here");
    const lines: string[] = [];
    let i = row.line; // the line behind it, counted from 0
    let deep = -1;
    for (; i < this.raw.length; i++) {
      const full = this.raw[i]!;
      const own = full.length - full.trimStart().length;
      if (full.trim() === "") {
        lines.push("");
        continue;
      }
      if (own <= indent) break;
      if (deep < 0) deep = own;
      lines.push(full.slice(Math.min(deep, own)));
    }
    while (this.at < this.rows.length && this.rows[this.at]!.line <= i) this.at++;
    while (lines.length && lines[lines.length - 1] === "") lines.pop();
    const body = mode[1] === "|" ? lines.join("\n") : lines.join("\n").replace(/([^\n])\n(?=[^\n])/g, "$1 ").replace(/\n\n/g, "\n");
    return mode[2] === "-" || body === "" ? body : body + "\n";
  }
}

const isItem = (text: string): boolean => text === "-" || text.startsWith("- ");

/** The key that a line begins with, and what stands behind its colon. */
function keyOf(text: string): { key: string; rest: string } | undefined {
  const quoted = /^"((?:[^"\\]|\\.)*)"\s*:(?:\s+|$)(.*)$/.exec(text) ?? /^'((?:[^']|'')*)'\s*:(?:\s+|$)(.*)$/.exec(text);
  if (quoted) return { key: quoted[1]!, rest: quoted[2]! };
  const plain = /^([^\s#"'[\]{},&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+|$)(.*)$/.exec(text);
  return plain ? { key: plain[1]!, rest: plain[2]! } : undefined;
}

const uncommented = (text: string): string => text.replace(/\s+#.*$/, "").trimEnd();

function scalar(text: string): unknown {
  if (/^(null|~|Null|NULL)?$/.test(text)) return null;
  if (/^(true|True|TRUE)$/.test(text)) return true;
  if (/^(false|False|FALSE)$/.test(text)) return false;
  if (/^[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?$/.test(text)) return Number(text);
  return text;
}

/** Quotes and brackets, which may go over several lines. */
class Flow {
  private i = 0;
  ended = false;

  constructor(private readonly text: string, private readonly line: number) {}

  value(depth: number): unknown {
    if (depth > DEPTH_MAX) throw new YamlFault(this.line, "nested too deeply");
    this.blank();
    const c = this.text[this.i];
    let v: unknown;
    if (c === "[") v = this.list(depth);
    else if (c === "{") v = this.object(depth);
    else if (c === '"' || c === "'") v = this.quoted(c);
    else v = this.plain();
    if (depth === 0) this.ended = !this.broken;
    return v;
  }

  /** Behind the value only a comment may stand. */
  rest(): void {
    const tail = this.text.slice(this.i).trim();
    if (tail !== "" && !tail.startsWith("#")) throw new YamlFault(this.line, "something stands behind the closing bracket or quote");
  }

  private broken = false;

  private blank(): void {
    for (;;) {
      const gap = /^(\s+|#[^\n]*(?=\n))/.exec(this.text.slice(this.i));
      if (!gap || (gap[0].startsWith("#") && this.i > 0 && !/\s/.test(this.text[this.i - 1]!))) return;
      this.i += gap[0].length;
    }
  }

  private list(depth: number): unknown[] {
    const out: unknown[] = [];
    this.i++;
    for (;;) {
      this.blank();
      if (this.over()) return out;
      if (this.text[this.i] === "]") {
        this.i++;
        return out;
      }
      out.push(this.value(depth + 1));
      this.comma("]");
    }
  }

  private object(depth: number): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    this.i++;
    for (;;) {
      this.blank();
      if (this.over()) return out;
      if (this.text[this.i] === "}") {
        this.i++;
        return out;
      }
      const c = this.text[this.i];
      const key = c === '"' || c === "'" ? this.quoted(c) : String(this.plain(true));
      this.blank();
      let v: unknown = null;
      if (this.text[this.i] === ":") {
        this.i++;
        this.blank();
        if (!/[,}]/.test(this.text[this.i] ?? ",")) v = this.value(depth + 1);
      }
      Object.defineProperty(out, key, { value: v, enumerable: true, writable: true, configurable: true });
      this.comma("}");
    }
  }

  private comma(end: string): void {
    this.blank();
    if (this.over()) return;
    if (this.text[this.i] === ",") this.i++;
    else if (this.text[this.i] !== end) throw new YamlFault(this.line, `a comma or ${end} is missing`);
  }

  private over(): boolean {
    if (this.i >= this.text.length) this.broken = true;
    return this.broken;
  }

  private quoted(q: string): string {
    let out = "";
    for (this.i++; this.i < this.text.length; this.i++) {
      const c = this.text[this.i]!;
      if (c === "\\" && q === '"') {
        const e = this.text[++this.i] ?? "";
        if (e === "u") {
          out += String.fromCharCode(parseInt(this.text.slice(this.i + 1, this.i + 5), 16));
          this.i += 4;
        } else out += { n: "\n", t: "\t", r: "\r", "0": "\0" }[e] ?? e;
      } else if (c === q) {
        if (q === "'" && this.text[this.i + 1] === "'") {
          out += "'";
          this.i++;
          continue;
        }
        this.i++;
        return out;
      } else out += c === "\n" ? " " : c;
    }
    this.broken = true;
    return out;
  }

  private plain(key = false): unknown {
    const from = this.i;
    const ends = key ? /^(:|[,[\]{}]|\s#)/ : /^([,[\]{}]|:\s|\s#)/;
    while (this.i < this.text.length && !ends.test(this.text.slice(this.i, this.i + 2))) this.i++;
    if (this.i === from) {
      if (this.over()) return null;
      throw new YamlFault(this.line, "a value is missing");
    }
    const text = this.text.slice(from, this.i).trim();
    return key ? text : scalar(text.replace(/\s*\n\s*/g, " "));
  }
}
