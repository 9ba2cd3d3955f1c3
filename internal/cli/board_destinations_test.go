package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/pipeline/deliver"
)

// What keeps a destination's commands waiting is told with who or what keeps them, and what a person does.
func TestStatusTellsWhyADestinationWaits(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	byAnn := &deliver.HeldBack{By: "ann", Why: "lists are moved", Since: at}
	b := board{At: at}
	b.addDestinations("one", deliver.Status{
		Destinations: []deliver.DestinationStatus{
			{Name: "crm", Paused: "refused", Detail: "POST /x answered 403: suspended.", Remedy: "check that the account is active"},
			{Name: "mail", Unfinished: 3, HeldBack: byAnn},
			{Name: "slow", Paused: "asked", Until: at.Add(time.Minute), Detail: "GET /y answered 503", Remedy: "wait"},
		},
		Connections: []deliver.ConnectionStatus{{Name: "shop", HeldBack: byAnn, Waiting: 2}},
	})
	b.addDestinations("two", deliver.Status{
		Destinations: []deliver.DestinationStatus{{Name: "mail", Unfinished: 4, HeldBack: byAnn}},
		Connections:  []deliver.ConnectionStatus{{Name: "shop", HeldBack: byAnn, Waiting: 5}},
	})
	var out strings.Builder
	if err := b.printSinks(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"destination mail: paused by ann since 2026-11-01T12:00:00Z: lists are moved; 7 commands wait; 'tillstream resume destination mail'",
		"connection shop: paused by ann since 2026-11-01T12:00:00Z: lists are moved; 7 commands wait; 'tillstream resume connection shop'",
		"asked, for 60 s", "slow: GET /y answered 503\n        what to do: wait",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	if len(b.Troubles) != 1 || !strings.Contains(b.Troubles[0].Reasons[0], "answered 403: suspended)") || !strings.Contains(b.Troubles[0].Reasons[0], "check that the account is active") {
		t.Errorf("got %v, want one trouble with what the destination said and what to do", b.Troubles)
	}
}
