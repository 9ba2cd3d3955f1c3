package memstore_test

import (
	"testing"

	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/memstore"
	"github.com/tillstream/tillstream/pipeline/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		s := memstore.New()
		return storetest.Harness{
			Open: func() store.Store { return s },
			Wipe: s.Wipe, Snapshot: s.Snapshot, Spoil: s.Spoil, Down: s.SetDown,
		}
	})
}
