package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/tillstream/tillstream/internal/explain"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// waitsShown is how many waits the story shows.
const waitsShown = 5

// explained prints some waits, and the explanation of an order that one of them was about.
func (d *demo) explained(ctx context.Context, b *strings.Builder, store *chsink.Store) error {
	page, err := store.Waits(ctx, chsink.WaitFilter{Limit: waitsShown})
	if err != nil {
		return err
	}
	if len(page.Waits) == 0 {
		return nil
	}
	explain.MaskWaits(page.Waits)
	fmt.Fprintf(b, "\nWhat workflows waited for (tillstream waits --state all --data %s):\n\n", d.cluster.Dir)
	if err := printWaits(b, page.Waits, d.process.Now()); err != nil {
		return err
	}
	key := page.Waits[0].RootKey
	desk := explain.Desk{Store: store, Now: d.process.Now}
	told, err := desk.Of(ctx, "", key[strings.LastIndexByte(key, '/')+1:], false)
	if err != nil {
		return fmt.Errorf("explain an order: %w", err)
	}
	fmt.Fprintf(b, "\nWhy an order stands as it does (tillstream explain %s --data %s):\n\n", key[strings.LastIndexByte(key, '/')+1:], d.cluster.Dir)
	explain.Print(b, told)
	return nil
}
