package app

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	shop "github.com/tillstream/tillstream/connectors/getresponse"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
	"github.com/tillstream/tillstream/sinks/getresponse"
)

// One account is one account, whatever it is used for; another key is another, and the limits are the documented ones.
func TestUsesOfOneAccountShareIt(t *testing.T) {
	destination := func(name, key string) config.Destination {
		return config.Destination{Name: name, Sink: getresponse.Sink, RatePerSecond: getresponse.RatePerSecond, Settings: &getresponse.Config{Key: schemas.NewSecret(key)}}
	}
	c := &config.Config{
		Destinations: []config.Destination{
			destination("newsletter", "one"), destination("copy", "one"), destination("other", "two"),
			{Name: "crm", Sink: activecampaign.Sink, RatePerSecond: 2, Settings: &activecampaign.Config{URL: "https://acme.api-us1.com"}},
			{Name: "open", Sink: activecampaign.Sink, RatePerSecond: -1, Settings: &activecampaign.Config{URL: "https://twin.example"}},
			{Name: "notices", Sink: sinks.Sink{Type: "webhook"}, Settings: &struct{}{}},
		},
		Connections: []config.Connection{
			{Name: "orders", Connector: shop.Connector, Settings: &shop.Config{APIKey: schemas.NewSecret("one")}},
			{Name: "paypal", Connector: connectors.Connector{Type: "paypal"}, Settings: &struct{}{}},
		},
	}
	c.Settings.Redis.Address = miniredis.RunT(t).Addr()
	a := openAccounts(c, time.Now)
	defer a.close()
	look := func() map[string][]string {
		list, err := a.book.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string][]string{}
		for _, v := range list {
			account := v.Account
			if i := len("getresponse:api.getresponse.com/"); len(account) > i && account[:11] == "getresponse" {
				account = map[string]string{"7692c3ad3540bb80": "getresponse one", "3fc4ccfe745870e2": "getresponse two"}[account[i:]]
			}
			for _, w := range v.Windows {
				out[account] = append(out[account], w.Name)
			}
			for _, u := range v.Uses {
				out[account] = append(out[account], u.Use)
			}
		}
		return out
	}
	want := map[string][]string{
		"getresponse one": {
			"80 per 1s", "30000 per 10m0s", "contacts batch: 1 per 1s", "contacts batch: 80 per 10m0s",
			"connection orders", "destination copy", "destination newsletter",
		},
		"getresponse two":                 {"80 per 1s", "30000 per 10m0s", "contacts batch: 1 per 1s", "contacts batch: 80 per 10m0s", "destination other"},
		"activecampaign:acme.api-us1.com": {"2 per 1s", "bulk import: 100 per 1m0s", "bulk import of one: 20 per 1m0s", "destination crm"},
		"activecampaign:twin.example":     {"destination open"},
		"webhook:notices":                 {"destination notices"},
	}
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Error(diff)
	}
	if l := a.connection(c.Connections[1]); l != nil {
		t.Errorf("a provider whose limits are not known: got %v, want none", l)
	}
	a.keep([]connections.Served{})
	if got := look()["getresponse one"]; len(got) != 6 {
		t.Errorf("a connection that is gone is still shown: %v", got)
	}
	known := (&shop.Config{}).Limits()
	if diff := cmp.Diff((&getresponse.Config{}).Limits(), outbound.Limits{Windows: known.Windows, Parallel: known.Parallel, Buckets: (&getresponse.Config{}).Limits().Buckets}); diff != "" {
		t.Errorf("the source and the sink of GetResponse know different limits: %s", diff)
	}
}
