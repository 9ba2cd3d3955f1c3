package pipeline

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := envelope{deadline: rapid.Int64().Draw(t, "deadline"), state: rapid.SliceOf(rapid.Byte()).Draw(t, "state")}
		for range rapid.IntRange(0, 3).Draw(t, "muted") {
			e.muted = append(e.muted, mark{rapid.Int64().Draw(t, "at"), rapid.String().Draw(t, "id")})
		}
		got, err := decodeEnvelope(e.encode())
		if err != nil {
			t.Fatal(err)
		}
		if got.deadline != e.deadline || !bytes.Equal(got.state, e.state) || !cmp.Equal(got.muted, e.muted, cmp.AllowUnexported(mark{})) {
			t.Fatalf("got %+v, want %+v", got, e)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte{})
	f.Add(envelope{deadline: 5, muted: []mark{{7, "t"}}, state: []byte("{}")}.encode())
	f.Add([]byte{1, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEnvelope(b)
		if err != nil {
			return
		}
		again, err := decodeEnvelope(e.encode())
		if err != nil || again.deadline != e.deadline || len(again.muted) != len(e.muted) || !bytes.Equal(again.state, e.state) {
			t.Errorf("decoded %x to %+v, which comes back as %+v, %v", b, e, again, err)
		}
	})
}

func TestResumeComparesStateGroupAndLog(t *testing.T) {
	for name, tc := range map[string]struct {
		in     input
		known  *position
		want   int64
		alarm  bool
		reason Reason
	}{
		"new partition":                  {in: input{id: "i", start: 3, end: 9, group: -1}, want: 3},
		"equal":                          {in: input{id: "i", end: 9, group: 5}, known: &position{"i", 5}, want: 5},
		"offsets expired":                {in: input{id: "i", end: 9, group: -1}, known: &position{"i", 5}, want: 5, alarm: true},
		"offsets rewound by hand":        {in: input{id: "i", end: 9, group: 2}, known: &position{"i", 5}, want: 5, alarm: true},
		"changelog lost its tail":        {in: input{id: "i", end: 9, group: 7}, known: &position{"i", 5}, reason: ReasonChangelogLost},
		"changelog lost altogether":      {in: input{id: "i", end: 9, group: 7}, reason: ReasonChangelogLost},
		"input recreated":                {in: input{id: "j", end: 9, group: 5}, known: &position{"i", 5}, reason: ReasonInputRecreated},
		"input truncated":                {in: input{id: "i", end: 4, group: 5}, known: &position{"i", 5}, reason: ReasonInputTruncated},
		"input deleted before it's read": {in: input{id: "i", start: 7, end: 9, group: 5}, known: &position{"i", 5}, want: 5, alarm: true},
	} {
		t.Run(name, func(t *testing.T) {
			at, alarm, err := tc.in.resume(tc.known)
			var reason Reason
			if s, ok := err.(*stall); ok {
				reason = s.reason
				if s.remedy == "" || !s.final {
					t.Errorf("stall is not complete: %+v", s)
				}
			}
			if reason != tc.reason || reason == "" && (at != tc.want || (alarm != "") != tc.alarm) {
				t.Errorf("got %d, alarm %q, %v; want %d, alarm %v, %s", at, alarm, err, tc.want, tc.alarm, tc.reason)
			}
		})
	}
}
