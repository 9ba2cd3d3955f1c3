package generic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// TestSequencesKeepTheirOrder: of two sequences of one length that are taken, the one that comes first as text is the
// smaller number.
func TestSequencesKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, sequenceDigitsMax).Draw(t, "width")
		digits := rapid.StringOfN(rapid.RuneFrom([]rune("0123456789")), width, width, width)
		a, b := digits.Draw(t, "a"), digits.Draw(t, "b")
		x, errA := sequence(a, "")
		y, errB := sequence(b, "")
		if errA != nil || errB != nil {
			return
		}
		if strings.Compare(a, b) < 0 != (x < y) {
			t.Errorf("%s is %d and %s is %d", a, x, b, y)
		}
	})
}

// TestPathsFindWhatIsThere: whatever is put at a path into data is read from there.
func TestPathsFindWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.StringMatching(`[a-z_]{1,6}|[1-4]`), 1, 5).Draw(t, "steps")
		var v any = "PAID"
		for i := len(steps) - 1; i >= 0; i-- {
			if n := steps[i][0] - '0'; n <= 9 {
				list := make([]any, n)
				list[n-1] = v
				v = list
			} else {
				v = map[string]any{steps[i]: v}
			}
		}
		body := strictjson.AppendCanonical(nil, map[string]any{"x": v, "order_id": "A1", "occurred_at": "2026-11-02T10:00:00Z"})
		got := one(t, &Config{Fields: map[string]string{"status": "x." + strings.Join(steps, ".")}}, string(body), nil)
		if got.Status != schemas.StatusPaid {
			t.Errorf("%s: got %s at %v", body, got.Status, steps)
		}
	})
}

// TestMembersInAnyOrder are the same event.
func TestMembersInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := []string{`"order_id":"A1"`, `"status":"paid"`, `"occurred_at":"2026-11-02T10:00:00Z"`}
		for i := range rapid.IntRange(0, 5).Draw(t, "more") {
			members = append(members, fmt.Sprintf(`"m%d":%q`, i, rapid.StringMatching(`[a-z]*`).Draw(t, "value")))
		}
		first := one(t, &Config{}, "{"+strings.Join(members, ",")+"}", nil)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		second := one(t, &Config{}, "{ "+strings.Join(members, " , ")+" }", nil)
		if first.EventID != second.EventID || first.Fingerprint != second.Fingerprint {
			t.Errorf("got %s and %s", first.EventID, second.EventID)
		}
	})
}
