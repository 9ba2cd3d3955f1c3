package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/schemas"
)

// addConnections takes what a process says of its connections. A problem of the configuration on disk is the part's own
// reason already.
func (b *board) addConnections(instance string, s connections.Standing) {
	if s.RestartNeeded {
		b.Notices = append(b.Notices, notice{instance, "files have changed on disk that count from the next start on (tillstream.yaml, destinations/)"})
	}
	if s.Unapplied {
		b.Notices = append(b.Notices, notice{instance, "mappings or workflows on disk differ from those in force: 'tillstream apply' puts the folder in force"})
	}
	for _, a := range s.Alarms {
		b.Notices = append(b.Notices, notice{instance, fmt.Sprintf("connection %s: %s since %s: %s; %s", a.Connection, a.Kind, instant(a.Since), a.What, a.Remedy)})
	}
}

// addAccounts takes what a process says of the accounts that it writes to.
func (b *board) addAccounts(instance string, s destinations.Standing) {
	for _, a := range s.Alarms {
		b.Notices = append(b.Notices, notice{instance, fmt.Sprintf("destination %s: %s since %s: %s; %s", a.Destination, a.Kind, instant(a.Since), a.What, a.Remedy)})
	}
}

// addPauses takes what is paused. Every process knows the same: each is told once.
func (b *board) addPauses(list []schemas.Pause) {
	for _, p := range list {
		word := strings.ToLower(string(p.Subject))
		n := notice{"paused", fmt.Sprintf("%s %s is paused by %s since %s: %s; 'tillstream resume %s %s' lets it go on", word, p.Name, harmless(p.By), instant(p.At), harmless(p.Why), word, p.Name)}
		if !slices.Contains(b.Notices, n) {
			b.Notices = append(b.Notices, n)
		}
	}
}

// addConfig takes what a process says of the configuration in force.
func (b *board) addConfig(instance string, s app.ConfigStanding) {
	if s.Refused != "" {
		b.Notices = append(b.Notices, notice{instance, "the configuration in force cannot be followed here, and what runs goes on with the one before: " + s.Refused})
	}
}

// follows is the version that a partition follows, and since which offset.
func (r partitionRow) follows() string {
	if r.Config == "" {
		return "-"
	}
	return fmt.Sprintf("%s since %s", r.Config, number(r.ConfigFrom))
}

// addHeld tells of timers that wait for receivers.
func (b *board) addHeld(instance, stage string, s pipeline.PartitionStatus) {
	if s.TimersHeld {
		b.Notices = append(b.Notices, notice{instance, fmt.Sprintf(
			"stage %s partition %d: deadlines since %s are held, since no receiver was there to take events; they pass some minutes (stages.outage_grace) after one is back",
			stage, s.Partition, instant(s.Watermark))})
	}
}

// notice is something that wants somebody while everything runs.
type notice struct {
	Instance string `json:"instance"`
	Text     string `json:"text"`
}

func (b *board) printNotices(w io.Writer) {
	if len(b.Notices) > 0 {
		fmt.Fprintln(w, "\nALARMS")
	}
	for _, n := range b.Notices {
		fmt.Fprintln(w, n.Instance)
		wrap(w, n.Text)
	}
}
