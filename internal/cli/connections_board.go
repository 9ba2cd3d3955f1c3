package cli

import (
	"fmt"
	"io"

	"github.com/tillstream/tillstream/pipeline/connections"
)

// addConnections takes what a process says of its connections. A problem of the configuration on disk is the part's own
// reason already.
func (b *board) addConnections(instance string, s connections.Standing) {
	if s.RestartNeeded {
		b.Notices = append(b.Notices, notice{instance, "files other than connections have changed on disk: they count from the next start on"})
	}
	for _, a := range s.Alarms {
		b.Notices = append(b.Notices, notice{instance, fmt.Sprintf("connection %s: %s since %s: %s; %s", a.Connection, a.Kind, instant(a.Since), a.What, a.Remedy)})
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
