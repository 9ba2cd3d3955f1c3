package cli_test

import (
	"strings"
	"testing"

	"github.com/tillstream/tillstream/internal/cli"
)

func TestGenerateNamesWhatItIsAskedWrongly(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "say where to"},
		{[]string{"--kafka", "--clickhouse-tables"}, "say where to"},
		{[]string{"--clickhouse-tables", "--events", "0"}, "--events 0"},
		{[]string{"--clickhouse-tables", "--days", "4000"}, "--days 4000"},
		{[]string{"--clickhouse-tables", "--until", "soon"}, `--until "soon"`},
		{[]string{"--kafka"}, "--kafka needs --config"},
	} {
		code, _, stderr := tillstream(t, append([]string{"generate"}, c.args...)...)
		if code != cli.ExitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: got %d %q, want %q", c.args, code, stderr, c.want)
		}
	}
}
