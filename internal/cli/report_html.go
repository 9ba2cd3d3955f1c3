package cli

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// htmlRowsMax bounds the table of one report in the page; charts have all rows.
const htmlRowsMax = 500

// pageStyle is the only style of the page; the policy names it by its hash, so that nothing else is in force.
const pageStyle = `
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6576;--line:#d9dee6;--paper:#fff;--raised:#f6f8fa;
--c0:#2563a8;--c1:#c2571a;--c2:#2f7d4f;--c3:#8b3f9e;--c4:#b3304d;--c5:#15808a;--c6:#7a6a12;--c7:#5b6576}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b5;--line:#333c49;--paper:#12161d;--raised:#1a2029;
--c0:#6aa9ee;--c1:#f0945a;--c2:#6cc492;--c3:#cd8ade;--c4:#f08199;--c5:#5cc6d0;--c6:#d0bd55;--c7:#9aa5b5}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:62rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:0}h3{font-size:.95rem;margin:1rem 0 .3rem}
p{margin:.3rem 0;max-width:48rem}.soft{color:var(--soft)}a{color:var(--c0)}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;margin:1rem 0}
section{border-top:1px solid var(--line);padding:1.2rem 0}
svg{width:100%;height:auto;display:block;background:var(--raised);border-radius:6px}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg text.soft{fill:var(--soft)}
svg .axis{stroke:var(--line);stroke-width:1}svg polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}.f5{fill:var(--c5)}.f6{fill:var(--c6)}.f7{fill:var(--c7)}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}td.n,th.n{text-align:right}
summary{cursor:pointer;margin:.6rem 0}
@media print{details{display:block}nav{display:none}}
`

// policy allows the page its one style and nothing else.
const policy = `content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'"`

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" {{.Policy}}>
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Tillstream reports</title>
<style>{{.Style}}</style>
</head>
<body>
<h1>Tillstream reports</h1>
<p class="soft">{{.Scope}}</p>
<nav>{{range .Reports}}<a href="#{{.Name}}">{{.Name}}</a>{{end}}</nav>
{{range .Reports}}<section id="{{.Name}}">
<h2>{{.Title}}</h2>
<p class="soft">{{.Definition}}.</p>
{{if not .Rows}}<p>There is nothing of it in this span.</p>
{{else}}{{range .Charts}}<h3>{{.Title}}</h3>
<svg viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-label="{{.Title}}">
{{range .Lines}}<line class="axis" x1="{{.X1}}" y1="{{.Y1}}" x2="{{.X2}}" y2="{{.Y2}}"/>
{{end}}{{range .Bars}}<rect class="{{.Class}}" x="{{.X}}" y="{{.Y}}" width="{{.W}}" height="{{.H}}"><title>{{.Title}}</title></rect>
{{end}}{{range .Curves}}<polyline class="{{.Class}}" points="{{.Points}}"/>
{{end}}{{range .Dots}}<circle class="{{.Class}}" cx="{{.X}}" cy="{{.Y}}" r="3"><title>{{.Title}}</title></circle>
{{end}}{{range .Texts}}<text class="{{.Class}}" x="{{.X}}" y="{{.Y}}" text-anchor="{{.Anchor}}">{{.Text}}</text>
{{end}}</svg>
{{if .Left}}<p class="soft">{{.Left}}</p>{{end}}
{{end}}<details{{if not .Charts}} open{{end}}><summary>Figures ({{.Count}} rows)</summary>
<div class="scroll"><table><thead><tr>{{range .Columns}}<th{{if .Number}} class="n"{{end}}>{{.Name}}</th>{{end}}</tr></thead>
<tbody>{{range .Rows}}<tr>{{range .}}<td{{if .Number}} class="n"{{end}}>{{.Text}}</td>{{end}}</tr>
{{end}}</tbody></table></div>
{{if .Cut}}<p class="soft">{{.Cut}}</p>{{end}}</details>
{{end}}</section>
{{end}}</body>
</html>
`))

type pageReport struct {
	chsink.Report
	Charts  []chart
	Columns []pageCell
	Rows    [][]pageCell
	Count   int
	Cut     string
}

type pageCell struct {
	Name, Text string
	Number     bool
}

// writePage writes one page that asks for nothing: every text that came from outside goes through html/template's escaping,
// and the policy allows neither scripts nor requests should that ever fail.
func writePage(w io.Writer, now time.Time, f chsink.ReportFilter, answers []answer) error {
	sum := sha256.Sum256([]byte(pageStyle))
	data := struct {
		Style   template.CSS
		Policy  template.HTMLAttr
		Scope   string
		Reports []pageReport
	}{Style: pageStyle, Policy: template.HTMLAttr(fmt.Sprintf(policy, base64.StdEncoding.EncodeToString(sum[:]))), Scope: scope(now, f)}
	for _, a := range answers {
		r := pageReport{Report: a.Report, Count: len(a.Rows)}
		for _, p := range pictures(a) {
			if a.Plot == chsink.PlotLine {
				r.Charts = append(r.Charts, lineChart(p))
			} else {
				r.Charts = append(r.Charts, barChart(p))
			}
		}
		numbers := make([]bool, len(a.Result.Columns))
		for i, c := range a.Result.Columns {
			numbers[i] = strings.Contains(c.Type, "Int") || strings.Contains(c.Type, "Decimal") || strings.Contains(c.Type, "Float")
			r.Columns = append(r.Columns, pageCell{Name: c.Name, Number: numbers[i]})
		}
		for i, row := range a.Result.Rows {
			if i == htmlRowsMax {
				r.Cut = fmt.Sprintf("The first %d rows; the command with --format csv has all.", htmlRowsMax)
				break
			}
			cells := make([]pageCell, len(row))
			for j, v := range row {
				cells[j] = pageCell{Text: printable(v), Number: numbers[j]}
			}
			r.Rows = append(r.Rows, cells)
		}
		data.Reports = append(data.Reports, r)
	}
	if err := page.Execute(w, data); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// scope says what the page is about.
func scope(now time.Time, f chsink.ReportFilter) string {
	parts := []string{"environment " + string(f.Environment)}
	if f.Environment == schemas.Live {
		parts[0] = "live events"
	}
	if f.Store != "" {
		parts = append(parts, "store "+f.Store)
	}
	if f.Currency != "" {
		parts = append(parts, "currency "+f.Currency)
	}
	if !f.Since.IsZero() {
		parts = append(parts, "from "+f.Since.UTC().Format("2006-01-02 15:04"))
	}
	if !f.Until.IsZero() {
		parts = append(parts, "until "+f.Until.UTC().Format("2006-01-02 15:04"))
	}
	return strings.Join(parts, ", ") + ". All times are UTC. Made " + now.UTC().Format("2006-01-02 15:04") + "."
}

// chart is a picture in places of its view box.
type chart struct {
	Title         string
	Width, Height int
	Lines         []struct{ X1, Y1, X2, Y2 string }
	Bars          []mark
	Curves        []mark
	Dots          []mark
	Texts         []mark
	Left          string
}

type mark struct{ Class, X, Y, W, H, Points, Text, Title, Anchor string }

const chartWidth = 960

// dotsMax is how many points of a line have a dot of their own, with its value: more would hide the line.
const dotsMax = 120

func (c *chart) line(x1, y1, x2, y2 float64) {
	c.Lines = append(c.Lines, struct{ X1, Y1, X2, Y2 string }{px(x1), px(y1), px(x2), px(y2)})
}

func (c *chart) text(class, anchor string, x, y float64, text string) {
	c.Texts = append(c.Texts, mark{Class: class, Anchor: anchor, X: px(x), Y: px(y), Text: text})
}

func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// barChart lays values as bars, one under the other; negative ones go to the left of the zero line.
func barChart(p picture) chart {
	const top, row, label, room = 12.0, 24.0, 330.0, 500.0
	c := chart{Title: strings.TrimSpace(p.Y + " " + p.Name), Width: chartWidth}
	low, high, shown, left := 0.0, 0.0, 0, 0
	for _, s := range p.Series {
		for _, pt := range s.Points {
			low, high = min(low, pt.Value), max(high, pt.Value)
		}
	}
	if high == low {
		high = low + 1
	}
	scale := func(v float64) float64 { return label + (v-low)/(high-low)*room }
	for i, s := range p.Series {
		for _, pt := range s.Points {
			if shown == barsMax {
				left++
				continue
			}
			y := top + row*float64(shown)
			name := strings.TrimSpace(pt.X + " " + s.Name)
			from, to := scale(min(0, pt.Value)), scale(max(0, pt.Value))
			c.Bars = append(c.Bars, mark{Class: fmt.Sprint("f", i%seriesMax), X: px(from), Y: px(y), W: px(max(1, to-from)), H: px(row - 7), Title: name + ": " + pt.Text})
			c.text("", "end", label-8, y+13, shorten(name, 46))
			c.text("soft", "start", to+6, y+13, pt.Text)
			shown++
		}
	}
	c.Height = int(2*top + row*float64(shown))
	c.line(scale(0), top-6, scale(0), float64(c.Height)-6)
	if left > 0 {
		c.Left = fmt.Sprintf("%d more values are among the figures only.", left)
	}
	return c
}

// lineChart draws each series over a common axis, with zero in sight.
func lineChart(p picture) chart {
	const top, bottom, left, right, key = 16.0, 220.0, 80.0, 940.0, 20.0
	c := chart{Title: strings.TrimSpace(p.Y + " " + p.Name), Width: chartWidth}
	low, high, from, to := 0.0, 0.0, math.Inf(1), math.Inf(-1)
	drawn := p.Series[:min(len(p.Series), seriesMax)]
	for _, s := range drawn {
		for _, pt := range s.Points {
			low, high, from, to = min(low, pt.Value), max(high, pt.Value), min(from, pt.At), max(to, pt.At)
		}
	}
	if high == low {
		high = low + 1
	}
	across := func(at float64) float64 {
		if to == from {
			return (left + right) / 2
		}
		return left + (at-from)/(to-from)*(right-left)
	}
	up := func(v float64) float64 { return bottom - (v-low)/(high-low)*(bottom-top) }
	for _, v := range []float64{low, low + (high-low)/2, high} {
		c.line(left, up(v), right, up(v))
		c.text("soft", "end", left-8, up(v)+4, strconv.FormatFloat(v, 'g', 5, 64))
	}
	for i, s := range drawn {
		var points []string
		for _, pt := range s.Points {
			x, y := px(across(pt.At)), px(up(pt.Value))
			points = append(points, x+","+y)
			if len(s.Points) > dotsMax {
				continue
			}
			c.Dots = append(c.Dots, mark{Class: fmt.Sprint("f", i), X: x, Y: y, Title: strings.TrimSpace(s.Name+" "+pt.X) + ": " + pt.Text})
		}
		c.Curves = append(c.Curves, mark{Class: fmt.Sprint("s", i), Points: strings.Join(points, " ")})
		y := bottom + 44 + key*float64(i)
		c.Bars = append(c.Bars, mark{Class: fmt.Sprint("f", i), X: px(left), Y: px(y - 10), W: "12", H: "12", Title: s.Name})
		c.text("", "start", left+20, y, shorten(s.Name, 90))
	}
	first, last := ends(picture{Series: drawn})
	c.text("soft", "start", left, bottom+20, first)
	c.text("soft", "end", right, bottom+20, last)
	c.Height = int(bottom + 44 + key*float64(len(drawn)))
	if n := len(p.Series) - len(drawn); n > 0 {
		c.Left = fmt.Sprintf("%d more series are among the figures only.", n)
	}
	return c
}
