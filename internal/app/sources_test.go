package app

import (
	"testing"

	"github.com/tillstream/tillstream/pipeline/config"
)

// What was polled or asked for is kept by the operator's rules for webhooks: else the one would be quarantined that the
// other lets in.
func TestWhatIsPolledIsKeptAsWebhooksAre(t *testing.T) {
	for _, allow := range []bool{false, true} {
		p := &process{Options: Options{Config: &config.Config{Settings: config.Settings{Ingest: config.Ingest{AllowCardNumbers: allow}}}}}
		if got := p.keeper().AllowCardNumbers; got != allow {
			t.Errorf("allow_card_numbers %v: got %v", allow, got)
		}
	}
}
