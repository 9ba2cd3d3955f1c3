package clickhouse

import (
	"errors"
	"strings"
	"testing"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/sinks"
)

func TestWhichErrorsBlameTheRow(t *testing.T) {
	exception := func(code int32) error { return &clickhouse.Exception{Code: code, Message: "Column values: secret"} }
	for code, want := range map[int32]bool{53: true, 69: true, 321: true, 407: true, 469: true, 252: false, 60: false, 241: false, 0: false, 999: false} {
		if got := blamesRow(exception(code)); got != want {
			t.Errorf("code %d: got %v, want %v", code, got, want)
		}
	}
	var busy *BusyError
	if !errors.As(explain(exception(252), "events"), &busy) || busy.RetryAfter() <= 0 {
		t.Error("too many parts asks for no pause")
	}
	for _, code := range []int32{60, 47, 497, 469, 252} {
		if err := explain(exception(code), "events"); strings.Contains(err.Error(), "secret") {
			t.Errorf("code %d: the error quotes values: %v", code, err)
		}
	}
}

func TestTokensDifferWithEveryPartOfARange(t *testing.T) {
	base := sinks.Range{Topic: "t", TopicID: "id", Partition: 1, From: 2, To: 3}
	seen := map[string]string{token(base): "base"}
	for name, change := range map[string]func(*sinks.Range){
		"topic id":  func(r *sinks.Range) { r.TopicID = "id2" },
		"partition": func(r *sinks.Range) { r.Partition++ },
		"start":     func(r *sinks.Range) { r.From-- },
		"end":       func(r *sinks.Range) { r.To++ },
		"replay":    func(r *sinks.Range) { r.Replay++ },
	} {
		r := base
		change(&r)
		if other, ok := seen[token(r)]; ok {
			t.Errorf("another %s gives the token of %s", name, other)
		}
		seen[token(r)] = name
	}
}
