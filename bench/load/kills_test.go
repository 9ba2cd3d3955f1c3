package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/internal/e2e/parts"
)

// The test binary is also the programs that it starts.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	for i, a := range os.Args {
		if a == "--" {
			os.Args = append(os.Args[:1], os.Args[i+1:]...)
			break
		}
	}
	main()
}

// Every harm leaves each committed record as one row, also before merges: the long form is -kills 100.
func TestLoadersKilledAndCutInsideInserts(t *testing.T) {
	if _, err := chdb.Find(); err != nil {
		var missing *chdb.MissingError
		if !errors.As(err, &missing) {
			t.Fatal(err)
		}
		parts.Missing(t, "chdb", err.Error())
	}
	for _, topic := range []string{"paypal.events"} {
		o := options{topic: topic, kills: 8, bodyBytes: 600, dir: t.TempDir(), seed: 3, connections: 2, storms: time.Minute}
		f, err := kill(context.Background(), o, "^$")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, one := range f {
			got[one.Figure] = one.Value
		}
		if got["kills"] == 0 || got["cuts"] == 0 || got["records_committed"] == 0 || got["records_aborted"] == 0 {
			t.Errorf("the run was no trial: %v", got)
		}
	}
}
