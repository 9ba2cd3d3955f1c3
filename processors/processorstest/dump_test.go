package processorstest_test

import (
	"fmt"

	"github.com/tillstream/tillstream/schemas"
)

func dump(events []*schemas.OrderEvent) string {
	text := ""
	for _, e := range events {
		text += fmt.Sprintf("%s %s root=%s entity=%s links=%v %s/%s at %s amount=%v total=%v payer=%v\n", e.EventID, e.Kind, e.RootID, e.EntityID, e.Links,
			e.ProviderStatus, e.Status, e.ProviderTime.Format("05"), e.Amount, e.RefundedTotal, e.Payer)
	}
	return text
}
