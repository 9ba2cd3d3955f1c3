package main

import (
	_ "embed" // the templates below
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/connectors/shopify"
	"github.com/tillstream/tillstream/connectors/stripe"
	"github.com/tillstream/tillstream/connectors/woocommerce"
	"github.com/tillstream/tillstream/schemas"
)

// Templates of bodies: what each provider sends, with the marks that sized fills.
var (
	//go:embed testdata/woocommerce.json
	wooTemplate string
	//go:embed testdata/shopify.json
	shopifyTemplate string
	//go:embed testdata/stripe.json
	stripeTemplate string
	//go:embed testdata/generic.json
	genericTemplate string
)

// Keys of the bench. They open nothing.
const (
	plainKey    = "bench-key-of-no-use-0123456789abcdef"
	stripeKey   = "whsec_benchkeyofnouse0123456789abcdef"
	standardKey = "whsec_YmVuY2gta2V5LW9mLW5vLXVzZS0wMTIzNDU2Nzg5YWJjZGVm"
)

func init() {
	sources = append(sources, wooCommerce, shopifySource, stripeSource, anyShop)
}

// nothing is the setup of a source whose key is a constant.
func nothing(string) (setup, func(), error) { return setup{}, func() {}, nil }

var wooCommerce = source{
	name: "woocommerce (HMAC)", connector: woocommerce.Type, prepare: nothing,
	config: func(setup) any {
		key := schemas.NewSecret("ck_bench_of_no_use_0123456789")
		return &woocommerce.Config{
			StoreURL: "https://shop.example.com", ConsumerKey: key, ConsumerSecret: key, WebhookSecrets: []schemas.Secret{schemas.NewSecret(plainKey)}, ManualWebhooks: true,
		}
	},
	sign: func(_ setup, body []byte, n int, _ time.Time) (http.Header, error) {
		return http.Header{
			"X-Wc-Webhook-Signature": {base64.StdEncoding.EncodeToString(hmacSHA256(plainKey, string(body)))}, "X-Wc-Webhook-Topic": {"order.updated"},
			"X-Wc-Webhook-Resource": {"order"}, "X-Wc-Webhook-Event": {"updated"}, "X-Wc-Webhook-Id": {"5"},
			"X-Wc-Webhook-Delivery-Id": {fmt.Sprintf("%032x", n)}, "X-Wc-Webhook-Source": {"https://shop.example.com/"},
			"User-Agent": {"WooCommerce/10.3.0 Hookshot (WordPress/6.8.3)"},
		}, nil
	},
	check: func(setup) (func(http.Header, []byte) bool, error) {
		return func(h http.Header, body []byte) bool {
			mac, err := base64.StdEncoding.DecodeString(h.Get("X-Wc-Webhook-Signature"))
			return err == nil && hmacOfBody(plainKey, "", body, mac)
		}, nil
	},
	body: func(n int) []byte { return sized(wooTemplate, n) },
}

const shopifyShop = "bench-shop.myshopify.com"

var shopifySource = source{
	name: "shopify (HMAC)", connector: shopify.Type, prepare: nothing,
	config: func(setup) any {
		cfg := shopify.Connector.Config().(*shopify.Config) // with its defaults
		cfg.Shop, cfg.ClientSecret, cfg.Webhooks = shopifyShop, schemas.NewSecret(plainKey), shopify.WebhooksManual
		return cfg
	},
	sign: func(_ setup, body []byte, n int, at time.Time) (http.Header, error) {
		return http.Header{
			"X-Shopify-Hmac-Sha256": {base64.StdEncoding.EncodeToString(hmacSHA256(plainKey, string(body)))}, "X-Shopify-Topic": {"orders/updated"},
			"X-Shopify-Shop-Domain": {shopifyShop}, "X-Shopify-Api-Version": {"2026-07"}, "X-Shopify-Webhook-Id": {fmt.Sprintf("b54557e4-bdd9-4b37-8a5f-%012x", n)},
			"X-Shopify-Event-Id": {fmt.Sprintf("98880550-7158-44d4-b7cd-%012x", n)}, "X-Shopify-Triggered-At": {at.UTC().Format(time.RFC3339Nano)},
			"User-Agent": {"Shopify-Captain-Hook"},
		}, nil
	},
	check: func(setup) (func(http.Header, []byte) bool, error) {
		return func(h http.Header, body []byte) bool {
			mac, err := base64.StdEncoding.DecodeString(h.Get("X-Shopify-Hmac-Sha256"))
			return err == nil && hmacOfBody(plainKey, "", body, mac)
		}, nil
	},
	body: func(n int) []byte { return sized(shopifyTemplate, n) },
}

var stripeSource = source{
	name: "stripe (HMAC)", connector: stripe.Type, prepare: nothing,
	config: func(setup) any { return &stripe.Config{SigningSecrets: []schemas.Secret{schemas.NewSecret(stripeKey)}} },
	sign: func(_ setup, body []byte, _ int, at time.Time) (http.Header, error) {
		t := strconv.FormatInt(at.Unix(), 10)
		return http.Header{
			"Stripe-Signature": {"t=" + t + ",v1=" + hex.EncodeToString(hmacSHA256(stripeKey, t, ".", string(body)))},
			"User-Agent":       {"Stripe/1.0 (+https://stripe.com/docs/webhooks)"},
		}, nil
	},
	check: func(setup) (func(http.Header, []byte) bool, error) {
		return func(h http.Header, body []byte) bool {
			t, v1, ok := strings.Cut(strings.TrimPrefix(h.Get("Stripe-Signature"), "t="), ",v1=")
			mac, err := hex.DecodeString(v1)
			return ok && err == nil && hmacOfBody(stripeKey, t+".", body, mac)
		}, nil
	},
	body: func(n int) []byte { return sized(stripeTemplate, n) },
}

var anyShop = source{
	name: "generic (HMAC)", connector: generic.Type, prepare: nothing,
	config: func(setup) any { return &generic.Config{Secrets: []schemas.Secret{schemas.NewSecret(standardKey)}} },
	sign: func(_ setup, body []byte, n int, at time.Time) (http.Header, error) {
		key, err := standardSecret()
		if err != nil {
			return nil, err
		}
		id, t := fmt.Sprintf("msg_%027d", n), strconv.FormatInt(at.Unix(), 10)
		return http.Header{
			"Webhook-Id": {id}, "Webhook-Timestamp": {t},
			"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(hmacSHA256(key, id, ".", t, ".", string(body)))},
		}, nil
	},
	check: func(setup) (func(http.Header, []byte) bool, error) {
		key, err := standardSecret()
		return func(h http.Header, body []byte) bool {
			mac, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(h.Get("Webhook-Signature"), "v1,"))
			return err == nil && hmacOfBody(key, h.Get("Webhook-Id")+"."+h.Get("Webhook-Timestamp")+".", body, mac)
		}, err
	},
	body: func(n int) []byte { return sized(genericTemplate, n) },
}

func standardSecret() (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(standardKey, "whsec_"))
	return string(key), err
}
