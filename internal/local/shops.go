package local

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/tillstream/tillstream/simulators"
	"github.com/tillstream/tillstream/simulators/generic"
	"github.com/tillstream/tillstream/simulators/stripe"
	"github.com/tillstream/tillstream/simulators/woocommerce"
)

// Shop is a simulated store.
type Shop struct {
	Connection string // of the template, which receives its orders
	Twin       simulators.Shop
	URL        string
	// receive tells a shop that has no API for it where to send its webhooks.
	receive func(url string)
}

// A server is a twin with a port of its own.
type server interface {
	ListenAndServe(ctx context.Context, addr string, ready func(url string)) error
	Close()
}

// shopSecrets are what a shop and its connection share, each made anew at every start.
type shopSecrets struct{ key, secret string }

// startShops starts a twin of each kind of store, on free ports, and puts its address and secrets into the
// environment of the template.
func (c *Cluster) startShops(ctx context.Context, o Options) error {
	for _, s := range []struct {
		connection, variable string
		make                 func(shopSecrets) (server, simulators.Shop, func(url string), error)
	}{
		{"woocommerce", "WOOCOMMERCE", func(k shopSecrets) (server, simulators.Shop, func(string), error) {
			s, err := woocommerce.New(woocommerce.Options{
				Keys: []woocommerce.Key{{ConsumerKey: "ck_" + k.key, ConsumerSecret: "cs_" + k.secret}}, Seed: o.Seed, Now: o.Now,
				Faults: woocommerce.Faults{DuplicateRate: o.PayPalFaults.DuplicateRate, DisorderRate: o.PayPalFaults.DisorderRate, DraftNoise: true},
				Log:    o.Log.With().Str("simulator", "woocommerce").Logger(),
			})
			return s, s, nil, err
		}},
		{"stripe", "STRIPE", func(k shopSecrets) (server, simulators.Shop, func(string), error) {
			s, err := stripe.New(stripe.Options{
				Keys: []stripe.Key{{Text: "rk_test_" + k.key}}, Seed: o.Seed, Now: o.Now,
				Faults: stripe.Faults{DuplicateRate: o.PayPalFaults.DuplicateRate, DisorderRate: o.PayPalFaults.DisorderRate},
				Log:    o.Log.With().Str("simulator", "stripe").Logger(),
			})
			return s, s, func(url string) { s.AddEndpoint(url, "whsec_"+k.secret) }, err
		}},
		{"own-shop", "OWN_SHOP", func(k shopSecrets) (server, simulators.Shop, func(string), error) {
			s, err := generic.New(generic.Options{
				Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte(k.secret))}, OwnWords: true, Seed: o.Seed, Now: o.Now,
				Faults: generic.Faults{DuplicateRate: o.PayPalFaults.DuplicateRate, DisorderRate: o.PayPalFaults.DisorderRate},
				Log:    o.Log.With().Str("simulator", "own-shop").Logger(),
			})
			return s, s, s.SetWebhook, err
		}},
	} {
		k := shopSecrets{}
		var err error
		for _, text := range []*string{&k.key, &k.secret} {
			if *text, err = randomHex(); err != nil {
				return err
			}
		}
		srv, twin, receive, err := s.make(k)
		if err != nil {
			return err
		}
		url := make(chan string, 1)
		c.group.Go(func() error {
			defer srv.Close()
			return portHint(s.connection, srv.ListenAndServe(ctx, "127.0.0.1:0", func(at string) { url <- at }))
		})
		shop := Shop{Connection: s.connection, Twin: twin, receive: receive}
		select {
		case shop.URL = <-url:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.Shops = append(c.Shops, shop)
		c.env[s.variable], c.env[s.variable+"_KEY"], c.env[s.variable+"_SECRET"] = shop.URL, k.key, k.secret
	}
	c.env["OWN_SHOP_SECRET"] = base64.StdEncoding.EncodeToString([]byte(c.env["OWN_SHOP_SECRET"]))
	return nil
}

// Receive tells the shops that register no webhook themselves where the receiver is.
func (c *Cluster) Receive(ingest string) {
	for _, s := range c.Shops {
		if s.receive != nil {
			s.receive(fmt.Sprintf("http://%s/webhooks/%s", ingest, s.Connection))
		}
	}
}
