package cli

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// A picture is what may be drawn on one axis: values of one currency.
type picture struct {
	Name   string // the currency, or empty
	Y      string // name of the values
	Series []series
}

type series struct {
	Name   string
	Points []point
}

type point struct {
	X     string
	At    float64 // place along the axis: seconds of a time, a number, or the order of appearance
	Value float64
	Text  string // of the value
}

// Bounds of what is drawn; what is left out is said.
const (
	barsMax   = 24
	seriesMax = 8
)

// pictures splits a report into what may share an axis. A row whose value is NULL is not drawn.
func pictures(a answer) []picture {
	x, y := column(a.Result, a.X), column(a.Result, a.Y)
	if a.Plot == chsink.PlotNone || x < 0 || y < 0 {
		return nil
	}
	var list []picture
	for i, row := range a.Rows {
		value, ok := drawable(row[y])
		if !ok {
			continue
		}
		unit, name := "", ""
		for _, s := range a.Series {
			text := printable(row[column(a.Result, s)])
			if s == "currency" {
				unit = text
			} else {
				name = strings.TrimSpace(name + " " + text)
			}
		}
		at := slices.IndexFunc(list, func(p picture) bool { return p.Name == unit })
		if at < 0 {
			at, list = len(list), append(list, picture{Name: unit, Y: a.Y})
		}
		p := &list[at]
		of := slices.IndexFunc(p.Series, func(s series) bool { return s.Name == name })
		if of < 0 {
			of, p.Series = len(p.Series), append(p.Series, series{Name: name})
		}
		p.Series[of].Points = append(p.Series[of].Points, point{X: printable(row[x]), At: place(row[x], i), Value: value, Text: printable(row[y])})
	}
	slices.SortStableFunc(list, func(a, b picture) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func column(r chsink.Result, name string) int {
	return slices.IndexFunc(r.Columns, func(c chsink.Column) bool { return c.Name == name })
}

// drawable is a value that can be drawn.
func drawable(v any) (float64, bool) {
	switch v := v.(type) {
	case decimal.Decimal:
		return v.InexactFloat64(), true
	case amount:
		return v.value.InexactFloat64(), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case int32:
		return float64(v), true
	case uint32:
		return float64(v), true
	case uint8:
		return float64(v), true
	}
	return 0, false
}

func place(v any, order int) float64 {
	switch v := v.(type) {
	case time.Time:
		return float64(v.Unix())
	case string:
		if at, err := time.Parse(time.DateOnly, v); err == nil {
			return float64(at.Unix())
		}
	}
	if n, ok := drawable(v); ok {
		return n
	}
	return float64(order)
}

func plotText(w io.Writer, a answer) error {
	for _, p := range pictures(a) {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(p.Y+" "+p.Name))
		draw := bars
		if a.Plot == chsink.PlotLine {
			draw = sparks
		}
		if _, err := io.WriteString(w, draw(p)); err != nil {
			return err
		}
	}
	return nil
}

var eighths = []rune(" ▏▎▍▌▋▊▉█")

// bars draws a line for each value; a negative one is drawn in light blocks.
func bars(p picture) string {
	type bar struct {
		label string
		point
	}
	var list []bar
	width, most, left := 0, 0.0, 0
	for _, s := range p.Series {
		for _, pt := range s.Points {
			if len(list) == barsMax {
				left++
				continue
			}
			b := bar{strings.TrimSpace(pt.X + " " + s.Name), pt}
			width, most = max(width, utf8.RuneCountInString(b.label)), max(most, math.Abs(pt.Value))
			list = append(list, b)
		}
	}
	var out strings.Builder
	room := max(10, reportWidth-width-20)
	for _, b := range list {
		length := 0
		if most > 0 {
			length = int(math.Round(math.Abs(b.Value) / most * float64(room*8)))
		}
		drawn := strings.Repeat("█", length/8)
		if length%8 > 0 {
			drawn += string(eighths[length%8])
		}
		if b.Value < 0 {
			drawn = strings.Repeat("░", (length+7)/8)
		}
		fmt.Fprintf(&out, "  %-*s  %s %s\n", width, b.label, drawn, b.Text)
	}
	if left > 0 {
		fmt.Fprintf(&out, "  ... and %d more; the table has all\n", left)
	}
	return out.String()
}

var levels = []rune("▁▂▃▄▅▆▇█")

// sparks draws a line of blocks for each series, from the lowest to the highest value of all of them (or from zero).
// Where there are more points than columns, a column shows the highest of its points.
func sparks(p picture) string {
	low, high, from, to, width := 0.0, 0.0, math.Inf(1), math.Inf(-1), 0
	for _, s := range p.Series {
		width = max(width, utf8.RuneCountInString(s.Name))
		for _, pt := range s.Points {
			low, high, from, to = min(low, pt.Value), max(high, pt.Value), min(from, pt.At), max(to, pt.At)
		}
	}
	room := max(10, min(60, reportWidth-width-30))
	var out strings.Builder
	for i, s := range p.Series {
		if i == barsMax {
			fmt.Fprintf(&out, "  ... and %d more series; the table has all\n", len(p.Series)-i)
			break
		}
		columns := make([]*point, room)
		least, most := s.Points[0], s.Points[0]
		for j := range s.Points {
			pt := &s.Points[j]
			at := 0
			if to > from {
				at = int((pt.At - from) / (to - from) * float64(room-1))
			}
			if columns[at] == nil || columns[at].Value < pt.Value {
				columns[at] = pt
			}
			if pt.Value < least.Value {
				least = *pt
			}
			if pt.Value > most.Value {
				most = *pt
			}
		}
		line := make([]rune, room)
		for j, pt := range columns {
			line[j] = ' '
			if pt != nil {
				level := 0
				if high > low {
					level = int(math.Round((pt.Value - low) / (high - low) * float64(len(levels)-1)))
				}
				line[j] = levels[level]
			}
		}
		fmt.Fprintf(&out, "  %-*s  %s  %s to %s\n", width, s.Name, string(line), least.Text, most.Text)
	}
	first, last := ends(p)
	fmt.Fprintf(&out, "  %-*s  %-*s%s\n", width, "", max(1, room-utf8.RuneCountInString(last)), first, last)
	return out.String()
}

// ends are the labels of the first and the last place on the axis.
func ends(p picture) (first, last string) {
	from, to := math.Inf(1), math.Inf(-1)
	for _, s := range p.Series {
		for _, pt := range s.Points {
			if pt.At < from {
				from, first = pt.At, pt.X
			}
			if pt.At > to {
				to, last = pt.At, pt.X
			}
		}
	}
	return first, last
}
