package expressions

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// What is remembered is what would have been written.
func TestPhoneRemembersNothingElse(t *testing.T) {
	values := rapid.OneOf(
		rapid.StringMatching(`\+?[0-9 ()/-]{0,16}`), rapid.StringN(0, 6, 60),
		rapid.Map(rapid.IntRange(0, 3*phonesKept), func(n int) string { return fmt.Sprintf("030 90%04d", n) }),
	)
	regions := rapid.SampledFrom([]string{"", "DE", "US", "CN", "ZZ"})
	rapid.Check(t, func(t *rapid.T) {
		v, region := values.Draw(t, "value"), regions.Draw(t, "region")
		for range 2 {
			if got, want := phone(v, region), e164(v, region); got != want {
				t.Fatalf("phone(%q, %q) = %q, want %q", v, region, got, want)
			}
		}
	})
}

func BenchmarkPhone(b *testing.B) {
	b.Run("first time", func(b *testing.B) {
		for b.Loop() {
			e164("030 901820", "DE")
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			phone("030 901820", "DE")
		}
	})
}
