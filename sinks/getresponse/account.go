package getresponse

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/sinks"
)

var _ sinks.Accounter = (*writer)(nil)

// owner is what the API tells of the account.
type owner struct {
	ID      string `json:"accountId"`
	Company string `json:"companyName"`
	Email   string `json:"email"`
	First   string `json:"firstName"`
	Last    string `json:"lastName"`
}

func (w *writer) owner(ctx context.Context) (owner, *failure) {
	r := w.api.call(ctx, http.MethodGet, "/accounts", nil, nil)
	var a owner
	if !r.ok(&a) {
		return owner{}, classify(r)
	}
	return a, nil
}

// Account implements sinks.Accounter. What the plan is, not every key may read: then it is left out.
func (w *writer) Account(ctx context.Context) (sinks.Account, sinks.Outcome) {
	ctx, rec := outbound.Record(ctx)
	a, fail := w.owner(ctx)
	o := fail.outcome(false)
	if fail != nil {
		o.Exchanges = w.scrub(rec.Exchanges())
		return sinks.Account{}, o
	}
	name := strings.TrimSpace(a.First + " " + a.Last)
	out := sinks.Account{ID: a.ID, Name: shorten(cmp.Or(a.Company, name, a.ID)), User: shorten(a.Email)}
	if w.api.domain != "" {
		out.Detail = append(out.Detail, sinks.Fact{Name: "domain", Value: w.api.domain})
	}
	r := w.api.call(ctx, http.MethodGet, "/accounts/billing", nil, nil)
	var billing struct {
		Plan string `json:"paymentPlan"`
		Size string `json:"listSize"`
	}
	if r.ok(&billing) {
		for _, f := range []sinks.Fact{{Name: "plan", Value: shorten(billing.Plan)}, {Name: "contacts in the plan", Value: shorten(billing.Size)}} {
			if f.Value != "" {
				out.Detail = append(out.Detail, f)
			}
		}
	}
	o.Exchanges = w.scrub(rec.Exchanges())
	return out, o
}
