package local

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/simulators"
	"github.com/tillstream/tillstream/simulators/generic"
	"github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/simulators/shopify"
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

// ShopServer is a twin with a port of its own.
type ShopServer interface {
	simulators.Shop
	ListenAndServe(ctx context.Context, addr string, ready func(url string)) error
	Close()
}

// ShopKind is a kind of store that can be simulated.
type ShopKind struct {
	Name string // also of the template's connection
	Says string // for people: what it plays
	// New makes one. Whoever has the key may call its API; the secret signs its webhooks.
	New func(o ShopOptions) (ShopServer, error)
	// Receive tells a shop that has no API for it where to send its webhooks; nil: it is asked by its connection.
	Receive func(s ShopServer, url, secret string)
}

// ShopOptions of a simulated store.
type ShopOptions struct {
	Key, Secret                 string
	Seed                        int64
	Now                         func() time.Time
	DuplicateRate, DisorderRate float64
	Log                         zerolog.Logger
}

// ShopKinds lists them in the order in which they are shown.
func ShopKinds() []ShopKind {
	return []ShopKind{
		{
			Name: "woocommerce", Says: "a WooCommerce store: REST v3, webhooks without retries, drafts, a site clock of its own",
			New: func(o ShopOptions) (ShopServer, error) {
				return woocommerce.New(woocommerce.Options{
					Keys: []woocommerce.Key{{ConsumerKey: "ck_" + o.Key, ConsumerSecret: "cs_" + o.Secret}}, Seed: o.Seed, Now: o.Now, Log: o.Log,
					Faults: woocommerce.Faults{DuplicateRate: o.DuplicateRate, DisorderRate: o.DisorderRate, DraftNoise: true},
				})
			},
		},
		{
			Name: "shopify", Says: "a Shopify store: signed webhooks that are sent again and deleted after failures, REST and GraphQL with their buckets",
			New: func(o ShopOptions) (ShopServer, error) {
				return shopify.New(shopify.Options{
					Shop: "twin.myshopify.com", AccessToken: "shpat_" + o.Key, ClientSecret: o.Secret, Seed: o.Seed, Now: o.Now, LocalWebhooks: true, Log: o.Log,
					Faults: shopify.Faults{DuplicateRate: o.DuplicateRate, DisorderRate: o.DisorderRate},
				})
			},
		},
		{
			Name: "stripe", Says: "a Stripe account in test mode: payment intents, charges, Checkout, signed events and their list",
			New: func(o ShopOptions) (ShopServer, error) {
				return stripe.New(stripe.Options{
					Keys: []stripe.Key{{Text: "rk_test_" + o.Key}}, Seed: o.Seed, Now: o.Now, Log: o.Log,
					Faults: stripe.Faults{DuplicateRate: o.DuplicateRate, DisorderRate: o.DisorderRate},
				})
			},
			Receive: func(s ShopServer, url, secret string) { s.(*stripe.Server).AddEndpoint(url, "whsec_"+secret) },
		},
		{
			Name: "getresponse", Says: "a GetResponse account with one shop, whose orders are listed and never told",
			New: func(o ShopOptions) (ShopServer, error) {
				return getresponse.New(getresponse.Options{APIKey: o.Key, Seed: o.Seed, Now: o.Now, Log: o.Log})
			},
		},
		{
			Name: "own-shop", Says: "a shop of one's own that posts signed JSON (Standard Webhooks) with its own fields and words",
			New: func(o ShopOptions) (ShopServer, error) {
				return generic.New(generic.Options{
					Secrets: []string{"whsec_" + standardSecret(o.Secret)}, OwnWords: true, Seed: o.Seed, Now: o.Now, Log: o.Log,
					Faults: generic.Faults{DuplicateRate: o.DuplicateRate, DisorderRate: o.DisorderRate},
				})
			},
			Receive: func(s ShopServer, url, _ string) { s.(*generic.Server).SetWebhook(url) },
		},
	}
}

// standardSecret is a secret in the base64 that Standard Webhooks want.
func standardSecret(secret string) string { return base64.StdEncoding.EncodeToString([]byte(secret)) }

// startShops starts a twin of each kind of store, on free ports, and puts its address and secrets into the
// environment of the template.
func (c *Cluster) startShops(ctx context.Context, o Options) error {
	for _, kind := range ShopKinds() {
		so := ShopOptions{
			Seed: o.Seed, Now: o.Now, DuplicateRate: o.PayPalFaults.DuplicateRate, DisorderRate: o.PayPalFaults.DisorderRate,
			Log: o.Log.With().Str("simulator", kind.Name).Logger(),
		}
		var err error
		for _, text := range []*string{&so.Key, &so.Secret} {
			if *text, err = randomHex(); err != nil {
				return err
			}
		}
		srv, err := kind.New(so)
		if err != nil {
			return err
		}
		url := make(chan string, 1)
		c.group.Go(func() error {
			defer srv.Close()
			return srv.ListenAndServe(ctx, "127.0.0.1:0", func(at string) { url <- at })
		})
		shop := Shop{Connection: kind.Name, Twin: srv}
		if kind.Receive != nil {
			shop.receive = func(url string) { kind.Receive(srv, url, so.Secret) }
		}
		select {
		case shop.URL = <-url:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.Shops = append(c.Shops, shop)
		variable := shopVariable(kind.Name)
		c.env[variable], c.env[variable+"_KEY"], c.env[variable+"_SECRET"] = shop.URL, so.Key, so.Secret
		c.env[variable+"_STANDARD_SECRET"] = standardSecret(so.Secret)
	}
	return nil
}

// shopVariable is how the template names what belongs to a shop.
func shopVariable(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// Receive tells the shops that register no webhook themselves where the receiver is.
func (c *Cluster) Receive(ingest string) {
	for _, s := range c.Shops {
		if s.receive != nil {
			s.receive(fmt.Sprintf("http://%s/webhooks/%s", ingest, s.Connection))
		}
	}
}
