// Package paypal connects one PayPal account: it verifies the webhooks that PayPal sends, turns their bodies into
// records, and keeps the webhook's registration at PayPal as the connection wants it.
//
// What no webhook brought it finds in PayPal's lists, and what an event does not say it reads at PayPal.
//
// normalize.go and what it uses is pure, so that stored bodies can be read again by a better version; the rest talks to
// the outside.
package paypal

import (
	"context"
	"crypto/x509"
	_ "embed" // the intermediate below
	"encoding/pem"
	"fmt"
	"os"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Type is the connector's name in the configuration and in OrderEvent.Provider.
const Type = "paypal"

// Connector is PayPal.
var Connector = connectors.Connector{
	Type: Type, Title: "PayPal", Topic: schemas.TopicPayPalEvents,
	Resources: resources, Fields: catalogue,
	Config:    func() any { return &Config{Verification: verifyByCertificate} },
	Normalize: normalize,
	Open: func(ctx context.Context, cfg any, env connectors.Env) (connectors.Source, error) {
		c, ok := cfg.(*Config)
		if !ok {
			return nil, fmt.Errorf("paypal connection %s: configuration is a %T", env.Connection, cfg)
		}
		return open(c, env)
	},
}

// place is what differs between PayPal's two worlds.
type place struct {
	base             string
	certificateHosts []string
}

var places = map[schemas.Environment]place{
	schemas.Live: {"https://api-m.paypal.com", []string{"api.paypal.com", "api-m.paypal.com"}},
	// The simulator's events come from the live hosts, also for a sandbox app; a live certificate verifies nothing else there.
	schemas.Sandbox: {"https://api-m.sandbox.paypal.com", []string{
		"api.sandbox.paypal.com", "api-m.sandbox.paypal.com", "api.paypal.com", "api-m.paypal.com",
	}},
}

// digicertEV signed PayPal's certificates for years and is not always served beside them.
//
//go:embed trust/DigiCertSHA2ExtendedValidationServerCA.der
var digicertEV []byte

// trustFileBytesMax bounds a trust file; the whole set of public roots has about 250 kB.
const trustFileBytesMax = 2 << 20

// trust reads the roots and intermediates. Whatever the operator puts into the file is an anchor, intermediates too:
// PayPal may serve the leaf alone.
func trust(file string) (roots, intermediates *x509.CertPool, err error) {
	intermediates = x509.NewCertPool()
	if file == "" {
		ev, err := x509.ParseCertificate(digicertEV)
		if err != nil {
			return nil, nil, fmt.Errorf("built-in intermediate certificate: %w", err)
		}
		intermediates.AddCert(ev)
		if roots, err = x509.SystemCertPool(); err != nil {
			return nil, nil, fmt.Errorf("system certificates: %w", err)
		}
		return roots, intermediates, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, nil, fmt.Errorf("trust_file: %w", err)
	}
	if info.Size() > trustFileBytesMax {
		return nil, nil, fmt.Errorf("trust_file %s: larger than %d bytes", file, trustFileBytesMax)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("trust_file: %w", err)
	}
	roots = x509.NewCertPool()
	found := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("trust_file %s: certificate %d: %w", file, found+1, err)
		}
		roots.AddCert(c)
		found++
	}
	if found == 0 {
		return nil, nil, fmt.Errorf("trust_file %s: no PEM certificate in it", file)
	}
	return roots, intermediates, nil
}
