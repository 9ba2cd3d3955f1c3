package activecampaign

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/sinks"
)

var _ sinks.Accounter = (*writer)(nil)

// user is whose key it is.
type user struct {
	ID        flexible `json:"id"`
	Username  string   `json:"username"`
	FirstName string   `json:"firstName"`
	LastName  string   `json:"lastName"`
	Email     string   `json:"email"`
	Links     struct {
		Lists string `json:"lists"`
	} `json:"links"`
}

// whoami asks for the key's user. An answer that names none is another service's.
func (w *writer) whoami(ctx context.Context) (user, *failure) {
	var me struct {
		User user `json:"user"`
	}
	r := w.api.call(ctx, http.MethodGet, "/users/me", nil, nil)
	if !r.ok(&me) {
		return user{}, classify(r)
	}
	if me.User.ID == "" {
		return user{}, &failure{
			kind: failAccount, status: r.status(), cause: "another service than ActiveCampaign's API answers at this address",
			remedy: "correct url: copy it from Settings, Developer in ActiveCampaign",
		}
	}
	return me.User, nil
}

// Account implements sinks.Accounter. The API has no name for the account but its own address, which the links of its
// answers show even where it is reached by another.
func (w *writer) Account(ctx context.Context) (sinks.Account, sinks.Outcome) {
	ctx, rec := outbound.Record(ctx)
	me, fail := w.whoami(ctx)
	o := fail.outcome(false)
	o.Exchanges = w.scrub(rec.Exchanges())
	if fail != nil {
		return sinks.Account{}, o
	}
	host := cmp.Or(hostOf(me.Links.Lists), hostOf(w.api.base), w.api.base)
	name, _, _ := strings.Cut(host, ".")
	return sinks.Account{
		ID: host, Name: name, User: cmp.Or(me.Email, strings.TrimSpace(me.FirstName+" "+me.LastName), me.Username),
		Detail: []sinks.Fact{{Name: "address", Value: w.api.base}, {Name: "user id", Value: string(me.ID)}},
	}, o
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
