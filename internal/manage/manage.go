// Package manage is what people do with a configuration, whichever way they come: the command line, the API and the page all
// use the same code to check, plan, edit, apply, restore, export, preview, test and backtest it.
package manage

import (
	"fmt"
	"strings"
	"time"
)

// cell is a value of ClickHouse as text.
func cell(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return shorten(text, 300)
}

func shorten(text string, bytesMax int) string {
	text = strings.ReplaceAll(text, "\n", " ")
	if len(text) <= bytesMax {
		return text
	}
	return strings.ToValidUTF8(text[:bytesMax], "") + "..."
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
