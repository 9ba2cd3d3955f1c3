package clickhouse

import (
	"encoding/base64"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// A cursor is read as it was written, whatever the topic is called; and what nobody wrote is refused, or is one.
func TestCursorsOfSearches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := eventKey{rapid.Int64Range(0, lastDay.UnixMilli()).Draw(t, "at"), Coordinates{
			Topic: rapid.StringN(0, 50, 200).Draw(t, "topic"), TopicID: rapid.StringMatching(`[A-Za-z0-9_-]{0,22}`).Draw(t, "id"),
			Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset"),
		}}
		mode := rapid.SampledFrom([]string{searchExact, searchWords, searchPart}).Draw(t, "mode")
		gotMode, got, err := eventCursorOf(k.cursor(mode))
		if err != nil || gotMode != mode || *got != k {
			t.Fatalf("%+v: got %s %+v, %v", k, gotMode, got, err)
		}
		forged := rapid.OneOf(rapid.String(), rapid.Map(rapid.String(), func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) })).Draw(t, "forged")
		if mode, got, err := eventCursorOf(forged); err != nil && !errors.Is(err, ErrFilter) || err == nil && forged != "" && (got == nil || mode == "") {
			t.Fatalf("%q: got %s %+v, %v", forged, mode, got, err)
		}
	})
}
